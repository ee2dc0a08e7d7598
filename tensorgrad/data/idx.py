"""The IDX file format of the MNIST distribution, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from .dataset import DataError

# Third byte of the magic number -> element type, big-endian (LeCun et al., the MNIST database, "IDX file format").
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file into an array of native byte order.

    Parameters
    ----------
    path
        The file, gzip-compressed or not; told apart by content.

    Raises
    ------
    DataError
        If the file is missing, unreadable, truncated, too long or not of this format.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); the file may be damaged, fetch it again") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(
            f"{path}: not an IDX file (it begins with {content[:4].hex() or 'nothing'}); expected the MNIST format"
        )
    dtype, ndim = np.dtype(_TYPES[content[2]]), content[3]
    header = 4 + 4 * ndim
    shape = tuple(int(n) for n in np.frombuffer(content[4:header], ">u4")) if len(content) >= header else ()
    expected = header + dtype.itemsize * int(np.prod(shape, dtype=object)) if len(shape) == ndim else header
    if len(content) != expected or len(shape) != ndim:
        kind = "truncated" if len(content) < expected else "too long"
        raise DataError(f"{path}: {kind}, {len(content)} bytes where its header says {expected}; fetch the file again")
    return np.frombuffer(content, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write an array as a gzip-compressed IDX file; the same array always gives the same bytes."""
    code = next(code for code, name in _TYPES.items() if np.dtype(name) == array.dtype.newbyteorder(">"))
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    Path(path).write_bytes(gzip.compress(header + array.astype(array.dtype.newbyteorder(">")).tobytes(), 6, mtime=0))
