"""Folders of classes of images of any size and any number of channels."""

import numpy as np
import pytest
from PIL import Image

from tensorgrad.data import DataError, ImageFolder, load_image_folders, read_image
from tensorgrad.data.images import shape_of


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def folder_of(root, count=5, sizes=((30, 40),), mode="RGB", classes=("a", "b")):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*sizes[i % len(sizes)], 3)).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")
    return root


# Sizes


def striped(path, height, width):
    """Red on the left, green in the middle half, blue on the right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 4, 0] = pixels[:, width // 4 : -(width // 4), 1] = pixels[:, -(width // 4) :, 2] = 255
    Image.fromarray(pixels).save(path)
    return path


def test_an_image_of_other_proportions_is_stretched_cropped_or_padded(tmp_path):
    path = striped(tmp_path / "a.png", 20, 40)
    stretched, cropped, padded = (read_image(path, 3, 20, how) for how in ("stretch", "crop", "pad"))
    for image in (stretched, cropped, padded):
        assert image.shape == (3, 20, 20)
    assert stretched[0, :, 0].min() == stretched[2, :, -1].min() == 255 and stretched[1, :, 10].min() == 255
    assert (cropped[1] == 255).all() and not cropped[[0, 2]].any()
    assert not padded[:, :4].any() and not padded[:, -4:].any() and padded[0, 8:12, 0].min() > 200
    np.testing.assert_array_equal(read_image(path, 3, (20, 40), "crop"), read_image(path, 3, (20, 40)))
    assert read_image(path, 1, (7, 5)).shape == (1, 7, 5)
    with pytest.raises(ValueError, match="read_image: resize must be one of stretch, crop, pad, got 'squash'"):
        read_image(path, 3, 20, "squash")


def test_the_size_is_that_of_the_first_image_unless_chosen(tmp_path):
    root = folder_of(tmp_path / "data", sizes=((30, 40), (9, 200)))
    assert ImageFolder(root).image_shape == (3, 30, 40)
    assert load_image_folders(root, size=None, test=0.2).image_shape == (3, 30, 40)
    assert ImageFolder(root, size=(8, 12)).image_shape == (3, 8, 12)
    large = folder_of(tmp_path / "large", sizes=((300, 50),))
    assert ImageFolder(large).image_shape == (3, 64, 50)


def test_an_image_that_lies_on_its_side_has_the_size_that_it_is_shown_in(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
    assert shape_of(tmp_path / "a.jpg") == (1, 40, 20)


# Channels


@pytest.mark.parametrize(
    "mode, channels", [("L", 1), ("LA", 1), ("1", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("I;16", 1)]
)
def test_the_channels_are_those_of_the_images_unless_chosen(tmp_path, mode, channels):
    if mode == "I;16":
        for name in "ab":
            (tmp_path / name).mkdir()
            Image.fromarray(np.full((9, 9), 500, np.uint16)).save(tmp_path / name / "1.png")
    else:
        folder_of(tmp_path, mode=mode)
    assert ImageFolder(tmp_path).image_shape[0] == channels
    for chosen in (1, 2, 3, 4):
        image, _ = ImageFolder(tmp_path, channels=chosen, size=6)[0]
        assert image.shape == (chosen, 6, 6)


def test_one_image_in_colour_among_the_first_of_a_class_is_enough(tmp_path):
    folder_of(tmp_path, mode="L")
    Image.new("RGB", (30, 40), (200, 0, 0)).save(tmp_path / "b" / "1.png")
    assert ImageFolder(tmp_path).image_shape[0] == 3


def test_opacity_is_a_channel_where_it_is_asked_for(tmp_path):
    Image.new("RGBA", (8, 8), (10, 20, 30, 40)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 4, 8)[:, 0, 0], [10, 20, 30, 40])
    assert read_image(tmp_path / "a.png", 2, 8)[1, 0, 0] == 40
    assert read_image(tmp_path / "a.png", 3, 8).min() > 200  # on white
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff", 4, 8)[:, 0, 0].tolist() == [255, 0, 0, 255]


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
def test_an_array_in_a_file_is_an_image_of_as_many_channels_as_it_has(tmp_path, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, channels)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels if channels > 1 else pixels[..., 0])
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy", channels, (6, 8)), np.moveaxis(pixels, -1, 0))
    assert read_image(tmp_path / "a.npy", channels, 4, "crop").shape == (channels, 4, 4)
    assert shape_of(tmp_path / "a.npy") == (channels, 6, 8)
    with pytest.raises(DataError, match=rf"a.npy: has {channels} channels, not 3; remove it, or ask for as many"):
        read_image(tmp_path / "a.npy", 3, 8)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 4, 3)), r"holds an array of float64 of shape \(4, 4, 3\); save bytes of shape \(height, width"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"of uint8 of shape \(2, 4, 4, 3\); save bytes"),
        (np.zeros((0, 4, 3), np.uint8), r"of shape \(0, 4, 3\)"),
        (np.array([{}]), "damaged or unreadable"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=rf"a\.npy: .*{message}"):
        read_image(tmp_path / "a.npy", 3, 4)
    content = (tmp_path / "a.npy").read_bytes()
    for cut in (b"", content[:20], content[: len(content) // 2]):
        (tmp_path / "a.npy").write_bytes(cut)
        with pytest.raises(DataError, match=r"a\.npy: "):
            read_image(tmp_path / "a.npy", 3, 4)


# Folders


def test_a_folder_gives_the_same_images_one_by_one_and_all_at_once(tmp_path):
    for part in ("train", "test"):
        folder_of(tmp_path / "data" / part, sizes=((30, 40), (9, 20)))
    images = ImageFolder(tmp_path / "data" / "train", 3, 12, resize="pad")
    whole = load_image_folders(tmp_path / "data", 3, 12, resize="pad")
    assert images.classes == whole.classes == ("a", "b") and len(images) == 10
    np.testing.assert_array_equal(images.labels, whole.train_labels)
    for (image, label), expected, number in zip(images, whole.train_images, whole.train_labels):
        np.testing.assert_array_equal(image, expected)
        assert label == number
    again = load_image_folders(tmp_path / "data", 3, 12, resize="crop")
    assert (again.train_images != whole.train_images).any()  # not from the cache of another way


def test_the_images_set_aside_for_testing_are_always_the_same(tmp_path):
    root = folder_of(tmp_path / "data", count=10)
    one, other = (load_image_folders(root, size=9, test=0.3) for _ in range(2))  # decoded, and from the cache
    assert len(one.train_labels) == 14 and np.bincount(one.test_labels).tolist() == [3, 3]
    np.testing.assert_array_equal(one.test_images, other.test_images)
    everything = np.sort(np.concatenate([one.train_images, one.test_images]).reshape(20, -1).sum(axis=1))
    whole = ImageFolder(root, size=9)
    np.testing.assert_array_equal(everything, np.sort([image.sum() for image, _ in whole]))


def test_what_is_no_folder_of_classes_is_refused_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    (tmp_path / "empty" / "b").mkdir()
    folder_of(tmp_path / "parts" / "Training")
    folder_of(tmp_path / "parts" / "validation")
    for call, message in [
        (lambda: ImageFolder(tmp_path / "none"), "none: no such folder; pass one that holds a folder for each class"),
        (lambda: ImageFolder(tmp_path / "file"), "file: is a file, not a folder; pass one"),
        (lambda: ImageFolder(tmp_path / "empty"), "empty: no image in the folders of the classes; put some there"),
        (lambda: load_image_folders(tmp_path / "empty", test=0.2), "no usable image"),
        (
            lambda: load_image_folders(tmp_path / "parts", test=0.2),
            r"but Training, validation; .* pass \S*Training, of",
        ),
        (lambda: load_image_folders(tmp_path / "parts"), "has no folder train; expected train/CLASS"),
    ]:
        with pytest.raises(DataError, match=message):
            call()
    assert len(load_image_folders(tmp_path / "parts" / "Training", test=0.2).train_labels) == 8
    assert len(ImageFolder(tmp_path / "parts" / "validation")) == 10


def test_an_image_that_cannot_be_used_is_named_when_it_is_asked_for(tmp_path):
    folder_of(tmp_path)
    (tmp_path / "a" / "2.png").write_text("no image")
    images = ImageFolder(tmp_path)
    assert images[1][0].shape == (3, 30, 40)
    with pytest.raises(DataError, match=r"a/2.png: not an image that can be read; save it as PNG or JPEG, or remove"):
        images[2]
