"""Checkpoints: arrays and a description in one ordinary ``.npz`` file with a checksum.

The zip comment of the file holds the SHA-256 of all bytes before it, so a file that was changed, cut or grown is told
from a good one before anything in it is used. No pickle is written or read, and a file takes no more memory than
it is long. A path that ends in ``.safetensors`` is a file of that format instead, with the description in its metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ._atomic import replacing
from ._paths import open_regular, printable
from .archive import ArchiveError, CheckpointError, read_arrays, write_arrays
from .interop import safetensors
from .interop.safetensors import Check

DESCRIPTION = "description"
_KIND = "tensorgrad checkpoint"
_VERSION = 2
"""Version 1 had the entries of the description next to kind and version, and the names of arrays as they are."""
_ALIAS = "%"
_LONGEST_NAME = 200
_DIGEST_LENGTH = 64
_PIECE = 2**20
_METADATA = "tensorgrad"
_LONGEST_REASON = 300
_ELSEWHERE = {
    ".onnx": "whole networks are for export and load of tensorgrad.interop.onnx",
    **dict.fromkeys((".pt", ".pth", ".bin"), "PyTorch's files are for save and load of tensorgrad.interop.pytorch"),
}


def save_checkpoint(path: str | Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: the old file stays until the new one is complete and on disk.

    Parameters
    ----------
    path
        The file, by custom ending in ``.npz``; ``numpy.load`` opens it too. With the ending ``.safetensors`` it is a
        file of that format (the extra ``safetensors``).
    arrays
        By name, any text, of any shape; not of dtype object.
    description
        Whatever JSON can hold; integers of any size and floats come back exactly.

    Raises
    ------
    TypeError
        If a name is not text, or an array cannot be stored without pickle.
    CheckpointError
        If the file cannot be written, for example on a full disk.
    """
    if _is_safetensors(path):
        safetensors.save(path, arrays, {_METADATA: _as_json(dict(description))})
        return
    members, aliases = _named_for_zip(arrays)
    header = _as_json({"kind": _KIND, "version": _VERSION, "names": aliases, "description": dict(description)})
    try:
        with replacing(path) as temporary, temporary.open("w+b") as file:
            write_arrays(file, {DESCRIPTION: np.array(header), **members})
            _seal(file)
    except TypeError as error:
        raise TypeError(f"save_checkpoint: {error}") from None
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)}: cannot be saved ({error.strerror or error}); the earlier one is intact"
        ) from None


def load_checkpoint(path: str | Path, check: Check = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a checkpoint and verify its checksum; returns its arrays by name, and its description.

    ``check`` is called with arrays of the shapes and dtypes in the file, by name, and may raise to refuse it: of a
    ``.safetensors`` file before they are read.

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
    where = printable(path)
    if _is_safetensors(path):
        arrays, metadata = safetensors.load(path, check)
        return arrays, _description_of(where, metadata)
    try:
        with open_regular(path) as file:
            _verify(where, file)
            arrays = read_arrays(file)
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except ArchiveError as error:
        raise CheckpointError(f"{where}: not a checkpoint, {error}; use another one") from None
    except (OSError, ValueError) as error:  # a ValueError for a path with a null character
        raise CheckpointError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    arrays, description = _described(where, arrays)
    if check is not None:
        check(arrays)
    return arrays, description


def checked_suffix(path: str | Path) -> str | Path:
    """The path itself, if its ending says in which format weights are to be saved; else a ValueError.

    >>> checked_suffix("model.npz")
    'model.npz'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".npz", ".safetensors"):
        remedy = f"; {_ELSEWHERE[suffix]}" if suffix in _ELSEWHERE else ""
        raise ValueError(f"save: the path must end in .npz or .safetensors, got {printable(path)!r}{remedy}")
    return path


def shortened(error: Exception) -> str:
    """The message of an error for another message, where it may quote names from a file."""
    text = printable(str(error.args[0] if error.args else error))
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."


def _as_json(header: object) -> str:
    try:
        return json.dumps(header, default=_as_number)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"save_checkpoint: a description, such as the state of a callback, must be what JSON can hold, {error}; "
            "make it of numbers, text, lists and dicts, or of arrays by name"
        ) from None


def _as_number(value: object) -> Any:
    """NumPy's numbers as Python's; anything else cannot be saved."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"got {value!r}")


def _is_safetensors(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".safetensors"


def _description_of(where: str, metadata: dict[str, str]) -> dict[str, Any]:
    """The description in the metadata of a ``.safetensors`` file; empty for a file of another program."""
    try:
        return dict(json.loads(metadata.get(_METADATA, "{}")))
    except (ValueError, TypeError, RecursionError):
        raise CheckpointError(
            f"{where}: its metadata has an entry {_METADATA!r} that is not a description; use another file"
        ) from None


def _named_for_zip(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays by names that a zip file keeps as they are, and what those that had to change stand for."""
    members: dict[str, np.ndarray] = {}
    aliases: dict[str, str] = {}
    for name, array in arrays.items():
        if not isinstance(name, str):
            raise TypeError(f"save_checkpoint: names of arrays must be text, got {name!r}; take str({name!r})")
        plain = name.isprintable() and "\\" not in name and len(name) <= _LONGEST_NAME
        member = name
        if not plain or name == DESCRIPTION or name.startswith(_ALIAS):
            member = f"{_ALIAS}{len(aliases)}"
            aliases[member] = name
        members[member] = array
    return members, aliases


def _described(where: str, members: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by their own names, and the description, from the members of a file."""
    try:
        header = json.loads(str(members.pop(DESCRIPTION)))
        if header["kind"] != _KIND:
            raise ValueError("of another kind")
        version = header["version"]
        if version == 1:
            return members, header
        if version == _VERSION:
            arrays = {header["names"].get(member, member): array for member, array in members.items()}
            if len(arrays) == len(members) and all(isinstance(name, str) for name in arrays):
                return arrays, dict(header["description"])
            raise ValueError("names that are not text")
    except Exception:  # whatever a crafted description may hold
        raise CheckpointError(
            f"{where}: not a checkpoint, its description is not one of a checkpoint; use another one"
        ) from None
    raise CheckpointError(
        f"{where}: made by another version ({printable(str(version))[:20]}); this one reads 1 and {_VERSION}, use the "
        "tensorgrad that made it"
    )


def _seal(file: BinaryIO) -> None:
    """Turn the empty comment at the end of a zip file into the digest of what comes before it."""
    digest = _digest(file, file.seek(0, 2))
    file.seek(-2, 2)
    file.write(_DIGEST_LENGTH.to_bytes(2, "little") + digest.encode())


def _verify(path: str, file: BinaryIO) -> None:
    """Verify the digest, before anything else in the file is used."""
    length = file.seek(0, 2)
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        remedy = _ELSEWHERE.get(Path(path).suffix.lower())
        raise CheckpointError(
            f"{path}: not a checkpoint (it is {'empty' if length == 0 else 'another kind of file'})"
            f"{f'; {remedy}' if remedy else ''}"
        )
    file.seek(max(0, length - _DIGEST_LENGTH - 2))
    ending = file.read()
    if ending[:2] != _DIGEST_LENGTH.to_bytes(2, "little"):
        raise CheckpointError(
            f"{path}: damaged or cut off, or no checkpoint; "
            + _ELSEWHERE.get(
                Path(path).suffix.lower(),
                "use another one (weights that np.savez wrote are for model.load_state_dict(np.load(path)))",
            )
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
