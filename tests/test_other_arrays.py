"""Arrays of other libraries pass through unchanged: shown by one that refuses to become a NumPy array."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autodiff import gradients


class StrictArray:
    """An array that speaks NumPy's protocols and works with its own kind and scalars only, as arrays on a GPU do."""

    __array_priority__ = 100

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, *args, **kwargs):
        raise TypeError("a StrictArray is never converted to a NumPy array")

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        if any(isinstance(x, tg.Tensor) for x in inputs):
            return NotImplemented
        inputs = [unwrapped(x, of_index=(method == "at" and i == 1)) for i, x in enumerate(inputs)]
        return wrapped(getattr(ufunc, method)(*inputs, **unwrapped(settings)))

    def __array_function__(self, function, types, args, kwargs):
        if tg.Tensor in types:
            return NotImplemented
        if function is np.asarray:  # with like=: the one way in
            return wrapped(np.asarray(*args, **kwargs))
        return wrapped(function(*unwrapped(args), **unwrapped(kwargs)))

    def __getitem__(self, index):
        return wrapped(self.values[unwrapped(index, of_index=True)])

    def __setitem__(self, index, value):
        self.values[unwrapped(index, of_index=True)] = unwrapped(value)

    def __getattr__(self, name):
        attribute = getattr(self.values, name)
        if not callable(attribute):
            return wrapped(attribute)
        return lambda *args, **kwargs: wrapped(attribute(*unwrapped(args), **unwrapped(kwargs)))

    def __len__(self):
        return len(self.values)

    __hash__ = None


def _operator(name):
    def operator(self, *others):
        if any(isinstance(other, tg.Tensor) for other in others):
            return NotImplemented
        return wrapped(getattr(self.values, name)(*unwrapped(others)))

    return operator


for _name in ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(StrictArray, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ["neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne", "bool", "int", "float", "index"]:
    setattr(StrictArray, f"__{_name}__", _operator(f"__{_name}__"))


def unwrapped(value, of_index=False):
    if isinstance(value, StrictArray):
        return value.values
    if isinstance(value, np.ndarray) and value.ndim and not of_index:
        raise TypeError(f"a NumPy array of shape {value.shape} beside a StrictArray")
    if isinstance(value, (list, tuple)):
        return type(value)([unwrapped(part, of_index) for part in value])
    return {key: unwrapped(part) for key, part in value.items()} if isinstance(value, dict) else value


def wrapped(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return StrictArray(value)
    if isinstance(value, tuple) and any(isinstance(part, (np.ndarray, np.generic)) for part in value):
        return tuple(wrapped(part) for part in value)
    return [wrapped(part) for part in value] if isinstance(value, list) else value


class Draw:
    """Random choices for an op's sample."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def integer(self, low, high):
        return int(self.rng.integers(low, high + 1))

    def uniform(self, shape, low, high):
        return self.rng.uniform(low, high, shape)


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
