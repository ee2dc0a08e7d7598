"""Linear systems, determinants and factorisations, for matrices (..., m, n) in stacks of any shape.

Rules are written with the result ``out`` wherever that is possible, so that one call of LAPACK serves all orders. A
factorisation gives several arrays, an op one: the factors are packed into one array, and sliced out of it by
:func:`_unpacked`. One call of LAPACK gives them all, and the rule sees the gradients of all factors at once, which
it needs, as they depend on each other.

Formulas: Giles, "An extended collection of matrix derivative results for forward and reverse mode automatic
differentiation" (2008); for the factorisations Walter and Lehmann, "Algorithmic differentiation of linear algebra
functions" (2010).
"""

from __future__ import annotations

from math import prod
from typing import Any, Callable

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import samples
from ..core import OPS, AnyArray, Axis, DType, Op, Tensor, asarray_like, declare, implements, refuse, refuses
from ..core.context import runtime_check
from .conversion import as_operand, plain, without_history

Shape = tuple[int, ...]

# Stacks of matrices


def _transposed(x: AnyArray) -> AnyArray:
    return np.swapaxes(x, -1, -2)


def _scalars(g: AnyArray) -> AnyArray:
    """One number per matrix, with axes to multiply the matrices by it."""
    return np.expand_dims(g, (-2, -1))


def _diagonal(x: AnyArray) -> AnyArray:
    """Vectors (..., n) as diagonal matrices."""
    return np.where(_identity(x), np.expand_dims(x, -1), 0)


def _diagonal_of(x: AnyArray) -> Any:
    """The vectors (..., n) on the diagonals of matrices."""
    return np.where(_identity(x), x, 0).sum(axis=-1)


def _identity(x: AnyArray) -> AnyArray:
    """The positions on the diagonal of matrices (..., n, n), or for vectors (..., n) on that of diagonal ones."""
    return asarray_like(np.eye(x.shape[-1], dtype=bool), x)


def _lower(x: AnyArray) -> AnyArray:
    """The lower triangle, with half of the diagonal."""
    n = x.shape[-1]
    return np.where(asarray_like(np.tri(n, k=-1, dtype=bool), x), x, np.where(_identity(x), x * 0.5, 0))


def _of_triangle(gradient: AnyArray, lower: bool = True) -> AnyArray:
    """The gradient for a matrix of which LAPACK reads one triangle and takes the other to be its mirror image."""
    both = gradient + _transposed(gradient)
    return _lower(both) if lower else _transposed(_lower(both))


def _packed(*factors: AnyArray, ranks: tuple[int, ...]) -> AnyArray:
    """One vector that holds a factor after the other, each of so many axes, for every matrix of the stack."""
    return np.concatenate(
        [
            factor.reshape((*factor.shape[: factor.ndim - rank], prod(factor.shape[factor.ndim - rank :])))
            for factor, rank in zip(factors, ranks)
        ],
        axis=-1,
    )


def _unpacked(packed: AnyArray, *shapes: Shape) -> list[AnyArray]:
    """The factors, given the shape of each for one matrix."""
    factors, start = [], 0
    for shape in shapes:
        stop = start + prod(shape)
        factors.append(packed[..., start:stop].reshape((*packed.shape[:-1], *shape)))
        start = stop
    return factors


# Samples: far from singular, and far from where LAPACK changes the sign of a vector


def _stack(draw: samples.Draw) -> Shape:
    return samples.choice(draw, [(), (2,), (1,), (2, 1), (0,)])


def _regular(draw: samples.Draw, rows: int, columns: int, stack: Shape | None = None) -> np.ndarray:
    """Matrices with distinct, large values on the diagonal: so are their singular values and eigenvalues."""
    stack = _stack(draw) if stack is None else stack
    k = np.arange(max(rows, columns))
    large = np.where(k % 2, -1.0, 1.0) * (2.0 + k) if draw.integer(0, 1) else 2.0 + k
    return samples.reals(draw, (*stack, rows, columns), 0.1, 0.3) + np.diag(large)[:rows, :columns]


def _steady(matrices: Callable[[], np.ndarray], factors: Callable[[np.ndarray], AnyArray]) -> np.ndarray:
    """Matrices drawn until the factors do not jump within the reach of the numeric check.

    The signs of vectors are LAPACK's choice, which depends on the values in ways that differ between implementations.
    """
    while True:
        x = matrices()
        if not any(_jumps(x, index, factors) for index in np.ndindex(x.shape[-2:])):
            return x


def _jumps(x: np.ndarray, index: Shape, factors: Callable[[np.ndarray], AnyArray]) -> bool:
    """Whether vectors change by more than a small turn when one element of the matrices moves."""

    def at(offset: float) -> AnyArray:
        moved = x.copy()
        moved[..., index[0], index[1]] += offset
        return factors(moved)

    return any(np.abs(at(offset) - at(0)).max(initial=0) > 0.5 for offset in (-samples.MARGIN, samples.MARGIN))


def _square_sample(draw: samples.Draw) -> samples.Operands:
    n = draw.integer(0, 3)
    return (_regular(draw, n, n),), {}


def _result_type(function: Any) -> Any:
    """The named tuple that a function of NumPy returns; it has no public name."""
    return type(function(np.eye(1)))


# Inverse and linear systems

inv = declare(
    "inv",
    lambda x: np.linalg.inv(x),
    lambda g, out, x: -(_transposed(out) @ g @ _transposed(out)),
    sample=_square_sample,
    numpy=np.linalg.inv,
    expects="square matrices (..., n, n) that are not singular",
    complex_rules="holomorphic",
)


def _solve_sample(draw: samples.Draw) -> samples.Operands:
    n = draw.integer(0, 3)
    left, right = samples.broadcastable(draw, 2)
    return (_regular(draw, n, n, left[-2:]), samples.reals(draw, (*right[-2:], n, draw.integer(0, 2)))), {}


declare(
    "solve",
    lambda a, b: np.linalg.solve(a, b),
    lambda g, out, a, b: -(OPS["solve"](_transposed(a), g) @ _transposed(out)),
    lambda g, out, a, b: OPS["solve"](_transposed(a), g),
    sample=_solve_sample,
    broadcasts=True,
    expects="square matrices (..., n, n) that are not singular, and right sides (..., n, k) or of shape (n,)",
    complex_rules="holomorphic",
)


@implements(np.linalg.solve, on_complex=True)
def _solve(a: AnyArray, b: AnyArray) -> AnyArray:
    a, b = as_operand(a), as_operand(b)
    if b.ndim == 1:
        return OPS["solve"](a, np.expand_dims(b, -1)).squeeze(axis=-1)
    return OPS["solve"](a, b)


@implements(np.linalg.tensorsolve, on_complex=True)
def _tensorsolve(a: AnyArray, b: AnyArray, axes: Axis = None) -> AnyArray:
    a, b = as_operand(a), as_operand(b)
    if axes is not None:
        last = normalize_axis_tuple(axes, a.ndim)
        a = np.transpose(a, (*(axis for axis in range(a.ndim) if axis not in last), *last))
    shape = a.shape[b.ndim :]
    if prod(shape) != prod(a.shape[: b.ndim]):
        raise np.linalg.LinAlgError(f"tensorsolve: a of shape {a.shape} and b of shape {b.shape} give no square system")
    return _solve(a.reshape(prod(shape), prod(shape)), b.reshape(-1)).reshape(shape)


@implements(np.linalg.tensorinv, on_complex=True)
def _tensorinv(a: AnyArray, ind: int = 2) -> AnyArray:
    if ind <= 0:
        raise ValueError(f"tensorinv takes a positive ind, got {ind}")
    rows, columns = a.shape[:ind], a.shape[ind:]
    return inv(a.reshape(prod(rows), prod(columns))).reshape((*columns, *rows))


def _check_truncation(a: AnyArray, rcond: Any) -> None:
    """The rule is exact if the singular values that are cut off are zero; it must not be used for others."""
    s = np.linalg.svd(a, compute_uv=False)
    kept = s > asarray_like(np.expand_dims(rcond, -1), s) * s.max(axis=-1, keepdims=True, initial=0)
    cut, smallest = np.where(kept, 0, s).max(axis=-1, initial=0), np.where(kept, s, np.inf).min(axis=-1, initial=np.inf)
    if bool((cut > smallest * float(np.finfo(s.dtype).eps) ** 0.5).any()):
        raise ValueError(
            "pinv: not differentiated where rcond cuts off singular values that are not zero; pass a smaller rcond"
        )


def _pinv_rule(g: AnyArray, out: AnyArray, x: AnyArray, rcond: object, hermitian: bool) -> AnyArray:
    """-Pᵀ g Pᵀ + (1 - AP) gᵀ P Pᵀ + Pᵀ P gᵀ (1 - PA), for P = A⁺ of constant rank (Golub and Pereyra 1973).

    What P leaves out, E = (1 - AP) A (1 - PA), is zero, but not its derivative: E g Qᵀ + Qᵀ g E, with Q = P Pᵀ P,
    makes the second derivative that of the function that cuts off.
    """
    a = _lower(x) + _transposed(_lower(x)) if hermitian else x
    runtime_check(_check_truncation, without_history(a), rcond)
    turned, g_turned = _transposed(out), _transposed(g)
    gram_rows, gram_columns = out @ turned, turned @ out
    gradient = (g_turned - a @ (out @ g_turned)) @ gram_rows
    gradient = gradient + gram_columns @ (g_turned - (g_turned @ out) @ a)
    gradient = gradient - turned @ g @ turned
    left_out = a - a @ (out @ a)
    left_out = left_out - (left_out @ out) @ a
    cubed = gram_columns @ turned
    gradient = gradient + left_out @ (g @ cubed) + (cubed @ g) @ left_out
    return _of_triangle(gradient) if hermitian else gradient


def _pinv_sample(draw: samples.Draw) -> samples.Operands:
    n, hermitian = draw.integer(1, 3), bool(draw.integer(0, 1))
    x = _regular(draw, n if hermitian else draw.integer(0, 3), n)
    return (x,), {"hermitian": hermitian}


declare(
    "pinv",
    lambda x, *, rcond=1e-15, hermitian=False: np.linalg.pinv(x, rcond=rcond, hermitian=hermitian),
    _pinv_rule,
    sample=_pinv_sample,
    expects="matrices (..., m, n)",
)


@implements(np.linalg.pinv)
def _pinv(a: AnyArray, rcond: object = None, hermitian: bool = False, *, rtol: object = np._NoValue) -> AnyArray:
    if rtol is not np._NoValue:
        if rcond is not None:
            raise ValueError("pinv takes rcond or rtol, not both")
        eps = np.finfo(a.dtype if a.dtype.kind == "f" else np.float64).eps
        rcond = max(a.shape[-2:]) * float(eps) if rtol is None else rtol
    return OPS["pinv"](a, rcond=1e-15 if rcond is None else plain(rcond), hermitian=hermitian)


@implements(np.linalg.lstsq)
def _lstsq(a: AnyArray, b: AnyArray, rcond: Any = None) -> Any:
    """The pseudo-inverse times ``b``; whether there are residuals depends on the rank, so NumPy is asked."""
    a, b = as_operand(a), as_operand(b)
    _, found, rank, _ = np.linalg.lstsq(without_history(a), without_history(b), rcond=rcond)
    eps = float(np.finfo(np.result_type(a.dtype, b.dtype, np.float32)).eps)
    rcond = max(a.shape) * eps if rcond is None else eps if rcond < 0 else rcond
    solution = _pinv(a, rcond) @ b
    if found.size:
        difference = b - a @ solution
        residuals = (difference * difference).sum(axis=0).reshape(found.shape)
    else:
        residuals = Tensor(found)
    return solution, residuals, int(rank), _svdvals(a)


# Determinants. The gradient is the matrix of cofactors, det(A) A⁻ᵀ, which is defined for singular matrices as well:
# through A = U S Vᵀ, as cofactors of a product are the product of the cofactors, those of U are det(U) U (of a complex
# one, det(U) times its conjugate), and those of a diagonal matrix products of its other elements. That gives the second
# derivative too, -- for orders above that matrices must not be singular.


def _svd_with_sign(x: AnyArray) -> Any:
    """U, S, Vᵀ, the first and the last conjugated, and det(U) det(V)."""
    u, s, vh = np.linalg.svd(x)
    return np.conj(u), s, np.conj(vh), np.sign(np.linalg.det(u) * np.linalg.det(vh))


def _balanced(x: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Matrices whose rows and columns have been divided by powers of two, to about 1, and the exponents of these.

    LAPACK's rounding errors are then small relative to each row and column, not just to the largest element.
    """
    _, rows = np.frexp(np.abs(x).max(axis=-1, keepdims=True, initial=0))
    x = _scaled(x, -rows)
    _, columns = np.frexp(np.abs(x).max(axis=-2, keepdims=True, initial=0))
    return _scaled(x, -columns), rows, columns


def _unbalanced(cofactors: AnyArray, exponent: AnyArray, rows: AnyArray, columns: AnyArray) -> AnyArray:
    """The cofactors, divided by 2^exponent, of a balanced matrix as those of the original one."""
    exponent = exponent + rows.sum(axis=(-2, -1), dtype=np.int32) + columns.sum(axis=(-2, -1), dtype=np.int32)
    return _scaled(cofactors, _scalars(exponent) - rows - columns)


def _scaled(x: AnyArray, exponents: AnyArray) -> AnyArray:
    """x 2^exponents."""
    if x.dtype.kind != "c":
        return np.ldexp(x, exponents)
    return np.ldexp(x.real, exponents) + 1j * np.ldexp(x.imag, exponents)


_OF_ZERO = -(2**20)
"""The exponent of 0: below all others."""


def _products(s: AnyArray, left_out: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The products along the last axis without those left out, divided by 2^k, and for each matrix k.

    The powers of two are kept apart, so that nothing overflows or underflows on the way.
    """
    exponents = np.rint(np.log2(np.where(s > 0, s, 1))).astype(np.int32)
    products, rest = np.frexp(np.where(left_out, 1, np.ldexp(s, -exponents)).prod(axis=-1))
    exponents = np.where(left_out, 0, exponents).sum(axis=-1, dtype=np.int32) + rest
    return _by_power_of_two(products, exponents, axes=left_out.ndim - 1)


def _by_power_of_two(x: AnyArray, exponents: AnyArray, axes: int) -> tuple[AnyArray, AnyArray]:
    """x 2^exponents / 2^k, none larger than 1, and k: one for all of the last axes."""
    exponents = np.where(x == 0, _OF_ZERO, exponents)
    last = tuple(range(-axes, 0))
    k = exponents.max(axis=last, initial=_OF_ZERO)
    return _scaled(x, exponents - np.expand_dims(k, last)), k


def _cofactors(x: AnyArray) -> AnyArray:
    x, rows, columns = _balanced(x)
    u, s, vh, sign = _svd_with_sign(x)
    others, exponent = _products(np.expand_dims(s, -2), _identity(s))
    return _unbalanced(_scalars(sign) * ((u * np.expand_dims(others, -2)) @ vh), exponent, rows, columns)


def _cofactors_along(x: AnyArray, h: AnyArray) -> AnyArray:
    """The derivative of the cofactors in the direction ``h``."""
    x, rows, columns = _balanced(x)
    _, exponents = np.frexp(np.abs(h))
    h, length = _by_power_of_two(_scaled(h, -exponents), exponents - rows - columns, axes=2)
    u, s, vh, sign = _svd_with_sign(x)
    turned = _transposed(u) @ h @ _transposed(vh)
    unit = np.eye(s.shape[-1], dtype=bool)
    either = asarray_like(unit[:, None, :] | unit[None, :, :], s)
    others, exponent = _products(np.expand_dims(s, (-2, -3)), either)
    others = np.where(_identity(s), 0, others)
    shrunk = (others @ np.expand_dims(_diagonal_of(turned), -1)).squeeze(axis=-1)
    core = _diagonal(shrunk) - others * _transposed(turned)
    return _unbalanced(_scalars(sign) * (u @ core @ vh), exponent + length, rows, columns)


def _cofactors_along_base(g: AnyArray, out: AnyArray, x: AnyArray, h: AnyArray) -> AnyArray:
    """With B = A⁻¹, P = B h, Q = B g: the derivative of det(A) (tr P tr Q - tr PQ)."""
    inverse = inv(x)
    p, q = inverse @ h, inverse @ g
    pq = p @ q
    trace_p, trace_q, trace_pq = (_scalars(_diagonal_of(y).sum(axis=-1)) for y in (p, q, pq))
    products = pq + q @ p - trace_q * p - trace_p * q
    cubic = (trace_p * trace_q - trace_pq) * inverse + products @ inverse
    return _scalars(np.linalg.det(x)) * _transposed(cubic)


def _two_squares_sample(draw: samples.Draw) -> samples.Operands:
    n, stack = draw.integer(0, 3), _stack(draw)
    return (_regular(draw, n, n, stack), samples.reals(draw, (*stack, n, n))), {}


_SQUARE = "square matrices (..., n, n)"
declare(
    "det",
    lambda x: np.linalg.det(x),
    lambda g, out, x: _scalars(g) * OPS["cofactors"](x),
    sample=_square_sample,
    numpy=np.linalg.det,
    expects=_SQUARE,
    complex_rules="holomorphic",
)
declare(
    "cofactors",
    _cofactors,
    lambda g, out, x: OPS["cofactors_along"](x, g),
    sample=_square_sample,
    expects=_SQUARE,
    opaque=True,
    complex_rules="holomorphic",
)
declare(
    "cofactors_along",
    _cofactors_along,
    _cofactors_along_base,
    lambda g, out, x, h: OPS["cofactors_along"](x, g),
    sample=_two_squares_sample,
    expects="two square matrices (..., n, n)",
    opaque=True,
    complex_rules="holomorphic",
)


def _check_has_logarithm(sign: AnyArray) -> None:
    if bool((sign == 0).any()):
        raise np.linalg.LinAlgError(
            "slogdet: not differentiated at a singular matrix, where the logarithm is -inf; take np.linalg.det, whose "
            "gradient is exact there, or add a multiple of the identity"
        )


def _slogdet_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    runtime_check(_check_has_logarithm, without_history(out)[..., 0])
    return _scalars(g[..., 1]) * _transposed(inv(x))


declare(
    "slogdet",
    lambda x: np.stack(np.linalg.slogdet(x), axis=-1),
    _slogdet_rule,
    sample=_square_sample,
    expects=_SQUARE,
    opaque=True,
)


_SlogdetResult = _result_type(np.linalg.slogdet)


@implements(np.linalg.slogdet)
def _slogdet(a: AnyArray) -> Any:
    packed: Any = OPS["slogdet"](a)
    return _SlogdetResult(packed[..., 0].detach(), packed[..., 1])  # the sign does not change


# Factorisations


def check_matrices(name: str, x: AnyArray, square: bool = False) -> None:
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise np.linalg.LinAlgError(
            f"{name} takes {_SQUARE if square else 'matrices (..., m, n)'}, got shape {x.shape}"
        )


def _cholesky_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """L⁻ᵀ Φ(Lᵀ g) L⁻¹, where Φ takes the lower triangle and half of the diagonal."""
    inverse = inv(out)
    return _of_triangle(_transposed(inverse) @ _lower(_transposed(out) @ g) @ inverse)


declare(
    "cholesky",
    lambda x: np.linalg.cholesky(x),
    _cholesky_rule,
    sample=lambda draw: ((np.abs(_regular(draw, n := draw.integer(0, 3), n)),), {}),
    expects="positive definite matrices (..., n, n), of which the lower triangle is read",
)


@implements(np.linalg.cholesky)
def _cholesky(a: AnyArray, /, *, upper: bool = False) -> AnyArray:
    check_matrices("cholesky", a, square=True)
    return _transposed(OPS["cholesky"](_transposed(a))) if upper else OPS["cholesky"](a)


def _undefined_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    return (x, np.zeros(x.shape, bool)), {}


_undefined_where: Op = declare(
    "undefined_where",
    lambda x, undefined: np.divide(  # with a keyword, as a BatchedArray leaves 0 / NaN at 0 otherwise
        x, np.where(undefined, np.nan, 1).astype(np.finfo(x.dtype).dtype), casting="same_kind"
    ),
    lambda g, out, x, undefined: _undefined_where(g, undefined),
    None,
    sample=_undefined_sample,
    expects="a floating array and a mask that broadcasts to it",
    complex_rules="direct",
)
"""``x`` with NaN in some places. What is linear in a gradient, as forward mode is, gets the NaN too: also that of 0."""


def _over_gaps(numerator: AnyArray, values: AnyArray, used: AnyArray) -> AnyArray:
    """numerator_ij / (values_j - values_i) off the diagonal: how eigenvectors and singular vectors turn.

    Where two values agree to rounding, their vectors have no derivative: NaN, unless no gradient came for them
    (``used`` is false), and so none goes on.
    """
    if values.shape[-1] == 0:
        return numerator
    gap = np.expand_dims(values, -2) - np.expand_dims(values, -1)
    resolved = np.abs(gap) > _scalars(_rounding(values))
    return _undefined_where(numerator / np.where(resolved, gap, np.inf), used & ~resolved & ~_identity(values))


def _rounding(values: AnyArray) -> Any:
    """How exactly LAPACK knows eigenvalues or singular values: equal ones differed by up to 22 eps when measured."""
    return np.abs(values).max(axis=-1) * (32 * float(np.finfo(values.dtype).eps))


def _eigh_shapes(x: AnyArray) -> tuple[Shape, Shape]:
    n = x.shape[-1]
    return (n,), (n, n)


def _eigh(x: AnyArray, *, uplo: Any = "L") -> AnyArray:
    return _packed(*np.linalg.eigh(x, UPLO=uplo), ranks=(1, 2))


def _eigh_rule(g: AnyArray, out: AnyArray, x: AnyArray, uplo: str) -> AnyArray:
    (w, v), (g_w, g_v) = _unpacked(out, *_eigh_shapes(x)), _unpacked(g, *_eigh_shapes(x))
    return _eigh_gradient(g_w, g_v, w, v, lower=uplo == "L")


def _eigh_gradient(
    g_values: AnyArray, g_vectors: AnyArray, values: AnyArray, vectors: AnyArray, lower: bool
) -> AnyArray:
    """V (diag(g_w) + (Vᵀ g_V) / (w_j - w_i)) Vᵀ, its mirror image folded onto the triangle that was read."""
    turned = _transposed(vectors) @ g_vectors
    used = (turned != 0) | (_transposed(turned) != 0)
    core = _diagonal(g_values) + _over_gaps(0.5 * (turned - _transposed(turned)), values, used)
    return _of_triangle(vectors @ core @ _transposed(vectors), lower)


def _eigh_sample(draw: samples.Draw) -> samples.Operands:
    n = draw.integer(0, 3)
    uplo = samples.choice(draw, ["L", "U"])
    return (_steady(lambda: _regular(draw, n, n), lambda x: _eigh(x, uplo=uplo)),), {"uplo": uplo}


declare("eigh", _eigh, _eigh_rule, sample=_eigh_sample, expects=_SQUARE, opaque=True)


_EighResult = _result_type(np.linalg.eigh)


@implements(np.linalg.eigh)
def _eigh_call(a: AnyArray, UPLO: str = "L") -> Any:
    check_matrices("eigh", a, square=True)
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"eigh takes UPLO='L' or 'U', got {UPLO!r}")
    return _EighResult(*_unpacked(OPS["eigh"](a, uplo=UPLO.upper()), *_eigh_shapes(a)))


@implements(np.linalg.eigvalsh)
def _eigvalsh(a: AnyArray, UPLO: str = "L") -> Any:
    return _eigh_call(a, UPLO).eigenvalues


for _function in (np.linalg.eig, np.linalg.eigvals):
    refuses(
        _function,
        "general matrices may have complex eigenvalues, and eigenvectors without a scale of their own: use "
        "np.linalg.eigh or np.linalg.eigvalsh for symmetric matrices",
    )


def _svd_shapes(x: AnyArray, full_matrices: bool) -> tuple[Shape, Shape, Shape]:
    m, n = x.shape[-2:]
    k = min(m, n)
    return (m, m if full_matrices else k), (k,), (n if full_matrices else k, n)


def _svd(x: AnyArray, *, full_matrices: bool = False, hermitian: bool = False) -> AnyArray:
    return _packed(*np.linalg.svd(x, full_matrices=full_matrices, hermitian=hermitian), ranks=(2, 1, 2))


def _svd_rule(g: AnyArray, out: AnyArray, x: AnyArray, full_matrices: bool, hermitian: bool) -> Any:
    """U (diag(g_s) + K) Vᵀ with K from the rotations of U and V, and what they have outside of each other's range.

    K_ij = (p_ij s_j + q_ij s_i) / (s_j² - s_i²), where p = Uᵀ g_U - g_Uᵀ U, and q likewise of V; written with the
    partial fractions, of which one alone has the gap between the singular values.
    """
    shapes = _svd_shapes(x, full_matrices)
    (u, s, vh), (g_u, g_s, g_vh) = _unpacked(out, *shapes), _unpacked(g, *shapes)
    v, g_v = _transposed(vh), _transposed(g_vh)
    if hermitian:  # V is U, with the signs of the eigenvalues
        signs = np.sign((u * v).sum(axis=-2))
        return _eigh_gradient(g_s * signs, g_u + g_v * np.expand_dims(signs, -2), s * signs, u, lower=True)
    rank = s.shape[-1]
    (u, g_u), (v, g_v) = _without_complement(u, g_u, rank), _without_complement(v, g_v, rank)
    k_u, k_v = _transposed(u) @ g_u, _transposed(v) @ g_v
    p, q = k_u - _transposed(k_u), k_v - _transposed(k_v)
    used = (k_u != 0) | (k_v != 0)
    total = np.expand_dims(s, -2) + np.expand_dims(s, -1)
    core = _diagonal(g_s) + 0.5 * (
        _over_gaps(p + q, s, used | _transposed(used)) + (p - q) / np.where(total == 0, 1, total)
    )
    gradient = u @ core @ _transposed(v)
    if x.shape[-2] > rank:
        gradient = gradient + _over_values(g_u, u @ k_u, s) @ _transposed(v)
    if x.shape[-1] > rank:
        gradient = gradient + u @ _transposed(_over_values(g_v, v @ k_v, s))
    return gradient


def _over_values(g: AnyArray, inside: AnyArray, s: AnyArray) -> AnyArray:
    """(g - inside) / s_j; for a singular value of zero NaN, unless no gradient came for its vector."""
    if s.shape[-1] == 0:
        return g
    resolved = np.expand_dims(s > np.expand_dims(_rounding(s), -1), -2)
    return _undefined_where((g - inside) / np.where(resolved, np.expand_dims(s, -2), np.inf), ~resolved & (g != 0))


def _without_complement(u: AnyArray, g: AnyArray, rank: int) -> Any:
    """U₁ of U = [U₁ U₂] and all of the gradient: U₂ turns with U₁, which it is orthogonal to.

    How U₂ turns in itself A does not say. A loss that depends on it gets NaN.
    """
    if u.shape[-1] == rank:
        return u, g
    u, rest, g, g_rest = u[..., :rank], u[..., rank:], g[..., :rank], g[..., rank:]
    turned = _transposed(rest) @ g_rest
    inner, size = (np.abs(x).sum(axis=(-2, -1), keepdims=True) for x in (turned - _transposed(turned), turned))
    undefined = inner > size * (1000 * float(np.finfo(u.dtype).eps))
    return u, _undefined_where(g - rest @ (_transposed(g_rest) @ u), undefined)


def _svd_sample(draw: samples.Draw) -> samples.Operands:
    m, n = draw.integer(0, 3), draw.integer(0, 3)
    hermitian, full_matrices = m == n and bool(draw.integer(0, 1)), abs(m - n) == 1 and bool(draw.integer(0, 1))
    settings = {"full_matrices": full_matrices, "hermitian": hermitian}
    return (_steady(lambda: _regular(draw, m, n), lambda x: _svd(x, **settings)),), settings


declare("svd", _svd, _svd_rule, sample=_svd_sample, expects="matrices (..., m, n)", opaque=True)


_SVDResult = _result_type(np.linalg.svd)


@implements(np.linalg.svd)
def _svd_call(a: AnyArray, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> AnyArray:
    check_matrices("svd", a, square=hermitian)
    full = bool(full_matrices and compute_uv and a.shape[-1] != a.shape[-2])
    u, s, vh = _unpacked(OPS["svd"](a, full_matrices=full, hermitian=bool(hermitian)), *_svd_shapes(a, full))
    return _SVDResult(u, s, vh) if compute_uv else s


@implements(np.linalg.svdvals)
def _svdvals(x: AnyArray, /) -> AnyArray:
    return _svd_call(x, compute_uv=False)


def _qr_shapes(x: AnyArray) -> tuple[Shape, Shape]:
    m, n = x.shape[-2:]
    return (m, n), (n, n)


def _qr(x: AnyArray) -> AnyArray:
    return _packed(*np.linalg.qr(x), ranks=(2, 2))


def _check_independent(diagonal: AnyArray) -> None:
    if bool((diagonal == 0).any()):
        raise np.linalg.LinAlgError(
            "qr: not differentiated at a matrix of dependent columns, where Q jumps; solve with "
            "np.linalg.lstsq or np.linalg.pinv, or move the matrix away from there"
        )


def _qr_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """(g_Q + Q sym(M)) R⁻ᵀ for M = R g_Rᵀ - g_Qᵀ Q, where sym mirrors the lower triangle."""
    (q, r), (g_q, g_r) = _unpacked(out, *_qr_shapes(x)), _unpacked(g, *_qr_shapes(x))
    runtime_check(_check_independent, without_history(_diagonal_of(r)))
    half = _lower(r @ _transposed(g_r) - _transposed(g_q) @ q)
    return (g_q + q @ (half + _transposed(half))) @ _transposed(inv(r))


def _qr_sample(draw: samples.Draw) -> samples.Operands:
    n = draw.integer(0, 3)
    rows = n + draw.integer(0, 1)
    return (_steady(lambda: _regular(draw, rows, n), _qr),), {}


declare(
    "qr",
    _qr,
    _qr_rule,
    sample=_qr_sample,
    expects="matrices (..., m, n) of full rank with m >= n",
    opaque=True,
)


_QRResult = _result_type(np.linalg.qr)


@implements(np.linalg.qr)
def _qr_call(a: AnyArray, mode: str = "reduced") -> AnyArray:
    """Columns beyond the square of a wide matrix are Q times the rest of R."""
    check_matrices("qr", a)
    m, n = a.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and m <= n):
        refuse("np.linalg.qr", mode=mode)
    square = a[..., :m] if m < n else a
    q, r = _unpacked(OPS["qr"](square), *_qr_shapes(square))
    if m < n:
        r = np.concatenate([r, _transposed(q) @ a[..., m:]], axis=-1)
    return r if mode == "r" else _QRResult(q, r)


declare(
    "matrix_rank",
    lambda x, *, tol=None, hermitian=False, rtol=None: np.linalg.matrix_rank(
        x, tol=tol, hermitian=hermitian, rtol=rtol
    ),
    None,
    sample=lambda draw: ((_regular(draw, draw.integer(1, 3), draw.integer(1, 3)),), {}),
    numpy=np.linalg.matrix_rank,
    expects="matrices (..., m, n)",
)

# The array API's names for parts of matrices


@implements(np.linalg.matrix_transpose, on_complex=True)
def _matrix_transpose(x: AnyArray, /) -> AnyArray:
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose takes matrices (..., m, n), got shape {x.shape}")
    return _transposed(x)


@implements(np.linalg.diagonal, on_complex=True)
def _diagonal_call(x: AnyArray, /, *, offset: int = 0) -> Any:
    if x.ndim < 2:
        raise ValueError(f"diagonal takes matrices (..., m, n), got shape {x.shape}")
    matrices = x[..., max(-offset, 0) :, max(offset, 0) :]
    n = min(matrices.shape[-2:])
    return np.einsum("...ii->...i", matrices[..., :n, :n])


@implements(np.linalg.trace, on_complex=True)
def _trace(x: AnyArray, /, *, offset: int = 0, dtype: DType = None) -> Any:
    refuse("np.linalg.trace", dtype=dtype)
    return _diagonal_call(x, offset=offset).sum(axis=-1)
