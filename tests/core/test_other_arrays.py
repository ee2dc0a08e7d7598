"""Arrays of other libraries pass through unchanged: shown by one that refuses to become a NumPy array."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autodiff import gradients
from tests.support import Draw, StrictArray


@pytest.mark.parametrize("name", sorted(tg.OPS))
def test_every_op_on_strict_arrays(name):
    op = tg.OPS[name]
    for seed in range(10):
        with np.errstate(all="ignore"):
            plain, strict = (differentiated(op, seed, kind) for kind in (np.asarray, StrictArray))
        for one, other in zip(plain, strict):
            assert type(other) is StrictArray, f"{name} gave {type(other)}"
            np.testing.assert_array_equal(other.values, one, strict=True)


def differentiated(op, seed, kind):
    """Value, first and second derivatives on a sample whose arrays are of ``kind``."""
    operands, settings = op.sample(Draw(seed))
    rules = op.rules * len(operands) if op.arity is None else op.rules
    tensors = []
    for x, rule in zip(operands, rules):
        is_array = isinstance(x, (np.ndarray, np.generic))
        floating = is_array and x.dtype.kind == "f" and rule is not None
        tensors.append(tg.Tensor(kind(x), requires_grad=floating) if is_array else x)
    out = op(*tensors, **settings)
    wanted = [t for t in tensors if isinstance(t, tg.Tensor) and t.requires_grad]
    results = [out.data]
    if wanted and out.requires_grad:
        seed_gradient = kind(np.linspace(0.5, 1.5, out.size).reshape(out.shape))
        first = gradients(out, wanted, seed_gradient, create_graph=True)
        results += [g.data for g in first]
        live = [(g * g).sum() for g in first if g.requires_grad]
        if live:
            results += [g.data for g in gradients(sum(live[1:], live[0]), wanted)]
    return results
