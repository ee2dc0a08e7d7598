"""Tensors that a compiled function changes alike are changed together, with the results of changing one by one."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.compiler import kernels
from tests.support import examples

pure = partial(tg.compile, pure=True)

BACK_ENDS = [False, *([True] if kernels.numba() else [])]


def state_of(seed, shapes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [[tg.Tensor(rng.uniform(0.5, 2, shape).astype(dtype)) for shape in shapes] for _ in range(2)]


def check(step, shapes, fast, calls=4, bundles=None):
    """The same values and results as without compiling, over several calls with other arguments."""
    plain, compiled = state_of(0, shapes), state_of(0, shapes)
    replay = pure(lambda x: step(compiled, x), fast=fast)
    for call in range(calls):
        x = np.array(0.1 + call)
        expected, found = step(plain, x), replay(x)
        assert len(found) == len(expected)
        for one, other in zip(expected, found):  # sums of everything may differ in the last digit
            np.testing.assert_allclose(other, one, rtol=1e-12)
        for one, other in zip(plain[0] + plain[1], compiled[0] + compiled[1]):
            np.testing.assert_array_equal(other.data, one.data)
    if bundles is not None:
        assert replay.explain().count("arrays)") == bundles, replay.explain()


def momentum(tensors, x, factors=None, order=None):
    """Velocity and position of each tensor."""
    positions, velocities = tensors
    for i in order or range(len(positions)):
        p, v = positions[i], velocities[i]
        v.data = v.data * (0.9 if factors is None else factors[i]) + x * p.data
        p.data = p.data - v.data * 0.01
    return ()


SHAPES = [(3, 4), (5,), (2, 1, 3), (7,)]


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_changed_together(fast):
    check(momentum, SHAPES, fast, bundles=1)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_other_constants_are_other_lanes(fast):
    check(lambda t, x: momentum(t, x, [0.9, 0.9, 0.8, 0.9]), SHAPES, fast, bundles=1)
    check(lambda t, x: momentum(t, x, [0.0, -0.0]), [(3,), (4,)], fast, bundles=0)
    check(lambda t, x: momentum(t, x, [1, 1.0]), [(3,), (4,)], fast, bundles=0)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_one_after_the_other_where_one_needs_the_other(fast):
    def chained(tensors, x):
        (first, second), _ = tensors
        first.data = first.data * 2 - x
        second.data = second.data * 2 - first.data.sum()
        return ()

    def swapped(tensors, x):
        (first, second), _ = tensors
        first.data, second.data = second.data * 2 - x, first.data * 2 - x
        return ()

    check(chained, [(3,), (4,)], fast, bundles=0)
    check(swapped, [(3,), (3,)], fast)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_one_after_the_other_where_a_number_needs_all(fast):
    """Descent along the velocity of all, scaled to length one."""

    def normalised(tensors, x):
        new = [v.data * 0.9 + x * p.data for p, v in zip(*tensors)]
        scale = 0.1 / np.sqrt(sum((v * v).sum() for v in new))
        for p, v, velocity in zip(*tensors, new):
            v.data = velocity
            p.data = p.data - velocity * scale
        return (scale,)

    plain, compiled = state_of(0, SHAPES), state_of(0, SHAPES)
    replay = pure(lambda x: normalised(compiled, x), fast=fast)
    for call in range(3):
        np.testing.assert_allclose(replay(np.array(call + 0.5)), normalised(plain, np.array(call + 0.5)), rtol=1e-12)
        for one, other in zip(plain[0] + plain[1], compiled[0] + compiled[1]):
            np.testing.assert_allclose(other.data, one.data, rtol=1e-12)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_bundles_that_need_each_other(fast):
    def crossed(tensors, x):
        (a, b, e), (c, d, _) = tensors
        first, last = a.data + e.data[::-1], d.data * e.data[::-1]
        a.data, b.data, c.data, d.data = first, b.data + last[::-1], c.data * first[::-1], last
        return ()

    check(crossed, [(4,), (4,), (4,)], fast, bundles=0 if fast else 1)  # no kernels of reversed views


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_old_and_new_values_are_read_elsewhere(fast):
    def step(tensors, x):
        old = tensors[0][0].data.sum()
        kept = tensors[0][1].data
        momentum(tensors, x)
        return old, kept * 1, tensors[0][2].data, tensors[1][0].data.max(), tensors[0][0].data + x

    check(step, SHAPES, fast, bundles=1)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_operands_of_every_origin(fast):
    """Gradients made by the program, arrays from outside, views, results that are made again in each call."""
    outside = [np.arange(1.0, 4), np.arange(2.0, 5)]

    def step(tensors, x):
        (a, b), (c, d) = tensors
        for tensor, array in zip((a, b), outside):
            tensor.data = tensor.data + array * x
        for tensor, other in zip((c, d), (a, b)):
            tensor.data = tensor.data * np.roll(other.data, 1)[::-1] + np.cumsum(other.data)
        return ()

    check(step, [(3,), (3,)], fast, bundles=2)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_one_gradient_for_two(fast):
    def step(tensors, x):
        (a, b), _ = tensors
        shared = np.sin(a.data + b.data) * x
        for tensor in (a, b):
            tensor.data = tensor.data * x - shared
        return (shared,)

    check(step, [(3,), (3,)], fast, bundles=1)


def test_values_are_kept_whatever_is_done_to_the_tensors_in_between():
    plain, compiled = state_of(1, SHAPES), state_of(1, SHAPES)
    replay = pure(lambda x: momentum(compiled, x))
    reversed_replay = pure(lambda x: momentum(compiled, x, order=[3, 1]))
    seen = compiled[0][1].data
    before = seen.copy()
    for call in range(6):
        x = np.array(0.2 + call)
        momentum(plain, x)
        replay(x)
        if call % 2:  # another program that changes some of them, in another order
            momentum(plain, x, order=[3, 1])
            reversed_replay(x)
        if call == 3:  # a value from outside
            for tensors in (plain, compiled):
                tensors[0][2].data = np.full((2, 1, 3), 5.0)
        if call == 4:
            for tensors in (plain, compiled):
                tensors[1][0].data -= 1
        for one, other in zip(plain[0] + plain[1], compiled[0] + compiled[1]):
            np.testing.assert_array_equal(other.data, one.data)
    np.testing.assert_array_equal(seen, before)  # what was handed out before the first call is the user's


def test_a_check_comes_before_all_changes():
    logits, weights = tg.Tensor(np.ones((2, 3))), [tg.Tensor(np.ones(4)), tg.Tensor(np.ones(5))]

    @pure
    def step(labels):
        for weight in weights:
            weight.data = weight.data * 2
        return tg.softmax_cross_entropy(logits, labels)

    step(np.array([0, 1]))
    with pytest.raises(ValueError, match="labels must lie in"):
        step(np.array([0, 7]))
    assert [weight.data[0] for weight in weights] == [2, 2]


@settings(max_examples=examples(60), deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    formulas=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 2.0])), min_size=5, max_size=5),
    reads=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=3),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_any_mixture(lengths, formulas, reads, dtype):
    """Tensors with like and unlike formulas, some of which read a sum over another, before or after its change."""

    def step(tensors, x):
        first, second = tensors
        results = []
        for i, (p, v, (formula, factor)) in enumerate(zip(first, second, formulas)):
            extra = [first[j % len(first)].data.sum() for at, j, _ in reads if at == i]
            results += [first[j % len(first)].data * 1 for at, j, returned in reads if at == i and returned]
            new = v.data * factor + (p.data if formula == "a" else p.data * p.data)
            for number in extra:
                new = new + number
            v.data = new
            p.data = p.data / 2 + (np.sqrt(new) if formula == "c" else new) * x.astype(dtype)
        return results

    plain, compiled = state_of(2, [(n,) for n in lengths], dtype), state_of(2, [(n,) for n in lengths], dtype)
    replay = pure(lambda x: step(compiled, x), fast=False)
    for call in range(3):
        x = np.array(0.1 * (call + 1))
        for one, other in zip(step(plain, x), replay(x)):
            np.testing.assert_allclose(other, one, rtol=1e-6)
        for one, other in zip(plain[0] + plain[1], compiled[0] + compiled[1]):
            np.testing.assert_array_equal(other.data, one.data)


@pytest.mark.parametrize("fast", BACK_ENDS)
def test_functions_that_kernels_do_not_have(fast):
    def step(tensors, x):
        for tensor in tensors[0]:
            tensor.data = np.tanh(tensor.data * x) * 2 + x
        return ()

    check(step, [(3,), (4,)], fast, bundles=1)
