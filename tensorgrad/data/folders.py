"""Image folders: ``DIR/train/CLASS/*`` and ``DIR/test/CLASS/*``, decoded once and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..extras import require
from ..files import replacing
from .dataset import DataError, Dataset

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for images of that many channels."""

LARGEST_FILE = 64 * 2**20
LARGEST_IMAGE = 50_000_000
"""Bytes and pixels beyond which a file is not opened: no picture of ours is near, and decoding takes memory."""

PARTS = ("train", "test")
CACHE_VERSION = 1


def load_image_folders(
    folder: str | Path,
    channels: int,
    size: int = 28,
    strict: bool = False,
    cache: str | Path | None = None,
    say: Callable[[str], Any] = print,
) -> Dataset:
    """Read training and test images sorted into one folder per class.

    Parameters
    ----------
    folder
        Holds ``train/CLASS/*`` and ``test/CLASS/*``; both must have the same classes.
    channels
        1 for gray, 3 for RGB.
    size
        Height and width to which every image is resized.
    strict
        Whether a file that cannot be used is fatal; otherwise it is skipped, and what was skipped is said.
    cache
        Folder for the decoded images. Default: ``tensorgrad`` in the user's cache folder.
    say
        Called with a sentence on what was skipped.

    Returns
    -------
    Dataset
        Images of shape (count, size, size) for gray, (count, size, size, 3) for RGB, bytes.

    Raises
    ------
    DataError
        If the folders are missing or empty, classes differ, or, with ``strict``, a file cannot be used.
    MissingExtra
        If Pillow is not installed.
    """
    folder = Path(folder)
    files = {part: _files_by_class(folder, part) for part in PARTS}
    if files["train"].keys() != files["test"].keys():
        different = ", ".join(sorted(files["train"].keys() ^ files["test"].keys()))
        raise DataError(
            f"{folder}: train and test differ in the classes {different}; each class needs a folder in both"
        )
    classes = tuple(files["train"])
    _tell_colours(folder, next(iter(files["train"].values()), []), channels, say)
    target = _cache_file(cache, _fingerprint(folder, files, channels, size))
    arrays = _read_cache(target)
    if arrays is None:
        arrays, skipped = _decode(files, channels, size)
        if skipped:
            _complain(skipped, strict, say)
        else:
            _write_cache(target, arrays)
    return Dataset(name=f"{folder.name} ({MODES[channels]}, {len(classes)} classes)", classes=classes, **arrays)


def read_image(path: str | Path, channels: int, size: int) -> np.ndarray:
    """One image as bytes of shape (size, size) or (size, size, 3).

    Turned upright by its EXIF orientation, transparent parts on white, 16-bit gray scaled to 8, resized to the square.

    Raises
    ------
    DataError
        If it is no image, empty, damaged or too large; the message names the file and the reason.
    """
    image_module = require("PIL.Image", "reading images")
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: the file is larger than {LARGEST_FILE // 2**20} MiB")
        with _without_warnings(), image_module.open(path) as image:
            if image.width * image.height > LARGEST_IMAGE:
                raise DataError(f"{path}: {image.width}x{image.height} pixels, more than {LARGEST_IMAGE:,}")
            upright = require("PIL.ImageOps", "reading images").exif_transpose(image)
            plain = _flat(image_module, upright, MODES[channels])
            resized = (
                plain if plain.size == (size, size) else plain.resize((size, size), image_module.Resampling.LANCZOS)
            )
            return np.asarray(resized, dtype=np.uint8)
    except DataError:
        raise
    except (FileNotFoundError, IsADirectoryError):
        raise DataError(f"{path}: {'is a folder, not an image' if path.is_dir() else 'no such file'}") from None
    except image_module.UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise DataError(f"{path}: damaged or unreadable ({type(error).__name__}: {error})") from None


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Pillow warns of what is checked here anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _flat(image_module: Any, image: Any, mode: str) -> Any:
    """An 8-bit image without transparency or palette."""
    if image.mode.startswith("I;16") or image.mode == "I":  # convert() would cut off at 255 instead of scaling
        values = np.asarray(image).astype(np.int64).clip(0, 65535)
        wide = image.mode != "I" or values.max() > 255  # 32-bit files hold 8 bits as often as 16
        image = image_module.fromarray((values >> 8 if wide else values).astype(np.uint8))
    elif image.mode == "F":
        image = image_module.fromarray(np.nan_to_num(np.asarray(image)).clip(0, 255).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = image_module.new("RGBA", image.size, "white")
        image = image_module.alpha_composite(white, image)
    return image.convert(mode)


def _files_by_class(folder: Path, part: str) -> dict[str, list[Path]]:
    """Files of every class of ``train`` or ``test``, sorted; hidden ones left out."""
    root = folder / part
    if not root.is_dir():
        inner = [str(path) for path in sorted(folder.glob("*")) if all((path / name).is_dir() for name in PARTS)]
        remedy = f"pass {' or '.join(inner)}" if inner else f"expected {part}/CLASS/* with one folder per class"
        raise DataError(f"{folder}: has no folder {part}; {remedy}")
    found = {}
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not entry.name.startswith("."):
            found[entry.name] = sorted(p for p in entry.iterdir() if p.is_file() and not p.name.startswith("."))
    if len(found) < 2:
        raise DataError(f"{root}: {len(found)} class folders; expected one folder per class, two at least")
    return found


def _tell_colours(folder: Path, paths: list[Path], channels: int, say: Callable[[str], Any]) -> None:
    """Say so where colour is lost, or there is none: that is allowed, but may be the wrong folder."""
    image_module = require("PIL.Image", "reading images")
    try:
        with image_module.open(paths[0]) as image:
            bands = image.getbands()
    except Exception:  # none, or damaged: reported when all are read
        return
    colour = bands[:3] == ("R", "G", "B")
    if channels == 1 and colour:
        say(f"{folder}: the images are in colour, they are turned gray")
    elif channels == 3 and bands in (("L",), ("L", "A")):
        say(f"{folder}: the images are gray, the network for colour sees three equal channels")


def _decode(
    files: dict[str, dict[str, list[Path]]], channels: int, size: int
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The arrays of a Dataset, and the complaints about files that were skipped."""
    require("PIL.Image", "reading images")
    total = sum(len(paths) for by_class in files.values() for paths in by_class.values())
    arrays: dict[str, np.ndarray] = {}
    skipped: list[str] = []
    with require("tqdm", "the progress bar").tqdm(total=total, desc="decoding", disable=None, leave=False) as bar:
        for part, by_class in files.items():
            images, labels = [], []
            for label, paths in enumerate(by_class.values()):
                for path in paths:
                    bar.update()
                    try:
                        images.append(read_image(path, channels, size))
                        labels.append(label)
                    except DataError as error:
                        skipped.append(str(error))
            if not images:
                raise DataError(
                    f"{next(iter(by_class))} and the other {part} folders hold no usable image; {skipped[:1]}"
                )
            arrays[f"{part}_images"] = np.stack(images)
            arrays[f"{part}_labels"] = np.array(labels, dtype=np.int64)
    return arrays, skipped


def _complain(skipped: list[str], strict: bool, say: Callable[[str], Any]) -> None:
    if strict:
        raise DataError(f"{skipped[0]} ({len(skipped)} such file(s)); remove it, or leave out --strict to skip it")
    kinds = Counter(complaint.rsplit(": ", 1)[-1].split(" (")[0] for complaint in skipped)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    say(f"skipped {len(skipped)} file(s): {summary}; the first: {skipped[0]}")


# The cache


def _fingerprint(folder: Path, files: dict[str, dict[str, list[Path]]], channels: int, size: int) -> str:
    """Changes when any file is added, removed, renamed or written, or the decoding differs."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {channels} {size} {folder.resolve()}".encode())
    for by_class in files.values():
        digest.update(f"{list(by_class)}\n".encode())
        for paths in by_class.values():
            for path in paths:
                status = path.stat()
                digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _cache_file(cache: str | Path | None, fingerprint: str) -> Path:
    root = Path(cache) if cache else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tensorgrad"
    return root / f"images-{fingerprint[:24]}.npz"


def _read_cache(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays, or None where there are none that can be read: then they are decoded again."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except Exception:  # missing, cut, not a zip file: a cache that cannot be read is none
        return None


def _write_cache(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Keep the arrays; a cache folder that cannot be written costs time at the next start, nothing else."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
    except OSError:
        pass
