"""Reading one image file: every mode that Pillow opens becomes gray or RGB, or raises.

Arrays in ``.npy`` files are images too, of any number of channels.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Union

import numpy as np

from .._optional import require
from .._paths import check_regular, printable
from .dataset import DataError
from .layout import channels_first

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's name for images of that many channels: gray or RGB, with or without opacity."""

RESIZING = ("stretch", "crop", "pad")
"""How an image of other proportions is made to fit."""

ARRAY = ".npy"
"""The ending of files that hold an array of shape (height, width) or (height, width, channels), of bytes."""

Size = Union[int, "tuple[int, int]"]
"""Height and width, or one number for both."""

LARGEST_FILE = 64 * 2**20
LARGEST_IMAGE = 50_000_000
"""Bytes and pixels beyond which a file is not opened: no picture of ours is near, and decoding takes memory."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_SIGNED = (2,)
_ORIENTATION, _QUARTER_TURNS = 274, (5, 6, 7, 8)  # of EXIF


class CannotBeRead(DataError):
    """The file could not be read this time, for example for lack of permission; it may be valid."""


def read_image(path: str | Path, channels: int, size: Size, resize: str = "stretch") -> np.ndarray:
    """One image as bytes of shape (channels, height, width).

    It is rotated by its EXIF orientation, and transparency is blended with white, unless there is an alpha channel. Of
    an animation or a file of several pages the first image is read. Pixels of more than 8 bits are scaled: integers of
    12 or 16 bits by their largest possible value; floats from the first of 0..1, 0..255 and 0..65535 that holds them
    all; integers of 32 bits from 0..255 or 0..65535 likewise.

    Parameters
    ----------
    path
        A file in any format that Pillow reads, or an ``.npy`` file with an array of bytes, of shape (height, width) or
        (height, width, channels).
    channels
        1 for gray, 3 for RGB, 2 and 4 for these with an alpha channel. For ``.npy`` files as many as they have.
    size
        Height and width of the result, or one number for both.
    resize
        How an image with another aspect ratio is fitted: ``"stretch"`` distorts it, ``"crop"`` cuts off both sides,
        ``"pad"`` adds black (transparent, with an alpha channel) on both sides.

    Raises
    ------
    DataError
        If it is not an image, empty, damaged or too large, or its pixels are NaN, negative or beyond 16 bits; the
        message names the file, the reason and what to do.
    ValueError
        If channels, size or resize are not possible.
    MissingExtra
        If Pillow is not installed.
    """
    shape = check_shape("read_image", channels, size, resize)
    image_module = require("PIL.Image", "reading images")
    try:
        if Path(path).suffix == ARRAY:
            planes = map(image_module.fromarray, _read_array(path, channels))
            return np.stack([np.asarray(_resized(plane, shape, resize)) for plane in planes])
        with _opened(image_module, path) as image:
            if channels not in MODES:
                raise DataError(
                    f"a picture has {_listed(MODES)} channels, not {channels}; save images of more as {ARRAY} arrays"
                )
            plain = _plain(image_module, image, MODES[channels])
            return channels_first(np.asarray(_resized(plain, shape, resize), dtype=np.uint8))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        system = isinstance(error, OSError) and error.errno is not None
        kind = CannotBeRead if system else DataError
        raise kind(f"{printable(path)}: {_reason(image_module, error)}") from None


def check_shape(function: str, channels: int, size: Size, resize: str = "stretch") -> tuple[int, int]:
    """Height and width; a ValueError for channels or a size that no image can have here."""
    if not _is_whole(channels):
        raise ValueError(
            f"{function}: channels must be an integer of at least 1, such as 1 (gray) or 3 (RGB), got {channels!r}"
        )
    shape = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(shape) != 2 or not all(map(_is_whole, shape)):
        raise ValueError(f"{function}: size must be an integer of at least 1, or two, (height, width), got {size!r}")
    if resize not in RESIZING:
        raise ValueError(f"{function}: resize must be one of {', '.join(RESIZING)}, got {resize!r}")
    return int(shape[0]), int(shape[1])


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _listed(numbers: Iterable[int]) -> str:
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}"


def _resized(image: Any, shape: tuple[int, int], resize: str) -> Any:
    """Pillow's image of height and width ``shape``."""
    target = shape[::-1]
    if image.size == target:
        return image
    lanczos = require("PIL.Image", "reading images").Resampling.LANCZOS
    if resize == "stretch":
        return image.resize(target, lanczos)
    operations = require("PIL.ImageOps", "reading images")
    return (operations.fit if resize == "crop" else operations.pad)(image, target, lanczos)


def _read_array(path: str | Path, channels: int) -> np.ndarray:
    """The planes of an array in a file, one for each channel."""
    _check_file(path)
    array = np.load(path, allow_pickle=False, mmap_mode="r")
    pixels = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or pixels.ndim != 3 or not pixels.size:
        raise DataError(
            f"holds an array of {array.dtype} of shape {array.shape}; save bytes of shape (height, width, channels)"
        )
    if pixels.shape[2] != channels:
        raise DataError(f"has {pixels.shape[2]} channels, not {channels}; remove it, or ask for as many")
    return np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def shape_of(path: str | Path) -> tuple[int, int, int] | None:
    """Channels, height and width of an image file, according to its header; None if it is not an image.

    Without opacity, and upright; a picture that is neither plain gray nor of one bit counts as one of three channels.
    """
    try:
        if Path(path).suffix == ARRAY:
            height, width, *channels = np.load(path, allow_pickle=False, mmap_mode="r").shape
            return (channels[0] if channels else 1), height, width
        with _opened(require("PIL.Image", "reading images"), path) as image:
            turned = image.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS
            width, height = image.size[::-1] if turned else image.size
            is_gray = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
            return (1 if is_gray else 3), height, width
    except Exception:  # reported when all are read
        return None


def is_in_colour(path: str | Path) -> bool | None:
    """Whether a file holds colours, according to its header; None if that is not clear, or it is not an image."""
    image_module = require("PIL.Image", "reading images")
    try:
        with _opened(image_module, path) as image:
            bands = image.getbands()
    except Exception:  # reported when all are read
        return None
    return True if bands[:3] == ("R", "G", "B") else False if bands in (("L",), ("L", "A")) else None


@contextmanager
def _opened(image_module: Any, path: str | Path) -> Iterator[Any]:
    """Pillow's image of a file, not decoded yet, once it is clear that it is neither empty nor too large."""
    _check_file(path)
    with without_warnings(), image_module.open(path) as image:
        _check_size(image)
        yield image


def _check_file(path: str | Path) -> None:
    length = check_regular(path).st_size
    if length == 0:
        raise DataError("the file is empty; remove it")
    if length > LARGEST_FILE:
        raise DataError(f"the file is larger than {LARGEST_FILE // 2**20} MiB; save it with fewer pixels")


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without those of Pillow, which are of what is checked here anyway.

    Filters of warnings belong to the whole process, so that other threads than the main one leave them alone.
    """
    is_main = threading.current_thread() is threading.main_thread()
    with warnings.catch_warnings() if is_main else nullcontext():
        if is_main:
            warnings.simplefilter("ignore")
        yield


def _check_size(image: Any) -> None:
    if image.width * image.height > LARGEST_IMAGE:
        raise DataError(f"{image.width}x{image.height} pixels, more than {LARGEST_IMAGE:,}; save it with fewer")


def _reason(image_module: Any, error: Exception) -> str:
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image; name the images in it, such as FOLDER/*"
    if isinstance(error, image_module.UnidentifiedImageError):
        return "not an image that can be read; save it as PNG or JPEG, or remove it"
    if isinstance(error, image_module.DecompressionBombError):
        return f"more than {LARGEST_IMAGE:,} pixels, {printable(str(error))}; save it with fewer"
    if isinstance(error, MemoryError):
        return "does not fit into memory; save it with fewer pixels"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"damaged or unreadable ({type(error).__name__}: {printable(str(error)[:200])}); save it again or remove it"


def _plain(image_module: Any, image: Any, mode: str) -> Any:
    """An image of 8 bits, upright, without transparency or palette."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(_SAMPLE_FORMAT) == _SIGNED and tags.get(_BITS_PER_SAMPLE) == (8,):
        raise DataError("its pixels are signed bytes; save them as unsigned bytes, from 0 to 255")
    _scale_transparent_colour(image)
    depth = 65535 if image.format in ("PNG", "PPM") else 255  # in which formats mode I always means 16 bits
    image.load()
    _check_size(image)  # again: an icon may be larger than its header says
    if image.format != "TIFF":  # which is upright once it is loaded, though some versions of Pillow keep its tag
        image = require("PIL.ImageOps", "reading images").exif_transpose(image)
    if image.mode == "F" or image.mode.split(";")[0] == "I":
        image = image_module.fromarray(_eight_bits(image, tags, depth))
    elif image.mode == "LAB":
        profiles = require("PIL.ImageCms", "reading LAB images")
        lab, rgb = profiles.createProfile("LAB"), profiles.createProfile("sRGB")
        image = profiles.profileToProfile(image, lab, rgb, outputMode="RGB")
    elif image.mode == "La":  # multiplied by its opacity: Pillow turns it into nothing else
        image = image.convert("LA")
    if _has_transparency(image) and mode in ("L", "RGB"):
        image = image.convert("RGBA")
        white = image_module.new("RGBA", image.size, "white")
        image = image_module.alpha_composite(white, image)
    elif mode in ("LA", "RGBA"):
        image = image.convert("RGBA")
    return image.convert(mode)


def _scale_transparent_colour(image: Any) -> None:
    """Give the colour that a PNG declares to be transparent the 8 bits that Pillow gives its pixels alone."""
    tiles = getattr(image, "tile", None)
    layout, colour = tiles[0][3] if tiles else "", image.info.get("transparency")
    if layout in ("L;2", "L;4") and isinstance(colour, int):
        image.info["transparency"] = colour * (85 if layout == "L;2" else 17)
    elif layout == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)


def _has_transparency(image: Any) -> bool:
    palette = getattr(image.palette, "mode", "")
    return image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info or palette.endswith("A")


def _eight_bits(image: Any, tags: Mapping[int, Any], depth: int) -> np.ndarray:
    """The bytes of an image of one wide channel, where ``convert()`` would cut off at 255 instead of scaling.

    ``depth`` is the least upper end that integers of 32 bits can be meant to have.
    """
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError("has pixels that are NaN or infinite; replace them and save it with 8 bits")
    if low < 0 or high > 65535:
        raise DataError(
            f"has pixels from {low:g} to {high:g}, outside of 0..65535; scale them to 0..255 and save it with 8 bits"
        )
    if image.mode == "F":
        top = next(top for top in (1, 255, 65535) if high <= top)
        pixels = np.rint(values * (255 / top)).astype(np.uint8)
    elif image.mode == "I":
        pixels = (values if max(high, depth) <= 255 else values >> 8).astype(np.uint8)
    else:
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        pixels = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # 0 is white, which Pillow heeds for 8 bits only
        pixels = 255 - pixels
    if "transparency" in image.info:  # a shade of gray that is to be seen through
        pixels[values == image.info["transparency"]] = 255
    return pixels
