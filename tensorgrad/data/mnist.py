"""Handwritten digits: the IDX files, else OpenML through scikit-learn, else scikit-learn's small bundled set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .._optional import require
from .dataset import DataError, Dataset
from .idx import read_idx
from .reachable import reachable

CLASSES = tuple("0123456789")
FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
OPENML = "https://api.openml.org/api/v1/json/data/554"
SECONDS_TO_DECIDE = 4.0
BUNDLED = "scikit-learn's bundled digits (NOT MNIST: 1,797 small images)"


def load_mnist(data_dir: str | Path | None = None, say: Callable[[str], Any] = print) -> Dataset:
    """The MNIST digits from ``data_dir``, else from OpenML, else the digits that scikit-learn bundles.

    Parameters
    ----------
    data_dir
        Folder with the four IDX files, gzip-compressed (``.gz``) or not. None: another source.
    say
        Function called with a sentence if other data is used than was asked for, such as ``print``.

    Returns
    -------
    Dataset
        Images of shape (N, 1, 28, 28), bytes.

    Raises
    ------
    DataError
        If ``data_dir`` is given and a file in it is missing or damaged.
    MissingExtra
        If scikit-learn is needed and not installed.
    """
    if data_dir is not None:
        return from_idx_files(Path(data_dir))
    datasets = require("sklearn.datasets", "the data without --data-dir")
    if _is_cached(datasets) or reachable(OPENML, SECONDS_TO_DECIDE):
        say("Fetching MNIST from OpenML through scikit-learn (cached after the first time, parsing takes a minute) ...")
        try:
            return _from_openml(datasets)
        except Exception as error:  # whatever the network or a damaged cache may raise: the bundled digits still work
            say(f"OpenML failed: {type(error).__name__}: {error}")
    say(f"No MNIST files given and OpenML cannot be reached: using {BUNDLED}. Pass --data-dir for the real ones.")
    return bundled_digits()


def from_idx_files(folder: Path) -> Dataset:
    """MNIST from the four IDX files in ``folder``."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; pass the one that holds {FILES['train_images']}[.gz] and the others"
        )
    arrays = {}
    for part, name in FILES.items():
        found = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
        if not found:
            raise DataError(f"{folder}: {name}[.gz] is missing; the folder must hold {', '.join(FILES.values())}")
        arrays[part] = read_idx(found[0])
        if part.endswith("images") and arrays[part].ndim == 3:
            arrays[part] = arrays[part][:, None]  # the files leave out the one channel
    return Dataset(name="MNIST", classes=CLASSES, **arrays)


def bundled_digits() -> Dataset:
    """scikit-learn's 8x8 digits drawn at 28x28: every fifth is for testing."""
    digits = require("sklearn.datasets", "the bundled digits").load_digits()
    enlarged = np.kron(digits.images, np.ones((3, 3))) * (255 / 16)
    images = np.pad(enlarged, ((0, 0), (2, 2), (2, 2))).round().astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return Dataset(BUNDLED, CLASSES, images[~test], labels[~test], images[test], labels[test])


def _from_openml(datasets: Any) -> Dataset:
    images, labels = datasets.fetch_openml(
        "mnist_784", version=1, return_X_y=True, as_frame=False, parser="liac-arff", n_retries=1
    )
    images = images.astype(np.uint8).reshape(-1, 1, 28, 28)
    labels = labels.astype(np.int64)
    return Dataset("MNIST (OpenML)", CLASSES, images[:60000], labels[:60000], images[60000:], labels[60000:])


def _is_cached(datasets: Any) -> bool:
    """Whether scikit-learn's folder holds the images already (the description alone is not enough)."""
    try:
        folder = Path(datasets.get_data_home()) / "openml"
        return any(path.stat().st_size > 1_000_000 for path in folder.rglob("*.gz") if "/data/" in path.as_posix())
    except OSError:  # a home that cannot be written, a link to nothing
        return False
