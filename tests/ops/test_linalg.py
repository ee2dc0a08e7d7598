"""Linear algebra: calls in every form that NumPy documents, kinks, degenerate matrices and what is refused."""

import gc
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import check_call

pytestmark = pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")

la = np.linalg
rng = np.random.default_rng(0)


def x(*shape):
    return rng.standard_normal(shape)


def away(*shape):
    """Reals away from zero."""
    return np.asarray(rng.choice([-1, 1], shape) * rng.uniform(0.3, 2, shape))


def regular(*shape):
    """Matrices with distinct singular values and eigenvalues, and two triangles that differ."""
    m, n = shape[-2:]
    return rng.uniform(0.1, 0.3, shape) + np.diag(2.0 + np.arange(max(m, n)))[:m, :n]


def each(function, *shapes, **settings):
    """Calls of a function with two operands of the given shapes."""
    return [(function, (x(*first), x(*second)), settings) for first, second in shapes]


V, M, S = (3,), (2, 3), (2, 2, 3)

PRODUCTS = [
    *each(np.dot, ((), ()), (V, ()), ((), M), (V, V), (M, V), (V, (3, 2)), (M, (3, 2)), (S, V), (S, (3, 2))),
    *each(np.dot, (M, (2, 3, 2)), (V, (2, 3, 2)), (S, (2, 3, 2)), ((0,), (0,)), ((2, 0), (0, 3)), ((1, 1), (1,))),
    (np.dot, (x(3), [1.0, 2.0, 3.0]), {}),
    (np.dot, (2.0, x(3)), {}),
    (np.dot, (x(2, 3), np.arange(3)), {}),
    (np.dot, (), {"a": x(3), "b": x(3)}),
    *each(np.inner, ((), ()), (V, ()), (V, V), (M, V), (V, M), (M, (4, 3)), (S, M), ((0,), (0,)), ((2, 0), (3, 0))),
    *each(np.vdot, ((), ()), (V, V), (M, (3, 2)), (M, (6,)), ((0,), (0,)), ((2, 2, 2), (8,)), ((1,), ())),
    *each(np.outer, ((), ()), (V, ()), ((2,), V), (M, (2,)), ((0,), (2,)), ((2, 2, 1), (1, 2))),
    (np.outer, (x(2), [1, 2]), {}),
    *each(np.linalg.outer, ((2,), V)),
    *each(np.vecdot, (V, V), (M, V), ((2, 1, 3), (4, 3)), ((0,), (0,)), ((2, 0), (0,))),
    *each(la.vecdot, (V, V), (M, V), ((2, 1, 3), (4, 3)), ((2, 0), (0,))),
    *each(la.vecdot, ((3, 2), (3, 2)), axis=0),
    *each(la.vecdot, ((2, 3, 2), (2, 3, 1)), ((2, 3, 4), (3, 4)), axis=-2),
    *each(np.matmul, (M, V), (V, (2, 3, 2)), ((1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3))),
    (np.matmul, ([1.0, 2.0], x(2, 2)), {}),
    (np.matmul, (x(2, 3).T, np.asfortranarray(x(4, 5))[::2, ::-1]), {}),
    *each(la.matmul, (S, (3, 2))),
    *each(np.kron, ((), ()), ((2,), ()), ((2,), V), (M, (2,)), ((2,), M), ((2, 2), (3, 1)), (M, M), ((0,), (2,))),
    *each(np.kron, ((1, 2, 2), (2,)), ((2,), (1, 2, 2))),
    (np.kron, (x(2), [1.0, 2.0]), {}),
    (np.kron, (2.0, x(2, 2)), {}),
    *each(np.cross, (V, V), (M, V), ((2, 1, 3), (4, 3)), ((0, 3), (0, 3))),
    *each(np.cross, ((2,), (2,)), ((2,), V), (V, (2,)), ((4, 2), (4, 2)), ((4, 2), (4, 3)), ((4, 3), (4, 2))),
    *each(np.cross, ((3, 2), (3, 2)), ((2, 4), (2, 4)), axis=0),
    *each(np.cross, ((2, 3, 4), (2, 3, 4)), axis=-2),
    *each(np.cross, ((3, 2), (2, 3)), axisa=0),
    *each(np.cross, ((3, 2), (3, 2)), axisa=0, axisb=0, axisc=0),
    *each(np.cross, ((2, 4, 3), (2, 4, 3)), axisc=1),
    (np.cross, (x(3), [1.0, 0, 0]), {}),
    *each(la.cross, (M, M)),
    *each(la.cross, ((3, 2), (3, 2)), axis=0),
    *((la.multi_dot, ([x(*s) for s in shapes],), {}) for shapes in ([M, (3, 2)], [M, (3, 4), (4, 2)], [M, V], [V, V])),
    (la.multi_dot, ((x(3), x(3, 4), x(4)),), {}),
    (la.multi_dot, ([x(1, 3), x(3, 4), x(4, 2), x(2, 5), x(5, 1)],), {}),
    *((la.matrix_power, (regular(3, 3), n), {}) for n in (0, 1, 2, 3, 5, -1, -2, -3)),
    *((la.matrix_power, (regular(2, 2, 2), n), {}) for n in (0, np.int64(3), -2)),
    (la.matrix_power, (x(0, 0), 2), {}),
    (la.matrix_transpose, (x(2, 3, 4),), {}),
    *((f, (x(2, 3, 4),), {"offset": k}) for f in (la.diagonal, la.trace) for k in (0, 1, -1, 2, 5, -4)),
    *((f, (x(*s),), {}) for f in (la.diagonal, la.trace) for s in ((3, 3), (0, 0), (0, 2, 2))),
]
for function in (np.tensordot, la.tensordot):
    for axes, shapes in (
        (1, [(M, (3, 2)), (M, V), ((2, 0), (0, 2))]),
        (0, [((2,), V), ((), V)]),
        (2, [(M, M), ((2, 3, 4), (3, 4, 2))]),
        (([1, 0], [1, 2]), [((2, 3, 4), (4, 3, 2))]),
        (((-1,), (0,)), [((2, 3, 4), (4, 3, 2))]),
        ((2, 0), [((2, 3, 4), (4, 3, 2))]),
        (([-1], [-2]), [(M, (3, 2))]),
        (([0, 2], [0, 1]), [((2, 3, 2), (2, 2))]),
        (([], []), [(M, M)]),
    ):
        PRODUCTS += each(function, *shapes, axes=axes)
PRODUCTS += each(np.tensordot, ((2, 3, 4), (3, 4, 2)))
PRODUCTS += [(np.tensordot, (x(2, 3), [[1.0, 2.0], [3.0, 4.0], [5, 6]], np.int64(1)), {})]

SUBSCRIPTS = {
    "i": [V],
    "": [()],
    "->": [()],
    ",": [(), ()],
    ",ij": [(), M],
    "i,->i": [V, ()],
    "ba": [M],
    "bA": [M],
    "Ab,bA->b": [M, (3, 2)],
    "ij->": [M],
    "ij->j": [M],
    "ij->ji": [M],
    "i,i": [V, V],
    "i,j->ji": [(2,), V],
    "ij,jk": [M, (3, 2)],
    " i j , j k -> i k ": [M, (3, 2)],
    "ij,ji->": [M, (3, 2)],
    "ij,i->": [M, (2,)],
    "ij,jk,kl->il": [M, (3, 2), (2, 2)],
    "ij,jk,kl,lm->im": [M, (3, 2), (2, 2), M],
    "ijk,ilm,njm,nlk,abc->": [(2, 3, 2), (2, 2, 3), (2, 3, 3), (2, 2, 2), (2, 1, 2)],
    "a,ab,abc->abc": [(2,), M, (2, 3, 2)],
    "i,i,i->i": [V, V, V],
    # a label repeated in one operand
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "ii->": [(3, 3)],
    "iii->i": [(2, 2, 2)],
    "iijj->ij": [(2, 2, 3, 3)],
    "ijij->ji": [(2, 3, 2, 3)],
    "jii->ij": [(3, 2, 2)],
    "ijj->i": [(2, 3, 3)],
    "iij,j->i": [(2, 2, 3), V],
    "ii,jj->": [(2, 2), (3, 3)],
    # the ellipsis
    "...": [M],
    "...->...": [M],
    "i...->...": [M],
    "...i->i...": [M],
    "...ii->...i": [(2, 3, 3)],
    "...ii": [(2, 3, 3)],
    "...,...": [M, V],
    "...,...->...": [(2, 1), (1, 3)],
    "ij,...->ij": [M, ()],
    "ij...,j->...": [M, V],
    "ij...,jk...->ik...": [(2, 3, 2), (3, 2, 2)],
    "...ij,...jk->...ik": [(1, 2, 3), (4, 3, 2)],
    "...i,...i->...": [M, (4, 1, 3)],
    # axes of length 1, repeated along others, and of length 0
    "ij,ij->ij": [(1, 3), M],
    "ij,ij->i": [(2, 1), M],
    "ij,ij->": [(1, 3), (2, 1)],
    "ij,kj->ik": [(2, 0), (3, 0)],
    "ij->i": [(2, 0)],
    "ii->i ": [(0, 0)],
}
EINSUMS = [
    (np.einsum, (subscripts, *(x(*s) for s in shapes)), {"optimize": optimize})
    for subscripts, shapes in SUBSCRIPTS.items()
    for optimize in (False, True)
]
a, b = x(2, 3), x(3, 2)
EINSUMS += [
    *((np.einsum, ("ij,jk->ik", a, b), {"optimize": o}) for o in ("greedy", "optimal", ["einsum_path", (0, 1)])),
    (np.einsum, ("ij,jk,kl->il", a, b, x(2, 2)), {"optimize": ["einsum_path", (0, 1), (0, 1)]}),
    (np.einsum, (a, [0, 1], b, [1, 2], [0, 2]), {}),
    (np.einsum, (a, [0, 1], b, [1, 2]), {}),
    (np.einsum, (a, [1, 0]), {}),
    (np.einsum, (a, (0, 1), [1]), {}),
    (np.einsum, (a, [0, 1], []), {}),
    (np.einsum, (a, [27, 1]), {}),
    (np.einsum, (x(3, 3), [0, 0]), {}),
    (np.einsum, (a, [Ellipsis]), {}),
    (np.einsum, (a, [Ellipsis, 0], b, [0, 1], [Ellipsis, 1]), {}),
    (np.einsum, ("ij,j->i", a, [1.0, 2.0, 3.0]), {}),
    (np.einsum, (",i->i", 2.0, x(3)), {}),
    (np.einsum, ("ij,j", a, np.arange(3)), {}),
    (np.einsum, ("ij,jk->ik", np.asfortranarray(a), x(3, 4)[:, ::2]), {}),
    (np.einsum, ("ij", a), {"order": "K", "casting": "safe", "dtype": None}),
]

NORMS = [
    *((la.norm, (away(*s),), {"keepdims": k}) for s in ((), V, M, S, (0,), (0, 3)) for k in (False, True)),
    *((la.vector_norm, (away(*s),), {"keepdims": k}) for s in ((), V, M, S) for k in (False, True)),
    *((la.matrix_norm, (away(*s),), {"keepdims": k}) for s in (M, S) for k in (False, True)),
    (la.norm, (away(2, 0),), {"axis": 1}),
    (la.norm, (away(2, 0), 1), {"axis": 1}),
]
for order in (None, 2, 0, 1, np.inf, -np.inf, 3, 4, 6, 2.5, 0.5, -1, -2.5, np.float64(3), np.float32(2)):
    NORMS += [
        (la.norm, (away(4), order), {}),
        (la.norm, (away(4), order), {"keepdims": True}),
        (la.norm, (away(3, 2), order), {"axis": 0}),
        (la.norm, (away(3, 2),), {"ord": order, "axis": -1, "keepdims": True}),
        (la.norm, (away(2, 3, 2), order, 1), {}),
        (la.norm, (away(3, 2), order), {"axis": (1,)}),
    ]
    if order is not None:
        NORMS += [
            (la.vector_norm, (away(2, 3),), {"ord": order}),
            (la.vector_norm, (away(2, 3, 2),), {"ord": order, "axis": (0, 2), "keepdims": True}),
        ]
for order in (None, "fro", "f", "nuc", 1, -1, np.inf, -np.inf, 2, -2):
    NORMS += [
        (la.norm, (away(3, 2), order), {}),
        (la.norm, (away(3, 3), order), {"keepdims": True}),
        (la.norm, (away(2, 3), order), {"axis": (0, 1)}),
        (la.norm, (away(2, 3, 2), order), {"axis": (0, 2)}),
        (la.norm, (away(2, 3, 2), order), {"axis": (2, 0), "keepdims": True}),
        (la.norm, (away(2, 3, 4), order), {"axis": (-1, -3)}),
    ]
    if order is not None:
        NORMS += [(la.matrix_norm, (away(2, 2, 3),), {"ord": order, "keepdims": True})]

DECOMPOSITIONS = []
for shape in ((3, 3), (1, 1), (2, 3, 3), (0, 0), (0, 2, 2), (2, 1, 2, 2)):
    orders = (None, 2, -2, 1, -1, np.inf, "fro", "nuc") if shape[-1] > 1 else ()
    DECOMPOSITIONS += [
        (function, (regular(*shape),), settings)
        for function, settings in (
            *((f, {}) for f in (la.inv, la.det, la.slogdet, la.cholesky, la.eigh, la.eigvalsh, la.svdvals, la.qr)),
            *((f, {"UPLO": uplo}) for f in (la.eigh, la.eigvalsh) for uplo in ("U", "l", "u")),
            (la.cholesky, {"upper": True}),
            *((la.svd, {"full_matrices": full, "hermitian": h}) for full in (True, False) for h in (True, False)),
            *((la.svd, {"compute_uv": False, "hermitian": h}) for h in (True, False)),
            *((la.pinv, {"hermitian": h}) for h in (True, False)),
            *((la.pinv, settings) for settings in ({"rcond": 1e-10}, {"rtol": 1e-10}, {"rtol": None})),
            *((la.cond, {"p": order}) for order in orders),
        )
    ]
for shape in ((3, 2), (2, 3), (2, 3, 2), (2, 2, 3), (3, 1), (1, 3), (3, 0), (0, 3), (5, 2), (2, 5)):
    m, n = shape[-2:]
    matrix = regular(*shape)
    DECOMPOSITIONS += [
        (la.svd, (matrix,), {"full_matrices": False}),
        (la.svd, (matrix,), {"compute_uv": False}),
        (la.svdvals, (matrix,), {}),
        (la.pinv, (matrix,), {}),
        *((la.qr, (matrix,), {"mode": mode}) for mode in ("reduced", "r", "complete")[: 3 if m <= n else 2]),
    ]
    if abs(m - n) == 1:  # the one vector beside the others is determined, but for its sign
        DECOMPOSITIONS += [(la.svd, (matrix,), {"full_matrices": True})]
DECOMPOSITIONS += [
    (la.eigh, (-regular(3, 3),), {}),
    (la.svd, (-regular(3, 3),), {"hermitian": True}),
    (la.slogdet, (-regular(3, 3),), {}),
    (la.cond, (regular(3, 2),), {}),
    (la.inv, (np.eye(3),), {}),
    (la.pinv, (np.eye(3),), {}),
    (la.pinv, (2 * np.eye(3),), {"hermitian": True}),
    (la.pinv, (regular(2, 3, 2), [1e-10, 1e-9]), {}),
    (la.pinv, (regular(2, 3, 3),), {"rtol": tg.Tensor([1e-10, 1e-9])}),
    *((la.tensorinv, (x(*s),), {"ind": ind}) for s, ind in (((2, 3, 6), 2), ((6, 3, 2), 1), ((2, 2, 4), 2))),
    (la.tensorsolve, (x(2, 3, 6), x(2, 3)), {}),
    (la.tensorsolve, (x(2, 6, 3), x(2, 3)), {"axes": (1,)}),
    (la.tensorsolve, (x(6, 2, 3), x(2, 3)), {"axes": (0,)}),
    *(
        (la.solve, (regular(*first), x(*second)), {})
        for first, second in (
            ((3, 3), (3,)),
            ((3, 3), (3, 2)),
            ((2, 3, 3), (3,)),
            ((2, 3, 3), (3, 2)),
            ((3, 3), (2, 3, 2)),
            ((2, 1, 3, 3), (4, 3, 1)),
            ((2, 2, 2), (2, 2)),
            ((0, 0), (0,)),
            ((3, 3), (3, 0)),
        )
    ),
    (la.solve, (regular(2, 2), [1.0, 2.0]), {}),
    (la.solve, (np.array([[2, 1], [1, 3]]), x(2)), {}),
    (la.solve, ([[2.0, 1.0], [1.0, 3.0]], x(2)), {}),
    # Singular matrices have a determinant with derivatives, whatever their rank
    *((la.det, (np.array(m, float),), {}) for m in (np.ones((3, 3)), np.ones((4, 4)), np.zeros((3, 3)), [[0.0]])),
    (la.det, (np.zeros((2, 2)),), {}),
    (la.det, (np.diag([1.0, 1, 0, 0]),), {}),
    (la.det, (np.stack([np.diag([1.0, 2, 0]), regular(3, 3), np.eye(3)]),), {}),
]


if hasattr(np, "matvec"):
    PRODUCTS += each(np.matvec, (M, V), ((4, 2, 3), V), (M, (5, 3)), ((2, 0), (0,)))
    PRODUCTS += each(np.vecmat, (V, (3, 2)), ((4, 3), (3, 2)), (V, (2, 3, 2)))


def named(case):
    function, args, settings = case
    shapes = [str(getattr(arg, "shape", arg)).replace(" ", "") for arg in args]
    return f"{function.__name__}({', '.join(shapes)}, {settings})"


@pytest.mark.parametrize("case", [*PRODUCTS, *EINSUMS, *NORMS, *DECOMPOSITIONS], ids=named)
def test_call(case):
    function, args, settings = case
    check_call(function, *args, **settings)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (2, 1, 3, 3)])
def test_the_determinant_has_a_third_derivative(shape):
    assert tg.gradcheck(lambda a: la.det(a) ** 2, regular(*shape), order=3)


SPREAD = [
    ([1e200, 1e200, 1e-200, 1e-200], [1e-200, 1e-200, 1e200, 1e200]),
    ([1e-200, 1e-200, 1e200, 1e200, 1.0], [1e200, 1e200, 1e-200, 1e-200, 1.0]),
    ([1e300, 1e300, 0.0, 1e-300], [0.0, 0.0, 1e300, 0.0]),
    ([1e200, 1e200, 1.0], [1e200, 1e200, np.inf]),
    ([1e-200, 1e-200, 1.0], [1e-200, 1e-200, 0.0]),
    ([1e-300] * 3 + [1e300] * 3 + [0.0], [0.0] * 6 + [1.0]),
]


@pytest.mark.parametrize("diagonal, expected", SPREAD)
def test_the_determinant_of_values_far_apart(diagonal, expected):
    """Products on the way may be too large or too small for a number, though the gradient is not."""
    with np.errstate(over="ignore"):
        found = gradient_of(la.det, np.diag(diagonal))
    np.testing.assert_allclose(found, np.diag(expected), rtol=1e-12)


def test_the_determinant_of_rows_far_apart():
    found = gradient_of(la.det, [[1e200, 1e200], [1e-200, 2e-200]])
    np.testing.assert_allclose(found, [[2e-200, -1e-200], [-1e200, 1e200]], rtol=1e-12)


def test_the_determinant_of_values_far_apart_has_a_second_derivative():
    a = tg.Tensor(np.stack([np.diag([1e200, 1e200, 1e-200, 1e-200]), np.eye(4)]), requires_grad=True)
    first = tg.gradients(la.det(a).sum(), a, create_graph=True)
    second = tg.gradients(first[:, 0, 0].sum(), a).data
    np.testing.assert_allclose(second[0], np.diag([0.0, 0.0, 1.0, 1.0]), rtol=1e-12)
    np.testing.assert_allclose(second[1], np.diag([0.0, 1.0, 1.0, 1.0]), rtol=1e-12, atol=1e-15)


@pytest.mark.slow
def test_the_determinant_of_a_large_orthogonal_matrix():
    q = np.roll(np.eye(1200) / 2, 1, axis=0)
    np.testing.assert_allclose(gradient_of(lambda a: la.det(2 * a), q), la.det(2 * q) * 4 * q, atol=1e-10)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (5, 3), (2, 4, 2)])
def test_the_complement_of_the_singular_vectors_counts_as_a_space(shape):
    """What depends on the space alone that the further vectors span has a derivative."""
    m, n = shape[-2:]

    def projector(a):
        u, _, vh = la.svd(a)
        rest = u[..., n:] if m > n else np.swapaxes(vh, -1, -2)[..., m:]
        return rest @ np.swapaxes(rest, -1, -2)

    assert tg.gradcheck(projector, regular(*shape), order=2)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4)])
def test_vectors_of_the_complement_one_by_one_have_no_derivative(shape):
    a = tg.Tensor(regular(*shape), requires_grad=True)
    u, _, vh = la.svd(a)
    weights = x(4, 4)
    assert np.isnan(tg.gradients((weights * (u if shape[0] > shape[1] else vh)).sum(), a).data).all()


def test_pinv_along_matrices_of_the_same_rank():
    check_call(lambda a, b: la.pinv(a @ b, rcond=1e-4), x(4, 2), x(2, 3))
    assert tg.gradcheck(lambda a: la.pinv(a, rcond=0.05), x(4, 2) @ x(2, 3))


def test_pinv_has_the_second_derivative_of_the_function_that_cuts_off(monkeypatch):
    monkeypatch.setattr("tensorgrad.ops.decompositions.runtime_check", lambda *check: None)  # of the numeric derivative
    assert tg.gradcheck(lambda a: la.pinv(a, rcond=0.05), x(4, 2) @ x(2, 3), order=2)
    assert tg.gradcheck(lambda a: la.pinv(a, rcond=0.1, hermitian=True), np.diag([1.0, -1, 0]), order=2)


@pytest.mark.parametrize("shape", [(4, 2), (2, 2), (2, 4)])
@pytest.mark.parametrize("columns", [(), (3,)])
@pytest.mark.parametrize("rcond", [None, -1, 1e-8])
def test_lstsq(shape, columns, rcond):
    a, b = regular(*shape), x(shape[0], *columns)
    expected = la.lstsq(a, b, rcond)
    found = la.lstsq(tg.Tensor(a, requires_grad=True), b, rcond)
    assert isinstance(found[2], int) and found[2] == expected[2]
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.numpy() if isinstance(one, tg.Tensor) else one, other, atol=1e-12, strict=False)
    check_call(lambda *arrays: [part for part in la.lstsq(*arrays, rcond) if np.shape(part)], a, b)


def test_results_are_numpys_named_tuples():
    a = tg.Tensor(regular(2, 2), requires_grad=True)
    for function in (la.slogdet, la.eigh, la.svd, la.qr):
        assert type(function(a)) is type(function(a.data))
    assert la.eigh(a).eigenvalues.shape == (2,)


def test_integers():
    a, b = np.array([[2, 1], [1, 3]]), np.array([4, 5])
    for function in (np.dot, np.inner, np.kron, np.outer, np.matmul, np.tensordot, la.solve):
        arguments = (b, b) if function is np.tensordot else (a, b)
        settings = {"axes": 1} if function is np.tensordot else {}
        expected = function(*arguments, **settings)
        found = function(tg.Tensor(arguments[0]), arguments[1], **settings)
        np.testing.assert_allclose(found.data, expected, strict=True)
    assert la.cond(tg.Tensor(np.zeros((2, 2)))).item() == np.inf
    for function in (la.norm, la.det, la.inv, la.cholesky, la.svdvals, la.matrix_rank, la.pinv, la.cond):
        np.testing.assert_allclose(function(tg.Tensor(a)).data, function(a), strict=True)
    np.testing.assert_array_equal(np.einsum("ii->i", tg.Tensor(a)).data, [2, 3], strict=True)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0), (3, 0, 2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_the_largest_of_nothing_is_zero(shape, keepdims):
    """As in NumPy 2.4; older ones take no empty matrices."""
    a = tg.Tensor(np.zeros(shape), requires_grad=True)
    stack = shape[:-2] + (1, 1) * keepdims
    for p in (1, 2, np.inf):
        assert la.matrix_norm(a, ord=p, keepdims=keepdims).shape == stack
        assert not la.matrix_norm(a, ord=p, keepdims=keepdims).data.any()
    norm = la.vector_norm(a, ord=np.inf, keepdims=keepdims)
    assert norm.shape == (1,) * len(shape) * keepdims and norm.item() == 0
    norm.sum().backward()
    assert a.grad.shape == shape


def test_plain_answers():
    a, b = tg.Tensor(x(2, 3), requires_grad=True), x(3, 4)
    assert np.einsum_path("ij,jk->ik", a, b)[0] == np.einsum_path("ij,jk->ik", a.data, b)[0]
    assert la.matrix_rank(a) == 2
    assert la.matrix_rank(tg.Tensor(np.diag([1.0, 1e-3])), tol=1e-2) == 1
    assert not la.slogdet(tg.Tensor(np.eye(2), requires_grad=True)).sign.requires_grad


def gradient_of(f, a, create_graph=False):
    a = tg.Tensor(np.array(a, float), requires_grad=True)
    first = tg.gradients(f(a), a, create_graph=True)
    if not create_graph:
        return first.data
    return tg.gradients((first * first).sum(), a).data if first.requires_grad else np.zeros(a.shape)


ZERO, EYE = np.zeros((2, 2)), np.eye(2)
HALF = EYE / 2


@pytest.mark.parametrize(
    "f, at, expected",
    [
        *((lambda a, p=p: la.norm(a, p), [0.0, 0.0], [0.0, 0.0]) for p in (None, 1, 2, 3, 4, 0.5, -1, np.inf, -np.inf)),
        *((lambda a, p=p: la.norm(a, p), ZERO, ZERO) for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)),
        (lambda a: la.norm(a, 3), [0.0, 2.0], [0.0, 1.0]),
        (lambda a: la.norm(a, 0.5), [0.0, 2.0], [0.0, 1.0]),
        *((lambda a, p=p: la.norm(a, p), [1e300, 0.0, -1e300], [0.0] * 3) for p in (2, 3, 4, 2.5, 0.01)),
        *((lambda a, p=p: la.norm(a, p), [1.0, np.inf, -2.0], [0.0, 1.0, 0.0]) for p in (1.5, 3, 4, 0.5)),
        *(
            (lambda a, p=p: la.norm(a, p), [-np.inf, np.inf, 1e300], [-(2 ** (1 / p - 1)), 2 ** (1 / p - 1), 0.0])
            for p in (3, 4, 2.5)
        ),
        (lambda a: la.norm(a, -1), [np.inf, -4.0], [0.0, -1.0]),
        (lambda a: la.norm(a, -1), [np.inf, np.inf], [0.25, 0.25]),
        *((lambda a, p=p: la.norm(a, p), [1e-200, -2e-200], [0.0, 0.0]) for p in (-2, -3.5)),
        (lambda a: la.norm(a, 1), [0.0, -2.0], [0.0, -1.0]),
        (lambda a: la.norm(a, np.inf), [2.0, -2.0, 1.0], [0.5, -0.5, 0.0]),
        (lambda a: la.norm(a, -np.inf), [2.0, -1.0, 1.0], [0.0, -0.5, 0.5]),
        (lambda a: la.norm(a, axis=0).sum(), [[3.0, 0.0], [4.0, 0.0]], [[0.6, 0.0], [0.8, 0.0]]),
        (lambda a: la.norm(a, 2), EYE, HALF),
        (lambda a: la.norm(a, -2), EYE, HALF),
        (lambda a: la.norm(a, "nuc"), EYE, EYE),
        (lambda a: la.norm(a, "nuc"), np.diag([1.0, 0.0]), np.diag([1.0, 0.0])),
        (lambda a: la.eigvalsh(a).sum(), EYE, EYE),
        (lambda a: la.eigh(a).eigenvalues.sum(), 0 * EYE, EYE),
        (lambda a: la.svdvals(a).sum(), EYE, EYE),
        (lambda a: (la.eigh(a).eigenvectors[:, 2] ** 4).sum(), np.diag([1.0, 1.0, 2.0]), np.zeros((3, 3))),
        (la.det, ZERO, ZERO),
        (la.det, [[1.0, 2.0], [2.0, 4.0]], [[4.0, -2.0], [-2.0, 1.0]]),
    ],
)
def test_kinks(f, at, expected):
    with np.errstate(
        divide="ignore", over="ignore"
    ):  # NumPy's own, of norms of negative orders and those that overflow
        np.testing.assert_allclose(gradient_of(f, at), expected, atol=1e-12)
        if f is not la.det:
            second = gradient_of(f, at, create_graph=True)
            assert not np.isnan(second).any() or np.array_equal(at, EYE) or np.shape(at) == (3, 3)


@pytest.mark.parametrize("function", [la.eigh, la.svd])
def test_vectors_of_equal_values_have_no_derivative(function):
    """Not even a plausible one: the gradient is NaN, in just that matrix of the stack."""
    a = np.stack([np.eye(3), regular(3, 3)])
    found = gradient_of(lambda a: (function(a)[0 if function is la.svd else 1] * np.arange(9.0).reshape(3, 3)).sum(), a)
    assert np.isnan(found[0]).any() and np.isfinite(found[1]).all()


@pytest.mark.parametrize(
    "f, a, defined",
    [
        (lambda a: la.eigh(a).eigenvectors, np.diag([1.0, 1.0, 2.0]), [2]),
        (lambda a: la.svd(a).U, np.diag([3.0, 2.0, 2.0]), [0]),
        (lambda a: la.svd(a, full_matrices=False).U, np.diag([3.0, 0.0, 0.0])[:, :2], [0]),
        (lambda a: la.svd(a).Vh, np.array([[1.0, 0.0, 0.0]]), []),
        (lambda a: la.svd(a).Vh, np.array([[1.0, 2.0, -0.5]]), []),
    ],
)
def test_nor_in_forward_mode(f, a, defined):
    for found in (tg.jvp(f, (a,), (x(*a.shape),))[1], tg.jacobian(f)(a)[..., 0, 0]):
        rest = [i for i in range(found.shape[1]) if i not in defined]
        assert np.isnan(found[:, rest]).any(axis=0).all() and np.isfinite(found[:, defined]).all()


def test_one_triangle_is_read_and_has_the_gradient():
    for function, settings, zeros in (
        (la.cholesky, {}, np.triu),
        (la.cholesky, {"upper": True}, np.tril),
        (lambda a, **s: la.eigh(a, **s).eigenvectors, {"UPLO": "L"}, np.triu),
        (lambda a, **s: la.eigh(a, **s).eigenvectors, {"UPLO": "U"}, np.tril),
        (la.pinv, {"hermitian": True}, np.triu),
    ):
        found = gradient_of(lambda a: (function(a, **settings) * x(3, 3)).sum(), regular(3, 3))  # noqa: B023
        assert not zeros(found, k=1 if zeros is np.triu else -1).any()


T = tg.Tensor(np.eye(3) + 0.1, requires_grad=True)
TALL = tg.Tensor(np.ones((3, 2)), requires_grad=True)
PLANE = tg.Tensor(np.ones(3), requires_grad=True)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: np.dot(T, T, out=np.empty((3, 3))), TypeError, r"np.dot: out="),
        (lambda: np.outer(T, T, out=np.empty((9, 9))), TypeError, r"np.outer: out="),
        (lambda: np.vecdot(T, T, dtype=np.float32), TypeError, r"np.vecdot: dtype="),
        (lambda: np.matmul(T, T, dtype=np.float32), TypeError, r"np.matmul: dtype="),
        (lambda: np.einsum("ij->ji", T, out=np.empty((3, 3))), TypeError, r"np.einsum: out="),
        (lambda: np.einsum("ij->ji", T, dtype=np.float32), TypeError, r"np.einsum: dtype="),
        (lambda: np.einsum("ij->ji", T, order="F"), TypeError, r"np.einsum: order="),
        (lambda: np.einsum("ij->ji", T, casting="unsafe"), TypeError, r"np.einsum: casting="),
        (lambda: la.multi_dot([T, T], out=np.empty((3, 3))), TypeError, r"np.linalg.multi_dot: out="),
        (lambda: la.trace(T, dtype=np.float32), TypeError, r"np.linalg.trace: dtype="),
        (lambda: la.qr(TALL, mode="complete"), TypeError, r"np.linalg.qr: mode="),
        (lambda: la.qr(T, mode="raw"), TypeError, r"np.linalg.qr: mode="),
        (lambda: la.eig(T), TypeError, r"linalg.eig has no gradient rule in tensorgrad; .*use np.linalg.eigh"),
        (lambda: la.eigvals(T), TypeError, r"linalg.eigvals has no gradient rule in tensorgrad; .*complex"),
        (lambda: la.eigh(T, "X"), ValueError, r"eigh takes UPLO='L' or 'U', got 'X'"),
        (lambda: la.norm(T, 3), ValueError, r"norm: 3 is not an order for matrices"),
        (lambda: la.norm(PLANE, "fro"), ValueError, r"norm: 'fro' is not an order for vectors"),
        (lambda: la.norm(tg.Tensor(np.ones((2, 2, 2))), 1), ValueError, r"one axis or two; got 3"),
        (lambda: la.norm(T, axis=(0, 0)), ValueError, r"repeated axis"),
        (lambda: la.norm(T, axis=2), IndexError, r"axis 2 is out of bounds"),
        (lambda: la.matrix_norm(PLANE), la.LinAlgError, r"matrix_norm takes matrices"),
        (lambda: la.matrix_power(T, 0.5), TypeError, r"integer exponent, got 0.5"),
        (lambda: la.matrix_power(TALL, 2), la.LinAlgError, r"square matrices, got shape \(3, 2\)"),
        (lambda: la.inv(TALL), ValueError, r"inv got .*\(3, 2\).* but takes square matrices"),
        (lambda: la.inv(tg.Tensor(np.ones((2, 2)))), ValueError, r"inv got .*not singular: Singular matrix"),
        (lambda: la.cholesky(-T), ValueError, r"cholesky got .*positive definite"),
        (lambda: la.det(TALL), ValueError, r"det got .*\(3, 2\)"),
        (lambda: la.eigh(TALL), la.LinAlgError, r"eigh takes square matrices"),
        (lambda: la.svd(PLANE), la.LinAlgError, r"svd takes matrices"),
        (lambda: la.qr(PLANE), la.LinAlgError, r"qr takes matrices"),
        (lambda: la.solve(T, TALL.T), ValueError, r"solve got"),
        (lambda: la.cond(tg.Tensor(np.ones((0, 0)))), la.LinAlgError, r"not empty"),
        (lambda: la.pinv(T, 1e-3, rtol=1e-3), ValueError, r"rcond or rtol, not both"),
        (lambda: la.tensorinv(T, 0), ValueError, r"positive ind, got 0"),
        (lambda: la.tensorsolve(TALL, PLANE), la.LinAlgError, r"no square system"),
        (lambda: la.multi_dot([T]), ValueError, r"at least two arrays, got 1"),
        (lambda: la.multi_dot([T, PLANE, T]), ValueError, r"multi_dot takes matrices"),
        (lambda: la.outer(T, PLANE), ValueError, r"two vectors"),
        (lambda: la.cross(TALL, TALL), ValueError, r"3 components, got 2 and 2"),
        (lambda: np.cross(tg.Tensor(np.ones(4)), PLANE), ValueError, r"2 or 3 components, got 4 and 3"),
        (lambda: np.tensordot(T, TALL.T, 1), ValueError, r"tensordot: axes 1 of shapes \(3, 3\) and \(2, 3\)"),
        (lambda: np.vdot(T, PLANE), ValueError, r"matmul got"),
        (lambda: np.einsum("ij,jk", T), ValueError, r"is for 2 operand\(s\), got 1"),
        (lambda: np.einsum("...i->i", T), ValueError, r"has no '...'"),
        (lambda: np.einsum("ij->ik", T), ValueError, r"einsum got .*'k' which never appeared"),
        (lambda: np.einsum("ijk->", T), ValueError, r"einsum got .*too many subscripts"),
        (lambda: np.einsum("ii", TALL), ValueError, r"einsum got .*don't match"),
        (lambda: np.einsum("i.j", T), ValueError, r"einsum got"),
        (lambda: np.einsum(T, [60, 0]), ValueError, r"0..51, got \[60, 0\]"),
    ],
)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "f, at, message",
    [
        (lambda a: la.pinv(a, rcond=0.5).sum(), np.diag([1.0, 0.3]), r"pinv: .*rcond cuts off singular values"),
        (lambda a: la.slogdet(a).logabsdet, np.ones((2, 2)), r"slogdet: .*singular.* np.linalg.det"),
        (lambda a: la.slogdet(a).logabsdet.sum(), np.stack([np.eye(2), np.ones((2, 2))]), r"slogdet: "),
        (lambda a: la.qr(a).R.sum(), np.zeros((2, 2)), r"qr: .*dependent columns.* np.linalg.pinv"),
        (lambda a: la.qr(a).R.sum(), np.zeros((2, 3)), r"qr: "),
    ],
)
def test_refused_on_the_way_back(f, at, message):
    with pytest.raises(ValueError, match=message):
        gradient_of(f, at)


@pytest.mark.parametrize(
    "f",
    [
        lambda a: (
            la.svd(a).U[:, 0].sum() + la.slogdet(a)[1] + la.pinv(a).sum() + la.norm(a, "nuc") + la.norm(a, 3, 0).sum()
        ),
        lambda a: np.einsum("ii,ij->j", a, a).sum() + np.kron(a, a).sum() * la.det(a) + la.qr(a).R.sum(),
        lambda a: (
            la.eigh(a).eigenvectors.sum()
            + la.cholesky(a, upper=True).sum()
            + la.cond(a)
            + la.multi_dot([a, a, a]).sum()
        ),
        lambda a: (
            np.cross(a, a.T).sum()
            + la.matrix_power(a, -2).sum()
            + la.matrix_power(a, 0).sum()
            + la.solve(a, a[0]).sum()
        ),
    ],
)
def test_compiled(f):
    def step(a):
        a = tg.Tensor(a, requires_grad=True)
        loss = f(a)
        return loss.data, tg.gradients(loss, a).data

    compiled = tg.compile(step, pure=True)
    for a in (regular(3, 3), regular(3, 3) + 0.5, regular(3, 3)):
        for one, other in zip(compiled(a), step(a)):
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_lstsq_is_not_compiled():
    with pytest.raises(tg.CaptureError):
        tg.compile(lambda a: la.lstsq(tg.Tensor(a), a[:, 0])[0].data, pure=True)(regular(3, 2))


def test_a_chain_leaves_no_cycle_behind():
    """A history that is let go is gone at once, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        a = tg.Tensor(x(2, 3), requires_grad=True)
        product = la.multi_dot([a, x(3, 4), x(4, 2)])
        watched = weakref.ref(product)
        del product
        assert watched() is None
    finally:
        gc.enable()


def test_vecdot_along_another_axis():
    check_call(np.vecdot, rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), axis=0)
    check_call(np.vecdot, rng.normal(size=(2, 3, 1)), rng.normal(size=(3, 4)), axis=-2)


# Contractions of several operands cost what the best order of pairs costs


def work_of_einsum(monkeypatch, function):
    """The multiplications of each contraction that ``function`` makes, forward and backward."""
    op, counts = tg.OPS["einsum"], []
    forward = op.forward

    def counted(*operands, subscripts, optimize=False):
        inputs = subscripts.split("->")[0].split(",")
        lengths = {n: length for own, x in zip(inputs, operands) for n, length in zip(own, x.shape)}
        counts.append(int(np.prod(list(lengths.values()))))
        return forward(*operands, subscripts=subscripts, optimize=optimize)

    monkeypatch.setattr(op, "forward", counted)
    function()
    return counts


@pytest.mark.parametrize(
    "optimize", [False, True, "greedy", "optimal", ("greedy", 10**6), ["einsum_path", (1, 2), (0, 1)]]
)
def test_a_chain_of_matrices_in_einsum_takes_no_more_than_its_products(monkeypatch, optimize):
    n = 10
    a, b, c = np.random.default_rng(0).standard_normal((3, n, n))
    found = {}

    def differentiate():
        found["gradients"] = tg.grad(
            lambda a, b, c: (np.einsum("ij,jk,kl->il", a, b, c, optimize=optimize) ** 2).sum(), (0, 1, 2)
        )(a, b, c)

    counts = work_of_einsum(monkeypatch, differentiate)
    assert max(counts) == n**3
    assert sum(counts) == 6 * n**3  # two products forward, two gradients for each
    g = 2 * (a @ b @ c)
    for gradient, wanted in zip(found["gradients"], (g @ (b @ c).T, a.T @ g @ c.T, (a @ b).T @ g)):
        np.testing.assert_allclose(gradient, wanted)


@pytest.mark.parametrize(
    "subscripts",
    ["ij,jk,kl,lm->im", "bij,bjk,k->bi", "ii,ij,j->", "i,i,i->i", "ij,kj,lj->ikl", "...i,ij,j->...", "ab,bc,cd,da"],
)
def test_einsum_of_many_operands_is_that_of_numpy(subscripts):
    rng = np.random.default_rng(0)
    lengths = dict(zip("abcdbijklm", (2, 3, 4, 5, 3, 4, 4, 2, 3, 5)))
    inputs = subscripts.split("->")[0].split(",")
    shapes = [(2,) * own.count("...") + tuple(lengths[n] for n in own.replace("...", "")) for own in inputs]
    operands = [rng.standard_normal(shape) for shape in shapes]
    tensors = [tg.Tensor(x, requires_grad=True) for x in operands]
    result = np.einsum(subscripts, *tensors)
    np.testing.assert_allclose(result.numpy(), np.einsum(subscripts, *operands), rtol=1e-10, atol=1e-12)
    tg.gradcheck(lambda *xs: np.einsum(subscripts, *xs), tuple(operands))


def test_large_einsum_products_agree_with_small_ones():
    """From some size on they are done by BLAS."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 40, 50)), rng.standard_normal((3, 50, 45))
    np.testing.assert_allclose(
        np.einsum("bij,bjk->bki", tg.Tensor(a), tg.Tensor(b)).numpy(), (a @ b).swapaxes(1, 2), rtol=1e-10, atol=1e-12
    )


# Sparse matrices are refused in one sentence, on either side, whoever is asked first

PRODUCTS = {
    "S @ x": lambda s, x: s @ x,
    "x @ S": lambda s, x: x @ s,
    "S * x": lambda s, x: s * x,
    "x * S": lambda s, x: x * s,
    "S + x": lambda s, x: s + x,
    "x - S": lambda s, x: x - s,
    "np.dot": np.dot,
    "np.matmul": lambda s, x: np.matmul(x, s),
    "np.einsum": lambda s, x: np.einsum("ij,j->i", s, x),
    "a Tensor of it": lambda s, x: tg.Tensor(s) @ x,
}


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_array", "coo_array", "dia_matrix"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_sparse_matrices_are_refused_with_a_remedy_that_works(name, kind):
    product = PRODUCTS[name]
    dense = np.array([[2.0, 0.0], [1.0, 3.0]])
    sparse = getattr(pytest.importorskip("scipy.sparse"), kind)(dense)
    variable = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=r"tensorgrad\.Tensor\(S\.toarray\(\)\)"):
        product(sparse, variable)
    product(sparse.toarray(), variable).sum().backward()
    assert np.isfinite(variable.grad).all()
