"""What a compiled function cannot do: each raises, says what to do instead, and leaves everything as it was."""

import itertools
import random
import time
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

pure = partial(tg.compile, pure=True)


def weight():
    return tg.Tensor(np.array([1.0, 2.0]), requires_grad=True)


X = np.array([0.5, -1.0])

READING_VALUES = {
    "if": (lambda x: x if x.sum() > 0 else -x, "choose with np.where"),
    "if on a tensor": (lambda x: 1 if tg.Tensor(x).sum() > 0 else 0, "choose with np.where"),
    "item": (lambda x: tg.Tensor(x).sum().item(), r"call \.item\(\) outside"),
    "float": (lambda x: float(tg.Tensor(x).sum()), "outside"),
    "float of what has a gradient": (lambda x: float((weight() * x).sum()), "return it|return the tensor"),
    "array of what has a gradient": (lambda x: np.asarray(weight() * x), "return it and convert it outside"),
    "int": (lambda x: int(tg.Tensor(x).sum()), "outside"),
    "asarray": (lambda x: np.asarray(tg.Tensor(x)), "use NumPy's functions on it as it is"),
    "tolist": (lambda x: x.tolist(), "outside"),
    "range": (lambda x: [x for _ in range(x.astype(int)[0])], "index with the array itself"),
    "writing": (lambda x: x.__setitem__(0, 1.0), "np.where"),
    "out=": (lambda x: np.add(x, 1, out=np.zeros(2)), "compute a new one"),
    "mean(out=)": (lambda x: x.mean(out=np.zeros(())), "use the result that it returns"),
    "np.mean(out=)": (lambda x: np.mean(x, out=np.zeros(())), "use the result that it returns"),
    "in place": (lambda x: x.__iadd__(1), "compute a new one"),
    "ufunc.at": (lambda x: np.add.at(np.zeros(2), [0, 0], x), "compute a new one"),
    "a property": (lambda x: x.flat[0], "use np.flat or another"),
}


@pytest.mark.parametrize("case", READING_VALUES)
def test_what_reads_or_writes_values(case):
    function, remedy = READING_VALUES[case]
    with pytest.raises(tg.CaptureError, match=remedy):
        pure(function)(X)


GENERATOR, LEGACY, OF_PYTHON = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)


def test_a_result_with_a_history():
    w = weight()
    with pytest.raises(tg.CaptureError, match=r"backward inside the compiled function, compile the derivative"):
        pure(lambda x: (w * x).sum())(X)
    assert pure(lambda x: (w * x).sum().detach())(X).item() == -1.5
    with tg.no_grad():
        assert pure(lambda x: (w * x).sum())(X).item() == -1.5


def test_a_history_from_outside():
    w = weight()
    outside = w * 2
    with pytest.raises(tg.CaptureError, match="compute it inside"):
        pure(lambda x: (outside * x).sum().backward())(X)
    outside.sum().backward()
    np.testing.assert_array_equal(w.grad, 2)


def test_setting_the_mode():
    model = nn.Sequential(nn.Dense(2, 2), nn.Dropout(0.5))

    @pure
    def predict(x):
        return model.eval()(x).detach()

    with pytest.raises(tg.CaptureError, match="set it before the call"):
        predict(X)
    assert all(module.training for module in model.modules())


def test_arguments_that_are_neither_arrays_nor_hashable():
    with pytest.raises(tg.CaptureError, match=r"pass arrays .*, Tensors"):
        pure(lambda x: x)({1, 2})


def states():
    return [
        GENERATOR.bit_generator.state,
        LEGACY.get_state(),
        OF_PYTHON.getstate(),
        np.random.get_state(),  # noqa: NPY002
        random.getstate(),
    ]


def set_states(states):
    GENERATOR.bit_generator.state = states[0]
    LEGACY.set_state(states[1])
    OF_PYTHON.setstate(states[2])
    np.random.set_state(states[3])  # noqa: NPY002
    random.setstate(states[4])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + GENERATOR.standard_normal(2),
        lambda x: x[::-1] if GENERATOR.random() < 0.5 else x,
        lambda x: x if LEGACY.rand() < 0.5 else -x,
        lambda x: x if OF_PYTHON.random() < 0.5 else -x,
        lambda x: x if np.random.rand() < 0.5 else -x,  # noqa: NPY002
        lambda x: x if random.random() < 0.5 else -x,
    ],
)
def test_random_numbers_drawn_in_python(function):
    """Not refused where the function is not promised to be pure: Python draws them."""
    before, step, x = states(), tg.compile(function), tg.Tensor(X)
    found = [step(x).tolist() for _ in range(6)]
    set_states(before)
    assert found == [function(x).tolist() for _ in range(6)]


def test_what_python_counts_and_prints(capsys):
    numbers, state = itertools.count(), tg.Tensor(np.zeros(2))

    @tg.compile
    def step(x):
        print("called")
        state.data = np.full(2, time.perf_counter())
        y = x * next(numbers)
        return (y + 1 if next(numbers) % 4 == 1 else y), np.full(2, time.perf_counter()), next(numbers)

    last = 0.0
    for call in range(5):
        y, now, count = step(tg.Tensor(X))
        assert y.tolist() == (X * 3 * call + ((3 * call + 1) % 4 == 1)).tolist()
        assert now[0] > state.data[0] > last and count == 3 * call + 2
        last = now[0]
    assert capsys.readouterr().out == "called\n" * 5


def test_many_programs():
    """Not refused, but to be known: the oldest make way, and the user is told."""
    scaled = pure(lambda x, n: x * n)
    with pytest.warns(RuntimeWarning, match="16th time, now because of other shapes.* numbers as 0-d arrays"):
        for n in range(100):
            np.testing.assert_array_equal(scaled(X, n), X * n)
    assert sum(map(len, scaled._programs.values())) == 64


def test_a_method_of_a_class():
    class Trainer:
        @pure
        def step(self, x):
            return x

    with pytest.raises(TypeError, match=r"tg\.compile\(instance\.method\)"):
        Trainer().step(X)


def test_what_is_no_function():
    with pytest.raises(TypeError, match="takes a function"):
        pure(3)


def doubled_in_place(x):
    y = tg.Tensor(x) + 0
    y[y > 0] *= 2
    return y


SHAPES_FROM_VALUES = {
    "mask": lambda x: x[x > 0].mean(),
    "mask and more": lambda x: np.sqrt(x[x > 0] * 2 + 1),
    "unique": lambda x: np.unique(x) * 2,
    "repeat": lambda x: np.repeat(x, (x > 0).astype(int)),
    "assignment by a mask": lambda x: doubled_in_place(x).sum(),
    "mask with a gradient": lambda x: (weight() * x)[x > 0].mean().detach(),
}


@pytest.mark.parametrize("case", SHAPES_FROM_VALUES)
def test_shapes_that_depend_on_values(case):
    """Found at the first call where the shape is another one."""
    function = pure(SHAPES_FROM_VALUES[case])
    for _ in range(3):
        np.testing.assert_array_equal(np.asarray(function(X)), np.asarray(SHAPES_FROM_VALUES[case](X)))
    with pytest.raises(tg.CaptureError, match=r"shapes cannot depend on values: .* np.where\(mask, value, x\)"):
        function(np.array([1.0, 1.0]))


@pytest.mark.parametrize(
    "function", [lambda x: np.allclose(x, X), lambda x: np.array_equal(x, X), lambda x: np.copyto(np.zeros(2), x)]
)
def test_functions_that_give_no_array(function):
    with pytest.raises(tg.CaptureError, match="do it outside"):
        pure(lambda x: (function(x), x * 2))(X)


def test_assigning_to_an_argument():
    def step(state, x):
        state.data = state.data + x

    with pytest.raises(tg.CaptureError, match="refer to it by name"):
        pure(step)(tg.Tensor(np.zeros(2)), X)


def test_an_array_that_was_the_memory_of_what_is_assigned_to_stays_as_it_is():
    states = []
    for compiled in (False, True):
        state = tg.Tensor(np.ones(2))
        alias = state.data

        def step(state=state, alias=alias):
            state.data = state.data + alias

        step = pure(step) if compiled else step
        for _ in range(3):
            step()
        states.append((state.data.tolist(), alias.tolist()))
    assert states == [([4, 4], [1, 1])] * 2


def test_what_a_replay_writes_is_not_what_was_handed_out():
    w = tg.Tensor(np.ones(2), requires_grad=True)
    optimiser = tg.optim.SGD([w], lr=0.5)

    @pure
    def step():
        optimiser.zero_grad()
        (w * w).sum().backward()
        optimiser.step()

    seen, gradients = [], []
    for start in (1.0, 2.0, 3.0):
        w.data = np.full(2, start)
        step()
        seen.append(w.data)
        gradients.append(w.grad)
        loss = (w * w).sum()
    assert [array.tolist() for array in seen] == [[0, 0]] * 3
    assert [array.tolist() for array in gradients] == [[2, 2], [4, 4], [6, 6]]
    w.grad[0] = 9.0
    assert w.grad.tolist() == [9, 6]
    w.data[0] = 3.0
    step()
    assert w.data.tolist() == [0, 0] and seen[0].tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="was changed after it was used"):
        loss.backward()


def test_a_replay_follows_a_view_of_what_was_changed():
    c = tg.Tensor([1.0, 2.0, 3.0])
    row = c[1:]
    double = pure(lambda x: row * x)
    assert [double(np.float64(2)).data.tolist() for _ in range(3)] == [[4, 6]] * 3
    c[1] = 5.0
    assert [double(np.float64(2)).data.tolist() for _ in range(3)] == [[10, 6]] * 3
    row += 1
    assert double(np.float64(2)).data.tolist() == [12, 8] and c.data.tolist() == [1, 6, 4]
