"""Compiled functions: the same results, random stream and state afterwards as the plain call, no large allocations."""

import copy
import gc
import pickle
import re
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.compiler import kernels
from tensorgrad.compiler.program import Program
from tensorgrad.compiler.traced import Recorder, Traced
from tests.support import examples

pure = partial(tg.compile, pure=True)

BACK_ENDS = [False, *([True] if kernels.numba() else [])]
"""Whether runs are kernels of numba's; the tests install it, so both back ends are tested."""


def test_numba_is_there():
    assert BACK_ENDS == [False, True], "pip install -e '.[test]' brings numba, so that its kernels are tested"


def small_network(seed=0, sizes=(20, 16, 5), dtype=np.float32):
    rng = np.random.default_rng(seed)
    layers = []
    for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Dense(m, n, rng, weight_l2=1e-3, weight_l1=1e-4 if i else 0.0, dtype=dtype))
        if n != sizes[-1]:
            layers += [nn.ReLU(), nn.Dropout(0.2, np.random.default_rng(seed + 1))]
    return nn.Sequential(*layers)


def training(model, lr=3e-3, clip=None, optimiser=tg.optim.Adam):
    optimiser = optimiser(model.parameters(), lr=lr)

    def step(inputs, labels):
        optimiser.zero_grad()
        logits = model(inputs)
        loss = tg.softmax_cross_entropy(logits, labels)
        (loss + model.penalty()).backward()
        if clip:
            tg.optim.clip_gradients(optimiser.parameters, clip)
        optimiser.step()
        return loss, logits

    return step, optimiser


def batches(features, classes, count, size=32, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.standard_normal((size, features)).astype(np.float32), rng.integers(0, classes, size)


def generator_states(model):
    return [rng.bit_generator.state for _, rng in model.named_generators()]


def assert_same_state(one, other, optimiser, other_optimiser):
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters()):
        np.testing.assert_array_equal(a.data, b.data, err_msg=name)
        np.testing.assert_array_equal(a.grad, b.grad, err_msg=f"gradient of {name}")
    mine, theirs = optimiser.state_dict(), other_optimiser.state_dict()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    assert generator_states(one) == generator_states(other)


@pytest.mark.parametrize("fast", BACK_ENDS)
@pytest.mark.parametrize("name", sorted({*models.__all__} - {"cnn"}))
@pytest.mark.parametrize("steps", [20, pytest.param(200, marks=pytest.mark.deep)])
def test_every_model_over_many_steps(name, fast, steps):
    features = 28 * 28 * (3 if name == "simpsons_rgb" else 1)
    one, other = (getattr(models, name)(np.random.default_rng(0)) for _ in range(2))
    schedule = tg.optim.warm_up(tg.optim.cosine_decay(1e-3, 200), 10)
    plain, optimiser = training(one, schedule, clip=1.0)
    step, other_optimiser = training(other, schedule, clip=1.0)
    step = tg.compile(step, fast=fast)
    size = 4 if name == "simpsons_rgb" else 16
    for inputs, labels in batches(features, 10, steps if name != "simpsons_rgb" or fast else min(steps, 60), size):
        expected, found = plain(inputs, labels), step(inputs, labels)
        np.testing.assert_allclose(expected[0].data, found[0].data, rtol=1e-6)  # a sum, in another order
        np.testing.assert_array_equal(expected[1].data, found[1].data)
    assert_same_state(one, other, optimiser, other_optimiser)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_the_convolutional_model_over_many_steps(fast):
    one, other = (models.cnn(np.random.default_rng(0)) for _ in range(2))
    plain, step = training(one, 1e-3)[0], tg.compile(training(other, 1e-3)[0], fast=fast)
    for inputs, labels in batches(28 * 28, 10, 10, 16):
        images = inputs.reshape(-1, 1, 28, 28)
        expected, found = plain(images, labels), step(images, labels)
        np.testing.assert_allclose(expected[1].data, found[1].data, rtol=1e-4, atol=1e-4)  # sums in another order
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters()):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("fast", BACK_ENDS)
@pytest.mark.parametrize(
    "optimiser",
    [tg.optim.SGD, lambda p, lr: tg.optim.SGD(p, lr, momentum=0.9), tg.optim.Adam],
    ids=["sgd", "m", "adam"],
)
def test_both_dtypes_all_optimisers_and_a_smaller_last_batch(optimiser, fast):
    for dtype in (np.float32, np.float64):
        one, other = small_network(dtype=dtype), small_network(dtype=dtype)
        plain, first = training(one, 1e-2, optimiser=optimiser)
        step, second = training(other, 1e-2, optimiser=optimiser)
        step = tg.compile(step, fast=fast)
        for size in (32, 32, 7, 32, 7, 1):
            for inputs, labels in batches(20, 5, 2, size):
                expected, found = plain(inputs, labels), step(inputs, labels)
                np.testing.assert_allclose(expected[0].data, found[0].data, rtol=1e-6)
                np.testing.assert_array_equal(expected[1].data, found[1].data)
        assert_same_state(one, other, first, second)


def test_penalties_in_the_loss_differ_by_rounding_at_most():
    for fast in BACK_ENDS:
        values = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
        weight = tg.Tensor(values, requires_grad=True)
        with tg.no_grad():
            expected = float(np.square(values, dtype=np.float64).sum())
            found = pure(lambda w: np.square(w).sum(), fast=fast)(weight)
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_training_mode_is_noticed():
    model = small_network()
    with tg.no_grad():
        predict = tg.compile(lambda x: model(x))
        x = np.ones((3, 20), np.float32)
        dropped = predict(x).data
        model.eval()
        np.testing.assert_array_equal(predict(x).data, model(x).data)
        model.train()
        assert not np.array_equal(predict(x).data, dropped)


def test_other_attributes_that_a_step_depends_on_are_noticed():
    model = nn.Sequential(nn.Dropout(0.5, np.random.default_rng(0)))
    predict = tg.compile(lambda x: model(x))
    x = np.ones(1000)
    assert (np.asarray(predict(x)) == 0).mean() == pytest.approx(0.5, abs=0.1)
    model.layers[0].rate = 0.0
    assert (np.asarray(predict(x)) == 0).mean() == 0
    weight = tg.Tensor(np.ones(3), requires_grad=True)
    optimiser = tg.optim.SGD([weight], lr=1.0)
    for lr in (1.0, 0.5, lambda step: 0.25):
        optimiser.lr = lr
        weight.grad = np.ones(3)
        before = weight.data.copy()
        optimiser.step()
        np.testing.assert_array_equal(before - weight.data, lr(0) if callable(lr) else lr)


def test_frozen_parameters_are_noticed():
    model = small_network()
    step = tg.compile(training(model)[0])
    for inputs, labels in batches(20, 5, 3):
        step(inputs, labels)
    frozen = model.layers[0].weight
    frozen.requires_grad, frozen.grad = False, None
    before = frozen.data.copy()
    for inputs, labels in batches(20, 5, 3):
        step(inputs, labels)
    np.testing.assert_array_equal(frozen.data, before)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_parameters_that_are_frozen_no_longer_are_noticed(calls):
    def trained(decorate):
        parameters = [tg.Tensor(np.ones(3), requires_grad=True), tg.Tensor(np.full(3, 2.0))]

        def step(x):
            for parameter in parameters:
                parameter.zero_grad()
            (parameters[0] * parameters[1] * x).sum().backward()
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.data = parameter.data - 0.1 * parameter.grad

        step = decorate(step)
        for call in range(calls + 2):
            parameters[1].requires_grad = call >= calls
            step(np.array(1.0))
        return [parameter.data for parameter in parameters]

    np.testing.assert_array_equal(trained(tg.compile), trained(lambda step: step))


def test_loaded_weights_are_used():
    one, other = small_network(), small_network(3)
    for model in (one, other):
        model.eval()
    with tg.no_grad():
        predict = tg.compile(lambda x: one(x))
        x = np.random.default_rng(0).standard_normal((4, 20)).astype(np.float32)
        predict(x)
        one.load_state_dict(other.state_dict())
        np.testing.assert_array_equal(predict(x).data, other(x).data)
        predict(x)
        one.layers[0].weight.data[...] = 0
        np.testing.assert_array_equal(predict(x).data, one(x).data)


def test_gradients_accumulate_where_they_are_not_forgotten():
    x = np.array([1.0, 2.0])
    weights = [tg.Tensor(np.ones(2), requires_grad=True) for _ in range(2)]

    def step(weight, x):
        (weight * x).sum().backward()

    compiled = tg.compile(step)
    for _ in range(4):
        step(weights[0], x)
        compiled(weights[1], x)
        np.testing.assert_array_equal(weights[0].grad, weights[1].grad)
    weights[1].grad = None
    compiled(weights[1], x)
    np.testing.assert_array_equal(weights[1].grad, x)


def test_gradients_of_two_parameters_are_two_arrays():
    a, b = (tg.Tensor(np.ones(3), requires_grad=True) for _ in range(2))

    @tg.compile
    def step():
        a.zero_grad(), b.zero_grad()
        (a + b).sum().backward()

    for _ in range(3):
        step()
        assert not np.shares_memory(a.grad, b.grad)
        a.grad += 1


def test_state_in_tensors():
    total, swapped = tg.Tensor(np.zeros(3)), tg.Tensor(np.ones(3))

    @tg.compile
    def step(x):
        before = total.data
        total.data = swapped.data + x
        swapped.data = before
        return total.data * 2

    a, b = np.zeros(3), np.ones(3)
    for k in range(4):
        x = np.full(3, float(k))
        a, b = b + x, a
        np.testing.assert_array_equal(step(x), a * 2)
        np.testing.assert_array_equal(total.data, a)
        np.testing.assert_array_equal(swapped.data, b)


def test_the_users_array_is_not_written_into():
    mine = np.ones(3)
    state = tg.Tensor(mine)

    @tg.compile
    def step():
        state.data = state.data + 1

    step(), step(), step()
    np.testing.assert_array_equal(mine, 1)
    np.testing.assert_array_equal(state.data, 4)


def test_what_is_returned_is_the_callers():
    double = pure(lambda x: {"twice": x * 2, "tuple": (x, 3, None), "tensor": tg.Tensor(x)})
    x = np.arange(3.0)
    first = double(x)
    double(x + 1)
    np.testing.assert_array_equal(first["twice"], [0, 2, 4])
    assert first["tuple"][1:] == (3, None) and type(first["twice"]) is np.ndarray
    first["tuple"][0][...] = 9
    np.testing.assert_array_equal(x, [0, 1, 2])
    assert isinstance(first["tensor"], tg.Tensor)


def test_arguments_of_all_kinds():
    @pure
    def function(pair, *, scale, options):
        x, y = pair
        return np.exp(x) * scale + options["shift"] * y

    x = np.random.default_rng(0).standard_normal((3, 4))
    for layout in (x, np.asfortranarray(x), x[::-1], x.astype(np.float32), x[:, :2], x[:0]):
        for _ in range(3):
            found = function((layout, np.float32(2)), scale=3, options={"shift": np.float64(0.5)})
            np.testing.assert_allclose(
                found, np.exp(layout) * 3 + 1.0, rtol=1e-6 if layout.dtype == np.float32 else 1e-15
            )
            assert found.dtype == (np.exp(layout) * 3 + np.float64(0.5) * np.float32(2)).dtype


def test_decides_by_value_of_plain_arguments():
    power = pure(lambda x, n: x**n)
    for n in (1, 2, 3, 2, 1, 0.5, -1, True):
        np.testing.assert_array_equal(power(np.array([1.0, 2.0]), n), np.array([1.0, 2.0]) ** n)


def test_higher_derivatives_inside():
    def second(x):
        x = tg.Tensor(x, requires_grad=True)
        slope = tg.gradients((x**3).sum(), x, create_graph=True)
        return tg.gradients(slope.sum(), x).data

    compiled = tg.compile(second)
    for x in ([1.0, 2.0], [3.0, -1.0], [0.5, 0.0]):
        np.testing.assert_array_equal(compiled(np.array(x)), second(np.array(x)))


def test_a_step_is_recorded_without_its_work(monkeypatch):
    computed, products = Recorder.ufunc, []

    def noted(self, ufunc, inputs):
        products.append(computed(self, ufunc, inputs))
        return products[-1]

    monkeypatch.setattr(Recorder, "ufunc", noted)
    step, _ = training(small_network())
    pure(step)(*next(batches(20, 5, 1)))
    large = [product for product in products if product.size > 5 * 32]
    assert len(large) > 10
    assert all(product.compute is not None for product in large)


def test_checks_come_before_changes():
    model = small_network()
    step, optimiser = training(model)
    step = pure(step)
    for inputs, labels in batches(20, 5, 3):
        step(inputs, labels)
    before = copy.deepcopy(model.state_dict())
    steps, state = optimiser.steps, copy.deepcopy(optimiser.state_dict())
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.4 for 5 classes, got 7"):
        step(inputs, np.full(32, 7))
    assert optimiser.steps == steps
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    for name, value in optimiser.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_a_step_inside_another_is_part_of_it():
    inner = pure(lambda x: np.tanh(x) * 2)
    outer = pure(lambda x: inner(x) + inner(x + 1))
    x = np.array([0.5, 1.0])
    for _ in range(3):
        np.testing.assert_array_equal(outer(x), np.tanh(x) * 2 + np.tanh(x + 1) * 2)


def test_an_error_while_recording_leaves_everything_as_it_was():
    weight = tg.Tensor(np.ones(3), requires_grad=True)
    weight.grad = np.full(3, 5.0)

    @pure
    def step(x):
        weight.zero_grad()
        (weight * x).sum().backward()
        weight.data = weight.data - weight.grad
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        step(np.ones(3))
    np.testing.assert_array_equal(weight.data, 1)
    np.testing.assert_array_equal(weight.grad, 5)
    ((weight * 2).sum()).backward()
    np.testing.assert_array_equal(weight.grad, 7)


def test_a_history_made_before_the_step_is_stale_after_it():
    weight = tg.Tensor(np.ones(3), requires_grad=True)
    optimiser = tg.optim.SGD([weight], lr=0.1)

    @tg.compile
    def step():
        optimiser.zero_grad()
        (weight * weight).sum().backward()
        optimiser.step()

    step(), step()
    loss = (weight * weight).sum()
    step()
    with pytest.raises(RuntimeError, match="changed after it was used"):
        loss.backward()


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_steady_state_allocates_nothing_large(fast):
    model = small_network(sizes=(300, 256, 10))
    step, _ = training(model)
    step = pure(lambda x, y, run=step: run(x, y)[0], fast=fast)
    inputs, labels = next(batches(300, 10, 1, 128))
    for _ in range(3):
        step(inputs, labels)
    largest = 128 * 256 * 4
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step(inputs, labels)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < largest  # the random words of the masks, half as many bytes, are drawn again


def test_threads_take_turns():
    weight = tg.Tensor(np.zeros(1000), requires_grad=True)
    optimiser = tg.optim.SGD([weight], lr=1.0)

    @tg.compile
    def step(x):
        optimiser.zero_grad()
        (weight * x).sum().backward()
        optimiser.step()

    step(np.ones(1000)), step(np.ones(1000))
    threads = [threading.Thread(target=lambda: [step(np.ones(1000)) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(weight.data, -202)


def test_copies_and_pickles():
    optimiser = tg.optim.Adam([tg.Tensor(np.ones(3), requires_grad=True)])

    def step(each):
        each.parameters[0].grad = np.ones(3)
        each.step()

    step(optimiser)
    others = copy.deepcopy(optimiser), pickle.loads(pickle.dumps(optimiser))
    for each in (optimiser, *others):
        step(each)
    for other in others:
        assert other.parameters[0].data is not optimiser.parameters[0].data
        np.testing.assert_array_equal(other.parameters[0].data, optimiser.parameters[0].data)


def test_explain_shows_the_program():
    model = small_network()
    step, _ = training(model)
    step = pure(step)
    assert "call it first" in step.explain()
    inputs, labels = next(batches(20, 5, 1))
    text = step.explain(inputs, labels)
    assert "matmul" in text and "run of" in text and "MB of buffers" in text and "32x16" in text
    making = re.findall(r"[a-zP' ]+ (\d+\.\d)", text.splitlines()[1])
    assert len(making) == 5 and any(float(milliseconds) for milliseconds in making)
    milliseconds = [float(line.split()[4]) for line in text.splitlines()[3:]]
    assert len(milliseconds) > 10 and sum(milliseconds) > 0


def buffers(compiled):
    """The memory of all programs, by the array that owns it."""
    arrays = [array for executable in compiled._executables() for array in executable.memory.arrays.values()]
    return {id(array.base): array.base.nbytes for array in arrays}


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize(
    "function",
    [lambda x: np.sign(2 * x) + x, lambda x: 3 * np.sign(np.exp(x @ np.eye(4)) - 1)],
    ids=["temporary", "buffer"],
)
def test_a_sign_is_not_taken_in_place(function, size):
    """NumPy's takes ten times as long there."""
    signs = pure(function, fast=False)
    x = tg.Tensor(np.random.default_rng(0).standard_normal((size // 4, 4)))
    expected = signs(x)
    (executable,) = signs._executables()
    calls = []

    def sign(operand, out):
        calls.append(np.shares_memory(operand, out))
        return np.sign(operand, out)

    executable._space["np_sign"] = sign
    assert np.array_equal(signs(x), expected) and np.array_equal(expected, function(x))
    assert calls and not any(calls)


@pytest.mark.filterwarnings("ignore:step. compiled for the 16th time")
@pytest.mark.parametrize("is_pure", [False, True])
@pytest.mark.parametrize("fast", BACK_ENDS)
def test_programs_for_many_sizes_share_their_memory(is_pure, fast):
    start = np.random.default_rng(0).standard_normal((300, 200))

    def step_of(weight, bias):
        def step(x, forgets):
            if forgets:
                weight.grad = bias.grad = None
            loss = np.square(np.tanh(x @ weight + bias)).mean() + 1e-3 * np.square(weight).sum()
            loss.backward()
            return loss.detach()

        return step

    plain, compiled = ([parameter(start.copy()), parameter(np.zeros(200))] for _ in range(2))
    eager, step = step_of(*plain), tg.compile(step_of(*compiled), pure=is_pure, fast=fast)
    rng, largest = np.random.default_rng(1), 0
    for count in [*range(20, 0, -1), *range(1, 21), *range(20, 0, -1)]:
        for forgets in (True, False) if count % 7 == 0 else (True,):
            x = rng.standard_normal((count, 300))
            np.testing.assert_allclose(step(x, forgets).data, eager(x, forgets).data, rtol=1e-12)
            for one, other in zip(plain, compiled):
                found = other.grad if count % 2 else other._grad  # where what the program has written is left to it
                np.testing.assert_allclose(found, one.grad, rtol=1e-9, atol=1e-15)
        largest = largest or sum(buffers(step).values())
    assert len(step._executables()) > 20
    assert sum(buffers(step).values()) < 6 * largest


@pytest.mark.filterwarnings("ignore:step. compiled for the 16th time")
def test_gradients_of_leaves_that_are_gone_take_no_memory():
    def step(weight):
        np.square(weight).sum().backward()

    compiled = tg.compile(step, pure=True)
    for _ in range(200):
        compiled(tg.Tensor(np.ones(1000), requires_grad=True))
    gc.collect()
    assert len(compiled._workspace._gradients) <= len(compiled._executables()) <= 64


@pytest.mark.parametrize("is_pure", [False, True])
def test_reading_gradients_is_looked_for_once_for_all_leaves(is_pure, monkeypatch):
    leaves = [parameter(1.0 + i) for i in range(30)]
    calls = []
    find = Program.results
    monkeypatch.setattr(Program, "results", lambda program: calls.append(program) or find(program))

    def step(x):
        for leaf in leaves:
            leaf.grad = None
        sum(np.square(leaf * x).sum() for leaf in leaves).backward()

    compiled = tg.compile(step, pure=is_pure)
    for _ in range(3):
        compiled(tg.Tensor(np.ones(1)))
    assert compiled._executables() and len(calls) < 10 * len(compiled._executables())


@pytest.mark.parametrize("is_pure", [False, True])
def test_nothing_of_a_recording_stays_in_memory(is_pure):
    network = tg.nn.Sequential(tg.nn.Dense(4, 3, 0, weight_l2=0.1), tg.nn.ReLU(), tg.nn.Dropout(0.1, 0))
    optimiser = tg.optim.Adam(network.parameters(), lr=0.1)

    def step(x, labels):
        optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(network(x), labels) + network.penalty()
        loss.backward()
        optimiser.step()
        return loss

    compiled = tg.compile(step, pure=is_pure)
    gc.collect()
    before = {id(x) for x in gc.get_objects() if type(x) is Traced}
    gc.disable()
    try:
        for count in (3, 3, 4, 4):
            compiled(np.ones((count, 4), np.float32), np.zeros(count, int))
        assert compiled._executables() and not [
            x for x in gc.get_objects() if type(x) is Traced and id(x) not in before
        ]
    finally:
        gc.enable()


# Random programs


UNARY = {
    "relu": tg.relu,
    "tanh": np.tanh,
    "square": np.square,
    "negative": lambda x: -x,
    "transposed": lambda x: np.transpose(x),
    "column": lambda x: x.sum(axis=1, keepdims=True) * 0.25,
    "row": lambda x: x.mean(axis=0),
    "largest": lambda x: x.max(axis=1, keepdims=True) + x * 0,
    "total": lambda x: x.sum() * 0.1,
    "exp": lambda x: np.exp(np.clip(x, -2, 2)),
    "mask": lambda x: x * (x > 0.1),
    "reversed": lambda x: x[::-1],
    "half": lambda x: x.astype(np.float32).astype(np.float64),
    "reshaped": lambda x: np.reshape(np.reshape(x, -1) * 2, x.shape),
}
BINARY = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "subtract": lambda x, y: x - 0.5 * y,
    "maximum": np.maximum,
    "where": lambda x, y: np.where(x > y, x, y * 0.5),
    "matmul": lambda x, y: (x @ y) * 0.2,
    "divide": lambda x, y: x / (1 + y * y),
}


@st.composite
def programs(draw):
    """A list of instructions on a growing list of square matrices, and what is stored and returned."""
    count = draw(st.integers(2, 12))
    lines = []
    for known in range(3, 3 + count):
        if draw(st.booleans()):
            lines.append((draw(st.sampled_from(sorted(UNARY))), draw(st.integers(0, known - 1))))
        else:
            pair = draw(st.integers(0, known - 1)), draw(st.integers(0, known - 1))
            lines.append((draw(st.sampled_from(sorted(BINARY))), *pair))
    positions = st.integers(0, 2 + count)
    return draw(st.sampled_from([1, 3, 4])), lines, draw(st.lists(positions, min_size=1, max_size=3)), draw(positions)


def interpreted(program, state, weight):
    size, lines, returned, stored = program

    def whole(x):
        return x + np.zeros((size, size))

    def step(x):
        weight.zero_grad()
        values = [tg.Tensor(x), state, weight]
        for name, *operands in lines:
            function = UNARY.get(name) or BINARY[name]
            values.append(whole(function(*(values[i] for i in operands))))
        loss = sum(value.mean() for value in values[2:])
        loss.backward()
        state.data = whole(values[stored].detach().data * 0.5)
        weight.data = weight.data - 0.1 * weight.grad
        return [values[i].detach().data for i in returned], loss.detach()

    return step


@pytest.mark.slow
@pytest.mark.parametrize("fast", BACK_ENDS)
def test_random_programs(fast):
    @settings(max_examples=examples(40 if fast else 200), deadline=None, database=None)
    @given(programs())
    def check(program):
        size = program[0]
        rng = np.random.default_rng(0)
        start = rng.standard_normal((2, size, size))
        worlds = [(tg.Tensor(start[0].copy()), tg.Tensor(start[1].copy(), requires_grad=True)) for _ in range(2)]
        plain = interpreted(program, *worlds[0])
        compiled = tg.compile(interpreted(program, *worlds[1]), fast=fast)
        for _ in range(3):
            x = rng.standard_normal((size, size))
            for one, other in zip(plain(x)[0], compiled(x)[0]):
                np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
            for one, other in zip(*worlds):
                np.testing.assert_allclose(other.data, one.data, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(worlds[1][1].grad, worlds[0][1].grad, rtol=1e-12, atol=1e-12)

    with np.errstate(all="ignore"):
        check()


@pytest.mark.slow
@pytest.mark.parametrize("fast", BACK_ENDS)
def test_operands_of_random_shapes_that_broadcast(fast):
    """Of which none may have the shape of the results."""
    lengths = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
    has_axis = st.tuples(*[st.sampled_from(((True, False), (False, True), (True, True)))] * 3)

    @settings(max_examples=examples(40), deadline=None, database=None)
    @given(lengths, has_axis, st.booleans())
    def check(shape, has_axis, keeps):
        rng = np.random.default_rng(0)
        shapes = [tuple(n if has[operand] else 1 for n, has in zip(shape, has_axis)) for operand in (0, 1)]
        x, y, scale = (rng.integers(0, 3, s).astype(float) for s in (*shapes, ()))

        def function(x, y, scale):
            product = (x == y) * 1.0 * scale + x
            return (product, product.sum()) if keeps else product.sum()

        expected, found = function(x, y, scale), pure(function, fast=fast)(x, y, scale)
        for a, b in zip(expected, found) if keeps else [(expected, found)]:
            np.testing.assert_allclose(b, a, rtol=1e-14)

    check()


@pytest.mark.parametrize("fast", BACK_ENDS)
@pytest.mark.parametrize("shape", [(70_000,), (300, 400), (3, 50_000), (2, 3, 30_000), (100_001, 1)])
def test_large_runs_are_done_in_blocks(shape, fast):
    rng = np.random.default_rng(0)
    x, scale = rng.standard_normal(shape), rng.standard_normal(shape[-1:])
    state = tg.Tensor(rng.standard_normal(shape))

    def function(x, scale):
        y = np.where(x > 0, x * scale, 0.5 * x) + state.data
        state.data = y * 0.25 + x
        return (y * y + 1).sum(), np.maximum(y - 1, 0)

    expected, data = [], state.data.copy()
    for _ in range(3):
        y = np.where(x > 0, x * scale, 0.5 * x) + data
        data = y * 0.25 + x
        expected.append(((y * y + 1).sum(), np.maximum(y - 1, 0)))
    compiled = pure(function, fast=fast)
    for total, rest in expected:
        found = compiled(x, scale)
        assert found[0] == pytest.approx(total, rel=1e-12)
        np.testing.assert_array_equal(found[1], rest)
    np.testing.assert_array_equal(state.data, data)


# What a hostile reader found


X = np.array([1.0, -2.0, 3.0])


def parameter(*values):
    data = values[0] if isinstance(values[0], np.ndarray) else np.array(values, float)
    return tg.Tensor(data, requires_grad=True)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_a_choice_that_keeps_the_old_value(fast):
    state, mask = tg.Tensor(np.zeros(3)), np.array([True, False, True])

    @pure
    def step(mask, x):
        state.data = np.where(mask, state.data, x)

    for k in range(3):
        step(mask, np.full(3, k + 5.0))
    np.testing.assert_array_equal(state.data, [0, 7, 0])


def test_tensors_with_gradients_are_told_apart():
    function = pure(lambda a, b: (a * b * X).sum().detach())
    a, b = parameter(1, 2, 3), parameter(4, 5, 6)
    for first, second in ((a, a), (a, a), (a, b), (b, a), (a, b)):
        assert function(first, second).item() == (first.data * second.data * X).sum()
    collect = pure(lambda a: (a * a).sum().backward())
    for tensor in (a, a, b, a, b):
        before = 0 if tensor.grad is None else tensor.grad.copy()
        collect(tensor)
        np.testing.assert_array_equal(tensor.grad, before + 2 * tensor.data)
    with pytest.raises(tg.CaptureError, match="computed outside"):
        collect(a * 2)
    same = pure(lambda a: a)
    assert same(a) is a and same(b) is b


def test_arguments_that_are_the_memory_of_a_parameter():
    weights = [parameter(1, 2, 3), parameter(1, 2, 3)]

    def steps(w):
        def step(x):
            w.zero_grad()
            (w * w * w).sum().backward()
            w.data = w.data * 2 - x * 0.5
            return np.abs(x).sum() + x[::-1]

        return step

    plain, compiled = steps(weights[0]), tg.compile(steps(weights[1]))
    for choose in (lambda w: X, lambda w: X, lambda w: w.data, lambda w: w.data[::-1], lambda w: w.grad):
        expected = plain(choose(weights[0]).copy())
        np.testing.assert_array_equal(compiled(choose(weights[1])), expected)
        np.testing.assert_array_equal(weights[0].data, weights[1].data)


def test_constants_are_told_apart():
    x = X.astype(np.float32)
    one, other = pure(lambda x: (x * 2.1, x * np.float64(2.1)))(x)
    assert one.dtype == np.float32 and other.dtype == np.float64
    with np.errstate(divide="ignore"):
        plus, minus = pure(lambda x: (1 / (x * np.float32(0.0)), 1 / (x * np.float32(-0.0))))(x)
        np.testing.assert_array_equal(plus, -minus)
        signed = pure(lambda x, s: 1 / (x * s))
        np.testing.assert_array_equal(signed(X, 0.0), -signed(X, -0.0))

    def many(x):
        return [x * np.broadcast_to(np.float64(k), (3,)) for k in range(50)]

    for one, other in zip(pure(many)(X), many(X)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_arrays_from_outside_are_read_where_they_are(fast):
    scale, shift = np.array(2.0), np.zeros(3)
    function = pure(lambda x: x * scale + shift, fast=fast)
    for k in range(4):
        scale[...], shift[...] = k, 10 * k
        np.testing.assert_array_equal(function(X), X * k + 10 * k)


def test_gradients_read_and_written_directly():
    weight = parameter(1, 2, 3)
    weight.grad = np.ones(3)

    @tg.compile
    def descend():
        weight.data = weight.data - 0.5 * weight.grad

    expected = weight.data.copy()
    for k in range(4):
        weight.grad = np.full(3, k + 1.0)
        descend()
        expected -= 0.5 * (k + 1)
        np.testing.assert_array_equal(weight.data, expected)

    @tg.compile
    def forget(x):
        weight.grad = None
        (weight * x).sum().backward()

    for k in range(80):
        forget(X + k)
        np.testing.assert_array_equal(weight.grad, X + k)

    @tg.compile
    def write(x):
        weight.grad = x * 2

    for k in range(3):
        write(X + k)
        np.testing.assert_array_equal(weight.grad, 2 * (X + k))


def test_a_replaced_generator_is_used():
    layer = nn.Dropout(0.5, np.random.default_rng(0))
    function = pure(lambda x: layer(x))
    x = np.ones(64)
    for seed in (0, 1, 2, 2):
        layer.rng = np.random.default_rng(seed)
        found = function(x)
        np.testing.assert_array_equal(found, tg.dropout(x, 0.5, np.random.default_rng(seed)))


def test_a_users_op_that_draws():
    op = tg.declare(
        "noise",
        lambda x, *, rng=None: x + rng.standard_normal(x.shape),
        lambda g, out, x, rng: g,
        sample=tg.samples.unary(),
        opaque=True,
    )
    try:
        one, other = np.random.default_rng(0), np.random.default_rng(0)
        function = pure(lambda x: op(x, rng=one))
        for _ in range(4):
            np.testing.assert_array_equal(function(X), op(X, rng=other))
    finally:
        del tg.OPS["noise"]


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_whole_numbers_stay_exact(fast):
    x = np.array([2**60 + 1, 2, 4])
    assert pure(lambda x: (x * 1 + 0).sum(), fast=fast)(x) == x.sum()


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_signs_of_zero_and_nan(fast):
    values = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0] * 3)
    for dtype in (np.float32, np.float64):
        x, y = (a.astype(dtype) for a in np.meshgrid(values, values))
        for function in (np.maximum, np.minimum, lambda x, y: tg.relu(x) + 0 * y, lambda x, y: np.sign(x) * y, np.abs):
            f = (lambda x, y: np.abs(x) * 1) if function is np.abs else (lambda x, y, f=function: f(x, y) * 1)
            with np.errstate(invalid="ignore"):
                one, other = f(x, y), pure(f, fast=fast)(x, y)
            np.testing.assert_array_equal(one, other)
        for axis in (0, 1):
            zeros = np.full((5, 12), -0.0, dtype)
            found = pure(lambda x, axis=axis: x.sum(axis=axis), fast=fast)(zeros)
            np.testing.assert_array_equal(np.signbit(found), np.signbit(zeros.sum(axis=axis)))


def test_returned_constants_are_fresh():
    function = pure(lambda x: (x * 2, np.zeros(3), tg.Tensor(np.ones(3))))
    for _ in range(3):
        _, zeros, ones = function(X)
        np.testing.assert_array_equal(zeros, 0)
        np.testing.assert_array_equal(ones.data, 1)
        zeros[:] = 7
        ones.data[:] = 7


def test_a_returned_leaf_has_its_gradient():
    def saliency(x):
        inputs = tg.Tensor(x, requires_grad=True)
        (inputs * inputs).sum().backward()
        return inputs

    compiled = tg.compile(saliency)
    for k in range(3):
        found = compiled(X + k)
        assert found.requires_grad
        np.testing.assert_array_equal(found.grad, 2 * (X + k))


def test_parameters_that_take_turns():
    worlds = []
    for _ in range(2):
        a, b = parameter(1, 2, 3), parameter(1, 2, 3)
        worlds.append((a, b, tg.optim.Adam([a, b])))
    for k in range(150):
        for a, b, optimiser in worlds:
            a.grad, b.grad = np.ones(3), np.ones(3) if k % 3 == 0 else None
            optimiser.step()
    assert worlds[0][2].updates == [150, 50]
    np.testing.assert_array_equal(worlds[0][1].data, worlds[1][1].data)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_conditions_that_are_numbers_and_foreign_byte_order(fast):
    function = pure(lambda c, a: np.where(c, a, 0.5) * 1 + a, fast=fast)
    for condition in (np.array([0.0, 1.0, np.nan]), np.array([0, 2, 0]), X > 0):
        for values in (X, X.astype(">f8"), X.astype(np.float32)):
            np.testing.assert_array_equal(function(condition, values), np.where(condition, values, 0.5) * 1 + values)


def test_replaced_attributes_are_noticed():
    class Scaled(nn.Module):
        def __init__(self):
            self.dense, self.factor = nn.Dense(3, 2, np.random.default_rng(0)), 2.0

        def forward(self, x):
            return self.dense(x) * self.factor

    model = Scaled()
    x = np.ones((1, 3), np.float32)
    with tg.no_grad():
        predict = tg.compile(lambda x: model(x))
        for change in (
            lambda: None,
            lambda: setattr(model, "factor", 3.0),
            lambda: setattr(model.dense, "weight", tg.Tensor(np.ones((3, 2), np.float32), requires_grad=True)),
            lambda: setattr(model, "dense", nn.Dense(3, 2, np.random.default_rng(1))),
            lambda: None,
        ):
            change()
            for _ in range(3):
                np.testing.assert_array_equal(predict(x).data, model(x).data)


def test_an_optimiser_with_a_setting_of_its_own():
    class Decayed(tg.optim.SGD):
        decay = 0.0

        def _update(self, numbers, value, gradient, *state, **settings):
            return super()._update(numbers, value * (1 - self.decay), gradient, *state, **settings)

    weight = parameter(1, 2, 3)
    optimiser = Decayed([weight], lr=1.0)
    for decay in (0.0, 0.0, 0.5, 0.5, 0.0):
        optimiser.decay = decay
        weight.grad, before = np.ones(3), weight.data.copy()
        optimiser.step()
        np.testing.assert_array_equal(weight.data, before * (1 - decay) - 1)


@pytest.mark.parametrize("fast", BACK_ENDS)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64])
def test_whole_numbers_overflow_as_those_of_numpy(dtype, fast):
    limits = np.iinfo(dtype)
    x = np.array([limits.max, limits.min, 1, 0, 3, limits.max // 2 + 1], dtype)
    y = x[::-1].copy()
    for function in (
        lambda x, y: x * y + x,
        lambda x, y: (x - y) * x,
        lambda x, y: np.square(x) + y * 3,
        lambda x, y: -x + abs(y),
        lambda x, y: np.maximum(x, y) * (x < y),
        lambda x, y: (x * y).sum(),
    ):
        with np.errstate(over="ignore"):
            found, expected = pure(function, fast=fast)(x, y), function(x, y)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
