"""One layout of images, (N, C, H, W): from every loader through augmentation to Conv2d, and into the pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from PIL import Image

import models
import tensorgrad as tg
from tensorgrad import report
from tensorgrad.data import (
    Augmentation,
    DataError,
    Dataset,
    Standardisation,
    draw_faces,
    load_image_folders,
    load_mnist,
)
from tensorgrad.data import mnist as mnist_module
from tensorgrad.nn import Conv2d, Dense, Flatten, MaxPool2d, ReLU, Sequential
from tensorgrad.training import evaluate, fit, predict
from tests.support import make_folders, write_mnist

LOADERS = {
    "MNIST files": (1, lambda tmp_path: load_mnist(write_mnist(tmp_path / "mnist"))),
    "bundled digits": (1, lambda tmp_path: mnist_module.bundled_digits()),
    "gray folders": (1, lambda tmp_path: load_image_folders(make_folders(tmp_path / "f"), 1, cache=tmp_path / "c")),
    "RGB folders": (3, lambda tmp_path: load_image_folders(make_folders(tmp_path / "f"), 3, cache=tmp_path / "c")),
    "gray faces": (1, lambda tmp_path: draw_faces(1, per_class=8)),
    "RGB faces": (3, lambda tmp_path: draw_faces(3, per_class=8)),
}


def convolutional(channels, rng):
    return Sequential(Conv2d(channels, 8, 3, rng), ReLU(), MaxPool2d(4), Flatten(), Dense(8 * 6 * 6, 10, rng))


@pytest.mark.parametrize("name", LOADERS)
def test_a_network_of_conv2d_takes_what_every_loader_gives(name, tmp_path):
    channels, load = LOADERS[name]
    dataset, rng = load(tmp_path), np.random.default_rng(0)
    assert dataset.image_shape == (channels, 28, 28) and dataset.shortened(2).image_shape == dataset.image_shape
    train, test = (dataset.train_images, dataset.train_labels), (dataset.test_images, dataset.test_labels)
    standardise = Standardisation.of(dataset.train_images)
    model = convolutional(channels, rng)
    adam, augment = tg.optim.Adam(model.parameters(), lr=1e-3), Augmentation(flip=True, shift=1, rotation=5)
    options = {"prepare": standardise, "augment": augment, "quiet": True}
    history = fit(model, train, test, adam, epochs=1, batch_size=100, rng=rng, **options)
    assert len(history) == 1 and predict(model, dataset.test_images, standardise).shape == (len(test[1]), 10)


def test_a_network_of_conv2d_learns_from_loaded_images():
    faces, rng = draw_faces(channels=3, per_class=40), np.random.default_rng(0)
    train, test = (faces.train_images, faces.train_labels), (faces.test_images, faces.test_labels)
    standardise, model = Standardisation.of(faces.train_images), convolutional(3, rng)
    adam = tg.optim.Adam(model.parameters(), lr=5e-3)
    history = fit(model, train, test, adam, epochs=12, batch_size=25, rng=rng, prepare=standardise, quiet=True)
    assert history[-1].accuracy > 0.85 and evaluate(model, test, standardise)[1] > 0.65


@pytest.mark.parametrize("name", models.__all__)
def test_the_networks_of_the_project_take_images(name):
    rng, channels = np.random.default_rng(0), 3 if name.endswith("rgb") else 1
    network = getattr(models, name)(rng).eval()
    images = rng.standard_normal((2, channels, 28, 28)).astype(np.float32)
    assert network(images).shape == (2, 10)
    if name != "cnn":
        np.testing.assert_array_equal(network(images).numpy(), network(images.reshape(2, -1)).numpy())


@pytest.mark.parametrize("channels", [1, 3])
def test_rows_columns_and_channels_of_a_file_are_where_they_belong(tmp_path, channels):
    pixels = np.zeros((28, 28, 3), np.uint8)
    pixels[2, 5] = 255, 0, 0
    for part in ("train", "test"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / part / name / "1.png")
    images = load_image_folders(tmp_path, channels, cache=tmp_path / "c", say=lambda line: None).train_images
    assert images[0, :, 2, 5].tolist() == ([255, 0, 0] if channels == 3 else [76])
    assert np.count_nonzero(images[0]) == 1


def test_digits_are_those_of_the_file(tmp_path):
    stored = np.random.default_rng(1).integers(0, 256, (40, 28, 28)).astype(np.uint8)
    dataset = load_mnist(write_mnist(tmp_path, **{"train-images-idx3-ubyte": stored}))
    np.testing.assert_array_equal(dataset.train_images[:, 0], stored)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.sampled_from(["u1", "f4", "f8"]), st.integers(0, 9))
def test_standardising_keeps_shapes_and_gives_each_channel_mean_0_and_deviation_1(channels, height, width, dtype, seed):
    images = np.random.default_rng(seed).integers(0, 256, (7, channels, height, width)).astype(dtype)
    standardise = Standardisation.of(images)
    result = standardise(images)
    assert result.shape == images.shape and result.dtype == np.float32 and result.flags.c_contiguous
    np.testing.assert_allclose(result.mean(axis=(0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(result.std(axis=(0, 2, 3)), 1, atol=1e-3)
    np.testing.assert_allclose(standardise.mean, images.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(standardise.deviation, images.std(axis=(0, 2, 3), dtype=float), rtol=1e-6, atol=1e-3)
    for channel in range(channels):  # each by itself
        alone = images[:, channel : channel + 1]
        np.testing.assert_array_equal(Standardisation.of(alone)(alone)[:, 0], result[:, channel])


def test_a_channel_of_one_colour_becomes_0():
    images = np.full((3, 2, 4, 4), 77, np.uint8)
    assert not Standardisation.of(images)(images).any()


# Every remedy is tried


def dataset_of(images):
    labels = np.arange(len(images)) % 2
    return Dataset("toy", ("a", "b"), images, labels, images, labels)


@pytest.mark.parametrize(
    "takes",
    [
        dataset_of,
        Standardisation.of,
        Standardisation((0.0,), (1.0,)),
        lambda images: Augmentation(shift=1)(images, np.random.default_rng(0)),
    ],
)
def test_another_layout_is_refused_with_a_remedy_that_works(takes):
    gray = np.zeros((4, 28, 28), np.uint8)
    with pytest.raises(ValueError, match=r"got \(4, 28, 28\); of gray images take images\[:, None\]"):
        takes(gray)
    takes(gray[:, None])
    with pytest.raises(ValueError, match=r"got \(28, 28\); of one gray image take image\[None, None\]"):
        takes(gray[0])
    takes(gray[:1][None])
    last = gray[..., None]
    with pytest.raises(ValueError, match=r"got \(4, 28, 28, 1\); .* come last take np.moveaxis\(images, -1, 1\)"):
        takes(last)
    takes(np.moveaxis(last, -1, 1))
    with pytest.raises(ValueError, match=r"shape \(examples, channels, height, width\), got \(1, 4, 1, 28, 28\)"):
        takes(gray[None, :, None])


def test_no_images_are_no_dataset():
    with pytest.raises(DataError, match=r"expected at least one image, got an array of shape \(0, 1, 2, 2\)"):
        dataset_of(np.zeros((0, 1, 2, 2), np.uint8))


def test_images_of_other_channels_than_those_of_the_statistics_are_refused():
    gray, colour = np.zeros((4, 1, 8, 8), np.uint8), np.zeros((4, 3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match=r"its mean is of 1 channel\(s\), the images of shape \(4, 3, 8, 8\) have 3"):
        Standardisation.of(gray)(colour)
    assert Standardisation.of(colour)(colour).shape == colour.shape


# Pictures


def red_in(path):
    """How wide and how tall the red part of a picture is."""
    pixels = imread(path)
    rows, columns = np.nonzero((pixels[..., 0] > 0.9) & (pixels[..., 1:3] < 0.1).all(axis=-1))
    return np.ptp(columns) + 1, np.ptp(rows) + 1


def test_pictures_show_rows_as_rows_and_channels_as_colours(tmp_path):
    image = np.zeros((3, 28, 28), np.uint8)
    image[0, :7] = 255  # a red bar at the top, four times as wide as tall
    images = image[None]
    report.save_augmentation(images, [], tmp_path / "augmentation.png")
    weight = np.where(image > 0, 1.0, -1.0).reshape(-1, 1)
    report.save_weights(weight, image.shape, tmp_path / "weights.png")
    for name in ("augmentation", "weights"):
        width, height = red_in(tmp_path / f"{name}.png")
        assert 3.5 < width / height < 4.5, name


@pytest.mark.parametrize("channels", [2, 5])
def test_what_cannot_be_shown_is_refused_with_a_remedy_that_works(tmp_path, channels):
    images = np.zeros((4, channels, 28, 28), np.uint8)
    with pytest.raises(ValueError, match=rf"got \({channels}, 28, 28\); draw the channels .* images\[:, i : i \+ 1\]"):
        report.save_augmentation(images, [], tmp_path / "a.png")
    for i in range(channels):
        report.save_augmentation(images[:, i : i + 1], [], tmp_path / "a.png")
