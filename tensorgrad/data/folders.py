"""Image folders: ``DIR/train/CLASS/*`` and ``DIR/test/CLASS/*``, decoded once and kept in a cache."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from .._atomic import replacing
from .._optional import require
from .._paths import cache_folder, open_regular, printable
from ..archive import read_arrays, write_arrays
from .dataset import DataError, Dataset
from .images import MODES, CannotBeRead, check_shape, is_in_colour, read_image

PARTS = ("train", "test")
ARRAYS = tuple(f"{part}_{kind}" for part in PARTS for kind in ("images", "labels"))
NOT_DATA = {"__MACOSX", "__pycache__", "@eaDir"}
"""Folders that archives, Python and network drives leave behind; those that begin with a dot are left out anyway."""

CACHE_VERSION = 3

Files = dict[str, dict[str, list[Path]]]
"""For ``train`` and ``test``, the files of each class."""


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
        Holds ``train/CLASS/**`` and ``test/CLASS/**``; both must have the same classes. Images in folders within that
        of a class belong to it too; files that begin with a dot are left out.
    channels
        1 for gray, 3 for RGB.
    size
        Height and width to which every image is resized.
    strict
        Whether a file that cannot be used is fatal; otherwise it is skipped, and what was skipped is said.
    cache
        Folder for the decoded images. Default: ``tensorgrad`` in the user's cache folder.
    say
        Called with a sentence on what was skipped or left out, and on classes without images.

    Returns
    -------
    Dataset
        Images of shape (N, channels, size, size), bytes.

    Raises
    ------
    DataError
        If the folders are missing or empty, classes differ, or, with ``strict``, a file cannot be used.
    ValueError
        If channels or size are not possible.
    MissingExtra
        If Pillow is not installed.
    """
    check_shape("load_image_folders", channels, size)
    require("PIL.Image", "reading images")
    folder = Path(folder)
    files = {part: _files_by_class(folder, part, say) for part in PARTS}
    _check_classes(folder, files["train"], files["test"])
    classes = tuple(files["train"])
    _tell_colours(folder, next(iter(files["train"].values()), []), channels, say)
    target = _cache_file(cache, _fingerprint(folder, files, channels, size))
    cached = _read_cache(target, (channels, size, size))
    if cached is not None:
        arrays, skipped = cached
    else:
        arrays, skipped, final = _decode(folder, files, channels, size)
        if final:
            _write_cache(target, arrays, skipped)
    if skipped:
        _complain(skipped, strict, say)
    _tell_empty_classes(folder, classes, arrays, say)
    name = printable(folder.name or folder.resolve().name)
    return Dataset(name=f"{name} ({MODES[channels]}, {len(classes)} classes)", classes=classes, **arrays)


def _files_by_class(folder: Path, part: str, say: Callable[[str], Any]) -> dict[str, list[Path]]:
    """Files of every class of ``train`` or ``test``, sorted; hidden ones left out."""
    root = folder / part
    where = printable(root)
    if not os.path.isdir(root):
        raise DataError(f"{printable(folder)}: {_missing(folder, part)}")
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
            f"{where}: {len(found)} class folders{files}; expected one folder per class, two at least, each with its "
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
    folder: Path, files: Files, channels: int, size: int
) -> tuple[dict[str, np.ndarray], list[tuple[str, str]], bool]:
    """The arrays of a Dataset, which files were skipped and why, and whether it would be so another time."""
    total = sum(len(paths) for by_class in files.values() for paths in by_class.values())
    arrays: dict[str, np.ndarray] = {}
    skipped: list[tuple[str, str]] = []
    final = True
    with require("tqdm", "the progress bar").tqdm(total=total, desc="decoding", disable=None, leave=False) as bar:
        for part, by_class in files.items():
            labels: list[int] = []
            images = _room_for(folder / part, sum(map(len, by_class.values())), channels, size)
            for label, paths in enumerate(by_class.values()):
                for path in paths:
                    bar.update()
                    try:
                        images[len(labels)] = read_image(path, channels, size)
                        labels.append(label)
                    except DataError as error:
                        name = printable(path)
                        skipped.append((name, str(error)[len(f"{name}: ") :]))
                        final = final and not isinstance(error, CannotBeRead)
            if not labels:
                first = f"; the first of {len(skipped)} unusable ones: {': '.join(skipped[0])}" if skipped else ""
                raise DataError(f"{printable(folder / part)}: no usable image in the folders of the classes{first}")
            arrays[f"{part}_images"] = images[: len(labels)]
            arrays[f"{part}_labels"] = np.array(labels, dtype=np.int64)
    return arrays, skipped, final


def _room_for(root: Path, count: int, channels: int, size: int) -> np.ndarray:
    shape = (count, channels, size, size)
    try:
        return np.empty(shape, np.uint8)
    except (MemoryError, ValueError):
        raise DataError(
            f"{printable(root)}: {count} images of {size}x{size} pixels do not fit into memory; take a smaller size"
        ) from None


def _complain(skipped: list[tuple[str, str]], strict: bool, say: Callable[[str], Any]) -> None:
    first = ": ".join(skipped[0])
    if strict:
        raise DataError(f"{first} ({len(skipped)} such file(s)); without --strict it is skipped")
    kinds = Counter(reason.split(" (")[0].split(";")[0] for _, reason in skipped)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    say(f"skipped {len(skipped)} file(s): {summary}; the first: {first}")


# The cache


def _fingerprint(folder: Path, files: Files, channels: int, size: int) -> str:
    """Changes when any file is added, removed, renamed, written or allowed, or the decoding differs."""
    digest = hashlib.sha256(f"{CACHE_VERSION} {channels} {size} ".encode() + os.fsencode(folder.resolve()))
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


def _read_cache(path: Path, shape: tuple[int, ...]) -> tuple[dict[str, np.ndarray], list[tuple[str, str]]] | None:
    """The arrays and what was skipped, or None where there are none that can be used: then all is decoded again."""
    try:
        with open_regular(path) as file:
            arrays = read_arrays(file)
        skipped = [(str(name), str(reason)) for name, reason in arrays.pop("skipped")]
        for part in PARTS:
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            if images.dtype != np.uint8 or labels.dtype != np.int64 or images.shape != (*labels.shape, *shape):
                return None
        return ({name: arrays[name] for name in ARRAYS}, skipped) if len(arrays) == len(ARRAYS) else None
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
