"""Arrays in a ``.safetensors`` file, which most other libraries read and write too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np

from .._atomic import replacing
from .._optional import require
from .._paths import check_regular, printable
from ..archive import CheckpointError

__all__ = ["load", "save"]

Check = Optional[Callable[[Mapping[str, np.ndarray]], None]]
"""Is given arrays of the shapes and dtypes in a file, by name, before they are read; raises to refuse the file."""

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "U16": "u2",
    "U32": "u4",
    "U64": "u8",
    "I8": "i1",
    "I16": "i2",
    "I32": "i4",
    "I64": "i8",
    "F16": "f2",
    "F32": "f4",
    "F64": "f8",
    "C64": "c8",
}
_PURPOSE = "A .safetensors file"


def save(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write arrays to a ``.safetensors`` file; the old file stays until the new one is whole and on disk.

    Parameters
    ----------
    path
        The file.
    arrays
        By name, of any shape and memory order: what is written is in C order.
    metadata
        Names and values, all text.

    Raises
    ------
    TypeError
        If an array is of a dtype that the format cannot hold, such as complex128, or a name or the metadata not text.
    ValueError
        If the path ends in something else.
    CheckpointError
        If the file cannot be written, for example on a full disk.
    """
    library = require("safetensors.numpy", _PURPOSE)
    if Path(path).suffix.lower() != ".safetensors":
        raise ValueError(f"safetensors: the path must end in .safetensors, got {printable(path)!r}")
    ordered = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        little = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        if not isinstance(name, str) or name == "__metadata__":
            raise TypeError(f"safetensors: names of arrays must be text, and not '__metadata__', got {name!r}")
        if isinstance(value, np.ma.MaskedArray) or little.str[1:] not in _HELD:
            kind = "masked" if isinstance(value, np.ma.MaskedArray) else f"of dtype {array.dtype}"
            raise TypeError(
                f"safetensors: array {name!r} is {kind}, which such a file cannot hold; convert it with astype, or "
                "write an .npz file"
            )
        ordered[name] = np.array(array, little, order="C")  # 0.8.0 writes other orders as if they were C
    texts = dict(metadata or {})
    if not all(isinstance(text, str) for pair in texts.items() for text in pair):
        raise TypeError("safetensors: metadata must be names and values that are text; use json.dumps for others")
    try:
        with replacing(path) as temporary:
            library.save_file(ordered, str(temporary), metadata=texts or None)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)}: cannot be saved ({error.strerror or error}); the earlier one is intact"
        ) from None
    except UnicodeEncodeError:
        raise TypeError("safetensors: names of arrays and metadata must be text that UTF-8 can hold") from None


def load(path: str | Path, check: Check = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a ``.safetensors`` file by name, and its metadata.

    The header is checked against the length of the file before anything else is read, so that it takes no more memory
    than the file is long.

    Parameters
    ----------
    path
        The file.
    check
        Is called with arrays of the shapes and dtypes in the file, by name, all zeros and of no size in memory, before
        anything but the header is read; its errors propagate to the caller.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or holds a dtype that NumPy does not have.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "a.safetensors"
    >>> save(path, {"weight": np.arange(6.0).reshape(2, 3).T}, {"epoch": "7"})
    >>> arrays, metadata = load(path)
    >>> arrays["weight"].tolist(), metadata
    ([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], {'epoch': '7'})
    """
    library = require("safetensors", _PURPOSE)
    where = printable(path)
    try:
        check_regular(path)
        file: Any = library.safe_open(str(path), framework="numpy")
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    except library.SafetensorError as error:
        reason = printable(str(error)[:200])
        raise CheckpointError(f"{where}: not a .safetensors file, or damaged ({reason}); use another one") from None
    with file:
        names = list(file.keys())
        if check is not None:
            check({name: _outline(where, name, file.get_slice(name)) for name in names})
        for name in names:
            _outline(where, name, file.get_slice(name))
        return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})


def _outline(where: str, name: str, part: Any) -> np.ndarray:
    """An array of the shape and dtype that the header gives for one."""
    if (dtype := _DTYPES.get(part.get_dtype())) is None:
        raise CheckpointError(
            f"{where}: {printable(name)[:100]} is {part.get_dtype()}, unknown to NumPy; convert it to float32 where "
            "the file was made"
        )
    return np.broadcast_to(np.zeros((), dtype), part.get_shape())


_HELD = {np.dtype(name).str[1:] for name in _DTYPES.values()}
