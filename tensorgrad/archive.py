"""Arrays in one ordinary ``.npz`` file, read defensively: a damaged or malicious file raises, and takes little memory.

The members are stored, never compressed or pickled, so that a file holds every byte that it promises: reading takes no
more memory than the file is long, whatever its headers claim.
"""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from ._paths import printable

_SUFFIX = ".npy"
_LARGEST_HEADER = 2**16
_PIECE = 2**20


class ArchiveError(ValueError):
    """A file that is not a valid archive of arrays; the message is the reason without the file's name."""


class CheckpointError(Exception):
    """A checkpoint is missing, damaged, of something else, or cannot be written; the message is one sentence."""


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as the members of a ``.npz`` file, which ``numpy.load`` opens too.

    Raises
    ------
    TypeError
        If an array is of a dtype that the format cannot hold, such as object, or is masked.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            array = _storable(name, value)
            with archive.open(zipfile.ZipInfo(name + _SUFFIX), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """The arrays by name, with their dtypes and memory order.

    Raises
    ------
    ArchiveError
        If the file is damaged, or not one that :func:`write_arrays` wrote.
    OSError
        If the file cannot be read.
    """
    length = file.seek(0, 2)
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ArchiveError("its arrays are compressed")
            if sum(member.file_size for member in members) > length:
                raise ArchiveError("it promises more bytes than it holds")
            for member in members:
                name = member.filename[: -len(_SUFFIX)]
                if not member.filename.endswith(_SUFFIX) or name in arrays:
                    entry = member.filename[:100]
                    raise ArchiveError(f"it has an entry {entry!r}, which is not an array, or occurs twice")
                arrays[name] = _read_member(archive, member)
    except (ArchiveError, OSError):
        raise
    except Exception as error:  # zipfile and numpy raise nearly anything on crafted files
        reason = printable(str(error)[:200])
        raise ArchiveError(f"it holds no arrays that can be read ({type(error).__name__}: {reason})") from None
    return arrays


def _storable(name: str, value: np.ndarray) -> np.ndarray:
    """``value`` as an array that comes back as it is, checked before anything is written."""
    array = np.asarray(value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # metadata of a dtype is not kept
            descr = np.lib.format.dtype_to_descr(array.dtype)
            kept = np.lib.format.descr_to_dtype(descr) == array.dtype
        kept = kept and len(repr(descr).encode("latin-1")) < _LARGEST_HEADER // 2
    except (ValueError, TypeError):  # of NumPy's newer dtypes, or with names of fields that are not Latin
        kept = False
    if array.dtype.hasobject or not kept:
        raise TypeError(
            f"array {name!r} is of dtype {array.dtype}, which cannot be stored without pickle; turn it into numbers, "
            "booleans or text of fixed length with astype"
        )
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"array {name!r} is masked, and its mask would be lost; store array.filled() or the mask too")
    return array


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ArchiveError(f"it has an array of format {version}, not (1, 0)")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member, max_header_size=_LARGEST_HEADER)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ArchiveError("it has an array of Python objects")
        if min(shape, default=0) < 0 or size != info.file_size - member.tell():
            raise ArchiveError(
                f"it has an array of shape {str(shape)[:100]} and dtype {str(dtype)[:100]} in {info.file_size} bytes"
            )
        content = np.empty(size, np.uint8)
        for start in range(0, size, _PIECE):
            piece = member.read(min(_PIECE, size - start))
            content[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
            if len(piece) != min(_PIECE, size - start):
                raise ArchiveError("it is cut off")
    array: np.ndarray = np.ndarray(shape, dtype, buffer=content.data, order="F" if fortran else "C")
    return array
