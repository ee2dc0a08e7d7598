"""The numeric check: what it accepts, what it catches, what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

import tensorgrad as tg


def wrong(factor):
    """A function whose gradient is off by a factor in one place: element (1, 0) of the second input."""

    def f(x, y):
        spoiled = np.ones((2, 2))
        spoiled[1, 0] = factor
        return x * (y * spoiled + (y * (1 - spoiled)).detach())

    return f


def test_error_names_input_index_exact_and_numeric():
    with pytest.raises(tg.GradientError, match=r"order 1 .* input 1 at index \(1, 0\): exact (\S+), numeric (\S+)"):
        tg.gradcheck(wrong(0.5), [np.ones((2, 2)), np.ones((2, 2))])
    assert tg.gradcheck(wrong(1.0), [np.ones((2, 2)), np.ones((2, 2))])


def test_an_error_of_one_in_ten_thousand_is_found():
    with pytest.raises(tg.GradientError):
        tg.gradcheck(wrong(0.9999), [np.ones((2, 2)), np.ones((2, 2))])


def test_a_mistake_of_second_order_alone_is_found_at_order_two():
    op = tg.declare(
        "frozen",
        lambda x: x**3,
        lambda g, out, x: g * (3 * (x.numpy() if isinstance(x, tg.Tensor) else x) ** 2),
        sample=tg.samples.unary(),
    )
    try:
        assert tg.gradcheck(op, [np.array([0.5, 2.0])])
        with pytest.raises(tg.GradientError, match="order 2"):
            tg.gradcheck(op, [np.array([0.5, 2.0])], order=2)
    finally:
        del tg.OPS["frozen"]


def test_third_order():
    assert tg.gradcheck(lambda x: np.sin(x) * x, np.array([0.3, -1.0]), order=3)


def test_float32_is_refused_with_the_reason():
    with pytest.raises(TypeError, match="input 0 is float32, whose rounding errors are larger"):
        tg.gradcheck(np.exp, [np.ones(2, np.float32)])


def test_randomness_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="two results for the same inputs"):
        tg.gradcheck(lambda x: tg.dropout(x, 0.5, rng), [np.ones(20)])


def test_integer_inputs_are_passed_on_and_alone_refused():
    assert tg.gradcheck(lambda x, i: x[i], [np.ones(3), np.array([0, 2])])
    with pytest.raises(ValueError, match="nothing to differentiate"):
        tg.gradcheck(lambda i: i, [np.array([1])])
    with pytest.raises(ValueError, match="order must be at least 1"):
        tg.gradcheck(np.exp, [np.ones(1)], order=0)
    with pytest.raises(TypeError, match="must return Tensors, got ndarray"):
        tg.gradcheck(lambda x: x.numpy(), [np.ones(1)])


def test_several_outputs_and_unused_inputs():
    assert tg.gradcheck(lambda x, y: (np.exp(x), x.sum()), [np.ones(2), np.ones(3)], order=2)


def test_changing_an_input_in_place_is_found():
    def f(x):
        x.numpy()[0] = 5
        return x * 2

    with pytest.raises(tg.GradientError, match="changed its input 0 in place"):
        tg.gradcheck(f, [np.ones(2)])


def test_inputs_given_as_tensors_or_alone():
    assert tg.gradcheck(np.exp, tg.Tensor([1.0]))
    assert tg.gradcheck(np.exp, np.ones((2, 2)))


def test_checking_ops_without_hypothesis_says_what_to_install():
    program = "import sys; sys.modules['hypothesis'] = None; from tensorgrad.testing import check_op"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "tensorgrad.testing needs hypothesis" in result.stderr and "pip install hypothesis" in result.stderr
