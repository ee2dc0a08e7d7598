"""Checkpoints and resuming: exact, whole, and refused when anything is wrong."""

import contextlib
import io
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zipfile
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tensorgrad as tg
from tensorgrad import _checkpoint as checkpoint_module
from tensorgrad import nn
from tensorgrad.training import (
    BEST,
    EMA,
    LAST,
    Callback,
    CheckpointError,
    Interrupted,
    RandomStreams,
    TrainingError,
    evaluate,
    fit,
    load_checkpoint,
    load_weights,
    loop,
    save_checkpoint,
)
from tensorgrad.training.diagnosis import diagnose
from tensorgrad.training.monitor import Monitor
from tensorgrad.training.session import Progress, Session
from tests.support import ROOT, StopAt, blobs, damaged, examples, heed_signals


def make(seed=0, lr=1e-2):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        nn.Dense(2, 16, rng, weight_l2=1e-4), nn.ReLU(), nn.Dropout(0.2, np.random.default_rng(5)), nn.Dense(16, 3, rng)
    )
    return model, tg.optim.Adam(model.parameters(), lr=lr), rng


def jitter(inputs, rng):
    return inputs + rng.normal(0, 0.1, inputs.shape).astype(np.float32)


def train(folder=None, resume=False, epochs=4, lr=None, **settings):
    model, optimiser, rng = make(lr=tg.optim.cosine_decay(1e-2, 1000) if lr is None else lr)
    options = {"augment": jitter, "batch_size": 32, "rng": rng, "quiet": True, **settings}
    history = fit(model, blobs(), blobs(60, 1), optimiser, epochs=epochs, folder=folder, resume=resume, **options)
    return model, optimiser, history


def same(one, other):
    assert one[0].state_dict().keys() == other[0].state_dict().keys()
    for name, array in one[0].state_dict().items():
        np.testing.assert_array_equal(array, other[0].state_dict()[name])
    for name, value in one[1].state_dict().items():
        np.testing.assert_array_equal(value, other[1].state_dict()[name])
    strip = [[{**vars(row), "seconds": 0} for row in run[2]] for run in (one, other)]
    assert strip[0] == strip[1]


@pytest.mark.slow
@settings(max_examples=examples(25), deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_interrupted_at_any_steps_and_resumed_equals_never_interrupted(tmp_path_factory, stops):
    folder = tmp_path_factory.mktemp("run")
    straight = train(tmp_path_factory.mktemp("straight"))
    for stop in stops:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "Interruption", StopAt(stop))
            try:
                train(folder, resume="auto")
            except Interrupted as stopped:
                assert stopped.exit_code == 130
    same(train(folder, resume="auto"), straight)
    assert sorted(os.listdir(folder)) == [BEST, LAST]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_all_streams_go_on_where_they_were(tmp_path_factory, stops):
    def with_streams(folder, streams=None):
        streams = RandomStreams.from_seed(3) if streams is None else streams
        return train(folder, resume="auto", rng=streams), [vars(streams)[name].bit_generator.state for name in NAMES]

    def drawn_from():
        streams = RandomStreams.from_seed(3)
        for rng in vars(streams).values():  # as by what is made before the training
            rng.random(5)
        return streams

    folder = tmp_path_factory.mktemp("run")
    straight, states = with_streams(tmp_path_factory.mktemp("straight"), drawn_from())
    for i, stop in enumerate(stops):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "Interruption", StopAt(stop))
            with contextlib.suppress(Interrupted):
                with_streams(folder, None if i else drawn_from())
    resumed, after = with_streams(folder)
    same(resumed, straight)
    assert after == states and len({str(state) for state in states}) == len(NAMES)


NAMES = ["split", "weights", "dropout", "order", "augmentation"]


def test_a_checkpoint_of_streams_is_resumed_with_streams_only(tmp_path):
    straight = train(tmp_path, rng=RandomStreams.from_seed(1))
    with pytest.raises(CheckpointError, match=r"no state of the random generator rng, but of split, weights, .*; pass"):
        train(tmp_path, resume=True)
    same(train(tmp_path, resume=True, rng=RandomStreams.from_seed(1)), straight)


def test_resuming_a_finished_training_changes_nothing(tmp_path):
    first = train(tmp_path)
    same(train(tmp_path, resume=True), first)


def test_resume_without_a_checkpoint_is_refused_unless_asked_for(tmp_path):
    (tmp_path / "digits").mkdir()
    train(tmp_path / "digits")
    with pytest.raises(CheckpointError, match=r"digts: holds no last\.npz to resume from; did you mean .*digits\?"):
        train(tmp_path / "digts", resume=True)
    assert os.listdir(tmp_path) == ["digits"]
    same(train(tmp_path / "digts", resume="auto"), train())


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_every_kind_of_generator_is_saved_exactly(tmp_path, bits):
    model, optimiser, _ = make()
    rng = np.random.Generator(bits(3))
    rng.integers(0, 10, 3, dtype=np.int32)  # leaves half a word behind
    session = Session(model, optimiser, rng, tmp_path)
    session.save()
    expected = rng.integers(0, 1000, 5, dtype=np.int32)
    rng.random(10)
    assert session.restore()
    np.testing.assert_array_equal(rng.integers(0, 1000, 5, dtype=np.int32), expected)


def test_plateau_state_is_resumed(tmp_path):
    def run(folder, epochs, resume=False):
        plateau = tg.optim.Plateau(1e-2, patience=1)
        train(folder, resume, epochs, lr=plateau)
        return plateau.state_dict()

    straight = run(None, 6)
    run(tmp_path, 3)
    assert run(tmp_path, 6, resume=True) == straight


def test_other_settings_are_refused(tmp_path):
    train(tmp_path, settings={"lr": 1})
    with pytest.raises(CheckpointError, match=r"made with lr = 1, now lr = 2; resume with the same settings"):
        train(tmp_path, resume=True, settings={"lr": 2})


def test_another_network_is_refused_and_left_alone(tmp_path):
    train(tmp_path)
    rng = np.random.default_rng(0)
    model = nn.Dense(2, 3, rng)
    before = model.state_dict()
    with pytest.raises(CheckpointError, match="does not fit this training"):
        Session(model, tg.optim.Adam(model.parameters()), rng, tmp_path).restore()
    np.testing.assert_array_equal(model.state_dict()["weight"], before["weight"])


def test_early_stopping_ends_with_the_best_weights(tmp_path):
    model, _, history = train(tmp_path, epochs=50, patience=2)
    best = Monitor().best(history)
    assert len(history) < 50 and Monitor().stalled(history) == 2
    assert evaluate(model, blobs(60, 1)) == (best.validation_loss, best.validation_accuracy)


def test_clipping_bounds_the_joint_norm():
    model, optimiser, rng = make()
    norms = []
    step = optimiser.step
    optimiser.step = lambda: (norms.append(sum((p.grad**2).sum() for p in model.parameters()) ** 0.5), step())
    fit(
        model,
        blobs(),
        blobs(60, 1),
        optimiser,
        epochs=1,
        batch_size=32,
        rng=rng,
        max_norm=0.01,
        quiet=True,
        compiled=False,
    )
    assert max(norms) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("compiled", [None, False])
def test_clipping_bounds_every_number(compiled):
    model, _, rng = make()
    before = model.state_dict()
    sgd = tg.optim.SGD(model.parameters(), lr=1.0)
    options = {"epochs": 1, "batch_size": 300, "rng": rng, "max_value": 0.001, "quiet": True, "compiled": compiled}
    fit(model, blobs(), blobs(60, 1), sgd, **options)
    changes = [np.abs(array - before[name]).max() for name, array in model.state_dict().items()]
    assert max(changes) == pytest.approx(0.001, rel=1e-3)
    with pytest.raises(ValueError, match="fit: max_value must be positive and finite, got 0"):
        fit(model, blobs(), blobs(60, 1), sgd, **{**options, "max_value": 0})


def test_a_loss_that_explodes_names_step_layer_and_checkpoint(tmp_path):
    train(tmp_path, epochs=1)
    with pytest.raises(TrainingError) as caught, np.errstate(all="ignore"):
        train(tmp_path, resume=True, epochs=30, lr=1e30)
    assert f"last good checkpoint: {tmp_path / LAST}" in str(caught.value)
    assert ("in step 1" in str(caught.value) and "layer" in str(caught.value)) or "parameter" in str(caught.value)
    load_checkpoint(tmp_path / LAST)


def test_another_best_file_in_the_folder_is_not_taken_for_this_training(tmp_path):
    straight = train(tmp_path)
    (tmp_path / "other").mkdir()
    other = train(tmp_path / "other", lr=1e-4)
    (tmp_path / BEST).write_bytes((tmp_path / "other" / BEST).read_bytes())
    resumed = train(tmp_path, resume=True)
    same(resumed, straight)
    assert not np.array_equal(other[0].state_dict()["0.weight"], resumed[0].state_dict()["0.weight"])


def test_a_state_that_is_no_longer_finite_is_not_saved(tmp_path):
    train(tmp_path, epochs=1)
    before = (tmp_path / LAST).read_bytes()
    model, optimiser, rng = make()
    session = Session(model, optimiser, rng, tmp_path)
    model.layers[0].weight.data[0, 0] = np.nan
    session.save()
    assert (tmp_path / LAST).read_bytes() == before


def test_a_network_that_is_not_finite_at_the_end_of_an_epoch_is_an_error():
    model, optimiser, rng = make()
    step = optimiser.step

    def spoil():
        step()
        model.layers[0].weight.data[:] = np.nan

    optimiser.step = spoil
    with pytest.raises(TrainingError, match=r"0\.weight is no longer finite"):
        fit(model, blobs(), blobs(60, 1), optimiser, epochs=1, batch_size=300, rng=rng, quiet=True, compiled=False)


def test_a_function_between_layers_is_diagnosed():
    network = tg.nn.Sequential(tg.nn.Dense(2, 3), lambda x: np.sqrt(x - 1e9), tg.nn.Dense(3, 2))
    found = diagnose(network, np.ones((1, 2), np.float32))
    assert found.startswith("the input of layer 2 Dense(3 -> 2), from the function before it, is not finite")


def test_a_layer_used_twice_is_diagnosed():
    relu = nn.ReLU()
    model = nn.Sequential(nn.Dropout(0.0), nn.Dense(2, 2), relu, nn.Dense(2, 2), relu)
    model.layers[1].bias.data = np.full(2, 3e38, np.float32)
    model.layers[3].weight.data = np.full((2, 2), 3e38, np.float32)
    with np.errstate(all="ignore"):
        assert "the output of layer 3 Dense(2 -> 2) is not finite" in diagnose(model, np.ones((1, 2), np.float32))
    assert "forward" not in vars(relu)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [3, 10, None])  # within an epoch, at its end, and finished
def test_other_data_is_refused(tmp_path, stop):
    folder = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
        if stop:
            patch.setattr(loop, "Interruption", StopAt(stop))
        train(folder)
    model, optimiser, rng = make()
    more = {"epochs": 5, "batch_size": 32, "rng": rng}
    with pytest.raises(CheckpointError, match=r"with 300 training examples, now there are 90;.*load_weights\(model, p"):
        fit(model, blobs(90), blobs(60, 1), optimiser, folder=folder, resume=True, **more)
    load_weights(model, folder / LAST)  # as the error says
    fit(model, blobs(90), blobs(60, 1), optimiser, folder=tmp_path / "other", **more)
    more["rng"] = make()[2]
    fit(*make()[:1], blobs(), blobs(60, 1), folder=folder, resume=True, **more)


@pytest.mark.slow
def test_checkpoints_of_before_that_do_not_say_how_many_examples_there_were_are_resumed(tmp_path):
    train(tmp_path)
    arrays, description = load_checkpoint(tmp_path / LAST)
    assert description["progress"].pop("examples") == 300
    save_checkpoint(tmp_path / LAST, arrays, description)
    same(train(tmp_path, resume=True, epochs=5), train(epochs=5))


# The file


def example(path):
    arrays = {"a/b.0": np.arange(6.0).reshape(2, 3), "scalar": np.array(3), "empty": np.zeros((0, 2), np.float32)}
    save_checkpoint(path, arrays, {"big": 2**127 + 1, "float": 0.1 + 0.2, "text": "äöü"})
    return arrays


def test_round_trip_and_numpy_can_read_it(tmp_path):
    arrays = example(tmp_path / "a.npz")
    found, description = load_checkpoint(tmp_path / "a.npz")
    assert description["big"] == 2**127 + 1 and description["float"] == 0.1 + 0.2 and description["text"] == "äöü"
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_array_equal(stored["a/b.0"], arrays["a/b.0"])


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_a_file_changed_in_any_way_is_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    example(path)
    content = bytearray(path.read_bytes())
    kind = data.draw(st.sampled_from(["change", "cut", "grow", "insert"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "change":
        content[at] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        del content[at:]
    elif kind == "grow":
        content += data.draw(st.binary(min_size=1, max_size=200))
    else:
        content[at:at] = data.draw(st.binary(min_size=1, max_size=20))
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a.npz: (damaged|not a checkpoint)"):
        load_checkpoint(path)


@settings(max_examples=examples(100), deadline=None)
@given(st.binary(max_size=300))
def test_any_other_file_is_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("foreign") / "a.npz"
    for data in (content, b"PK\x03\x04" + content):
        path.write_bytes(data)
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


def test_an_ordinary_npz_a_folder_and_nothing_are_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match=r"or no checkpoint; .*load_state_dict\(np\.load\(path\)\)"):
        load_checkpoint(tmp_path / "plain.npz")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "none.npz")


# Any arrays, by any names

AWKWARD = [
    "",
    "allow_pickle",
    "file",
    "description",
    "a.npy",
    "a",
    "../up",
    "/root",
    "%0",
    "%",
    "a\0b",
    "a\\b",
    "ä",
    "n" * 300,
]
DTYPES = [
    *"?bBhHiIlLqQefdgFDG",
    ">f4",
    ">i8",
    "S3",
    "U2",
    ">U2",
    "M8[s]",
    "m8[D]",
    "V4",
    [("x", "<f4"), ("y", ">i2", 2)],
]


def filled(kind, shape):
    """An array of any dtype whose bytes are all different from each other, as far as there are bytes."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    return np.ndarray(shape, kind, buffer=bytearray(i % 256 for i in range(size)))


@settings(max_examples=examples(150), deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(AWKWARD) | st.text(st.characters(), max_size=8),
        st.builds(filled, st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=3)),
        max_size=6,
    ),
    st.booleans(),
)
def test_any_arrays_come_back_as_they_were(tmp_path_factory, arrays, fortran):
    path = tmp_path_factory.mktemp("any") / "a.npz"
    if fortran:
        arrays = {name: np.asfortranarray(array) if array.ndim else array for name, array in arrays.items()}
    save_checkpoint(path, arrays, {"kind": "mine", "version": 7, "names": {"a": 1}})
    found, description = load_checkpoint(path)
    assert description == {"kind": "mine", "version": 7, "names": {"a": 1}}
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes() and found[name].flags.writeable
        assert found[name].flags.f_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize("name", AWKWARD)
def test_names_that_mean_something_to_numpy_or_zip_lose_nothing(tmp_path, name):
    save_checkpoint(tmp_path / "a.npz", {name: np.arange(3)}, {})
    assert load_checkpoint(tmp_path / "a.npz")[0][name].tolist() == [0, 1, 2]
    with np.load(tmp_path / "a.npz") as stored:  # NumPy opens it, though perhaps under another name
        assert len(stored.files) == 2


@pytest.mark.parametrize(
    "array, mended",
    [
        (np.array([1, None]), np.array([1.0, np.nan])),
        (np.array([{}]), np.array(["{}"])),
        (np.array(["a", "bc"], object), np.array(["a", "bc"], object).astype(str)),
        (np.zeros(2, [("ключ", "f4")]), np.zeros(2, [("ключ", "f4")])["ключ"]),
        (np.ma.masked_equal([1, 2], 2), np.ma.masked_equal([1, 2], 2).filled(0)),
    ],
)
def test_arrays_that_would_not_come_back_are_refused_and_keep_the_old_file(tmp_path, array, mended):
    example(tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(
        TypeError, match=r"save_checkpoint: array 'x' is (of dtype .* astype|masked.* store array.filled)"
    ):
        save_checkpoint(tmp_path / "a.npz", {"x": array}, {})
    assert (tmp_path / "a.npz").read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]
    save_checkpoint(tmp_path / "a.npz", {"x": mended}, {})
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "a.npz")[0]["x"], mended)


@pytest.mark.parametrize("name", [1, None, b"a", ("a",)])
def test_names_that_are_not_text_are_refused(tmp_path, name):
    with pytest.raises(TypeError, match=re.escape(f"names of arrays must be text, got {name!r}; take str({name!r})")):
        save_checkpoint(tmp_path / "a.npz", {name: np.ones(1)}, {})
    save_checkpoint(tmp_path / "a.npz", {str(name): np.ones(1)}, {})


def test_a_name_of_255_bytes(tmp_path):
    example(tmp_path / ("n" * 251 + ".npz"))
    assert os.listdir(tmp_path) == ["n" * 251 + ".npz"]


# Files whose digest is right, but whose content is not


def seal(path, content):
    """Write the bytes of a zip file as a checkpoint with a digest that is right."""
    with path.open("w+b") as file:
        file.write(content)
        checkpoint_module._seal(file)
    return path


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same name twice
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array, pickled=False):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def claimed(descr, shape, data=b"", order=False):
    """A .npy file whose header says whatever it is told."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": order, "shape": shape})
    return buffer.getvalue() + data


def described(header):
    return ("description.npy", npy(np.array(header if isinstance(header, str) else json.dumps(header))))


GOOD = {"kind": "tensorgrad checkpoint", "version": 2, "names": {}, "description": {}}
CRAFTED = {
    "no description": [("a.npy", npy(np.ones(2)))],
    "nothing": [],
    "description of bytes": [("description.npy", npy(np.ones(2)))],
    "description with code points that are none": [
        ("description.npy", claimed("<U1", (), (0x110000).to_bytes(4, "little")))
    ],
    "description not JSON": [described("{")],
    "description no object": [described("[1, 2]")],
    "description nested": [described("[" * 100_000)],
    "description with a number of 10,000 digits": [described('{"kind": ' + "9" * 10_000 + "}")],
    "description of another kind": [described({"kind": "other", "version": 2})],
    "no version": [described({"kind": "tensorgrad checkpoint"})],
    "version from the future": [described({**GOOD, "version": 3})],
    "version of text": [described({**GOOD, "version": "x" * 10_000})],
    "version of terminal codes": [described({**GOOD, "version": "\x1b[31m\n"})],
    "version of lists": [described({**GOOD, "version": [[]]})],
    "names no object": [described({**GOOD, "names": 3}), ("a.npy", npy(np.ones(2)))],
    "names of numbers": [described({**GOOD, "names": {"a": 1}}), ("a.npy", npy(np.ones(2)))],
    "names twice": [described({**GOOD, "names": {"a": "b"}}), ("a.npy", npy(1.0)), ("b.npy", npy(1.0))],
    "own description no object": [described({**GOOD, "description": "ab"})],
    "pickle": [described(GOOD), ("a.npy", npy(np.array([{}]), pickled=True))],
    "object dtype": [described(GOOD), ("a.npy", claimed("|O", (1,), bytes(8)))],
    "text": [described(GOOD), ("a.npy", b"hello")],
    "no suffix": [described(GOOD), ("a.txt", npy(np.ones(2)))],
    "twice": [described(GOOD), ("a.npy", npy(np.ones(2))), ("a.npy", npy(np.ones(2)))],
    "header of a terabyte": [described(GOOD), ("a.npy", claimed("<f8", (2**37,), bytes(16)))],
    "header beyond any memory": [described(GOOD), ("a.npy", claimed("<f8", (10**30, 10**30), bytes(16)))],
    "negative shape": [described(GOOD), ("a.npy", claimed("<f8", (-1, -2), bytes(16)))],
    "text of a gigabyte": [described(GOOD), ("a.npy", claimed("<U268435456", (), bytes(16)))],
    "more than 64 dimensions": [described(GOOD), ("a.npy", claimed("<f8", (1,) * 70, bytes(8)))],
    "nothing of impossible size": [described(GOOD), ("a.npy", claimed("<f8", (0, 10**30)))],
    "header cut": [described(GOOD), ("a.npy", claimed("<f8", (2,))[:30])],
    "header nested": [described(GOOD), ("a.npy", b"\x93NUMPY\1\0\xff\xff" + b"(" * 65535)],
    "header of another version": [described(GOOD), ("a.npy", b"\x93NUMPY\3\0" + claimed("<f8", (1,), bytes(8))[8:])],
    "data longer than the header says": [described(GOOD), ("a.npy", claimed("<f8", (1,), bytes(16)))],
    "dtype that is none": [described(GOOD), ("a.npy", claimed("rubbish", (1,), bytes(8)))],
}


def reading(path, action=load_checkpoint, bound=20_000_000):
    """The error of an action that must raise a CheckpointError of one short sentence in bounded memory."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError) as caught:
            action(path)
        assert tracemalloc.get_traced_memory()[1] < bound
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(str(path)) and len(message) < len(str(path)) + 400 and "\n" not in message
    assert message.isprintable()
    return message


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_content_is_refused(tmp_path, kind):
    path = seal(tmp_path / "a.npz", zipped(CRAFTED[kind]))
    model, _, _ = make()
    reading(path)
    reading(path, lambda path: load_weights(model, path))


def test_crafted_content_is_what_is_refused(tmp_path):
    """The recipe of the crafted files gives one that is read where nothing is wrong."""
    path = seal(tmp_path / "a.npz", zipped([described(GOOD), ("a.npy", claimed("<f8", (2,), bytes(16)))]))
    assert load_checkpoint(path)[0]["a"].tolist() == [0, 0]


def test_a_bomb_is_not_unpacked(tmp_path):
    content = zipped([described(GOOD), ("a.npy", npy(np.zeros(60_000_000, np.uint8)))], zipfile.ZIP_DEFLATED)
    assert len(content) < 100_000
    assert "compressed" in reading(seal(tmp_path / "a.npz", content), bound=2_000_000)


def test_entries_that_share_their_bytes_are_not_multiplied(tmp_path):
    """Many entries of the directory for one entry in the file: a bomb without compression."""
    content = zipped([("a.npy", npy(np.zeros(1_000_000, np.uint8)))])
    start = content.rindex(b"PK\1\2")
    entry, end = content[start : content.rindex(b"PK\5\6")], bytearray(content[content.rindex(b"PK\5\6") :])
    names = [bytes([letter]) + b".npy" for letter in b"abcdefghijklmnopqrstuvwxyz"]
    directory = b"".join(entry.replace(b"a.npy", name) for name in names)
    end[8:12], end[12:16] = struct.pack("<HH", len(names), len(names)), struct.pack("<I", len(directory))
    assert "more bytes than it holds" in reading(seal(tmp_path / "a.npz", content[:start] + directory + bytes(end)))


def test_version_1_is_read(tmp_path):
    buffer = io.BytesIO()
    text = json.dumps({"kind": "tensorgrad checkpoint", "version": 1, "epoch": 7})
    np.savez(buffer, **{"description": np.array(text), "model/0.weight": np.arange(3), "%0": np.ones(1)})
    arrays, description = load_checkpoint(seal(tmp_path / "a.npz", buffer.getvalue()))
    assert list(arrays) == ["model/0.weight", "%0"] and description["epoch"] == 7


PROGRESS = {name: value for name, value in vars(Progress(epoch=2)).items() if name != "order"}

ROW = {
    "epoch": 1,
    "loss": 1.0,
    "accuracy": 0.5,
    "validation_loss": 1.0,
    "validation_accuracy": 0.5,
    "learning_rate": 0.1,
    "seconds": 1.0,
}


GENERATORS = ["rng", "order", "augmentation", "model/2.rng"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": 3},
        {"settings": ["a"]},
        {"progress": 3},
        {"progress": "ab"},
        {"progress": {**PROGRESS, "history": 3}},
        {"progress": {**PROGRESS, "history": [{"epoch": 1}]}},
        {"progress": {**PROGRESS, "more": 1}},
        *(
            {"progress": {**PROGRESS, name: wrong}}
            for name in PROGRESS
            for wrong in (None, "x", {"a": 1}, [3], float("nan"))
            if (name, wrong) != ("initial_loss", None)
        ),
        {"progress": {**PROGRESS, "position": -1}},
        {"progress": {**PROGRESS, "position": 10**9}},
        {"progress": {**PROGRESS, "history": [{**ROW, "loss": None}]}},
        {"progress": {**PROGRESS, "history": [{**ROW, "validation_loss": "1"}]}},
        {"progress": {**PROGRESS, "history": [{**ROW, "epoch": "1"}]}},
        {"generators": 3},
        {"generators": {}},
        {"generators": {"order": 3}},
        {"generators": dict.fromkeys(GENERATORS, 3)},
        {
            "generators": {
                name: {"bit_generator": "PCG64", "state": {"state": -1, "inc": 2**200}} for name in GENERATORS
            }
        },
        {"generators": {name: {"bit_generator": "PCG64"} for name in GENERATORS}},
    ],
)
def test_a_crafted_session_is_refused(tmp_path, change):
    train(tmp_path, epochs=1)
    arrays, description = load_checkpoint(tmp_path / LAST)
    save_checkpoint(tmp_path / LAST, arrays, {**description, **change})
    refused_without_a_trace(tmp_path)


@pytest.mark.parametrize(
    "name, array",
    [
        ("order", np.zeros(300, int)),
        ("order", np.full(300, np.nan)),
        ("order", np.arange(300).reshape(2, 150)),
        ("best/0.weight", np.ones((3, 3), np.float32)),
        ("best/0.weight", np.full((2, 16), "a")),
        ("best/9.weight", np.ones(3)),
        ("model/0.weight", np.ones((2, 16), complex)),
        ("optimiser/first_moment.0", np.ones(3, np.float32)),
        ("optimiser/steps", np.array("a")),
    ],
)
def test_a_session_of_crafted_arrays_is_refused(tmp_path, name, array):
    train(tmp_path, epochs=1)
    arrays, description = load_checkpoint(tmp_path / LAST)
    save_checkpoint(tmp_path / LAST, {**arrays, name: array}, description)
    refused_without_a_trace(tmp_path)


class Last(Callback):
    """Refuses its state once everything else has been taken over."""

    def __init__(self):
        self.state = {"a": 0}

    def state_dict(self):
        return dict(self.state)

    def load_state_dict(self, state):
        self.state = dict(state)
        if state["a"] != 0:
            raise ValueError("not mine")


def everything(session):
    optimiser = session.optimiser
    return {
        "model": session.model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "groups": [{**group.settings, "lr": group["lr"]} for group in optimiser.param_groups],
        "schedule": optimiser.schedule.state_dict(),
        "generators": {name: deepcopy(rng.bit_generator.state) for name, rng in session.generators.items()},
        "callbacks": [each.state_dict() for each in session._callbacks.values()],
        "progress": vars(session.progress).copy(),
    }


def refused_without_a_trace(folder):
    """Resuming from what is there fails, and changes nothing."""
    model, optimiser, rng = make()
    ema = EMA(0.5)
    ema.update(model)
    session = Session(model, optimiser, rng, folder, callbacks=[ema, Last()])
    before = everything(session)
    reading(folder / LAST, lambda path: session.restore())
    np.testing.assert_equal(everything(session), before)


@pytest.mark.parametrize(
    "callbacks", [{"EMA-0": {"updates": "x"}}, {"Last-0": {"a": 1}}, {"Last-0": {}}, {"Last-0": 3}, 3]
)
def test_a_resume_that_fails_late_changes_nothing(tmp_path, callbacks):
    model, optimiser, rng = make()
    optimiser.param_groups[0].update({"betas": (0.5, 0.5), "lr": 0.5})
    optimiser.param_groups[0]["eps"] = 1e-3
    fit(model, blobs(), blobs(), optimiser, epochs=2, batch_size=100, rng=rng, folder=tmp_path, quiet=True)
    arrays, description = load_checkpoint(tmp_path / LAST)
    save_checkpoint(tmp_path / LAST, arrays, {**description, "callbacks": callbacks})
    refused_without_a_trace(tmp_path)


@pytest.mark.parametrize("kind", ["settings", "shape", "text", "more", "none"])
def test_weights_that_do_not_fit_leave_the_network_alone(tmp_path, kind):
    model, _, _ = make()
    before = model.state_dict()
    arrays = {f"model/{name}": array + 1 for name, array in before.items()}
    change = {
        "settings": dict,
        "shape": lambda: arrays.update({"model/0.weight": np.ones((2, 17))}),
        "text": lambda: arrays.update({"model/0.weight": np.full((2, 16), "a")}),
        "more": lambda: arrays.update({"model/9.weight": np.ones(2)}),
        "none": lambda: arrays.clear(),
    }
    change[kind]()
    save_checkpoint(tmp_path / "a.npz", arrays, {"settings": 3 if kind == "settings" else {}})
    reading(tmp_path / "a.npz", lambda path: load_weights(model, path))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.slow
@pytest.mark.parametrize("names", [["\x1b[31m\n"], [f"layer {i}" for i in range(5000)], ["\x1b" * 3000]])
def test_names_from_a_file_are_escaped_and_not_listed_without_end(tmp_path, names):
    model, optimiser, rng = make()
    arrays = {f"model/{name}": np.ones(1) for name in names}
    description = {"progress": PROGRESS, "generators": {}}
    save_checkpoint(tmp_path / LAST, arrays, description)
    assert "of another network" in reading(tmp_path / LAST, lambda path: load_weights(model, path))
    save_checkpoint(
        tmp_path / LAST,
        arrays,
        {**description, "generators": dict.fromkeys(GENERATORS)},
    )
    assert "unknown: " in reading(tmp_path / LAST, lambda path: Session(model, optimiser, rng, tmp_path).restore())


def test_anything_given_as_weights_is_named(tmp_path):
    model, _, _ = make()
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "empty.npz").write_text("")
    (tmp_path / "other.zip").write_bytes(zipped([("a.txt", "hello")]))
    np.savez(tmp_path / "plain.npz", a=np.ones(3))
    np.save(tmp_path / "a.npy", np.ones(3))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for name in [*sorted(os.listdir(tmp_path)), "missing", "missing/file", "n" * 300]:
        reading(tmp_path / name, lambda path: load_weights(model, path))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_weights(model, "a\0b")


@pytest.mark.slow
def test_bytes_flipped_cut_and_spliced_below_the_digest_are_errors_or_right(tmp_path):
    """The digest is computed again each time, so that everything behind it sees the damage."""
    arrays = example(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    whole = whole[: -64 - 2]
    rng = np.random.default_rng(0)
    refused = 0
    tracemalloc.start()
    for _ in range(3000):
        path = seal(tmp_path / "b.npz", damaged(whole, rng) + b"\0\0")
        try:
            found, _ = load_checkpoint(path)
            assert all(isinstance(array, np.ndarray) for array in found.values())
        except CheckpointError as error:
            refused += 1
            assert str(error).startswith(str(path)) and str(error).isprintable()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert 1500 < refused < 3000
    assert arrays.keys() == load_checkpoint(tmp_path / "a.npz")[0].keys()


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_VERSION", 99)
    example(tmp_path / "a.npz")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"another version \(99\)"):
        load_checkpoint(tmp_path / "a.npz")


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    example(tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()

    def full(file, arrays):
        file.write(b"PK half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_arrays", full)
    with pytest.raises(
        CheckpointError, match=r"cannot be saved \(No space left on device\); the earlier one is intact"
    ):
        example(tmp_path / "a.npz")
    assert (tmp_path / "a.npz").read_bytes() == before and os.listdir(tmp_path) == ["a.npz"]


# Signals and kills

SCRIPT = """
import sys, hashlib
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.training.test_checkpoints import train
from tensorgrad.training import Interrupted
from tensorgrad._atomic import remove_partial
import tensorgrad.training.session as session
session.OVERHEAD = 0.9  # save as often as can be
import tensorgrad.training.epochs as epochs
epochs.SECONDS_BETWEEN_SAVES = 0.0
folder = Path(sys.argv[2])
remove_partial(folder)
print("ready", flush=True)
try:
    model, optimiser, history = train(folder, resume="auto", epochs=int(sys.argv[3]))
except Interrupted as stopped:
    raise SystemExit(stopped.exit_code)
print(hashlib.sha256(b"".join(a.tobytes() for a in model.state_dict().values())).hexdigest())
"""


def run_script(folder, epochs):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(ROOT), str(folder), str(epochs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        preexec_fn=heed_signals,
    )


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_saves_and_exits(tmp_path, number, code):
    with run_script(tmp_path, 100_000) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(1.0)
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == code and "finishing this step" in errors and "Traceback" not in errors
    load_checkpoint(tmp_path / LAST)


@pytest.mark.slow
def test_a_second_signal_stops_at_once(tmp_path):
    with run_script(tmp_path, 100_000) as process:
        process.stdout.readline()
        time.sleep(1.0)
        process.send_signal(signal.SIGSTOP)  # so that both are waiting when it goes on
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=20)
    assert process.returncode in (-signal.SIGINT, -signal.SIGTERM, 130, 143)
    if (tmp_path / LAST).exists():
        load_checkpoint(tmp_path / LAST)


@pytest.mark.parametrize("callbacks", [[], ["EMA"]])
def test_killed_after_the_first_best_weights_and_resumed_equals_never_killed(tmp_path, monkeypatch, callbacks):
    def averaged():
        return [tg.training.EMA(0.9) for _ in callbacks]

    class Killed(BaseException):
        pass

    def keep_and_die(session, keep=Session.keep_best):
        keep(session)
        raise Killed

    straight = train(tmp_path / "straight", callbacks=averaged())
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Session, "keep_best", keep_and_die)
        train(tmp_path / "killed", resume="auto", callbacks=averaged())
    same(train(tmp_path / "killed", resume="auto", callbacks=averaged()), straight)
    assert sorted(os.listdir(tmp_path / "killed")) == [BEST, LAST]


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_equals_never_killed(tmp_path):
    epochs = 150
    with run_script(tmp_path / "straight", epochs) as process:
        (tmp_path / "straight").mkdir()
        expected = process.communicate(timeout=120)[0].splitlines()[-1]
    rng = np.random.default_rng(0)
    folder = tmp_path / "killed"
    folder.mkdir()
    kills = 0
    for _ in range(12):
        with run_script(folder, epochs) as process:
            process.stdout.readline()
            timer = threading.Timer(rng.uniform(0.01, 0.5), process.kill)
            timer.start()
            out = process.communicate(timeout=60)[0]
            timer.cancel()
        kills += process.returncode == -signal.SIGKILL
        for name in (LAST, BEST):
            if (folder / name).exists():
                load_checkpoint(folder / name)
    with run_script(folder, epochs) as process:
        out = process.communicate(timeout=120)[0]
    assert kills >= 3
    assert out.splitlines()[-1] == expected
    assert sorted(os.listdir(folder)) == [BEST, LAST]
