"""Arrays of the other byte order, as binary files and network protocols hold them, in every op."""

import sys

import numpy as np
import pytest

import tensorgrad as tg

OTHER = ">" if sys.byteorder == "little" else "<"


class Draw:
    """Random choices for samples."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.rng.integers(low, high, endpoint=True))

    def uniform(self, shape, low, high):
        return np.asarray(self.rng.uniform(low, high, shape))


def swapped(x):
    return x.astype(x.dtype.newbyteorder(OTHER)) if isinstance(x, np.ndarray) else x


def results(op, operands, settings):
    """The value and the gradients of an op, as arrays."""
    tensors = [tg.Tensor(x, requires_grad=x.dtype.kind in "fc") if isinstance(x, np.ndarray) else x for x in operands]
    out = op(*tensors, **settings)
    if out.requires_grad:
        out.backward(np.ones(out.shape, out.dtype))
    return [out.numpy(), *(x.grad for x in tensors if isinstance(x, tg.Tensor) and x.grad is not None)]


@pytest.mark.parametrize("name", sorted(tg.OPS))
def test_every_op_gives_the_same_for_the_other_byte_order(name):
    op = tg.OPS[name]
    for seed in range(8):
        operands, settings = op.sample(Draw(seed))
        if "rng" in settings:
            pytest.skip("draws from a generator, which is used up")
        expected = results(op, operands, settings)
        got = results(op, tuple(map(swapped, operands)), settings)
        assert len(got) == len(expected)
        for ours, native in zip(got, expected):
            assert ours.dtype == native.dtype
            np.testing.assert_allclose(ours, native, rtol=1e-12)


LOGITS = np.random.default_rng(0).standard_normal((3, 4))
LABELS = [0, 2, 1]
USES_OF_INTEGERS = {
    "cross-entropy": lambda x, labels: tg.softmax_cross_entropy(x, labels),
    "smoothed cross-entropy": lambda x, labels: tg.softmax_cross_entropy(x, labels, label_smoothing=0.1),
    "cross-entropy of probabilities": lambda x, labels: tg.nn.categorical_cross_entropy(tg.softmax(x), labels),
    "embedding": lambda x, labels: (tg.embedding(labels, x) ** 2).sum(),
    "index": lambda x, labels: (x[labels] ** 2).sum(),
    "index of a Tensor": lambda x, labels: (x[tg.Tensor(labels)] ** 2).sum(),
    "two indices": lambda x, labels: (x[labels, labels] ** 2).sum(),
    "np.take": lambda x, labels: (np.take(x, labels, axis=1) ** 2).sum(),
    "np.take_along_axis": lambda x, labels: (np.take_along_axis(x, labels[:, None], 1) ** 2).sum(),
    "np.choose": lambda x, labels: (np.choose(labels, [x[:, 0], x[:, 1], x[:, 2]]) ** 2).sum(),
    "np.bincount": lambda x, labels: (np.bincount(labels, x[:, 0]) ** 2).sum(),
    "np.repeat": lambda x, labels: (np.repeat(x, labels, axis=0) ** 2).sum(),
}


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "u2", "u4"])
@pytest.mark.parametrize("name", USES_OF_INTEGERS)
def test_labels_and_indices_of_the_other_byte_order(name, dtype):
    use, native, other = USES_OF_INTEGERS[name], np.array(LABELS, dtype), np.array(LABELS, OTHER + dtype)
    expected = tg.value_and_grad(use)(LOGITS, native)
    found = [tg.value_and_grad(use)(LOGITS, other)]
    if name != "np.repeat":  # whose result has a shape that depends on values
        found.append(tg.compile(tg.value_and_grad(use))(LOGITS, other))
    for got in found:
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(got[1], expected[1], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["i2", "i4", "i8", "u2", "u4"])
def test_labels_of_the_other_byte_order_that_are_out_of_range(dtype):
    with pytest.raises(ValueError, match=r"labels must lie in 0\.\.3 for 4 classes, got 4"):
        tg.softmax_cross_entropy(LOGITS, np.array([0, 4, 1], OTHER + dtype))
