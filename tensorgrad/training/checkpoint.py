"""Checkpoints: arrays and a description in one ordinary ``.npz`` file that proves its own integrity.

The zip comment of the file holds the SHA-256 of all bytes before it, so a file that was changed, cut or grown is told
from a good one before anything in it is looked at. No pickle is written or read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import replacing

DESCRIPTION = "description"
_KIND = "tensorgrad checkpoint"
_VERSION = 1
_DIGEST_LENGTH = 64
_PIECE = 2**20


class CheckpointError(Exception):
    """A checkpoint that is missing, damaged, of something else, or cannot be written; one sentence with the reason."""


def save_checkpoint(path: str | Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write a checkpoint; the old file stays until the new one is whole and on disk.

    Parameters
    ----------
    path
        The file, by custom ending in ``.npz``; ``numpy.load`` opens it too.
    arrays
        By name, of any shape; not of dtype object.
    description
        Whatever JSON can hold; integers of any size and floats come back exactly.

    Raises
    ------
    CheckpointError
        If the file cannot be written, for example on a full disk.
    """
    text = json.dumps({"kind": _KIND, "version": _VERSION, **description})
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            np.savez(file, **{DESCRIPTION: np.array(text)}, **arrays)  # type: ignore[arg-type]
            _seal(file)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be saved ({error.strerror or error}); the earlier one is intact"
        ) from None


def load_checkpoint(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read and verify a checkpoint: its arrays by name, and its description.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged in any way, or no checkpoint.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "a.npz"
    >>> save_checkpoint(path, {"weight": np.arange(3)}, {"epoch": 7})
    >>> arrays, description = load_checkpoint(path)
    >>> arrays["weight"], description["epoch"]
    (array([0, 1, 2]), 7)
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            _verify(path, file)
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        description = json.loads(str(arrays.pop(DESCRIPTION)))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from None
    if description.get("kind") != _KIND or description.get("version") != _VERSION:
        raise CheckpointError(
            f"{path}: made by another version ({description.get('version')}); this one reads {_VERSION}"
        )
    return arrays, description


def _seal(file: BinaryIO) -> None:
    """Turn the empty comment at the end of a zip file into the digest of what comes before it."""
    digest = _digest(file, file.seek(0, 2))
    file.seek(-2, 2)
    file.write(_DIGEST_LENGTH.to_bytes(2, "little") + digest.encode())


def _verify(path: Path, file: BinaryIO) -> None:
    """Check the digest; nothing else in the file is trusted before."""
    length = file.seek(0, 2)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        raise CheckpointError(f"{path}: not a checkpoint (it is {'empty' if length == 0 else 'another kind of file'})")
    file.seek(max(0, length - _DIGEST_LENGTH - 2))
    ending = file.read()
    if ending[:2] != _DIGEST_LENGTH.to_bytes(2, "little"):
        raise CheckpointError(
            f"{path}: damaged or cut off, or no checkpoint; use another one (weights that np.savez wrote are for "
            "model.load_state_dict(np.load(path)))"
        )
    if _digest(file, length - _DIGEST_LENGTH).encode() != ending[2:]:
        raise CheckpointError(f"{path}: damaged, its content does not agree with its checksum; use another checkpoint")


def _digest(file: BinaryIO, length: int) -> str:
    """SHA-256 of the first ``length`` bytes, the last two of them (the comment's length) counted as zero."""
    digest = hashlib.sha256()
    file.seek(0)
    left = length - 2
    while left > 0:
        piece = file.read(min(_PIECE, left))
        if not piece:
            break
        digest.update(piece)
        left -= len(piece)
    digest.update(b"\0\0")
    return digest.hexdigest()
