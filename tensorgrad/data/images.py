"""One image file as bytes: every mode that Pillow opens becomes gray or RGB here, or is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .._optional import require
from .._paths import check_regular, printable
from .dataset import DataError
from .layout import channels_first

MODES = {1: "L", 3: "RGB"}
"""Pillow's name for images of that many channels."""

LARGEST_FILE = 64 * 2**20
LARGEST_IMAGE = 50_000_000
"""Bytes and pixels beyond which a file is not opened: no picture of ours is near, and decoding takes memory."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_SIGNED = (2,)


class CannotBeRead(DataError):
    """The file could not be read this time, for example without permission: it may be good."""


def read_image(path: str | Path, channels: int, size: int) -> np.ndarray:
    """One image as bytes of shape (channels, size, size).

    Turned upright by its EXIF orientation, transparent parts on white, resized to the square without regard to the
    proportions. Of an animation or a file of several pages, the first. Pixels of more than 8 bits are scaled: integers
    of 12 or 16 bits by their largest possible value; floats from the first of 0..1, 0..255 and 0..65535 that holds them
    all; integers of 32 bits from 0..255 or 0..65535 likewise.

    Parameters
    ----------
    path
        A file in any format that Pillow reads.
    channels
        1 for gray, 3 for RGB.
    size
        Height and width of the result.

    Raises
    ------
    DataError
        If it is no image, empty, damaged or too large, or its pixels are NaN, negative or beyond 16 bits; the message
        names the file, the reason and what to do.
    ValueError
        If channels or size are not possible.
    MissingExtra
        If Pillow is not installed.
    """
    check_shape("read_image", channels, size)
    image_module = require("PIL.Image", "reading images")
    try:
        with _opened(image_module, path) as image:
            plain = _plain(image_module, image, MODES[channels])
            if plain.size != (size, size):
                plain = plain.resize((size, size), image_module.Resampling.LANCZOS)
            return channels_first(np.asarray(plain, dtype=np.uint8))
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        system = isinstance(error, OSError) and error.errno is not None
        kind = CannotBeRead if system else DataError
        raise kind(f"{printable(path)}: {_reason(image_module, error)}") from None


def check_shape(function: str, channels: int, size: int) -> None:
    """A ValueError for channels or a size that no image can have here."""
    if channels not in MODES:
        raise ValueError(f"{function}: channels must be 1 (gray) or 3 (RGB), got {channels!r}")
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"{function}: size must be an integer of at least 1, got {size!r}")


def is_in_colour(path: str | Path) -> bool | None:
    """Whether a file holds colours, as far as its header says; None where that is not clear, or it is no image."""
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
    length = check_regular(path).st_size
    if length == 0:
        raise DataError("the file is empty; remove it")
    if length > LARGEST_FILE:
        raise DataError(f"the file is larger than {LARGEST_FILE // 2**20} MiB; save it with fewer pixels")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is checked here anyway
        with image_module.open(path) as image:
            _check_size(image)
            yield image


def _check_size(image: Any) -> None:
    if image.width * image.height > LARGEST_IMAGE:
        raise DataError(f"{image.width}x{image.height} pixels, more than {LARGEST_IMAGE:,}; save it with fewer")


def _reason(image_module: Any, error: Exception) -> str:
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image"
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
    if _has_transparency(image):
        image = image.convert("RGBA")
        white = image_module.new("RGBA", image.size, "white")
        image = image_module.alpha_composite(white, image)
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
