"""Sums of a compiled function that are to be those of NumPy to the last bit, whatever the shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from([1, 1, 3, 7, 10, 20, 130]), min_size=1, max_size=3),
    st.sampled_from([None, 0, -1]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**32 - 1),
)
def test_a_course_that_is_new_and_one_that_is_compiled_add_up_alike(shape, axis, dtype, seed):
    def function(x):
        return np.square(x).sum(axis=axis) + np.exp(x * 0.5).mean(axis=axis)

    compiled = tg.compile(function)
    compiled.sums_as_numpy = True
    x = tg.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))
    found = [compiled(x).numpy().copy() for _ in range(3)]
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[2], function(x).numpy())


def test_sums_stay_those_of_numpy_when_other_leaves_are_passed():
    rng = np.random.default_rng(0)

    def function(weight, x):
        loss = np.square(weight * x).sum()
        loss.backward()
        return loss

    compiled = tg.compile(function)
    compiled.sums_as_numpy = True
    x = tg.Tensor(rng.standard_normal(50_000))
    for turn in range(6):
        weight = tg.Tensor(rng.standard_normal(50_000), requires_grad=True)
        for _ in range(1 + (turn == 0)):
            found = compiled(weight, x).numpy().copy()
        np.testing.assert_array_equal(found, function(weight, x).numpy())
