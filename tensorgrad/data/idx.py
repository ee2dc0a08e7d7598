"""The IDX file format of the MNIST distribution, plain or gzip-compressed."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .._atomic import replacing
from .._paths import open_regular, printable
from .dataset import DataError

# Third byte of the magic number -> element type, big-endian (LeCun et al., the MNIST database, "IDX file format").
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


_MOST_DIMENSIONS = 64  # of NumPy's arrays
_PIECE = 2**20


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file into an array of native byte order.

    No more is read, or unpacked, than the file's header promises.

    Parameters
    ----------
    path
        The file, gzip-compressed or not; told apart by content.

    Raises
    ------
    DataError
        If the file is missing, unreadable, truncated, too long or not of this format.
    """
    where = printable(path)
    try:
        with open_regular(path) as file:
            if file.read(2) != b"\x1f\x8b":
                file.seek(0)
                return _read(where, file)
            file.seek(0)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read(where, unpacked)
    except FileNotFoundError:
        raise DataError(f"{where}: no such file") from None
    except MemoryError:
        raise DataError(f"{where}: its array does not fit into memory") from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{where}: cannot be read ({reason}); the file may be damaged, fetch it again") from None


def _read(where: str, file: BinaryIO | gzip.GzipFile) -> np.ndarray:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise DataError(
            f"{where}: not an IDX file (it begins with {start.hex() or 'nothing'}); expected the MNIST format"
        )
    dtype, ndim = np.dtype(_TYPES[start[2]]), start[3]
    if ndim > _MOST_DIMENSIONS:
        raise DataError(f"{where}: has {ndim} dimensions, more than {_MOST_DIMENSIONS}; expected the MNIST format")
    sizes = file.read(4 * ndim)
    whole_header = len(sizes) == 4 * ndim
    shape = tuple(np.frombuffer(sizes, ">u4").tolist()) if whole_header else ()
    promised = math.prod(shape) * dtype.itemsize if whole_header else 0
    content = _at_most(file, promised)
    too_long = bool(file.read(1))
    if too_long or not whole_header or len(content) < promised:
        kind, more = ("too long", "more than ") if too_long else ("truncated", "")
        found, expected = 4 + len(sizes) + len(content), 4 + 4 * ndim + promised
        raise DataError(
            f"{where}: {kind}, {more}{found} bytes where its header says "
            f"{expected if expected < 10**18 else 'more than any file has'}; fetch the file again"
        )
    try:
        array = np.frombuffer(content, dtype).reshape(shape)
    except ValueError:  # an empty array with sides whose product is no number of the machine
        raise DataError(f"{where}: no array can have the shape {shape}; expected the MNIST format") from None
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _at_most(file: BinaryIO | gzip.GzipFile, count: int) -> bytearray:
    """The next ``count`` bytes, or as many as there are: memory grows with what comes, not with what was promised."""
    content = bytearray()
    while len(content) < count and (piece := file.read(min(_PIECE, count - len(content)))):
        content += piece
    return content


def write_idx(path: str | Path, array: np.ndarray) -> None:
    """Write an array as a gzip-compressed IDX file; the same array always gives the same bytes.

    Raises
    ------
    TypeError
        If the format has no such element type.
    """
    code = next((code for code, name in _TYPES.items() if np.dtype(name) == array.dtype.newbyteorder(">")), None)
    if code is None:
        names = ", ".join(np.dtype(name).name for name in _TYPES.values())
        raise TypeError(f"write_idx: the format holds {names}, got {array.dtype}; change it with astype")
    header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.astype(array.dtype.newbyteorder(">")).tobytes()
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(content, 6, mtime=0))
