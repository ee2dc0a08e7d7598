"""The Simpsons-MNIST images: a folder, else the published files, else synthetic faces."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .._optional import MissingExtra, require
from .._paths import cache_folder
from .cartoons import NAME, draw_faces
from .dataset import DataError, Dataset
from .folders import load_image_folders
from .reachable import reachable

COMMIT = "f70f4e60d21a5fac0e6bd99f7879f5751ccef673"
URL = f"https://github.com/alvarobartt/simpsons-mnist/archive/{COMMIT}.zip"
"""All images, as published by Alvaro Bartolome under CC BY-NC-SA 4.0, at a fixed commit."""

FOLDERS = {1: "grayscale", 3: "rgb"}
CONTENT = {
    1: "f03b4e89819f3f29f1498b90ed4ed32fdc8464de0fb5bee3c95bca62811a3b87",
    3: "60cf71b842d9d7673cb5fe42730822a830a20263399eb59f17aa27418d2d6a74",
}
"""SHA-256 over the names and bytes of the files, not of the archive, which can be packed again."""

LARGEST_CONTENT = 2**28
"""Bytes, several times those of the published files: an archive of more is not unpacked."""

SECONDS_TO_DECIDE = 4.0


def load_simpsons(
    data_dir: str | Path | None, channels: int, strict: bool = False, say: Callable[[str], Any] = print
) -> Dataset:
    """The characters from ``data_dir``, else from the published archive (cached), else synthetic faces.

    Parameters
    ----------
    data_dir
        Folder with ``train/CLASS/*`` and ``test/CLASS/*``. None: another source.
    channels
        1 for gray, 3 for RGB.
    strict
        Whether an image that cannot be used raises.
    say
        Function called with a sentence if other data is used than was asked for, such as ``print``.

    Returns
    -------
    Dataset
        Images of shape (N, channels, 28, 28), bytes.

    Raises
    ------
    DataError
        If the folder is not as expected, or what was downloaded is not what was published.
    MissingExtra
        If Pillow is not installed.
    """
    if data_dir is not None:
        return load_image_folders(data_dir, channels, strict=strict, say=say)
    folder = _cache_folder() / FOLDERS[channels]
    if not folder.exists():
        problem = _download(folder, channels, say)
        if problem:
            say(f"{problem}; using {NAME}. Pass --data-dir for the real ones.")
            return draw_faces(channels)
    return load_image_folders(folder, channels, strict=strict, say=say)


def _cache_folder() -> Path:
    return cache_folder() / f"simpsons-{COMMIT[:8]}"


def _download(folder: Path, channels: int, say: Callable[[str], Any]) -> str | None:
    """Fetch and unpack the archive so that ``folder`` exists; otherwise the reason why not."""
    try:
        pooch = require("pooch", "downloading the Simpsons images")
    except MissingExtra as error:
        return str(error)
    if not reachable(URL, SECONDS_TO_DECIDE):
        return "The published images cannot be reached"
    say(f"Fetching the Simpsons images (30 MB, CC BY-NC-SA 4.0) to {folder.parent} ...")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as work:  # what fails leaves nothing behind
            archive = pooch.retrieve(URL, known_hash=None, path=work, fname="images.zip")
            _keep_published(_unpacked(Path(archive)), folder, channels)
    except DataError:
        raise
    except Exception as error:  # whatever the network may raise: the synthetic faces still work
        return f"The download failed ({type(error).__name__}: {error})"
    return None


def _unpacked(archive: Path) -> Path:
    """The folder into which an archive is unpacked beside it; names that lead out of the folder are kept within it."""
    with zipfile.ZipFile(archive) as files:
        if sum(member.file_size for member in files.infolist()) > LARGEST_CONTENT:
            raise DataError(f"{URL}: larger than the images that were published; pass --data-dir")
        files.extractall(archive.with_suffix(""))
    return archive.with_suffix("")


def _keep_published(unpacked: Path, folder: Path, channels: int) -> None:
    """Move the images to their place, those of the other network too, if they are what was published."""
    for number, name in FOLDERS.items():
        roots = [path for path in unpacked.rglob(name) if path.is_dir()]
        target = folder.with_name(name)
        if len(roots) == 1 and content_digest(roots[0]) == CONTENT[number]:
            if not target.exists():  # another process may have been faster
                os.replace(roots[0], target)
        elif number == channels:
            raise DataError(f"{URL}: not the images that were published; pass --data-dir")


def content_digest(folder: Path) -> str:
    """SHA-256 over the relative names and the bytes of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix()):
        content = path.read_bytes()
        digest.update(os.fsencode(path.relative_to(folder).as_posix()) + f"\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
