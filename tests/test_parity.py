"""Values and gradients beside PyTorch's and JAX's, where these are installed (they are no dependency)."""

import importlib.util

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autodiff import gradients

pytestmark = [pytest.mark.parity, pytest.mark.slow]

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0.2, 0.9, (3, 4)), RNG.uniform(0.2, 0.9, (3, 4))
ROW, COLUMN, VECTOR, OTHER = X[2], Y[:, :1], X[1], Y[2]
SQUARE = RNG.normal(size=(3, 3)) + 4 * np.eye(3)
SYMMETRIC = SQUARE @ SQUARE.T
STACK = RNG.normal(size=(2, 3, 3)) + 4 * np.eye(3)
MATRIX, LONG = RNG.normal(size=(4, 5)), RNG.normal(size=12)

ELEMENTWISE = """
    exp exp2 expm1 log log2 log10 log1p sqrt square reciprocal sin cos tan arcsin arccos arctan sinh cosh tanh
    arcsinh arctanh absolute sinc negative positive sign deg2rad rad2deg
"""
PAIRWISE = """
    add subtract multiply divide power float_power arctan2 hypot logaddexp logaddexp2 maximum minimum fmax fmin copysign
    fmod remainder
"""

CALLS = {
    **{name: (getattr(np, name), name, [X]) for name in ELEMENTWISE.split()},
    **{name: (getattr(np, name), name, [X, Y]) for name in PAIRWISE.split()},
    **{f"{name} broadcast": (getattr(np, name), name, [COLUMN, ROW]) for name in PAIRWISE.split()},
    "arccosh": (np.arccosh, "arccosh", [X + 2]),
    "sum": (lambda x: np.sum(x, axis=0), lambda t, x: t.sum(x, 0), [X]),
    "mean": (lambda x: np.mean(x, axis=-1, keepdims=True), lambda t, x: t.mean(x, -1, True), [X]),
    "var": (lambda x: np.var(x, axis=1, ddof=1), lambda t, x: t.var(x, 1, correction=1), [X]),
    "std": (lambda x: np.std(x, ddof=0), lambda t, x: t.std(x, correction=0), [X]),
    "prod": (lambda x: np.prod(x, axis=1), lambda t, x: t.prod(x, 1), [X]),
    "prod with a zero": (lambda x: np.prod(x, axis=1), lambda t, x: t.prod(x, 1), [X * [0, 1, 1, 1]]),
    "max": (lambda x: np.max(x, axis=0), lambda t, x: t.amax(x, 0), [X]),
    "min": (lambda x: np.min(x), lambda t, x: t.amin(x), [X]),
    "median": (lambda x: np.median(x, axis=1), lambda t, x: t.quantile(x, 0.5, 1), [X]),
    "quantile": (lambda x: np.quantile(x, 0.3, axis=0), lambda t, x: t.quantile(x, 0.3, 0), [X]),
    "cumsum": (lambda x: np.cumsum(x, axis=1), lambda t, x: t.cumsum(x, 1), [X]),
    "cumprod": (lambda x: np.cumprod(x, axis=0), lambda t, x: t.cumprod(x, 0), [X]),
    "logsumexp": (lambda x: tg.logsumexp(x, axis=1), lambda t, x: t.logsumexp(x, 1), [X]),
    "trace": (np.trace, "trace", [X]),
    "reshape": (lambda x: np.reshape(x, (2, 6)), lambda t, x: t.reshape(x, (2, 6)), [X]),
    "transpose": (np.transpose, lambda t, x: x.T, [X]),
    "flip": (lambda x: np.flip(x, 1), lambda t, x: t.flip(x, (1,)), [X]),
    "roll": (lambda x: np.roll(x, 2, axis=1), lambda t, x: t.roll(x, 2, 1), [X]),
    "rot90": (lambda x: np.rot90(x, 3), lambda t, x: t.rot90(x, 3), [X]),
    "repeat": (lambda x: np.repeat(x, 2, axis=-1), lambda t, x: t.repeat_interleave(x, 2, -1), [X]),
    "tile": (lambda x: np.tile(x, (2, 3)), lambda t, x: t.tile(x, (2, 3)), [X]),
    "concatenate": (lambda x, y: np.concatenate([x, y], 1), lambda t, x, y: t.cat([x, y], 1), [X, Y]),
    "stack": (lambda x, y: np.stack([x, y], -1), lambda t, x, y: t.stack([x, y], -1), [X, Y]),
    "diagonal": (np.diagonal, "diagonal", [X]),
    "triu": (lambda x: np.triu(x, 1), lambda t, x: t.triu(x, 1), [X]),
    "tril": (lambda x: np.tril(x, -1), lambda t, x: t.tril(x, -1), [X]),
    "pad": (
        lambda x: np.pad(x, ((1, 2), (2, 1)), mode="reflect"),
        lambda t, x: t.nn.functional.pad(x[None], (2, 1, 1, 2), mode="reflect")[0],
        [X],
    ),
    "where": (
        lambda x, y: np.where(np.asarray(X > 0.5), x, y),
        lambda t, x, y: t.where(t.tensor(X > 0.5), x, y),
        [X, Y],
    ),
    "clip": (lambda x: np.clip(x, 0.4, 0.6), lambda t, x: t.clip(x, 0.4, 0.6), [X]),
    "getitem": (lambda x: x[[0, 2, 0], 1:], lambda t, x: x[[0, 2, 0], 1:], [X]),
    "take_along_axis": (
        lambda x: np.take_along_axis(x, np.array([[0, 1, 1]] * 3), 1),
        lambda t, x: t.take_along_dim(x, t.tensor([[0, 1, 1]] * 3), 1),
        [X],
    ),
    "sort": (lambda x: np.sort(x, axis=0), lambda t, x: t.sort(x, 0).values, [X]),
    "diff": (lambda x: np.diff(x, n=2), lambda t, x: t.diff(x, n=2), [X]),
    "gradient": (lambda x: np.gradient(x, axis=1), lambda t, x: t.gradient(x, dim=1)[0], [X]),
    "trapezoid": (np.trapezoid, "trapezoid", [X]),
    "matmul": (np.matmul, "matmul", [X, MATRIX]),
    "dot": (np.dot, "dot", [VECTOR, OTHER]),
    "vdot": (np.vdot, "vdot", [VECTOR, OTHER]),
    "inner": (np.inner, "inner", [X, OTHER]),
    "outer": (np.outer, "outer", [VECTOR, OTHER]),
    "kron": (np.kron, "kron", [SQUARE, X]),
    "cross": (np.cross, lambda t, x, y: t.linalg.cross(x, y), [SQUARE, SYMMETRIC]),
    "tensordot": (lambda x, y: np.tensordot(x, y, 1), lambda t, x, y: t.tensordot(x, y, 1), [X, MATRIX]),
    "einsum": (
        lambda x, y: np.einsum("ij,kj->ik", x, y),
        lambda t, x, y: t.einsum("ij,kj->ik", x, y),
        [X, Y],
    ),
    "norm": (np.linalg.norm, lambda t, x: t.linalg.norm(x), [X]),
    "norm 1": (lambda x: np.linalg.norm(x, 1, axis=1), lambda t, x: t.linalg.norm(x, 1, dim=1), [X]),
    "norm nuc": (lambda x: np.linalg.norm(x, "nuc"), lambda t, x: t.linalg.norm(x, "nuc"), [X]),
    "det": (np.linalg.det, lambda t, x: t.linalg.det(x), [STACK]),
    "slogdet": (lambda x: np.linalg.slogdet(x)[1], lambda t, x: t.linalg.slogdet(x)[1], [STACK]),
    "inv": (np.linalg.inv, lambda t, x: t.linalg.inv(x), [STACK]),
    "pinv": (np.linalg.pinv, lambda t, x: t.linalg.pinv(x), [X]),
    "solve": (np.linalg.solve, lambda t, x, y: t.linalg.solve(x, y), [SQUARE, X]),
    "svd": (lambda x: np.linalg.svd(x, compute_uv=False), lambda t, x: t.linalg.svdvals(x), [X]),
    "matrix_power": (lambda x: np.linalg.matrix_power(x, -2), lambda t, x: t.linalg.matrix_power(x, -2), [SQUARE]),
    "multi_dot": (
        lambda x, y, z: np.linalg.multi_dot([x, y, z]),
        lambda t, x, y, z: t.linalg.multi_dot([x, y, z]),
        [SQUARE, X, MATRIX],
    ),
    "rfft": (lambda x: np.abs(np.fft.rfft(x)) ** 2, lambda t, x: t.fft.rfft(x).abs() ** 2, [LONG]),
    "irfft": (
        lambda x, y: np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(y), n=12),
        lambda t, x, y: t.fft.irfft(t.fft.rfft(x) * t.fft.rfft(y), n=12),
        [LONG, LONG[::-1].copy()],
    ),
    "relu": (tg.relu, lambda t, x: t.relu(x), [X - 0.5]),
    "softmax": (tg.softmax, lambda t, x: t.softmax(x, -1), [X]),
    "log_softmax": (tg.log_softmax, lambda t, x: t.log_softmax(x, -1), [X]),
    "softmax_cross_entropy": (
        lambda x: tg.softmax_cross_entropy(x, np.array([0, 3, 2])),
        lambda t, x: t.nn.functional.cross_entropy(x, t.tensor([0, 3, 2])),
        [X],
    ),
}


def ours(function, arrays):
    """Value and gradients of a weighted sum of it."""
    tensors = [tg.Tensor(x, requires_grad=True) for x in arrays]
    out = function(*tensors)
    if not out.requires_grad:
        return [out.data] + [np.zeros_like(x) for x in arrays]
    return [out.data] + [g.data for g in gradients(out, tensors, weights(out))]


def weights(out):
    return (
        np.linspace(0.5, 1.5, int(np.prod(out.shape))).reshape(tuple(out.shape)).astype(str(out.dtype).split(".")[-1])
    )


def theirs_torch(function, arrays):
    import torch

    tensors = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = getattr(torch, function)(*tensors) if isinstance(function, str) else function(torch, *tensors)
    (out * torch.tensor(weights(out))).sum().backward()
    return [out.detach().numpy()] + [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in tensors]


def theirs_jax(function, arrays):
    import jax

    with jax.enable_x64(True):
        import jax.numpy as jnp

        out, pullback = jax.vjp(getattr(jnp, function), *map(jnp.asarray, arrays))
        return [np.asarray(out)] + [np.asarray(g) for g in pullback(jnp.asarray(weights(out)))]


def compare(function, theirs, other, arrays):
    for one, reference in zip(ours(function, arrays), theirs(other, arrays)):
        np.testing.assert_allclose(one, reference, rtol=1e-10, atol=1e-10)
    singles = [x.astype(np.float32) for x in arrays]
    exact = ours(function, [x.astype(np.float64) for x in singles])
    for one, double in zip(ours(function, singles), exact):
        assert one.dtype == (np.float64 if function is np.float_power and one is exact[0] else one.dtype)
        scale = max(1.0, float(np.abs(double).max()))
        assert np.abs(one - double).max() <= 1e-5 * scale * (10 if function in ILL_CONDITIONED else 1)


ILL_CONDITIONED = ()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", CALLS)
def test_as_in_pytorch(name):
    function, other, arrays = CALLS[name]
    if isinstance(other, str):
        import torch

        if not hasattr(torch, other):
            pytest.skip("not in PyTorch")
    compare(function, theirs_torch, other, arrays)


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if isinstance(call[1], str)])
def test_as_in_jax(name):
    function, other, arrays = CALLS[name]
    compare(function, theirs_jax, other, arrays)
