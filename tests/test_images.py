"""Image folders, augmentation, drawn faces, and where the Simpsons come from."""

import http.server
import struct
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from tensorgrad.data import Augmentation, DataError, draw_faces, load_image_folders, load_simpsons, read_image
from tensorgrad.data import folders as folders_module
from tensorgrad.data import simpsons as simpsons_module


def make_folders(root, classes=("a", "b"), count=3, size=28):
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in classes:
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i}.png")
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tensorgrad"


@pytest.mark.parametrize("channels, shape", [(1, (28, 28)), (3, (28, 28, 3))])
def test_folders_become_a_dataset(tmp_path, channels, shape):
    dataset = load_image_folders(make_folders(tmp_path / "data"), channels)
    assert dataset.classes == ("a", "b") and dataset.image_shape == shape
    np.testing.assert_array_equal(dataset.train_labels, [0, 0, 0, 1, 1, 1])


def test_the_second_start_reads_the_cache_and_a_changed_file_is_noticed(tmp_path, monkeypatch, cache):
    data = make_folders(tmp_path / "data")
    first = load_image_folders(data, 3)
    decoded = []
    monkeypatch.setattr(folders_module, "read_image", lambda *a: decoded.append(a) or np.zeros((28, 28, 3), np.uint8))
    second = load_image_folders(data, 3)
    assert not decoded
    np.testing.assert_array_equal(first.train_images, second.train_images)
    Image.new("RGB", (28, 28)).save(data / "train" / "a" / "1.png")
    load_image_folders(data, 3)
    assert decoded
    for path in cache.iterdir():
        path.write_bytes(b"damaged")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    np.testing.assert_array_equal(load_image_folders(data, 3).test_images, first.test_images)


def test_a_class_folder_that_appears_empty_is_not_served_from_the_cache(tmp_path):
    data = make_folders(tmp_path / "data", classes=("a", "c"))
    load_image_folders(data, 1)
    for part in ("train", "test"):
        (data / part / "b").mkdir()
    dataset = load_image_folders(data, 1)
    assert dataset.classes == ("a", "b", "c") and set(dataset.train_labels) == {0, 2}


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    data = make_folders(tmp_path / "data")
    assert len(load_image_folders(data, 1, cache=tmp_path / "file" / "inside").train_images) == 6


@pytest.mark.parametrize("size", [(100, 60), (5, 5), (28, 28)])
def test_any_size_is_resized(tmp_path, size):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1, 28), np.full((28, 28), 77))


def test_sixteen_bit_gray_is_scaled(tmp_path):
    Image.fromarray(np.full((28, 28), 128 * 256, np.uint16)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", 1, 28) == 128).all()
    assert (read_image(tmp_path / "a.png", 3, 28) == 128).all()


@pytest.mark.parametrize("value, shown", [(200, 200), (128 * 256, 128)])
def test_wide_gray_holds_eight_or_sixteen_bits(tmp_path, value, shown):
    Image.fromarray(np.full((28, 28), value, np.int32)).save(tmp_path / "a.tiff")
    assert (read_image(tmp_path / "a.tiff", 1, 28) == shown).all()


def test_transparency_is_shown_on_white_and_palettes_are_resolved(tmp_path):
    Image.new("RGBA", (28, 28), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (28, 28), (255, 0, 0, 255)).save(tmp_path / "red.png")
    colours = Image.new("P", (28, 28), 7)
    colours.putpalette([0, 0, 0] * 7 + [10, 200, 30] + [0, 0, 0] * 248)
    colours.save(tmp_path / "palette.png")
    Image.new("LA", (28, 28), (50, 0)).save(tmp_path / "gray.png")
    palette = Image.new("P", (28, 28), 0)
    palette.putpalette([9, 9, 9] * 256)
    palette.save(tmp_path / "seethrough.gif", transparency=0)
    assert (read_image(tmp_path / "clear.png", 3, 28) == 255).all()
    assert (read_image(tmp_path / "red.png", 3, 28) == (255, 0, 0)).all()
    assert (read_image(tmp_path / "palette.png", 3, 28) == (10, 200, 30)).all()
    assert (read_image(tmp_path / "gray.png", 1, 28) == 255).all()
    assert (read_image(tmp_path / "seethrough.gif", 1, 28) == 255).all()


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (28, 28))
    image.paste((255, 255, 255), (0, 0, 28, 14))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "a.jpg", 1, 28)
    assert pixels[:, 20:].mean() > 200 and pixels[:, :8].mean() < 50


def bomb(path, width=30_000, height=30_000):
    """A small PNG that says it is huge."""
    Image.new("L", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", width, height)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)


def spoil(folder):
    """One file of every unusable kind; returns their number."""
    Image.effect_noise((200, 200), 50).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:3000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    bomb(folder / "bomb.png")
    return 4


def test_unusable_files_are_skipped_and_counted(tmp_path):
    data = make_folders(tmp_path / "data")
    count = spoil(data / "train" / "a")
    said = []
    dataset = load_image_folders(data, 1, say=said.append)
    assert len(dataset.train_images) == 6
    assert len(said) == 2 and said[1].startswith(f"skipped {count} file(s): ") and "the first: " in said[1]


@pytest.mark.parametrize(
    "name, reason", [("cut.jpg", "damaged"), ("empty.png", "empty"), ("text.png", "not an image"), ("bomb.png", "900")]
)
def test_strict_names_the_file_and_the_reason(tmp_path, name, reason):
    data = make_folders(tmp_path / "data")
    spoil(tmp_path)
    (tmp_path / name).rename(data / "test" / "b" / name)
    with pytest.raises(DataError) as caught:
        load_image_folders(data, 1, strict=True)
    assert name in str(caught.value) and reason in str(caught.value)


def test_folders_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(DataError, match="has no folder train; expected train/CLASS"):
        load_image_folders(tmp_path, 1)
    data = make_folders(tmp_path / "data")
    (data / "train" / "c").mkdir()
    with pytest.raises(DataError, match="train and test differ in the classes c"):
        load_image_folders(data, 1)
    only = make_folders(tmp_path / "one", classes=("a",))
    with pytest.raises(DataError, match="1 class folders"):
        load_image_folders(only, 1)
    empty = make_folders(tmp_path / "empty", count=0)
    with pytest.raises(DataError, match="no usable image"):
        load_image_folders(empty, 1)


# Augmentation


def pictures(channels=(), count=16):
    return np.random.default_rng(0).integers(0, 256, (count, 28, 28, *channels)).astype(np.uint8)


KINDS = [
    {"flip": True},
    {"shift": 3},
    {"shift": 1.5},
    {"rotation": 20},
    {"zoom": 0.2},
    {"brightness": 0.3},
    {"contrast": 0.3},
    {"cutout": 8},
    {"flip": True, "shift": 2, "rotation": 10, "zoom": 0.1, "brightness": 0.2, "contrast": 0.2, "cutout": 6},
]


@pytest.mark.parametrize("channels", [(), (3,)])
@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_is_seeded_changes_copies_and_stays_in_range(kind, channels):
    images = pictures(channels)
    before = images.copy()
    augment = Augmentation(**kind)
    one, other = (augment(images, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(images, before)
    assert one.dtype == np.float32 and one.shape == images.shape and one.min() >= 0 and one.max() <= 255
    assert not np.array_equal(one, augment(images, np.random.default_rng(4)))
    assert not np.array_equal(one, images)


def test_no_augmentation_is_the_identity():
    np.testing.assert_array_equal(Augmentation()(pictures(), np.random.default_rng(0)), pictures())


def test_flip_mirrors_whole_images():
    images = pictures((3,), 50)
    changed = Augmentation(flip=True)(images, np.random.default_rng(0))
    kinds = [np.array_equal(c, i[:, ::-1]) - np.array_equal(c, i) for c, i in zip(changed, images)]
    assert set(kinds) == {-1, 1}


def test_both_ways_of_shifting_agree():
    """A rotation of nothing goes through interpolation, which for whole pixels must give what the gather gives."""
    images = pictures((3,))

    class Whole(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            if size == (2, len(images)):
                return np.stack([np.full(len(images), 2.0), np.full(len(images), -1.0)])
            return super().uniform(low, high, size)

    tiny = Augmentation(shift=2, rotation=1e-9)(images, Whole(np.random.PCG64(0)))
    rows, columns = np.clip(np.arange(28) - 2, 0, 27), np.clip(np.arange(28) + 1, 0, 27)
    np.testing.assert_allclose(tiny, images[:, rows][:, :, columns], atol=1e-2)


def test_rotation_turns_about_the_centre():
    image = np.zeros((1, 29, 29), np.uint8)
    image[0, 4, 14] = 255

    class Quarter(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            return np.full(size, 90.0 if high == 90 else (low + high) / 2)

    turned = Augmentation(rotation=90)(image, Quarter(np.random.PCG64(0)))[0]
    assert np.unravel_index(turned.argmax(), turned.shape) in ((14, 24), (14, 4)) and turned.max() > 250


def test_cutout_fills_with_the_mean():
    images = np.zeros((8, 28, 28), np.uint8)
    images[:, :14] = 200
    changed = Augmentation(cutout=10)(images, np.random.default_rng(0))
    assert ((changed == 100).sum(axis=(1, 2)) > 0).all() and ((changed == 100).sum(axis=(1, 2)) <= 100).all()


# Faces and the published archive


@pytest.mark.parametrize("channels, shape", [(1, (28, 28)), (3, (28, 28, 3))])
def test_drawn_faces(channels, shape):
    one, other = draw_faces(channels, per_class=8), draw_faces(channels, per_class=8)
    assert one.image_shape == shape and len(one.classes) == 10 and len(one.train_labels) == 60
    np.testing.assert_array_equal(one.train_images, other.train_images)
    assert "MADE" in one.name


def test_faces_are_used_loudly_without_network(monkeypatch):
    monkeypatch.setattr(simpsons_module, "URL", "http://127.0.0.1:9/refused")
    said = []
    assert "MADE" in load_simpsons(None, 1, say=said.append).name
    assert len(said) == 1 and "--data-dir" in said[0]


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_the_published_archive_is_fetched_checked_and_cached(tmp_path, monkeypatch, cache):
    pytest.importorskip("pooch")
    made = make_folders(tmp_path / "made")
    with zipfile.ZipFile(tmp_path / "published.zip", "w") as archive:
        for path in made.rglob("*.png"):
            archive.write(path, f"simpsons-mnist-x/dataset/rgb/{path.relative_to(made)}")
    server = serve(tmp_path)
    monkeypatch.setattr(simpsons_module, "URL", f"http://127.0.0.1:{server.server_port}/published.zip")
    with pytest.raises(DataError, match="not the images that were published"):
        load_simpsons(None, 3, say=lambda line: None)
    monkeypatch.setitem(simpsons_module.CONTENT, 3, simpsons_module.content_digest(made))
    said = []
    dataset = load_simpsons(None, 3, say=said.append)
    server.shutdown()
    server.server_close()
    assert len(dataset.train_images) == 6 and any("Fetching" in line for line in said)
    assert len(load_simpsons(None, 3, say=said.append).train_images) == 6  # from the cache: the server is gone


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 5), (3, 5, 1, 3)])
def test_images_of_one_pixel_across(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    changed = Augmentation(flip=True, shift=0.5, rotation=10, zoom=0.1)(images, np.random.default_rng(0))
    assert changed.shape == shape and images.min() <= changed.min() and changed.max() <= images.max() + 1e-3
