"""Files of weights: what is saved comes back, and what does not fit is refused in one sentence."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import models
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad._optional import MissingExtra
from tensorgrad.interop import safetensors
from tensorgrad.training import CheckpointError, load_checkpoint, save_checkpoint

DTYPES = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">f4", ">i8"]
SUFFIXES = [".npz", ".safetensors"]


def convolutional(seed=0):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, seed, padding="same"),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dense(4 * 14 * 14, 10, seed),
    )


NETWORKS = [*(getattr(models, name) for name in models.__all__), convolutional]


def network(make, seed):
    return make(seed if make is convolutional else np.random.default_rng(seed))


def same_state(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def test_another_ending_is_refused(tmp_path):
    for name in ("a", "a.npz", "safetensors"):
        with pytest.raises(ValueError, match=rf"the path must end in \.safetensors, got '.*{name}'"):
            safetensors.save(tmp_path / name, {"a": np.ones(3)})
    safetensors.save(tmp_path / "A.SafeTensors", {"a": np.ones(3)})


@given(st.data())
def test_arrays_of_every_order_and_dtype_come_back(tmp_path_factory, data):
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)))
    axes = data.draw(st.permutations(range(array.ndim)))
    array = array.transpose(axes)[(slice(None, None, data.draw(st.sampled_from([1, -1, 2]))),) * array.ndim]
    path = tmp_path_factory.mktemp("a") / "a.safetensors"
    safetensors.save(path, {"x": array}, {"what": "é"})
    arrays, metadata = safetensors.load(path)
    assert metadata == {"what": "é"} and arrays["x"].dtype == dtype.newbyteorder("=")
    np.testing.assert_array_equal(arrays["x"], array)
    assert arrays["x"].shape == array.shape


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", NETWORKS)
def test_networks_come_back(make, suffix, tmp_path):
    one, other = network(make, 0), network(make, 1)
    path = tmp_path / f"weights{suffix}"
    one.save(path, {"classes": ["ä", "b"]})
    assert other.load(path) == {"classes": ["ä", "b"]}
    same_state(one.state_dict(), other.state_dict())


def test_what_another_program_wrote_is_read(tmp_path):
    from safetensors.numpy import save_file

    layer = nn.Dense(3, 2, 0)
    save_file({"weight": np.ones((3, 2)), "bias": np.zeros(2, np.float16)}, tmp_path / "a.safetensors")
    assert layer.load(tmp_path / "a.safetensors") == {}
    assert layer.weight.dtype == np.float32 and (layer.weight.data == 1).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda state: state.pop("bias"), "missing: bias"),
        (lambda state: state.update(more=np.ones(2)), "unknown: 'more'"),
        (lambda state: state.update(weight=np.ones((2, 3), np.float32)), "weight is float32 of shape (2, 3)"),
        (lambda state: state.update(weight=np.ones((3, 2), np.int64)), "weight is int64 of shape (3, 2)"),
    ],
)
def test_weights_of_another_network_are_refused_and_leave_it_alone(suffix, change, reason, tmp_path):
    layer = nn.Dense(3, 2, 0)
    before, state = layer.state_dict(), nn.Dense(3, 2, 1).state_dict()
    change(state)
    save_checkpoint(tmp_path / f"a{suffix}", state, {})
    with pytest.raises(CheckpointError) as error:
        layer.load(tmp_path / f"a{suffix}")
    assert reason in str(error.value) and "\n" not in str(error.value)
    same_state(before, layer.state_dict())


def test_of_a_file_of_another_network_only_the_header_is_read(tmp_path, monkeypatch):
    import safetensors as library

    layer, path = nn.Dense(3, 2), tmp_path / "a.safetensors"
    nn.Dense(4, 2).save(path)

    class Opened:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def __getattr__(self, name):
            assert name != "get_tensor"
            return getattr(self.file, name)

    opened = library.safe_open
    monkeypatch.setattr(library, "safe_open", lambda *args, **kwargs: Opened(opened(*args, **kwargs)))
    with pytest.raises(CheckpointError, match="of another network"):
        layer.load(path)


def header(content, **entries):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + content


HOSTILE = {
    "empty": b"",
    "short": b"abc",
    "header as long as a disk": struct.pack("<Q", 2**62) + b"{}",
    "no JSON": struct.pack("<Q", 4) + b"{{{{",
    "array as long as a disk": header(b"0000", weight={"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}),
    "shape beyond its bytes": header(b"0000", weight={"dtype": "F32", "shape": [2**60], "data_offsets": [0, 4]}),
    "cut off": header(b"00", weight={"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}),
    "no such dtype": header(b"0000", weight={"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}),
    "bfloat16": header(b"0000", weight={"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}),
    "overlapping": header(
        b"00000000",
        weight={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        bias={"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
    ),
    "description": header(b"", __metadata__={"tensorgrad": "["}),
    "nested description": header(b"", __metadata__={"tensorgrad": "[" * 100_000}),
    "a zip file": b"PK\x03\x04" + bytes(100),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_sentence(content, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_damaged_file_is_one_sentence_or_what_it_says(tmp_path):
    path, rng = tmp_path / "a.safetensors", np.random.default_rng(0)
    nn.Dense(3, 2, 0).save(path)
    good = path.read_bytes()
    for _ in range(100):
        content = bytearray(good)
        content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content[: rng.integers(len(content)) if rng.random() < 0.3 else None])
        try:
            nn.Dense(3, 2).load(path)
        except CheckpointError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["nothing.safetensors", "folder.safetensors"])
def test_a_path_that_is_no_file(name, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"no such file|it is a folder"):
        nn.Dense(3, 2).load(tmp_path / name)


@pytest.mark.parametrize("value", [np.ones(2, complex), np.array(["a"]), np.array([None]), np.ma.ones(2)])
def test_what_the_format_cannot_hold_is_refused_before_the_file_is_touched(value, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("old")
    with pytest.raises(TypeError, match=r"'x' is .* cannot hold"):
        safetensors.save(path, {"x": value})
    assert path.read_text() == "old" and [path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_description_that_json_cannot_hold(suffix, tmp_path):
    with pytest.raises(TypeError, match="must be what JSON can hold"):
        nn.Dense(3, 2).save(tmp_path / f"a{suffix}", {"x": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_is_not_there(suffix, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be saved"):
        nn.Dense(3, 2).save(tmp_path / "none" / f"a{suffix}")


@pytest.mark.parametrize(
    "name, remedy", [("a.onnx", "interop.onnx"), ("a.pt", "interop.pytorch"), ("a.bin", "interop.pytorch"), ("a", "")]
)
def test_other_endings_say_where_to_go(name, remedy, tmp_path):
    layer = nn.Dense(3, 2)
    with pytest.raises(ValueError, match=r"must end in .npz or .safetensors") as error:
        layer.save(tmp_path / name)
    assert remedy in str(error.value)
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(CheckpointError, match="not a checkpoint") as error:
        layer.load(tmp_path / name)
    assert remedy in str(error.value)


def test_weights_of_a_training_are_read(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)).astype(np.float32), rng.integers(0, 2, 20)
    model, other = nn.Dense(3, 2, 0), nn.Dense(3, 2, 1)
    adam = tg.optim.Adam(model.parameters())
    tg.training.fit(
        model, (x, y), (x, y), adam, epochs=2, batch_size=10, rng=rng, quiet=True, folder=tmp_path, settings={"a": 1}
    )
    for name in ("last.npz", "best.npz"):
        assert other.load(tmp_path / name)["settings"] == {"a": 1}
    same_state(model.state_dict(), other.state_dict())


def test_without_the_library_one_sentence_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    for function in (nn.Dense(3, 2).save, nn.Dense(3, 2).load):
        with pytest.raises(MissingExtra, match=r"A .safetensors file needs safetensors .*pip install safetensors"):
            function(tmp_path / "a.safetensors")


@pytest.mark.slow
def test_that_such_files_can_be_read_costs_an_import_nothing():
    code = "import sys, tensorgrad; print([m for m in sys.modules if 'interop' in m or 'safetensors' in m])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"
