"""Anomaly mode: the first thing that goes wrong is named, with its place."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(*values):
    return tg.Tensor(np.array(values, np.float64), requires_grad=True)


def line_named(message):
    """The line of this file that a message points to."""
    number = int(re.search(rf"{re.escape(__file__)}, line (\d+)", message)[1])
    return Path(__file__).read_text().splitlines()[number - 1]


def test_a_value_is_reported_with_op_element_operand_and_place():
    x = leaf(1.0, 0.0, -1.0)
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError) as caught:
        np.log(x * 2)
    message = str(caught.value)
    assert message.startswith("log: gave -inf at index (1,) from (float64 of shape (3,)), there 0.0, in ")
    assert f"{__file__}, line" in message
    assert "np.log(x * 2)" in line_named(message)


def test_a_gradient_is_reported_with_the_line_of_the_forward_pass():
    x = leaf(0.0, 4.0)
    with tg.detect_anomaly():
        chosen = np.where(x > 0, np.sqrt(x), 0)
        with pytest.raises(tg.AnomalyError, match=r"sqrt: the gradient for operand 0 is nan at index \(0,\)") as caught:
            chosen.sum().backward()
    assert "where the operand is 0.0" in str(caught.value) and "np.where before" in str(caught.value)
    assert "np.sqrt(x)" in line_named(str(caught.value))


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_of_gradients_are_checked_too(create_graph):
    x = leaf(0.0)
    with tg.detect_anomaly():
        slope = tg.gradients((x**1.5).sum(), x, create_graph=True)
        with pytest.raises(tg.AnomalyError, match=r"power: (the gradient|gave inf)"):
            tg.gradients(slope.sum(), x, create_graph=create_graph)


def test_infinities_may_be_meant():
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly(infinities=False):
        masked = np.where(np.array([True, False]), x, -np.inf)
        tg.softmax(masked).sum().backward()
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="where: gave -inf"):
        np.where(np.array([True, False]), x, -np.inf)


def test_it_ends_with_the_block_and_is_local_to_the_thread():
    x, seen = leaf(0.0), []
    with pytest.raises(ValueError, match="mine"), tg.detect_anomaly():
        raise ValueError("mine")
    np.log(x)
    with tg.detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(np.log(x).item()))
        thread.start()
        thread.join()
    assert seen == [-np.inf]


def test_as_a_decorator_and_around_no_grad():
    @tg.detect_anomaly()
    def f(x):
        with tg.no_grad():
            np.log(x)
        return np.log(x)

    f(leaf(1.0))
    with pytest.raises(tg.AnomalyError):
        f(leaf(0.0))


@pytest.mark.slow
def test_a_compiled_step_is_looked_into():
    weight = tg.Tensor(np.zeros(2), requires_grad=True)
    optimiser = tg.optim.SGD([weight], lr=0.1)

    @tg.compile
    def step(x):
        optimiser.zero_grad()
        loss = np.sqrt(weight * x).sum()
        loss.backward()
        optimiser.step()
        return loss

    step(np.ones(2))
    weight.data = np.zeros(2)
    with tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="sqrt: the gradient for operand 0 is inf"):
        step(np.ones(2))


def test_nothing_is_said_where_all_is_well():
    x = leaf(1.0, 2.0)
    with tg.detect_anomaly():
        (np.exp(x) * np.log(x)).sum().backward()
    expected = np.exp(x.data) * (np.log(x.data) + 1 / x.data)
    np.testing.assert_allclose(x.grad, expected)


# Conversions that would lose a gradient


@pytest.mark.parametrize(
    "convert",
    [np.asarray, np.array, float, int, lambda s: np.zeros(2).__setitem__(slice(None), s), lambda s: np.array([s, s])],
)
def test_conversions_say_what_to_do(convert):
    with pytest.raises(TypeError, match=r"requires gradients, which an array or a number cannot carry; .*np\.stack"):
        convert(leaf(1.0, 2.0).sum())


def test_writing_one_element_names_the_cause():
    with pytest.raises(ValueError, match="sequence") as caught:
        np.zeros(2)[0] = leaf(1.0).sum()
    assert "requires gradients" in str(caught.value.__cause__)


def test_a_branch_on_several_elements_says_what_to_do():
    with pytest.raises(ValueError, match=r"np\.where"):
        bool(leaf(1.0, 2.0) > 0)
