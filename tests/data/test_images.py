"""Image folders, augmentation, synthetic faces, and where the Simpsons come from."""

import http.server
import io
import os
import shutil
import struct
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tensorgrad.data import Augmentation, DataError, draw_faces, load_image_folders, load_simpsons, read_image
from tensorgrad.data import augment as augment_module
from tensorgrad.data import folders as folders_module
from tensorgrad.data import simpsons as simpsons_module
from tests.support import damaged, examples, make_folders


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tensorgrad"


@pytest.mark.parametrize("channels, shape", [(1, (1, 28, 28)), (3, (3, 28, 28))])
def test_folders_become_a_dataset(tmp_path, channels, shape):
    dataset = load_image_folders(make_folders(tmp_path / "data"), channels)
    assert dataset.classes == ("a", "b") and dataset.image_shape == shape
    np.testing.assert_array_equal(dataset.train_labels, [0, 0, 0, 1, 1, 1])


def test_the_second_start_reads_the_cache_and_a_changed_file_is_noticed(tmp_path, monkeypatch, cache):
    data = make_folders(tmp_path / "data")
    first = load_image_folders(data, 3)
    decoded = []
    monkeypatch.setattr(folders_module, "read_image", lambda *a: decoded.append(a) or np.zeros((3, 28, 28), np.uint8))
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
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1, 28), np.full((1, 28, 28), 77))


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
    assert (read_image(tmp_path / "red.png", 3, 28).transpose(1, 2, 0) == (255, 0, 0)).all()
    assert (read_image(tmp_path / "palette.png", 3, 28).transpose(1, 2, 0) == (10, 200, 30)).all()
    assert (read_image(tmp_path / "gray.png", 1, 28) == 255).all()
    assert (read_image(tmp_path / "seethrough.gif", 1, 28) == 255).all()


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("RGB", (28, 28))
    image.paste((255, 255, 255), (0, 0, 28, 14))  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    pixels = read_image(tmp_path / "a.jpg", 1, 28)[0]
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


# Every shape that a folder can have


def put(path, colour=(10, 20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(path, format="PNG")


def loaded(data, **settings):
    """The dataset and what was said."""
    said = []
    return load_image_folders(data, 3, 4, say=said.append, **settings), said


def test_images_in_folders_within_a_class_belong_to_it(tmp_path):
    data = make_folders(tmp_path / "data", count=1)
    put(data / "train" / "a" / "2024" / "may" / "X.PNG", (200, 0, 0))
    put(data / "train" / "a" / "upper.JPEG", (0, 200, 0))
    put(data / "train" / "a" / "no suffix", (0, 0, 200))
    dataset, said = loaded(data)
    assert dataset.train_labels.tolist() == [0, 0, 0, 0, 1] and not said
    assert {tuple(image[:, 0, 0]) for image in dataset.train_images} >= {(200, 0, 0), (0, 200, 0), (0, 0, 200)}


def test_what_file_managers_leave_behind_is_no_class_and_no_image(tmp_path):
    data = make_folders(tmp_path / "data")
    expected = loaded(data)[0]
    for part in ("train", "test"):
        (data / part / ".DS_Store").write_bytes(b"x")
        for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
            put(data / part / name / "1.png")
            put(data / part / "a" / name / "1.png")
        (data / part / "a" / "._0.png").write_bytes(b"x")
    dataset, said = loaded(data)
    assert dataset.classes == ("a", "b") and not said
    np.testing.assert_array_equal(dataset.train_images, expected.train_images)
    (data / "train" / "a" / "Thumbs.db").write_bytes(b"x")
    (data / "train" / "a" / "notes (old): 1.txt").write_text("x")
    dataset, said = loaded(data)
    assert len(said) == 1 and said[0].startswith("skipped 2 file(s): 2 not an image that can be read; the first: ")
    np.testing.assert_array_equal(dataset.train_images, expected.train_images)


def test_links_are_followed_once(tmp_path):
    data = make_folders(tmp_path / "data")
    before = len(loaded(data)[0].train_images)
    (data / "train" / "a" / "self").symlink_to(data / "train" / "a")
    (data / "train" / "a" / "circle").symlink_to(data / "train" / "a" / "circle")
    (data / "train" / "a" / "nothing.png").symlink_to(tmp_path / "nothing.png")
    (data / "train" / "b" / "more").symlink_to(tmp_path / "more")
    put(tmp_path / "more" / "x.png")
    (tmp_path / "more" / "back").symlink_to(data / "train" / "b")
    for depth in range(20):  # two links each: a million ways to the last
        inner = tmp_path / "deep" / str(depth)
        inner.mkdir(parents=True)
        for name in "xy":
            (inner / name).symlink_to(tmp_path / "deep" / str(depth + 1))
    put(tmp_path / "deep" / "20" / "z.png")
    (data / "train" / "b" / "deep").symlink_to(tmp_path / "deep" / "0")
    dataset, said = loaded(data)
    assert len(dataset.train_images) == before + 2
    assert len(said) == 1 and said[0].startswith("skipped 2 file(s): 1 cannot be read, 1 no such file; the first: ")


def test_a_class_that_is_a_link_is_a_class(tmp_path):
    data = make_folders(tmp_path / "data")
    (data / "train" / "b").rename(tmp_path / "elsewhere")
    (data / "train" / "b").symlink_to(tmp_path / "elsewhere")
    assert loaded(data)[0].train_labels.tolist() == [0] * 3 + [1] * 3


def test_files_outside_of_the_class_folders_are_named(tmp_path):
    data = make_folders(tmp_path / "data")
    put(data / "train" / "lost.png")
    said = loaded(data)[1]
    assert said == [f"{data}/train: 1 file(s) outside of the class folders are left out; the first: lost.png"]
    flat = tmp_path / "flat"
    for part in ("train", "test"):
        for i in range(3):
            put(flat / part / f"{i}.png")
    with pytest.raises(
        DataError,
        match=r"0 class folders and 3 file\(s\) outside of them; expected at least two folders, one per class",
    ):
        loaded(flat)


def test_classes_without_images_are_named(tmp_path):
    data = make_folders(tmp_path / "data", classes=("a", "b", "c"))
    for path in (data / "train" / "b").iterdir():
        path.unlink()
    for _ in range(2):  # decoded, then from the cache
        dataset, said = loaded(data)
        assert said == [f"{data}/train: no image of the class b"] and set(dataset.train_labels) == {0, 2}


def test_names_that_differ_in_the_form_of_unicode_are_one_class(tmp_path):
    data = make_folders(tmp_path / "data")
    put(data / "train" / "caf\u00e9" / "1.png", (1, 1, 1))
    put(data / "train" / "cafe\u0301" / "2.png", (2, 2, 2))
    put(data / "test" / "cafe\u0301" / "1.png")
    dataset, said = loaded(data)
    assert dataset.classes == ("a", "b", "caf\u00e9") and not said
    assert sorted(dataset.train_images[dataset.train_labels == 2][:, 0, 0, 0]) == [1, 2]


def test_names_that_differ_in_case_are_refused_between_train_and_test(tmp_path):
    data = make_folders(tmp_path / "data")
    (data / "test" / "a").rename(data / "test" / "A")
    with pytest.raises(DataError, match=r"differ in the classes A, a; each .* with capital letters in the same places"):
        loaded(data)
    (data / "train" / "a").rename(data / "train" / "A")
    assert loaded(data)[0].classes == ("A", "b")


def test_names_that_are_not_utf_8_or_hold_control_characters_can_be_printed(tmp_path):
    data = make_folders(tmp_path / "d\udce9ta")
    for part in ("train", "test"):
        put(data / part / "caf\udce9" / "1.png")
        put(data / part / "red\x1b[31m" / "1.png")
    (data / "train" / "caf\udce9" / "b\udce9d\n.png").write_text("x")
    dataset, said = loaded(data)
    assert dataset.classes == ("a", "b", "caf\\xe9", "red\\x1b[31m")
    for text in (*said, *dataset.classes, dataset.name):
        assert text.isprintable() and text.encode()
    assert "b\\xe9d\\x0a.png: not an image" in said[0]
    assert len(loaded(data)[0].train_images) == len(dataset.train_images)


def test_train_and_test_may_be_missing_in_every_way(tmp_path):
    data = make_folders(tmp_path / "data")
    file = tmp_path / "file"
    file.write_text("x")
    for path, message in [
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (file, "file: is a file, not a folder; pass the folder that holds train and test"),
        (data / "train", "has no folder train; expected train/CLASS"),
        (tmp_path, f"has no folder train; pass {data}"),
    ]:
        with pytest.raises(DataError, match=message):
            loaded(path)
    assert loaded(data)[0].classes == ("a", "b")
    shutil.rmtree(data / "test")
    (data / "test").write_text("x")
    with pytest.raises(DataError, match="has no folder test"):
        loaded(data)


def test_folders_and_files_that_may_not_be_read_are_named(tmp_path, monkeypatch):
    data = make_folders(tmp_path / "data")
    real_list, real_open, locked = os.listdir, Image.open, {data / "train" / "a"}

    def refuse(real):
        def call(path, *args, **settings):
            if path in locked:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path, *args, **settings)

        return call

    monkeypatch.setattr(os, "listdir", refuse(real_list))
    monkeypatch.setattr(Image, "open", refuse(real_open))
    with pytest.raises(DataError, match=r"train/a: cannot be read \(Permission denied\); allow it or remove it"):
        loaded(data)
    locked.clear()
    locked.add(data / "train" / "a" / "1.png")
    dataset, said = loaded(data)
    assert len(dataset.train_images) == 5 and "1 cannot be read; the first: " in said[0]
    locked.clear()
    assert len(loaded(data)[0].train_images) == 6  # what could not be read once is tried again


def test_one_class_or_none_is_refused_with_its_files(tmp_path):
    data = make_folders(tmp_path / "data", classes=("a",))
    with pytest.raises(DataError, match="1 class folders; expected at least two folders, one per class"):
        loaded(data)


@pytest.mark.parametrize("channels, size", [(0, 4), (1, 0), (3, -1), (1.5, 4), (1, (4, 4, 4)), (3, (4, 0))])
def test_impossible_shapes_are_not_blamed_on_the_files(tmp_path, channels, size):
    with pytest.raises(ValueError, match=r"load_image_folders: (channels|size) must be"):
        load_image_folders(make_folders(tmp_path / "data"), channels, size)


def test_images_that_do_not_fit_into_memory_are_refused(tmp_path):
    with pytest.raises(
        DataError, match=r"3 images of 10000000x10000000 pixels do not fit|6 images of 10000000x10000000"
    ):
        load_image_folders(make_folders(tmp_path / "data"), 1, 10_000_000)


# The cache


def test_files_that_are_no_images_are_decoded_once_and_named_each_time(tmp_path, monkeypatch):
    data = make_folders(tmp_path / "data")
    (data / "train" / "a" / "Thumbs.db").write_bytes(b"x")
    first = loaded(data)
    calls = []
    monkeypatch.setattr(folders_module, "read_image", lambda *a: calls.append(a))
    second = loaded(data)
    assert not calls and second[1] == first[1] != []
    with pytest.raises(DataError, match=r"Thumbs.db: not an image .* without --strict it is skipped"):
        loaded(data, strict=True)


def other_cache(good, rng):
    """Files that are no cache of this folder, by what is wrong with them."""
    shape = good["train_images"].shape
    changes = {
        "another name": {"images": good["train_images"]},
        "more": {"more": np.ones(3)},
        "other shape": {"train_images": np.zeros((*shape[:-1], 1), np.uint8)},
        "other count": {"train_images": good["train_images"][1:]},
        "other dtype": {"train_images": good["train_images"].astype(np.float32)},
        "labels of floats": {"train_labels": good["train_labels"].astype(float)},
        "labels of two dimensions": {"train_labels": good["train_labels"][:, None]},
        "no skipped": {"skipped": None},
        "skipped of numbers": {"skipped": np.ones(3)},
    }
    for kind, change in changes.items():
        buffer = io.BytesIO()
        np.savez(buffer, **{name: array for name, array in {**good, **change}.items() if array is not None})
        yield kind, buffer.getvalue()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**good, "train_images": np.zeros((10**8, *shape[1:]), np.uint8)[: 10**6]})
    yield "bomb", buffer.getvalue()
    yield "object", pickled(good)
    yield "text", b"hello"
    yield "empty", b""


def pickled(good):
    buffer = io.BytesIO()
    np.savez(buffer, **{**good, "skipped": np.array([{}], object)})
    return buffer.getvalue()


@pytest.mark.slow
def test_a_cache_of_other_code_or_damaged_is_decoded_again(tmp_path, cache):
    data = make_folders(tmp_path / "data")
    expected, _ = loaded(data)
    (path,) = cache.iterdir()
    whole = path.read_bytes()
    with np.load(path) as stored:
        good = dict(stored)
    rng = np.random.default_rng(0)
    for kind, content in [*other_cache(good, rng), *((f"damage {i}", damaged(whole, rng)) for i in range(300))]:
        path.write_bytes(content)
        dataset, said = loaded(data)
        assert not said, kind
        np.testing.assert_array_equal(dataset.train_images, expected.train_images, err_msg=kind)
        np.testing.assert_array_equal(dataset.test_labels, expected.test_labels, err_msg=kind)


def test_a_cache_that_is_a_folder_or_a_pipe_does_not_matter(tmp_path, cache):
    data = make_folders(tmp_path / "data")
    expected, _ = loaded(data)
    (path,) = cache.iterdir()
    path.unlink()
    path.mkdir()
    np.testing.assert_array_equal(loaded(data)[0].train_images, expected.train_images)
    path.rmdir()
    os.mkfifo(path)
    np.testing.assert_array_equal(loaded(data)[0].train_images, expected.train_images)


def test_without_a_home_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(folders_module.Path, "home", homeless)
    assert len(loaded(make_folders(tmp_path / "data"))[0].train_images) == 6


def test_two_at_a_time_read_and_write_the_cache_whole(tmp_path):
    data = make_folders(tmp_path / "data", count=20)
    found, errors = [], []

    def load():
        try:
            found.append(loaded(data)[0].train_images)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(found) == 6
    for images in found:
        np.testing.assert_array_equal(images, found[0])


# Augmentation


def pictures(channels=1, count=16):
    return np.random.default_rng(0).integers(0, 256, (count, channels, 28, 28)).astype(np.uint8)


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


@pytest.mark.parametrize("channels", [1, 3])
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "contrast" not in kind])
def test_all_channels_are_changed_alike(kind):
    images, augment = pictures(3), Augmentation(**kind)
    alone = [augment(images[:, i : i + 1], np.random.default_rng(3)) for i in range(3)]
    np.testing.assert_array_equal(augment(images, np.random.default_rng(3)), np.concatenate(alone, axis=1))


def test_no_augmentation_is_the_identity():
    np.testing.assert_array_equal(Augmentation()(pictures(), np.random.default_rng(0)), pictures())


def test_flip_mirrors_whole_images():
    images = pictures(3, 50)
    changed = Augmentation(flip=True)(images, np.random.default_rng(0))
    kinds = [np.array_equal(c, i[:, :, ::-1]) - np.array_equal(c, i) for c, i in zip(changed, images)]
    assert set(kinds) == {-1, 1}


def test_both_ways_of_shifting_agree():
    """A rotation of nothing goes through interpolation, which for whole pixels must give what the gather gives."""
    images = pictures(3)

    class Whole(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            if size == (2, len(images)):
                return np.stack([np.full(len(images), 2.0), np.full(len(images), -1.0)])
            return super().uniform(low, high, size)

    tiny = Augmentation(shift=2, rotation=1e-9)(images, Whole(np.random.PCG64(0)))
    rows, columns = np.clip(np.arange(28) - 2, 0, 27), np.clip(np.arange(28) + 1, 0, 27)
    np.testing.assert_allclose(tiny, images[:, :, rows][:, :, :, columns], atol=1e-2)


def test_rotation_turns_about_the_centre():
    image = np.zeros((1, 1, 29, 29), np.uint8)
    image[0, 0, 4, 14] = 255

    class Quarter(np.random.Generator):
        def uniform(self, low=0.0, high=1.0, size=None):
            return np.full(size, 90.0 if high == 90 else (low + high) / 2)

    turned = Augmentation(rotation=90)(image, Quarter(np.random.PCG64(0)))[0, 0]
    assert np.unravel_index(turned.argmax(), turned.shape) in ((14, 24), (14, 4)) and turned.max() > 250


def test_cutout_fills_with_the_mean():
    images = np.zeros((8, 1, 28, 28), np.uint8)
    images[:, :, :14] = 200
    changed = Augmentation(cutout=10)(images, np.random.default_rng(0))
    assert ((changed == 100).sum(axis=(1, 2, 3)) > 0).all() and ((changed == 100).sum(axis=(1, 2, 3)) <= 100).all()


SIDES = st.integers(0, 9)
SETTINGS = st.fixed_dictionaries(
    {
        "flip": st.booleans(),
        "shift": st.sampled_from([0, 1, 2.5, 30]),
        "rotation": st.sampled_from([0, 15.0, 360]),
        "zoom": st.sampled_from([0, 0.3, 0.99]),
        "brightness": st.sampled_from([0, 0.2, 1]),
        "contrast": st.sampled_from([0, 0.5, 1.0]),
        "cutout": st.sampled_from([0, 1, 4, 100]),
    }
)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.tuples(SIDES, st.integers(0, 4), SIDES, SIDES),
    st.sampled_from(["u1", "f2", "f4", ">f4", "f8", "i8", "?"]),
    SETTINGS,
    st.integers(0, 5),
)
def test_augmentation_of_any_images(shape, dtype, changes, seed):
    """Seeded, float32 within 0..255, the images as they were, and each by itself: its mean gray tells which it is."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, shape).astype(dtype)
    images.flags.writeable = False
    before = images.copy()
    augment = Augmentation(**changes)
    one, same = (augment(images, np.random.default_rng(seed)) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(images, before)
    assert one.shape == shape and one.dtype == np.float32 and not np.shares_memory(one, images)
    assert np.isfinite(one).all() and (one >= 0).all() and (one <= 255).all()
    flat = np.broadcast_to((np.arange(shape[0]) * 20.0).reshape(-1, *[1] * (len(shape) - 1)), shape)
    kept = Augmentation(**{**changes, "brightness": 0})(flat.copy(), np.random.default_rng(seed))
    np.testing.assert_allclose(kept, flat, atol=1e-3)  # each image stays at its place, beside its label


def test_augmentation_goes_on_from_epoch_to_epoch():
    images, rng = pictures(count=2), np.random.default_rng(0)
    augment = Augmentation(flip=True, shift=2, rotation=5)
    epochs = [augment(images, rng) for _ in range(5)]
    assert len({epoch.tobytes() for epoch in epochs}) == 5


def test_batches_of_more_than_two_thousand_million_pixels_are_sampled_from_their_own_images():
    """Only the last pixel of each image is touched, so that the system never provides the rest."""
    images = np.zeros((3, 1, 27_000, 27_000), np.uint8)
    images[:, 0, -1, -1] = [10, 20, 30]
    corner = np.full((3, 1, 1), 26_999, np.float32)
    assert augment_module._sampled(images, corner, corner).ravel().tolist() == [10, 20, 30]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"zoom": 1}, "zoom must not be negative and must be below 1, got 1"),
        ({"zoom": -0.1}, "zoom must not be negative .*, got -0.1"),
        ({"shift": -1}, "shift must not be negative and must be finite, got -1"),
        ({"shift": float("nan")}, "shift .* got nan"),
        ({"rotation": float("inf")}, "rotation .* must be finite, got inf"),
        ({"brightness": 1.5}, "brightness .* at most 1, got 1.5"),
        ({"contrast": -2}, "contrast must not be negative"),
        ({"cutout": -3}, "cutout must not be negative"),
        ({"cutout": 2.5}, "cutout must be a whole number of pixels, got 2.5"),
        ({"flip": 2}, "flip .* at most 1"),
    ],
)
def test_changes_that_cannot_be_are_refused_when_made(changes, message):
    with pytest.raises(ValueError, match=f"Augmentation: {message}"):
        Augmentation(**changes)


def test_what_is_no_batch_of_images_is_refused_with_the_remedy():
    augment, rng, image = Augmentation(flip=True), np.random.default_rng(0), np.zeros((8, 8))
    with pytest.raises(ValueError, match=r"got \(8, 8\); of one gray image take image\[None, None\]"):
        augment(image, rng)
    assert augment(image[None, None], rng).shape == (1, 1, 8, 8)
    images = np.stack([image, image])
    with pytest.raises(
        ValueError, match=r"got \(2, 8, 8\); of gray images take images\[:, None\], of one .* image\[None\]"
    ):
        augment(images, rng)
    assert augment(images[:, None], rng).shape == (2, 1, 8, 8)
    last = np.zeros((2, 8, 8, 3))
    with pytest.raises(
        ValueError, match=r"got \(2, 8, 8, 3\); for channels that come last take np.moveaxis\(images, -1, 1\)"
    ):
        augment(last, rng)
    assert augment(np.moveaxis(last, -1, 1), rng).shape == (2, 3, 8, 8)
    with pytest.raises(TypeError, match=r"takes an array of images, got list; np.stack"):
        augment([image[None], image[None]], rng)
    assert augment(np.stack([image[None], image[None]]), rng).shape == (2, 1, 8, 8)
    with pytest.raises(TypeError, match=r"such as np.random.default_rng\(0\), got 0"):
        augment(image[None, None], 0)


# Faces and the published archive


@pytest.mark.parametrize("channels, shape", [(1, (1, 28, 28)), (3, (3, 28, 28))])
def test_drawn_faces(channels, shape):
    one, other = draw_faces(channels, per_class=8), draw_faces(channels, per_class=8)
    assert one.image_shape == shape and len(one.classes) == 10 and len(one.train_labels) == 60
    np.testing.assert_array_equal(one.train_images, other.train_images)
    assert "MADE" in one.name


@pytest.mark.slow
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


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 1, 1, 5), (3, 3, 5, 1)])
def test_images_of_one_pixel_across(shape):
    images = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    changed = Augmentation(flip=True, shift=0.5, rotation=10, zoom=0.1)(images, np.random.default_rng(0))
    assert changed.shape == shape and images.min() <= changed.min() and changed.max() <= images.max() + 1e-3


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function that publishes bytes as the archive, and loads from there."""
    pytest.importorskip("pooch")
    server = serve(tmp_path)
    monkeypatch.setattr(simpsons_module, "URL", f"http://127.0.0.1:{server.server_port}/published.zip")

    def load(content):
        (tmp_path / "published.zip").write_bytes(content)
        said = []
        return load_simpsons(None, 3, say=said.append), said

    yield load
    server.shutdown()
    server.server_close()


def archive_of(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_archive_with_names_that_lead_out_of_the_folder_writes_nothing_there(
    tmp_path, published, cache, monkeypatch
):
    inside = files_of(make_folders(tmp_path / "made"))
    members = {f"x/rgb/{name}": content for name, content in inside.items()}
    outside = {"../../../up.txt": b"x", "/root.txt": b"x", "x/../../../../up2.txt": b"x", "..\\..\\up3.txt": b"x"}
    monkeypatch.setitem(simpsons_module.CONTENT, 3, simpsons_module.content_digest(tmp_path / "made"))
    before = set(files_of(tmp_path)) | {"published.zip"}
    dataset, _ = published(archive_of({**members, **outside}))
    assert len(dataset.train_images) == 6
    added = set(files_of(tmp_path)) - before
    assert added and all(name.startswith("cache/tensorgrad/") for name in added)
    assert not any("up" in name or "root.txt" in name for name in added)
    assert {path.name for path in cache.iterdir() if path.is_dir()} == {f"simpsons-{simpsons_module.COMMIT[:8]}"}


@pytest.mark.slow
def test_a_damaged_archive_leaves_nothing_behind_and_is_fetched_again(tmp_path, published, cache, monkeypatch):
    made = make_folders(tmp_path / "made")
    good = archive_of({f"x/rgb/{name}": content for name, content in files_of(made).items()})
    monkeypatch.setitem(simpsons_module.CONTENT, 3, simpsons_module.content_digest(made))
    rng = np.random.default_rng(0)
    for content in [b"", b"hello", good[:-100], good[: len(good) // 2]]:
        dataset, said = published(content)
        assert "MADE" in dataset.name and "The download failed (BadZipFile" in said[-1] and "--data-dir" in said[-1]
        assert not files_of(cache)
    for _ in range(12):
        try:
            dataset, said = published(damaged(good, rng))
            assert "MADE" in dataset.name or len(dataset.train_images) == 6
        except DataError as error:
            assert "not the images that were published" in str(error)
        for path in cache.rglob("rgb"):
            shutil.rmtree(path)
        assert not [name for name in files_of(cache) if "simpsons" in name]
    assert len(published(good)[0].train_images) == 6


def test_a_bomb_is_not_unpacked(tmp_path, published, cache, monkeypatch):
    monkeypatch.setattr(simpsons_module, "LARGEST_CONTENT", 10**6)
    with pytest.raises(DataError, match="larger than the images that were published; pass --data-dir"):
        published(archive_of({"x/rgb/train/a/1.png": bytes(10**7)}, zipfile.ZIP_DEFLATED))
    assert not files_of(cache)


def test_one_archive_serves_both_networks(tmp_path, published, monkeypatch):
    made = make_folders(tmp_path / "made")
    members = {f"x/{kind}/{name}": data for kind in ("rgb", "grayscale") for name, data in files_of(made).items()}
    for number in (1, 3):
        monkeypatch.setitem(simpsons_module.CONTENT, number, simpsons_module.content_digest(made))
    published(archive_of(members))
    monkeypatch.setattr(simpsons_module, "URL", "http://127.0.0.1:9/refused")
    assert load_simpsons(None, 1, say=lambda line: None).train_images.shape == (6, 1, 28, 28)


@pytest.mark.slow
def test_a_cache_folder_that_cannot_be_made_does_not_matter(tmp_path, published, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    dataset, said = published(b"hello")
    assert "MADE" in dataset.name and "The download failed (NotADirectoryError" in said[-1]
