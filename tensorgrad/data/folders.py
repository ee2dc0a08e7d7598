"""Image folders: one folder per class, decoded once and cached, or on demand."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._atomic import replacing
from .._optional import require
from .._paths import cache_folder, open_regular, printable
from ..archive import read_arrays, write_arrays
from .dataset import DataError, Dataset, stratified_split
from .images import (
    MODES,
    CannotBeRead,
    Size,
    check_shape,
    is_in_colour,
    read_image,
    shape_of,
    without_warnings,
)

PARTS = ("train", "test")
PART_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
"""Names of folders that hold parts of a data set, and are not classes."""

NOT_DATA = {"__MACOSX", "__pycache__", "@eaDir"}
"""Folders that archives, Python and network drives leave behind; those that begin with a dot are left out anyway."""

CACHE_VERSION = 4
LOOKED_AT = 5
"""Images of each class whose shape and colours are read, to tell those of the data set."""

LARGEST_SIDE = 64
"""To which images are resized where no size is chosen; smaller ones keep theirs."""

THREADS = min(4, os.cpu_count() or 1)

Files = dict[str, dict[str, list[Path]]]
"""For ``train`` and ``test``, the files of each class."""


class ImageFolder:
    """Images in one folder per class, each decoded on demand.

    ``len(folder)`` is their number, ``folder[i]`` an image of shape (channels, height, width) in bytes with its
    label, an index into ``classes``. For :class:`Loader`, which decodes ahead; :func:`load_image_folders` decodes all.

    Parameters
    ----------
    folder
        Holds ``CLASS/**``. Images in folders within that of a class belong to it too; files that begin with a dot are
        left out.
    channels
        1 for gray, 3 for RGB, 2 and 4 for these with an alpha channel; for ``.npy`` files as many as they have. None: 3
        if any of the first images of a class is in colour, else 1.
    size
        Height and width to which every image is resized, or one number for both. None: those of the first image, at
        most 64.
    resize
        ``"stretch"``, ``"crop"`` or ``"pad"``: how images with another aspect ratio are fitted; see :func:`read_image`.
    say
        Function called with a sentence on what was left out, such as ``print``.

    Raises
    ------
    DataError
        If the folder is missing, or has fewer than two classes, or no image; when one is asked for that cannot be
        used, with the name of its file.
    ValueError
        If channels, size or resize are not possible.
    MissingExtra
        If Pillow is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / name).mkdir()
    ...     np.save(folder / name / "1.npy", np.zeros((20, 30, 3), np.uint8))
    >>> images = ImageFolder(folder, size=16)
    >>> images.classes, len(images), images.labels, images.image_shape
    (('cat', 'dog'), 2, array([0, 1]), (3, 16, 16))
    >>> image, label = images[1]
    >>> image.shape, label
    ((3, 16, 16), 1)
    """

    def __init__(
        self,
        folder: str | Path,
        channels: int | None = None,
        size: Size | None = None,
        *,
        resize: str = "stretch",
        say: Callable[[str], Any] = print,
    ) -> None:
        check_shape("ImageFolder", 1 if channels is None else channels, 1 if size is None else size, resize)
        require("PIL.Image", "reading images")
        files = _files_by_class(Path(folder), say)
        if not any(files.values()):
            raise DataError(f"{printable(folder)}: no image in the folders of the classes; put some there")
        self.classes = tuple(files)
        self.files = [path for paths in files.values() for path in paths]
        self.labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
        self.image_shape = _image_shape("ImageFolder", files, channels, size, resize)
        self.resize = resize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        channels, *size = self.image_shape
        return read_image(self.files[index], channels, (size[0], size[1]), self.resize), int(self.labels[index])

    def __repr__(self) -> str:
        return f"ImageFolder({len(self):,} images of shape {self.image_shape}, {len(self.classes)} classes)"


def load_image_folders(
    folder: str | Path,
    channels: int | None = None,
    size: Size | None = 28,
    strict: bool = False,
    cache: str | Path | None = None,
    say: Callable[[str], Any] = print,
    *,
    resize: str = "stretch",
    test: float | None = None,
) -> Dataset:
    """Read training and test images sorted into one folder per class.

    Parameters
    ----------
    folder
        Holds ``train/CLASS/**`` and ``test/CLASS/**``; both must have the same classes. Images in folders within that
        of a class belong to it too; files that begin with a dot are left out.
    channels, size, resize
        As for :class:`ImageFolder`.
    strict
        Whether a file that cannot be used raises; otherwise it is skipped, and ``say`` is called.
    cache
        Folder for the decoded images. Default: ``tensorgrad`` in the user's cache folder.
    say
        Function called with a sentence on what was skipped or left out, and on classes without images.
    test
        If a number, the folder may hold ``CLASS/**`` instead, of which this fraction of each class is for testing:
        always the same images.

    Returns
    -------
    Dataset
        Images of shape (N, channels, height, width), bytes.

    Raises
    ------
    DataError
        If the folders are missing or empty, classes differ, or, with ``strict``, a file cannot be used.
    ValueError
        If channels, size or resize are not possible.
    MissingExtra
        If Pillow is not installed.
    """
    check_shape("load_image_folders", 1 if channels is None else channels, 1 if size is None else size, resize)
    require("PIL.Image", "reading images")
    folder = Path(folder)
    roots = _roots(folder, test is not None)
    files = {part: _files_by_class(root, say) for part, root in roots.items()}
    if "test" in files:
        _check_classes(folder, files["train"], files["test"])
    classes = tuple(files["train"])
    if channels is not None:
        _tell_colours(folder, next(iter(files["train"].values()), []), channels, say)
    shape = _image_shape("load_image_folders", files["train"], channels, size, resize)
    target = _cache_file(cache, _fingerprint(folder, files, shape, resize))
    cached = _read_cache(target, shape, files)
    if cached is not None:
        arrays, skipped = cached
    else:
        arrays, skipped, final = _decode(roots, files, shape, resize)
        if final:
            _write_cache(target, arrays, skipped)
    if skipped:
        _complain(skipped, strict, say)
    if "test" not in files and test is not None:
        arrays = _split(folder, classes, arrays, test)
    else:
        _tell_empty_classes(folder, classes, arrays, say)
    name = printable(folder.name or folder.resolve().name)
    mode = MODES.get(shape[0], f"{shape[0]} channels")
    return Dataset(name=f"{name} ({mode}, {len(classes)} classes)", classes=classes, **arrays)


def _roots(folder: Path, may_be_flat: bool) -> dict[str, Path]:
    """Where the class folders of training and of test images are; of both together, under ``train``."""
    missing = next((part for part in PARTS if not os.path.isdir(folder / part)), None)
    if missing is None:
        return {part: folder / part for part in PARTS}
    inner = [path for path in _visible(folder) if os.path.isdir(path)] if os.path.isdir(folder) else []
    parts = sorted(path.name for path in inner if path.name.lower() in PART_NAMES)
    if may_be_flat and parts:
        one = folder / max(parts, key=lambda name: name.lower().startswith("train"))
        raise DataError(
            f"{printable(folder)}: has no folder {missing}, but {', '.join(parts)}; name them train and test, or pass "
            f"{printable(one)}, of which test images are then set aside"
        )
    if may_be_flat and not any(all(os.path.isdir(path / part) for part in PARTS) for path in inner):
        return {"train": folder}
    raise DataError(f"{printable(folder)}: {_missing(folder, missing)}")


def _split(folder: Path, classes: tuple[str, ...], arrays: dict[str, np.ndarray], test: float) -> dict[str, np.ndarray]:
    """The arrays of a Dataset, from those of all images: the test images do not depend on the seed of a training."""
    labels = arrays["train_labels"]
    counts = np.bincount(labels, minlength=len(classes))
    few = [f"{name} ({count})" for name, count in zip(classes, counts) if count < 3]
    if few:
        raise DataError(
            f"{printable(folder)}: too few images of {', '.join(few)}; each class needs at least 3, to train, to "
            "validate and to test on: add some or remove the class"
        )
    parts = zip(PARTS, stratified_split(labels, test, np.random.default_rng(0)))
    return {f"{part}_{kind}": arrays[f"train_{kind}"][kept] for part, kept in parts for kind in ("images", "labels")}


def _image_shape(
    function: str, files: dict[str, list[Path]], channels: int | None, size: Size | None, resize: str
) -> tuple[int, int, int]:
    """Channels, height and width: as they are chosen, else as the first images are."""
    if channels is None or size is None:
        firsts = (path for paths in files.values() for path in paths[:LOOKED_AT])
        found = list(filter(None, map(shape_of, firsts))) or [(1, 1, 1)]
        channels = channels or max(shape[0] for shape in found)
        size = size or (min(found[0][1], LARGEST_SIDE), min(found[0][2], LARGEST_SIDE))
    return (channels, *check_shape(function, channels, size, resize))


def _files_by_class(root: Path, say: Callable[[str], Any]) -> dict[str, list[Path]]:
    """Files of every class, sorted; hidden ones left out."""
    where = printable(root)
    if not os.path.isdir(root):
        state = "is a file, not a folder" if os.path.exists(root) else "no such folder"
        raise DataError(f"{where}: {state}; pass one that holds a folder for each class")
    found: dict[str, list[Path]] = {}
    stray = []
    for entry in _visible(root):
        if os.path.isdir(entry):  # the same text in Unicode's two forms is one class
            name = unicodedata.normalize("NFC", printable(entry.name))
            found[name] = sorted(found.get(name, []) + _files_below(entry))
        else:
            stray.append(entry.name)
    if len(found) < 2:
        files = f" and {len(stray)} file(s) outside of them" if stray else ""
        raise DataError(
            f"{where}: {len(found)} class folders{files}; expected at least two folders, one per class, each with its "
            "images"
        )
    if stray:
        say(
            f"{where}: {len(stray)} file(s) outside of the class folders are left out; the first: {printable(stray[0])}"
        )
    return dict(sorted(found.items()))


def _missing(folder: Path, part: str) -> str:
    """What is there instead of ``folder/part``, and what to do."""
    if not os.path.exists(folder):
        return "no such folder"
    if not os.path.isdir(folder):
        return f"is a file, not a folder; pass the folder that holds {' and '.join(PARTS)}"
    inner = [printable(path) for path in sorted(folder.glob("*")) if all(os.path.isdir(path / name) for name in PARTS)]
    remedy = f"pass {' or '.join(inner)}" if inner else f"expected {part}/CLASS/* with one folder per class"
    return f"has no folder {part}; {remedy}"


def _visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without what a file manager hides or leaves behind."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({error.strerror}); allow it or remove it") from None
    return [folder / name for name in names if not name.startswith(".") and name not in NOT_DATA]


def _files_below(folder: Path) -> list[Path]:
    """Files in a class folder and the folders in it, each folder once, whatever links lead to it."""
    files: list[Path] = []
    folders, seen = [folder], set()
    while folders:
        current = folders.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in _visible(current):
            (folders if os.path.isdir(entry) else files).append(entry)
    return files


def _check_classes(folder: Path, train: Collection[str], test: Collection[str]) -> None:
    different = sorted(set(train) ^ set(test))
    if different:
        alike = len({name.casefold() for name in different}) < len(different)
        raise DataError(
            f"{printable(folder)}: train and test differ in the classes {', '.join(different)}; each class needs a "
            f"folder in both{', with capital letters in the same places' if alike else ''}"
        )


def _tell_colours(folder: Path, paths: list[Path], channels: int, say: Callable[[str], Any]) -> None:
    """Say so where colour is lost, or there is none: that is allowed, but may be the wrong folder."""
    colour = is_in_colour(paths[0]) if paths else None
    if channels == 1 and colour is True:
        say(f"{printable(folder)}: the images are in colour, they are turned gray")
    elif channels == 3 and colour is False:
        say(f"{printable(folder)}: the images are gray, the network for colour sees three equal channels")


def _tell_empty_classes(
    folder: Path, classes: tuple[str, ...], arrays: dict[str, np.ndarray], say: Callable[[str], Any]
) -> None:
    """Say so where a class has nothing to learn from, or to be tested with."""
    for part in PARTS:
        counts = np.bincount(arrays[f"{part}_labels"], minlength=len(classes))
        empty = [name for name, count in zip(classes, counts) if not count]
        if empty:
            say(f"{printable(folder / part)}: no image of the class {', '.join(empty)}")


def _decode(
    roots: dict[str, Path], files: Files, shape: tuple[int, int, int], resize: str
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]], bool]:
    """The arrays of a Dataset, which files were skipped and why, and whether it would be so another time."""
    total = sum(len(paths) for by_class in files.values() for paths in by_class.values())
    arrays: dict[str, np.ndarray] = {}
    skipped: list[tuple[str, str]] = []
    final = True
    with require("tqdm", "the progress bar").tqdm(total=total, desc="decoding", disable=None, leave=False) as bar:
        for part, by_class in files.items():
            labels: list[int] = []
            images = _room_for(roots[part], sum(map(len, by_class.values())), shape)
            labelled = [(path, label) for label, paths in enumerate(by_class.values()) for path in paths]
            for (path, label), found in zip(labelled, _read_all((path for path, _ in labelled), shape, resize)):
                bar.update()
                if isinstance(found, DataError):
                    name = printable(path)
                    skipped.append((name, str(found)[len(f"{name}: ") :]))
                    final = final and not isinstance(found, CannotBeRead)
                else:
                    images[len(labels)] = found
                    labels.append(label)
            if not labels:
                first = f"; the first of {len(skipped)} unusable ones: {': '.join(skipped[0])}" if skipped else ""
                raise DataError(f"{printable(roots[part])}: no usable image in the folders of the classes{first}")
            arrays[f"{part}_images"] = images[: len(labels)]
            arrays[f"{part}_labels"] = np.array(labels, dtype=np.int64)
    return arrays, skipped, final


def _read_all(paths: Iterable[Path], shape: tuple[int, int, int], resize: str) -> Iterable[np.ndarray | DataError]:
    """The images in files, in their order, or why they cannot be used; several are decoded at the same time."""
    channels, height, width = shape
    with without_warnings(), ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(partial(_read, channels=channels, size=(height, width), resize=resize), paths)


def _read(path: Path, channels: int, size: Size, resize: str) -> np.ndarray | DataError:
    try:
        return read_image(path, channels, size, resize)
    except DataError as error:
        return error


def _room_for(root: Path, count: int, shape: tuple[int, int, int]) -> np.ndarray:
    try:
        return np.empty((count, *shape), np.uint8)
    except (MemoryError, ValueError):
        raise DataError(
            f"{printable(root)}: {count} images of {shape[1]}x{shape[2]} pixels do not fit into memory; take a smaller "
            "size"
        ) from None


def _complain(skipped: list[tuple[str, str]], strict: bool, say: Callable[[str], Any]) -> None:
    first = ": ".join(skipped[0])
    if strict:
        raise DataError(f"{first} ({len(skipped)} such file(s)); without --strict it is skipped")
    kinds = Counter(reason.split(" (")[0].split(";")[0] for _, reason in skipped)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    say(f"skipped {len(skipped)} file(s): {summary}; the first: {first}")


# The cache


def _fingerprint(folder: Path, files: Files, shape: tuple[int, ...], resize: str) -> str:
    """Changes when any file is added, removed, renamed, written or allowed, or the decoding differs."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {shape} {resize} ".encode() + os.fsencode(folder.resolve()))
    for by_class in files.values():
        digest.update(f"{list(by_class)}\n".encode())
        for paths in by_class.values():
            for path in paths:
                try:
                    status = path.stat()
                    state = f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode}\n"
                except OSError:  # a link to nothing
                    state = "absent\n"
                digest.update(os.fsencode(path) + f"\0{state}".encode())
    return digest.hexdigest()


def _cache_file(cache: str | Path | None, fingerprint: str) -> Path:
    return (Path(cache) if cache else cache_folder()) / f"images-{fingerprint[:24]}.npz"


def _read_cache(
    path: Path, shape: tuple[int, ...], parts: Collection[str]
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]] | None:
    """The arrays and what was skipped, or None where there are none that can be used: then all is decoded again."""
    try:
        with open_regular(path) as file:
            arrays = read_arrays(file)
        skipped = [(str(name), str(reason)) for name, reason in arrays.pop("skipped")]
        for part in parts:
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            if images.dtype != np.uint8 or labels.dtype != np.int64 or images.shape != (*labels.shape, *shape):
                return None
        return (arrays, skipped) if len(arrays) == 2 * len(parts) else None
    except (OSError, ValueError, KeyError, TypeError):  # missing, damaged, of other code
        return None


def _write_cache(path: Path, arrays: dict[str, np.ndarray], skipped: list[tuple[str, str]]) -> None:
    """Keep the arrays; a cache folder that cannot be written costs time at the next start, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            write_arrays(file, {**arrays, "skipped": np.array(skipped, np.str_).reshape(-1, 2)})
    except OSError:
        pass
