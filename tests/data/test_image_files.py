"""Image files of every mode and format, odd, damaged and crafted ones: the same picture, or refused by name."""

import colorsys
import os
import struct
import tracemalloc
import zlib
from itertools import product

import numpy as np
import pytest
from PIL import Image, ImageCms

from tensorgrad.data import DataError, images, read_image
from tests.support import damaged

Image.init()
COLOURS = [(10, 200, 30), (240, 20, 60), (0, 0, 250), (128, 128, 128)]
WIDE = [0, 1000, 40000, 65535]
QUARTERS = {
    "1": [0, 255, 255, 0],
    "L": [0, 90, 180, 255],
    "P": [0, 1, 2, 3],
    "RGB": COLOURS,
    "RGBA": [(*colour, opacity) for colour, opacity in zip(COLOURS, (255, 255, 0, 100))],
    "CMYK": [(0, 0, 0, 0), (255, 0, 0, 0), (10, 100, 200, 50), (0, 0, 0, 255)],
    "YCbCr": [(50, 128, 128), (200, 100, 150), (120, 150, 90), (255, 128, 128)],
    "LAB": [(0, 128, 128), (128, 150, 110), (200, 110, 150), (255, 128, 128)],
    "HSV": [(0, 255, 255), (85, 255, 128), (170, 100, 200), (0, 0, 90)],
    "LA": [(0, 255), (90, 100), (180, 0), (255, 255)],
    "PA": [(0, 255), (1, 100), (2, 0), (3, 255)],
    "La": [(0, 255), (50, 100), (0, 0), (255, 255)],
    "RGBX": [(*colour, 7) for colour in COLOURS],
    "RGBa": [(10, 100, 30, 255), (60, 20, 60, 100), (0, 0, 0, 0), (128, 128, 128, 128)],
    "F": [0, 0.25, 0.5, 1],
    **dict.fromkeys(["I", "I;16", "I;16L", "I;16B", "I;16N"], WIDE),
}
"""For each mode the pixels of a picture of four quarters."""

# What Pillow's writers change: kept out, as the picture is another one before it is read.
CUT_OFF_AT_255 = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
LOST = {
    "AVIF": CUT_OFF_AT_255,
    "BMP": {"RGBA"},
    "DIB": {"RGBA"},
    "GIF": CUT_OFF_AT_255 | {"LA", "RGBA", "RGBa", "PA"},  # opaque or not
    "JPEG2000": {"I;16B"},
    "PALM": set(QUARTERS),  # not read
    "PPM": {"RGBA"},
    "SPIDER": set(QUARTERS) - {"1", "L", "F"},
    "WEBP": CUT_OFF_AT_255,
}
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "PDF", "WMF"}
BEST_QUALITY = {
    "AVIF": {"quality": 100},
    "ICO": {"sizes": [(32, 32)]},
    "JPEG": {"quality": 95, "subsampling": 0},
    "MPO": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
}


def picture(mode):
    pixels = QUARTERS[mode]
    if mode.startswith("I;"):
        kind = ">u2" if mode == "I;16B" else "<u2"
        return Image.frombytes(
            mode, (32, 32), np.kron(np.reshape(pixels, (2, 2)), np.ones((16, 16))).astype(kind).tobytes()
        )
    image = Image.new(mode, (32, 32))
    if mode in ("P", "PA"):
        image.putpalette([value for colour in COLOURS for value in colour] + [0] * (252 * 3))
    for i, value in enumerate(pixels):
        image.paste(value, (16 * (i % 2), 16 * (i // 2), 16 * (i % 2) + 16, 16 * (i // 2) + 16))
    return image


def on_white(colour, opacity):
    return [value * opacity / 255 + 255 - opacity for value in colour]


def from_lab(lightness, a, b):
    """CIE 1976, white point D50, to sRGB (IEC 61966-2-1)."""
    y = (lightness / 2.55 + 16) / 116
    f = np.array([y + (a - 128) / 500, y, y - (b - 128) / 200])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    matrix = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    rgb = (np.array(matrix) @ xyz).clip(0, 1)
    return 255 * np.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb ** (1 / 2.4) - 0.055)


BY_HAND = {
    "1": lambda v: [v] * 3,
    "L": lambda v: [v] * 3,
    "P": lambda v: COLOURS[v],
    "RGB": lambda v: v,
    "RGBX": lambda v: v[:3],
    "RGBA": lambda v: on_white(v[:3], v[3]),
    "LA": lambda v: on_white([v[0]] * 3, v[1]),
    "PA": lambda v: on_white(COLOURS[v[0]], v[1]),
    "RGBa": lambda v: [value + 255 - v[3] for value in v[:3]],
    "La": lambda v: [v[0] + 255 - v[1]] * 3,
    "CMYK": lambda v: [(255 - value) * (255 - v[3]) / 255 for value in v[:3]],
    "YCbCr": lambda v: np.clip(
        [
            v[0] + 1.402 * (v[2] - 128),
            v[0] - 0.344136 * (v[1] - 128) - 0.714136 * (v[2] - 128),
            v[0] + 1.772 * (v[1] - 128),
        ],
        0,
        255,
    ),
    "HSV": lambda v: [255 * value for value in colorsys.hsv_to_rgb(*(value / 255 for value in v))],
    "LAB": lambda v: from_lab(*v),
    "F": lambda v: [255 * v] * 3,
    **dict.fromkeys(["I", "I;16", "I;16L", "I;16B", "I;16N"], lambda v: [v >> 8] * 3),
}


def expected(mode, channels):
    colours = np.array([BY_HAND[mode](value) for value in QUARTERS[mode]], float)
    return colours if channels == 3 else colours @ [0.299, 0.587, 0.114]


def read(path, channels, size):
    """The picture in Pillow's layout, (size, size) or (size, size, 3)."""
    pixels = read_image(path, channels, size)
    assert pixels.shape == (channels, size, size) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    return pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)


def quarters(pixels):
    return pixels[[8, 8, 24, 24], [8, 24, 8, 24]].astype(float)


@pytest.mark.parametrize("mode", QUARTERS)
def test_every_mode_in_every_format_is_the_same_picture(tmp_path, mode):
    """In all formats that Pillow writes, and as it is, since some modes come from files that it does not write."""
    tried = []
    for kind in sorted(Image.SAVE.keys() - NO_PICTURES):
        if mode in LOST.get(kind, ()):
            continue
        path = tmp_path / f"a.{kind.lower()}"
        try:
            picture(mode).save(path, format=kind, **BEST_QUALITY.get(kind, {}))
        except (OSError, ValueError, KeyError, TypeError):  # a mode that the format cannot hold
            continue
        tried.append(kind)
        for channels in (1, 3):
            found = quarters(read(path, channels, 32))
            tolerance = 3.1 if kind in ("AVIF", "JPEG", "MPO") else 1.6
            np.testing.assert_allclose(found, expected(mode, channels), atol=tolerance, err_msg=f"{mode} as {kind}")
    assert tried or mode in ("I;16N", "La")
    for channels in (1, 3):
        plain = images._plain(Image, picture(mode), images.MODES[channels])
        np.testing.assert_allclose(quarters(np.asarray(plain)), expected(mode, channels), atol=1.6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind, mode",
    [
        *product([kind for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF") if kind in Image.SAVE], ["L", "RGB"]),
        ("PNG", "I;16"),
        ("TIFF", "I;16"),
    ],
)
def test_every_orientation_is_turned_upright(tmp_path, orientation, kind, mode):
    """What the EXIF standard says of where row 0 and column 0 of the stored picture belong."""
    upright = np.kron(np.array([[0, 80], [160, 240]]), np.ones((16, 16))).astype(np.uint8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright.T[::-1],  # its row 0 is the right side
        7: upright[::-1, ::-1].T,
        8: upright.T[:, ::-1],
    }[orientation]
    pixels = stored.astype(np.uint16) * 256 if mode == "I;16" else stored
    image, exif = Image.fromarray(np.ascontiguousarray(pixels)), Image.Exif()
    exif[0x0112] = orientation
    if mode == "RGB":
        image = image.convert("RGB")
    image.save(tmp_path / "a", format=kind, exif=exif)
    np.testing.assert_allclose(quarters(read(tmp_path / "a", 1, 32)), [0, 80, 160, 240], atol=4)


def tiff(pixels, bits, sample_format=1, photometric=1):
    """A TIFF file of 8x8 pixels, uncompressed."""
    tags = {
        256: 8,
        257: 8,
        258: bits,
        259: 1,
        262: photometric,
        273: 8 + 2 + 12 * 10 + 4,
        277: 1,
        278: 8,
        279: len(pixels),
        339: sample_format,
    }
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + pixels


def png(pixels, bits, colours, transparent=b""):
    """A PNG file of 8x8 pixels, with a colour that is to be seen through."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + pixels[i * len(pixels) // 8 : (i + 1) * len(pixels) // 8] for i in range(8))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, colours, 0, 0, 0))
    through = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + through + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def packed(values):
    """Numbers of 12 bits, two in three bytes."""
    pairs = np.asarray(values).reshape(-1, 2).tolist()
    return b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)


RAMP = np.linspace(0, 1, 64)
BYTES = np.rint(RAMP * 255).reshape(8, 8)
ODD = {
    "12 bits": tiff(packed((RAMP * 4095).astype(int)), 12),
    "16 bits": tiff((RAMP * 65535).astype("<u2").tobytes(), 16),
    "16 bits, 0 is white": tiff(((1 - RAMP) * 65535).astype("<u2").tobytes(), 16, photometric=0),
    "8 bits, 0 is white": tiff(((1 - RAMP) * 255).astype("u1").tobytes(), 8, photometric=0),
    "32 bits of 8": tiff((RAMP * 255).astype("<i4").tobytes(), 32, 2),
    "32 bits of 16": tiff((RAMP * 65535).astype("<u4").tobytes(), 32, 1),
    "floats to 1": tiff(RAMP.astype("<f4").tobytes(), 32, 3),
    "floats to 255": tiff((RAMP * 255).astype("<f4").tobytes(), 32, 3),
    "floats to 65535": tiff((RAMP * 65535).astype("<f4").tobytes(), 32, 3),
    "floats, 0 is white": tiff((1 - RAMP).astype("<f4").tobytes(), 32, 3, photometric=0),
    "PGM to 1000": b"P2 8 8 1000\n" + b" ".join(b"%d" % (value * 1000) for value in RAMP),
    "PGM to 4095": b"P5 8 8 4095\n" + (RAMP * 4095).astype(">u2").tobytes(),
    "PFM": b"Pf\n8 8\n-1.0\n" + RAMP.reshape(8, 8)[::-1].astype("<f4").tobytes(),
    "PNG of 16 bits": png((RAMP * 65535).astype(">u2").tobytes(), 16, 0),
    "PNG of 16 bits in colour": png(np.repeat((RAMP * 65535).astype(">u2"), 3).tobytes(), 16, 2),
    "PNG of 16 bits with opacity": png(np.stack([RAMP * 65535, RAMP * 0 + 65535], -1).astype(">u2").tobytes(), 16, 4),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_depth_is_scaled_to_a_byte(tmp_path, kind):
    (tmp_path / "a").write_bytes(ODD[kind])
    for channels in (1, 3):
        found = read(tmp_path / "a", channels, 8).reshape(8, 8, -1)
        np.testing.assert_allclose(found, np.broadcast_to(BYTES[..., None], found.shape), atol=1.1)


def test_dark_pictures_of_16_bits_stay_dark(tmp_path):
    for content in (
        png(np.full(64, 200, ">u2").tobytes(), 16, 0),
        tiff(np.full(64, 200, "<u2").tobytes(), 16),
        b"P5 8 8 65535\n" + np.full(64, 200, ">u2").tobytes(),
    ):
        (tmp_path / "a").write_bytes(content)
        assert (read_image(tmp_path / "a", 1, 8) == 0).all()


@pytest.mark.parametrize(
    "content",
    [
        png(bytes([0, 7] * 32), 8, 0, struct.pack(">H", 7)),
        png(bytes([0x07] * 32), 4, 0, struct.pack(">H", 7)),
        png(bytes([0b00100010] * 16), 2, 0, struct.pack(">H", 2)),
        png(bytes([0b01010101] * 8), 1, 0, struct.pack(">H", 1)),
        png(np.array([0, 1000] * 32, ">u2").tobytes(), 16, 0, struct.pack(">H", 1000)),
        png(bytes([0, 0, 0, 9, 8, 7] * 32), 8, 2, struct.pack(">HHH", 9, 8, 7)),
        png(np.array([0, 0, 0, 40000, 1000, 300] * 32, ">u2").tobytes(), 16, 2, struct.pack(">HHH", 40000, 1000, 300)),
    ],
)
def test_the_transparent_colour_of_a_png_is_white_at_every_depth(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert read(tmp_path / "a.png", 3, 8).reshape(-1, 2, 3).tolist() == [[[0] * 3, [255] * 3]] * 32


def test_palettes_with_opacity(tmp_path):
    picture("P").save(tmp_path / "some.png", transparency=bytes([255, 0, 100, 255]))
    wanted = [on_white(colour, opacity) for colour, opacity in zip(COLOURS, (255, 0, 100, 255))]
    np.testing.assert_allclose(quarters(read(tmp_path / "some.png", 3, 32)), wanted, atol=1)
    picture("P").save(tmp_path / "one.gif", transparency=2)
    wanted = [on_white(colour, opacity) for colour, opacity in zip(COLOURS, (255, 255, 0, 255))]
    np.testing.assert_allclose(quarters(read(tmp_path / "one.gif", 3, 32)), wanted, atol=1)


@pytest.mark.parametrize("kind, settings", [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_the_first_of_several_pictures_is_taken(tmp_path, kind, settings):
    others = [Image.new("RGB", (32, 32), (9, 9, 9)), Image.new("RGB", (64, 64) if kind == "TIFF" else (32, 32))]
    picture("RGB").save(tmp_path / "a", format=kind, save_all=True, append_images=others, **settings)
    np.testing.assert_allclose(quarters(read(tmp_path / "a", 3, 32)), COLOURS, atol=1)


def test_cmyk_as_photoshop_stores_it(tmp_path):
    """In JPEG files the inks are stored inverted, as Adobe's marker says."""
    picture("CMYK").save(tmp_path / "a.jpg", quality=95, subsampling=0)
    assert b"\xff\xee\x00\x0eAdobe" in (tmp_path / "a.jpg").read_bytes()
    np.testing.assert_allclose(quarters(read(tmp_path / "a.jpg", 3, 32)), expected("CMYK", 3), atol=3)


REFUSED = {
    "NaN": (np.where(RAMP > 0.5, np.nan, RAMP).astype("<f4"), 3, "NaN or infinite; replace them and save"),
    "infinity": (np.where(RAMP > 0.5, np.inf, RAMP).astype("<f4"), 3, "NaN or infinite"),
    "negative floats": ((RAMP - 0.5).astype("<f4"), 3, r"from -0.5 to 0.5, outside of 0..65535; scale them to 0..255"),
    "large floats": ((RAMP * 1e6).astype("<f4"), 3, "from 0 to 1e.06"),
    "negative integers": (np.arange(-32, 32).astype("<i4"), 2, "from -32 to 31"),
    "negative 16 bits": (np.arange(-32, 32).astype("<i2"), 2, "from -32 to 31"),
    "large integers": (np.linspace(0, 2**31 - 1, 64).astype("<i4"), 2, "outside of 0..65535"),
    "large unsigned integers": (np.linspace(0, 2**32 - 1, 64).astype("<u4"), 1, "outside of 0..65535"),
    "signed bytes": (np.arange(-32, 32).astype("i1"), 2, "signed bytes; save them as unsigned"),
    "double": (RAMP.astype("<f8"), 3, "not an image that can be read; save it as PNG"),
    "half": (RAMP.astype("<f2"), 3, "not an image that can be read; save it as PNG"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_pixels_that_cannot_be_shown_are_refused_with_a_remedy_that_works(tmp_path, kind):
    values, sample_format, message = REFUSED[kind]
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(values.tobytes(), 8 * values.itemsize, sample_format))
    with pytest.raises(DataError, match=message) as caught:
        read_image(path, 1, 8)
    assert str(caught.value).startswith(f"{path}: ") and "save" in str(caught.value)
    finite = np.nan_to_num(values.astype(float), posinf=1)
    scaled = (finite - finite.min()) / (finite.max() - finite.min()) * 255
    Image.fromarray(scaled.reshape(8, 8).astype(np.uint8)).save(path.with_suffix(".png"))
    assert read_image(path.with_suffix(".png"), 1, 8).max() == 255


@pytest.mark.parametrize(
    "channels, size, message",
    [
        (0, 28, r"channels must be an integer of at least 1, such as 1 \(gray\) or 3 \(RGB\), got 0"),
        (2.0, 28, "channels must be"),
        (True, 28, "channels must be"),
        (1, 0, r"size must be an integer of at least 1, or two, \(height, width\), got 0"),
        (1, 2.5, "size must be"),
        (1, (28, 0), "size must be"),
        (1, (28, 28, 3), "size must be"),
    ],
)
def test_shapes_that_no_image_has_are_not_blamed_on_the_file(tmp_path, channels, size, message):
    picture("RGB").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=f"read_image: {message}") as caught:
        read_image(tmp_path / "a.png", channels, size)
    assert not isinstance(caught.value, DataError)


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "circle.png").symlink_to(tmp_path / "circle.png")
    for path, reason in [
        (tmp_path, "is a folder, not an image"),
        (tmp_path / "none.png", "no such file"),
        (tmp_path / "pipe.png", "not a regular file"),
        (tmp_path / "circle.png", "symbolic links"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / ("n" * 300), "too long"),
    ]:
        with pytest.raises(DataError, match=reason):
            read_image(path, 1, 8)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    picture("RGB").save(tmp_path / "a.png")

    def refuse(path, *args, **settings):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"a.png: cannot be read \(Permission denied\)$"):
        read_image(tmp_path / "a.png", 1, 8)


# Damaged and crafted files


@pytest.mark.slow
def test_an_icon_that_is_larger_than_its_header_says_is_refused(tmp_path):
    Image.new("L", (7500, 7500)).save(tmp_path / "large.png")
    content = (tmp_path / "large.png").read_bytes()
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 8, len(content), 22)
    (tmp_path / "a.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + content)
    with pytest.raises(DataError, match=r"a.ico: 7500x7500 pixels, more than 50,000,000; save it with fewer"):
        read_image(tmp_path / "a.ico", 1, 8)


def test_memory_that_does_not_suffice_is_not_called_damage(tmp_path, monkeypatch):
    picture("RGB").save(tmp_path / "a.png")

    def refuse(*args, **settings):
        raise MemoryError

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(DataError, match=r"a.png: does not fit into memory; save it with fewer pixels"):
        read_image(tmp_path / "a.png", 1, 8)


def sample(kind, tmp_path):
    mode = {"GIF": "P", "PPM": "L", "XBM": "1", "MSP": "1", "SPIDER": "F", "BLP": "P", "PALM": "P"}.get(kind, "RGB")
    picture(mode).save(tmp_path / "a", format=kind, **BEST_QUALITY.get(kind, {}))
    return (tmp_path / "a").read_bytes()


KINDS = ["AVIF", "BMP", "DDS", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA"]
KINDS = [kind for kind in [*KINDS, "TIFF", "WEBP"] if kind in Image.SAVE]


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_in_half_is_no_picture(tmp_path, kind):
    content = sample(kind, tmp_path)
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cut: (damaged|not an image|cannot be read)"):
        read_image(tmp_path / "cut", 3, 32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damage_gives_a_picture_or_our_error_in_bounded_memory(tmp_path, kind, monkeypatch):
    content, rng = sample(kind, tmp_path), np.random.default_rng(0)
    path = tmp_path / "b"
    tracemalloc.start()
    for _ in range(150):
        path.write_bytes(damaged(content, rng))
        try:
            pixels = read_image(path, 3, 32)
            assert pixels.shape == (3, 32, 32) and pixels.dtype == np.uint8
        except DataError as error:
            message = str(error)
            assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < len(str(path)) + 400
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_the_profile_of_a_lab_picture_is_the_formula(tmp_path):
    """The formula of the sweep agrees with the profiles of Little CMS on a whole ramp."""
    lab = Image.merge("LAB", [Image.new("L", (32, 32), value) for value in (150, 120, 140)])
    lab.save(tmp_path / "a.tif")
    rgb = ImageCms.profileToProfile(
        lab, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 3, 32), np.asarray(rgb))
    np.testing.assert_allclose(read(tmp_path / "a.tif", 3, 32)[0, 0], from_lab(150, 120, 140), atol=1.5)
