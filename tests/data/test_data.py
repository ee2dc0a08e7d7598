"""Datasets, file formats, batches, and where the digits come from."""

import gzip
import os
import socket
import struct
import threading
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tensorgrad.data import (
    DataError,
    Dataset,
    Standardisation,
    batches,
    load_mnist,
    read_idx,
    stratified_split,
    write_idx,
)
from tensorgrad.data import mnist as mnist_module
from tensorgrad.data.reachable import reachable
from tests.support import damaged, examples, write_mnist


@settings(max_examples=examples(50), deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_idx_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "a.gz"
    write_idx(path, array)
    back = read_idx(path)
    assert back.dtype == array.dtype and back.dtype.isnative
    np.testing.assert_array_equal(back, array)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_an_array_or_our_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("idx") / "a"
    for data in (content, b"\0\0\x08\x02" + content, gzip.compress(content)[: len(content)]):
        path.write_bytes(data)
        try:
            read_idx(path)
        except DataError as error:
            assert str(path) in str(error)


def test_truncated_and_missing_files_are_named(tmp_path):
    folder = write_mnist(tmp_path)
    images = folder / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:-200])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: cannot be read"):
        load_mnist(folder)
    images.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(DataError, match="truncated, 31375 bytes where its header says 31376"):
        load_mnist(folder)
    images.write_bytes(gzip.compress(gzip.decompress(whole) + b"x"))
    with pytest.raises(DataError, match="too long"):
        load_mnist(folder)
    images.write_bytes(b"hello")
    with pytest.raises(DataError, match="not an IDX file"):
        load_mnist(folder)
    images.unlink()
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\[.gz\] is missing"):
        load_mnist(folder)
    with pytest.raises(DataError, match="no such folder"):
        load_mnist(tmp_path / "nowhere")


def idx(code, sides, content=b""):
    return bytes([0, 0, code, len(sides)]) + b"".join(struct.pack(">I", side) for side in sides) + content


def peak_of(action):
    """The most memory that was taken, in bytes."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("code, name", [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")])
def test_all_types_of_the_format_are_big_endian(tmp_path, code, name):
    values = np.array([[1, 2, 100], [-1, -2, -100]]).astype(name)
    content = idx(code, (2, 3), values.astype(f">{name}").tobytes())
    for packed in (content, gzip.compress(content), gzip.compress(content[:9]) + gzip.compress(content[9:])):
        (tmp_path / "a").write_bytes(packed)
        found = read_idx(tmp_path / "a")
        assert found.dtype == np.dtype(name) and found.dtype.isnative and found.flags.writeable
        np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    "content, message",
    [
        (idx(8, (1,) * 65, b"x"), "has 65 dimensions, more than 64"),
        (idx(8, (1,) * 255), "has 255 dimensions, more than 64"),
        (idx(8, (0,) + (2**32 - 1,) * 9), "no array can have the shape"),
        (idx(14, (2**32 - 1,) * 60, b"abc"), "truncated, 247 bytes where its header says more than any file has"),
        (idx(8, (2**31,), b"abc"), "truncated, 11 bytes where its header says 2147483656"),  # -2**31 as signed
        (idx(8, (3,), b"abcd"), "too long, more than 11 bytes where its header says 11"),
        (idx(8, (3, 4))[:-2], "truncated, 10 bytes where its header says 12"),
        (idx(10, (3,), b"abc"), "not an IDX file .it begins with 00000a01"),
        (b"\0\0\x08", "not an IDX file .it begins with 000008"),
        (b"", "it begins with nothing"),
        (b"PK\3\4", "not an IDX file"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_that_lie_are_refused_in_bounded_memory(tmp_path, content, message, pack):
    (tmp_path / "a").write_bytes(pack(content))

    def read():
        with pytest.raises(DataError, match=message) as caught:
            read_idx(tmp_path / "a")
        assert str(caught.value).startswith(f"{tmp_path / 'a'}: ") and "\n" not in str(caught.value)

    assert peak_of(read) < 2_000_000


def test_64_dimensions_are_read(tmp_path):
    (tmp_path / "a").write_bytes(idx(8, (1,) * 63 + (2,), b"ab"))
    assert read_idx(tmp_path / "a").shape == (1,) * 63 + (2,)


@pytest.mark.parametrize("start", [idx(8, (100,)), b"", idx(13, (10, 10)), b"\0\0\x08"])
def test_a_bomb_is_not_unpacked_beyond_its_header(tmp_path, start):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(2**20)
    content = packer.compress(start) + b"".join(packer.compress(zeros) for _ in range(100)) + packer.flush()
    assert len(content) < 200_000
    (tmp_path / "a.gz").write_bytes(content)

    def read():
        with pytest.raises(DataError, match=r"a.gz: (too long, more than|not an IDX file)"):
            read_idx(tmp_path / "a.gz")

    assert peak_of(read) < 2_000_000


@pytest.mark.slow
def test_reading_takes_the_memory_of_the_array(tmp_path):
    """Also of another byte order, and without a second copy."""
    array = np.arange(10**6, dtype=np.float64)
    write_idx(tmp_path / "a.gz", array)
    assert peak_of(lambda: read_idx(tmp_path / "a.gz")) < 1.3 * array.nbytes + 2_000_000


def test_what_is_no_idx_file_at_all_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in [
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
    ]:
        with pytest.raises(DataError, match=message):
            read_idx(path)


@pytest.mark.slow
@pytest.mark.parametrize("packed", [True, False])
def test_damage_gives_an_array_or_our_error_in_bounded_memory(tmp_path, packed):
    path = tmp_path / "a"
    write_idx(path, np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    content = path.read_bytes() if packed else gzip.decompress(path.read_bytes())
    rng, refused = np.random.default_rng(0), 0

    def read():
        nonlocal refused
        for _ in range(2000):
            path.write_bytes(damaged(content, rng))
            try:
                assert isinstance(read_idx(path), np.ndarray)
            except DataError as error:
                refused += 1
                assert str(error).startswith(f"{path}: ") and str(error).isprintable()

    assert peak_of(read) < 3_000_000
    assert 1000 < refused < 2000


@pytest.mark.parametrize("dtype", [np.int64, bool, complex, "U3", object])
def test_what_the_format_cannot_hold_is_refused_with_the_remedy(tmp_path, dtype):
    array = np.ones(3).astype(dtype)
    with pytest.raises(TypeError, match=r"the format holds uint8, int8, int16, .*astype") as caught:
        write_idx(tmp_path / "a", array)
    assert str(array.dtype) in str(caught.value) and not (tmp_path / "a").exists()
    write_idx(tmp_path / "a", np.ones(3).astype(np.int32))
    np.testing.assert_array_equal(read_idx(tmp_path / "a"), np.ones(3))


@pytest.mark.parametrize("gz", [True, False])
def test_mnist_from_files(tmp_path, gz):
    dataset = load_mnist(write_mnist(tmp_path, gz=gz))
    assert dataset.name == "MNIST" and dataset.train_images.shape == (40, 1, 28, 28)
    inputs = Standardisation.of(dataset.train_images)(dataset.train_images)
    assert inputs.dtype == np.float32 and inputs.shape == (40, 1, 28, 28)
    assert inputs.mean() == pytest.approx(0, abs=1e-4) and inputs.std() == pytest.approx(1, abs=1e-4)


def dataset(**changes):
    parts = {
        "train_images": np.zeros((4, 1, 2, 2), np.uint8),
        "train_labels": np.array([0, 1, 0, 1]),
        "test_images": np.zeros((2, 1, 2, 2), np.uint8),
        "test_labels": np.array([0, 1]),
    }
    return Dataset("toy", ("a", "b"), **{**parts, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"train_images": np.zeros((4, 4))}, r"toy, train set: expected images of shape .* got \(4, 4\)"),
        ({"train_images": np.zeros((0, 1, 2, 2)), "train_labels": np.zeros(0, int)}, "expected at least one image"),
        ({"train_labels": np.array([0, 1])}, r"4 images but labels of shape \(2,\)"),
        ({"train_labels": np.array([0.0, 1, 0, 1])}, "labels must be integers, got float64"),
        ({"test_labels": np.array([0, 2])}, r"test set: labels must lie in 0..1, got 2 at position 1"),
        ({"test_labels": np.array([-1, 0])}, "got -1 at position 0"),
        ({"train_images": np.zeros((4, 1, 2, 2), complex)}, "bytes or floats, got complex128"),
        ({"train_images": np.full((4, 1, 2, 2), np.nan)}, "4 images hold NaN or infinity, the first at position 0"),
        ({"train_images": np.full((4, 1, 2, 2), 300.0)}, "pixels must lie in 0..255, got 300..300"),
        ({"test_images": np.zeros((2, 1, 3, 2), np.uint8)}, "they must be alike"),
    ],
)
def test_a_dataset_is_checked(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)


def test_batches_hold_every_example_once_and_the_last_is_kept():
    inputs, labels = np.arange(10)[:, None], np.arange(10)
    parts = list(batches(inputs, labels, 4, np.random.default_rng(0)))
    assert [len(part) for _, part in parts] == [4, 4, 2]
    order = np.concatenate([part for _, part in parts])
    assert sorted(order) == list(range(10)) and list(order) != list(range(10))
    for x, y in parts:
        np.testing.assert_array_equal(x[:, 0], y)
    again = np.concatenate([part for _, part in batches(inputs, labels, 4, np.random.default_rng(0))])
    np.testing.assert_array_equal(order, again)
    with pytest.raises(ValueError, match="10 inputs but 3 labels"):
        next(batches(inputs, labels[:3], 4))
    with pytest.raises(ValueError, match="at least 1"):
        next(batches(inputs, labels, 0))


@settings(max_examples=examples(100), deadline=None)
@given(st.integers(0, 20), st.integers(1, 25), st.none() | st.integers(0, 3))
def test_batches_of_any_size(count, size, seed):
    inputs, labels = np.arange(count * 2).reshape(count, 2), np.arange(count)
    inputs.flags.writeable = labels.flags.writeable = False
    runs = []
    for _ in range(2):
        rng = None if seed is None else np.random.default_rng(seed)
        parts = list(batches(inputs, labels, size, rng))
        assert all(len(part) == size for _, part in parts[:-1]) and len(parts) == -(-count // size)
        for x, y in parts:
            np.testing.assert_array_equal(x[:, 0], 2 * y)
        runs.append([label for _, part in parts for label in part])
    assert runs[0] == runs[1] and sorted(runs[0]) == list(range(count))
    assert seed is not None or runs[0] == list(range(count))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([[1.0], [2.0]], np.arange(2), 1), "inputs must be an array .* got list; np.asarray makes one"),
        ((np.ones((2, 1)), [0, 1], 1), "labels must be an array .* got list"),
        ((np.float64(1), np.arange(2), 1), "inputs must be an array"),
        ((np.ones((2, 1)), np.arange(2), 2.5), "size must be an integer and at least 1, got 2.5"),
        ((np.ones((2, 1)), np.arange(2), "2"), "size must be an integer"),
        (
            (np.ones((2, 1)), np.arange(2), 1, 0),
            r"rng must be a NumPy generator, such as np.random.default_rng\(0\), got 0",
        ),
    ],
)
def test_batches_refuse_at_once(arguments, message):
    with pytest.raises((TypeError, ValueError), match=f"batches: {message}"):
        batches(*arguments)


@pytest.mark.parametrize("fraction", [0, 1, -1, 1.5, float("nan")])
def test_a_fraction_that_is_none_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction must lie between 0 and 1"):
        stratified_split(np.array([0, 0, 1, 1]), fraction, np.random.default_rng(0))


@pytest.mark.parametrize("labels", [np.array([], int), np.zeros((2, 2), int), np.array(1)])
def test_labels_that_cannot_be_split_are_refused(labels):
    with pytest.raises(DataError, match=r"expected at least one label, of shape \(count,\)"):
        stratified_split(labels, 0.5, np.random.default_rng(0))


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.01, 0.9))
def test_stratified_split(counts, fraction):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    kept, held_out = stratified_split(labels, fraction, np.random.default_rng(1))
    assert sorted([*kept, *held_out]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        found = (labels[held_out] == label).sum()
        assert 1 <= found < count and abs(found - fraction * count) <= 1


def test_a_class_of_one_cannot_be_split():
    with pytest.raises(DataError, match="class 1 has one example only"):
        stratified_split(np.array([0, 0, 1]), 0.5, np.random.default_rng(0))


# Without files: OpenML where it answers, else the bundled digits


@pytest.mark.slow
def test_bundled_digits_are_used_loudly_without_network(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr(mnist_module, "OPENML", "http://127.0.0.1:9/refused")
    said = []
    digits = load_mnist(say=said.append)
    assert "bundled digits" in digits.name and any("using scikit-learn's bundled digits" in line for line in said)
    assert digits.train_images.shape[1:] == (1, 28, 28) and len(digits.train_labels) + len(digits.test_labels) == 1797
    assert digits.train_images.max() == 255


def test_a_connection_that_hangs_is_given_up_in_time(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts, never answers
        monkeypatch.setattr(mnist_module, "OPENML", f"http://127.0.0.1:{server.getsockname()[1]}/")
        started = time.perf_counter()
        digits = load_mnist(say=lambda line: None)
        assert time.perf_counter() - started < 5
    assert "bundled" in digits.name


def test_a_name_look_up_that_hangs_is_given_up_in_time(monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: release.wait(30))
    started = time.perf_counter()
    assert not reachable("http://openml.invalid/", 0.3)
    release.set()
    assert time.perf_counter() - started < 2


@pytest.mark.slow
def test_openml_is_used_where_it_answers(monkeypatch, tmp_path):
    import sklearn.datasets

    def fetch_openml(name, **settings):
        assert name == "mnist_784" and settings["version"] == 1
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (70000, 784)).astype(float), (np.arange(70000) % 10).astype(str).astype(object)

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.setattr(mnist_module, "reachable", lambda url, seconds: True)
    found = load_mnist(say=lambda line: None)
    assert found.name == "MNIST (OpenML)" and found.train_images.shape == (60000, 1, 28, 28)
    assert found.test_labels[:3].tolist() == [0, 1, 2] and found.train_images.dtype == np.uint8


def test_openml_that_fails_half_way_is_said_and_replaced(monkeypatch, tmp_path):
    import sklearn.datasets

    def fetch_openml(name, **settings):
        raise ConnectionResetError("reset by peer")

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.setattr(mnist_module, "reachable", lambda url, seconds: True)
    said = []
    assert "bundled" in load_mnist(say=said.append).name
    assert any("OpenML failed: ConnectionResetError: reset by peer" in line for line in said)


def test_a_cached_openml_file_is_found_without_network(monkeypatch, tmp_path):
    import sklearn.datasets

    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert not mnist_module._is_cached(sklearn.datasets)
    cached = tmp_path / "openml" / "openml.org" / "data" / "v1" / "download" / "52667" / "mnist_784.arff.gz"
    cached.parent.mkdir(parents=True)
    cached.symlink_to(tmp_path / "nothing")
    assert not mnist_module._is_cached(sklearn.datasets)
    cached.unlink()
    cached.write_bytes(bytes(2_000_000))
    assert mnist_module._is_cached(sklearn.datasets)
