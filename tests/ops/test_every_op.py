"""Every op of the registry, checked on operands drawn from its own sample."""

from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import ops
from tensorgrad.testing import check_op
from tests.support import examples


@pytest.mark.slow
@pytest.mark.hypothesis
@pytest.mark.parametrize("name", sorted(tg.OPS))
def test_op(name):
    check_op(tg.OPS[name], max_examples=examples(50 if name.startswith("special.") else 100))


# The checker itself must be able to fail.

WRONG_RULES = {
    "wrong sign": lambda g, out, x, y: -g * y,
    "forgotten factor": lambda g, out, x, y: g,
    "second order forgotten": lambda g, out, x, y: g * (y.numpy() if isinstance(y, tg.Tensor) else y),
    "wrong dtype": lambda g, out, x, y: (g * y).astype(np.float64),
    "scaled by shape": lambda g, out, x, y: g * y * max(1, x.ndim),
    "declared constant": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", WRONG_RULES)
def test_the_checker_fails_on(mistake):
    op = tg.declare(
        "mistaken",
        lambda x, y: x * y,
        WRONG_RULES[mistake],
        lambda g, out, x, y: g * x,
        sample=tg.samples.binary(),
        broadcasts=True,
        numpy=None,
    )
    try:
        if mistake == "declared constant":
            with pytest.raises(tg.GradientError):
                tg.gradcheck(lambda x: op(x, np.ones(2)), [np.ones(2)])
        else:
            with pytest.raises((AssertionError, RuntimeError)):
                check_op(op)
    finally:
        del tg.OPS["mistaken"]


@pytest.mark.slow
def test_the_checker_fails_on_a_result_that_is_no_longer_float32():
    op = tg.declare("mistaken", lambda x: x * np.float64(2), lambda g, out, x: 2 * g, sample=tg.samples.unary())
    try:
        with pytest.raises(AssertionError, match="float64 from float32"):
            check_op(op)
    finally:
        del tg.OPS["mistaken"]


@pytest.mark.slow
def test_the_checker_fails_on_missing_un_broadcast():
    op = tg.declare(
        "mistaken",
        lambda x, y: x * y,
        lambda g, out, x, y: g * y,
        lambda g, out, x, y: g * x,
        sample=tg.samples.binary(),
        broadcasts=False,
    )
    try:
        with pytest.raises(RuntimeError, match="returned float64 of shape"):
            check_op(op)
    finally:
        del tg.OPS["mistaken"]


@pytest.mark.slow
def test_the_checker_fails_on_a_wrong_value_and_on_changed_operands():
    def spoil(x):
        x[...] = 0
        return x * 1.0

    wrong_value = tg.declare(
        "mistaken", lambda x: x + 1e-9, lambda g, out, x: g, sample=tg.samples.unary(), numpy=np.positive
    )
    try:
        with pytest.raises(AssertionError, match="differs from NumPy"):
            check_op(wrong_value)
    finally:
        del tg.OPS["mistaken"]
        tg.core.NUMPY[np.positive] = tg.OPS["positive"]
    spoils = tg.declare("mistaken", spoil, lambda g, out, x: 0 * g, sample=tg.samples.unary())
    try:
        with pytest.raises((AssertionError, ValueError, tg.CaptureError)):
            check_op(spoils)
    finally:
        del tg.OPS["mistaken"]


# Kinks and poles: chosen values, written down


def gradient(f, *values):
    tensors = [tg.Tensor(np.array(value, np.float64), requires_grad=True) for value in values]
    f(*tensors).sum().backward()
    return [tensor.grad.tolist() for tensor in tensors]


@pytest.mark.parametrize(
    "f, values, expected",
    [
        (np.abs, [0.0], [0.0]),
        (tg.relu, [0.0], [0.0]),
        (np.maximum, [1.0, 1.0], [0.5, 0.5]),
        (np.minimum, [1.0, 1.0], [0.5, 0.5]),
        (lambda x: np.max(x), [[2.0, 2.0, 1.0]], [[0.5, 0.5, 0.0]]),
        (lambda x: np.min(x), [[2.0, 1.0, 1.0]], [[0.0, 0.5, 0.5]]),
        (lambda x: np.clip(x, 0, 1), [[0.0, 1.0, 2.0, -1.0]], [[1.0, 1.0, 0.0, 0.0]]),
        (lambda x: x**2, [0.0], [0.0]),
        (lambda x: x**0, [0.0], [0.0]),
        (lambda x: x**1, [0.0], [1.0]),
        (np.power, [0.0, 2.0], [0.0, 0.0]),
        (np.power, [0.0, 0.0], [0.0, 0.0]),
        (np.power, [-2.0, 3.0], [12.0, None]),
        (lambda x: np.var(x), [[3.0, 3.0]], [[0.0, 0.0]]),
    ],
)
def test_kinks(f, values, expected):
    with np.errstate(all="ignore"):
        found = gradient(f, *values)
    for one, other in zip(found, expected):
        assert other is None or one == other


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("classes", [1, 3, 100, 300])
def test_labels_stand_for_rows_of_a_one(classes, dtype):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, min(classes, 128), (4, 5)).astype(dtype)
    logits = [tg.Tensor(rng.standard_normal((4, 5, classes)), requires_grad=True)]
    logits.append(tg.Tensor(logits[0].data, requires_grad=True))
    losses = [tg.softmax_cross_entropy(x, y) for x, y in zip(logits, (labels, np.eye(classes)[labels.astype(int)]))]
    for loss in losses:
        loss.backward()
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(logits[0].grad, logits[1].grad, rtol=1e-12, atol=1e-17)


def test_softmax_cross_entropy_is_stable_at_huge_logits():
    logits = tg.Tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    loss = tg.softmax_cross_entropy(logits, [0, 0])
    assert loss.item() == pytest.approx((0 + 2e4 + np.log(2)) / 2)
    loss.backward()
    np.testing.assert_allclose(logits.grad, [[0, 0, 0], [-0.5, 0.25, 0.25]])


def test_a_logit_of_minus_infinity_under_probability_zero_is_harmless():
    logits = tg.Tensor([[0.0, -np.inf]], requires_grad=True)
    loss = tg.softmax_cross_entropy(logits, np.array([[1.0, 0.0]]))
    assert loss.item() == 0


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0, 3], r"labels must lie in 0..2 for 3 classes, got 3"),
        ([0, -1], r"got -1"),
        ([0], r"integer labels of shape \(2,\)"),
        ([0.0, 1.0], r"integer labels of shape \(2,\) or probabilities of shape \(2, 3\), got float64"),
        ([[0.5, 0.5, 0.5], [1, 0, 0]], r"sum to 1"),
        ([[np.nan, 0.5, 0.5], [1, 0, 0]], r"finite"),
        ([True, False], r"got bool"),
        (["a", "b"], r"got <U1"),
    ],
)
def test_labels_are_checked(labels, message):
    logits = tg.Tensor(np.zeros((2, 3)), requires_grad=True)
    for loss in (tg.softmax_cross_entropy, tg.nn.categorical_cross_entropy):
        with pytest.raises((ValueError, TypeError), match=message):
            loss(logits, np.array(labels))


def test_dropout_keeps_the_mean_and_is_drawn_from_the_generator():
    x = np.ones(200_000, np.float32)
    for rate in (0.1, 0.5, 0.9):
        dropped = tg.dropout(x, rate, np.random.default_rng(0))
        assert dropped.dtype == np.float32
        assert (dropped == 0).mean() == pytest.approx(rate, abs=0.01)
        assert dropped.mean() == pytest.approx(1, abs=0.02)
        np.testing.assert_array_equal(dropped, tg.dropout(x, rate, np.random.default_rng(0)))
    with pytest.raises(ValueError, match="0 <= rate < 1"):
        tg.dropout(x, 1.0, np.random.default_rng(0))


def test_gradient_flows_only_through_what_dropout_kept():
    x = tg.Tensor(np.ones(100), requires_grad=True)
    out = tg.dropout(x, 0.5, np.random.default_rng(1))
    out.sum().backward()
    np.testing.assert_array_equal(x.grad, out.data)


def test_every_file_of_ops_is_imported_with_the_package():
    files = {path.stem for path in Path(tg.core.__file__).parent.with_name("ops").glob("*.py")}
    assert files - {"__init__", "conversion", "kinks"} == set(ops.__all__)
