"""Gradients as values."""

import numpy as np
import pytest

import tensorgrad as tg


def leaf(*values):
    return tg.Tensor(np.array(values, np.float64), requires_grad=True)


def test_gradients_come_back_as_tensors_and_touch_no_grad():
    x, y = leaf(2.0), leaf(3.0)
    of_x, of_y = tg.gradients((x * y).sum(), [x, y])
    assert isinstance(of_x, tg.Tensor) and not of_x.requires_grad
    assert of_x.item() == 3 and of_y.item() == 2 and x.grad is None


def test_higher_orders():
    x = leaf(1.0)
    value, expected = np.exp(2 * x).sum(), np.exp(2.0)
    for order in range(1, 6):
        value = tg.gradients(value, x, create_graph=True).sum()
        assert value.item() == pytest.approx(2**order * expected)


def test_gradients_of_intermediate_results():
    x = leaf(2.0)
    y = x * x
    z = (y * y).sum()
    of_y, of_x = tg.gradients(z, [y, x])
    assert of_y.item() == 8 and of_x.item() == 32


def test_only_what_leads_to_the_inputs_is_computed():
    def forbidden(g, out, x):
        raise AssertionError("computed for nothing")

    op = tg.declare("costly", lambda x: x * 2, forbidden, sample=tg.samples.unary())
    try:
        x, y = leaf(1.0), leaf(1.0)
        assert tg.gradients((op(x) * y).sum(), y).item() == 2
    finally:
        del tg.OPS["costly"]


def test_an_input_that_does_not_matter_has_a_zero_gradient():
    x, y = leaf(1.0), leaf(1.0, 2.0)
    np.testing.assert_array_equal(tg.gradients((x * 2).sum(), y).data, [0, 0])


def test_mistakes_are_named():
    x = leaf(1.0)
    z = (x * 2).sum()
    with pytest.raises(ValueError, match="input 1 is not a Tensor that requires gradients"):
        tg.gradients(z, [x, tg.Tensor([1.0])])
    with pytest.raises(RuntimeError, match="input 0 was made or changed after"):
        tg.gradients(z, leaf(1.0))
    with pytest.raises(ValueError, match="needs gradient="):
        tg.gradients(np.concatenate([x, x]), x)


def test_the_history_is_kept_with_create_graph_and_freed_without():
    x = leaf(2.0)
    z = (x * x).sum()
    tg.gradients(z, x, create_graph=True)
    tg.gradients(z, x, retain_graph=True)
    tg.gradients(z, x)
    with pytest.raises(RuntimeError, match="freed"):
        tg.gradients(z, x)


def test_create_graph_works_inside_no_grad():
    x = leaf(2.0)
    z = (x**3).sum()
    with tg.no_grad():
        first = tg.gradients(z, x, create_graph=True)
    assert tg.gradients(first.sum(), x).item() == 12


def test_a_weighted_gradient_as_tensor_is_differentiated_too():
    x, v = leaf(2.0, 3.0), leaf(1.0, -1.0)
    product = tg.gradients(x * x, x, gradient=v, create_graph=True)
    np.testing.assert_array_equal(product.data, [4, -6])
    np.testing.assert_array_equal(tg.gradients(product.sum(), v).data, [4, 6])


def test_gradient_penalty_trains():
    """The loss holds a gradient: backward runs through the rules themselves."""
    rng = np.random.default_rng(0)
    network = tg.nn.Sequential(tg.nn.Dense(3, 4, rng, dtype=np.float64), tg.nn.Dense(4, 1, rng, dtype=np.float64))
    x = tg.Tensor(rng.standard_normal((5, 3)), requires_grad=True)

    def loss(weight):
        network.layers[0].weight = weight
        slope = tg.gradients(np.tanh(network(x)).sum(), x, create_graph=True)
        return ((slope * slope).sum(axis=1) - 1) ** 2

    tg.gradcheck(loss, [network.layers[0].weight])
