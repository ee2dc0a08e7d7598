"""Transforms: values against formulas and each other, nesting, structures, what is returned, and mistakes by name."""

import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad._pytree import tree_leaves, tree_map
from tensorgrad.autodiff.batched import ROWS_AT_ONCE, BatchedArray
from tensorgrad.core import backward_pass
from tests.support import Draw, StrictArray

rng = np.random.default_rng(0)
X, T = rng.standard_normal((2, 4)), rng.standard_normal((2, 4))
W, V = rng.standard_normal((4, 3)), rng.standard_normal((3, 5))
Pair = namedtuple("Pair", "first second")


def close(found, expected, rtol=1e-9):
    """Equal in structure, shape and dtype, and nearly in value."""
    tree_map(lambda x, y: compare(x, y, rtol), expected, found)


def compare(expected, found, rtol):
    if expected is None:
        assert found is None
        return
    assert not isinstance(found, tg.Tensor)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-11)
    assert np.shape(found) == np.shape(expected)


def numeric(f, x, step=1e-5):
    """The Jacobian by central differences."""
    columns = []
    for index in np.ndindex(np.shape(x)):
        up, down = np.array(x), np.array(x)
        up[index] += step
        down[index] -= step
        columns.append((np.asarray(f(up)) - np.asarray(f(down))) / (2 * step))
    shape = np.shape(f(x))
    return np.moveaxis(np.array(columns).reshape(-1, *shape), 0, -1).reshape(shape + np.shape(x))


FUNCTIONS = {
    "network": lambda x: np.tanh(x @ W) @ V,
    "reduction": lambda x: np.sum(np.exp(x) * x, axis=0),
    "outer product": lambda x: np.reshape(x, (-1,))[:, None] * np.sin(np.reshape(x, (-1,))),
    "indices": lambda x: x[np.array([0, 1, 0]), 1:3] ** 3,
    "joined": lambda x: np.concatenate([np.max(x, axis=1), np.transpose(x).reshape(-1)[::2]]) * np.mean(x),
    "choice": lambda x: np.where(x > 0, x * x, np.exp(x)).sum(axis=0) @ W,
    "variance": lambda x: np.var(x, axis=1),
    "one number": lambda x: np.sum(x**3) * x[0, 0],
    "itself": lambda x: x,
    "dot": lambda x: x[0] @ x[1],
    "matrix and vector": lambda x: x @ (x[0] * 2),
    "many rows": lambda x: np.broadcast_to(x[:, None], (2, 40, 4)) * np.linspace(0, 1, 4),
}


# Values


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_first_derivatives_agree(name):
    f = FUNCTIONS[name]
    matrix = tg.jacobian(f)(X)
    close(matrix, numeric(f, X), rtol=1e-6)
    value, pullback = tg.vjp(f, X)
    close(value, f(X))
    cotangent = np.cos(np.arange(np.size(value))).reshape(np.shape(value))
    for _ in range(2):
        close(pullback(cotangent), (np.tensordot(cotangent, matrix, np.ndim(value)),))
    value, tangent = tg.jvp(f, (X,), (T,))
    close(value, f(X))
    close(tangent, np.tensordot(matrix, T, 2)[()])
    close(tg.elementwise_grad(f)(X), matrix.sum(axis=tuple(range(np.ndim(value)))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_second_derivatives_agree(name):
    def f(x):
        y = FUNCTIONS[name](x)
        return np.sum(y * np.cos(y))

    matrix = tg.hessian(f)(X)
    close(matrix, numeric(tg.grad(f), X), rtol=1e-5)
    close(matrix, tg.jacobian(tg.jacobian(f))(X))
    product = np.tensordot(matrix, T, 2)
    close(tg.hvp(f, (X,), (T,)), (product,))
    close(tg.hvp(f, X, T), product)
    close(tg.jvp(tg.grad(f), (X,), (T,))[1], product)
    close(tg.grad(lambda x: tg.jvp(f, (x,), (T,))[1])(X), product)
    close(tg.grad(lambda x: np.sum(tg.grad(f)(x) * T))(X), product)
    close(tg.vjp(tg.grad(f), X)[1](T), (product,))


def test_derivatives_of_derivatives_to_high_order():
    f, expected = lambda x: np.sin(2 * x), [np.sin, np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)]
    for order in range(7):
        assert f(0.3) == pytest.approx(2**order * expected[order % 4](0.6))
        f = tg.grad(f)


def test_forward_derivatives_to_high_order():
    def derivative(f):
        return lambda x: tg.jvp(f, (x,), (1.0,))[1]

    f = np.exp
    for _ in range(4):
        f = derivative(f)
    assert f(0.5) == pytest.approx(np.exp(0.5))


def test_jacobians_of_jacobians_are_differentiated():
    for f in (FUNCTIONS["outer product"], FUNCTIONS["reduction"]):

        def g(x, f=f):
            return np.sum(tg.jacobian(f)(x) ** 3)

        close(tg.grad(g)(X), numeric(g, X), rtol=1e-6)

        def h(x, f=f):
            return np.sum(tg.hessian(lambda y: np.sum(f(y) ** 2))(x) ** 2)

        close(tg.grad(h)(X[:, :2]), numeric(h, X[:, :2]), rtol=1e-5)


def test_a_jacobian_of_more_rows_than_one_backward_pass_takes():
    x = rng.standard_normal(2 * ROWS_AT_ONCE + 3)
    close(tg.jacobian(lambda x: np.sin(x))(x), np.diag(np.cos(x)))


def test_one_backward_pass_gives_many_rows_or_columns():
    def rule(g, out, x):
        calls.append(g.shape)
        return g * 2

    calls = []
    op = tg.declare("counted", lambda x: x * 2, rule, sample=tg.samples.unary())
    try:
        close(tg.jacobian(lambda x: np.sin(op(x)))(X[0]), np.diag(2 * np.cos(2 * X[0])))
        assert len(calls) == 1
        columns = tg.jacobian(lambda x: op(x) * np.arange(5.0) + op(np.sin(x)))(0.0)
        close(columns, 2 * np.arange(5.0) + 2)
        assert len(calls) == 3  # recorded once for each use
    finally:
        del tg.OPS["counted"]


# Nesting: each derivative is with respect to its own variable (perturbation confusion)


def test_perturbations_are_not_confused():
    assert tg.grad(lambda x: x * tg.grad(lambda y: x + y)(1.0))(1.0) == 1
    assert tg.grad(lambda x: x * tg.grad(lambda y: x * y)(2.0))(3.0) == 6
    assert tg.grad(lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0) == 1
    assert tg.jvp(lambda x: x * tg.grad(lambda y: x + y)(1.0), (1.0,), (1.0,)) == (1, 1)
    assert tg.jvp(lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1] == 1
    assert tg.grad(lambda x: tg.grad(lambda y: y * y * x)(x))(3.0) == 12  # of 2 x x
    assert tg.grad(lambda x: tg.grad(lambda x: x**3)(x) + tg.grad(lambda y: y * x)(x))(2.0) == 13
    assert tg.grad(lambda x: tg.hvp(lambda y: y**2 * x, 5.0, x))(3.0) == 12  # of 2 x x
    assert tg.grad(lambda x: np.sum(tg.jacobian(lambda y: y * x)(np.ones(2))))(3.0) == 2
    assert tg.grad(lambda x: tg.grad(lambda y: tg.grad(lambda z: x * y * z * z)(y))(x))(2.0) == pytest.approx(16)


def test_a_leaked_inner_variable_is_a_constant():
    kept = []

    def f(x):
        inner = tg.grad(lambda y: kept.append(y) or y * y)(2.0)
        return x * kept[-1] * inner

    assert tg.grad(f)(3.0) == 8


def test_the_same_argument_twice_gives_partial_derivatives():
    x = tg.Tensor(3.0, requires_grad=True)
    of_first, of_second = tg.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x)
    assert (of_first.item(), of_second.item()) == (18, 9)
    assert tg.gradients(of_first + of_second, x).item() == 18  # of 2 x x + x x


def test_pullbacks_are_differentiated_in_their_cotangent():
    def f(u):
        _, pullback = tg.vjp(lambda x: x**2, np.array([1.0, 2.0]))
        return np.sum(pullback(u)[0] ** 2)

    close(tg.grad(f)(np.array([1.0, 1.0])), np.array([8.0, 32.0]))


def test_a_pullback_does_not_see_what_is_written_afterwards():
    x = X.copy()
    value, pullback = tg.vjp(np.exp, x)
    x[...] = 0
    value[...] = 0
    close(pullback(np.ones_like(X))[0], np.exp(X))
    t = tg.Tensor(X.copy())
    value, pullback = tg.vjp(np.exp, t)
    t.data[...] = 0
    value.data[...] = 0
    close(pullback(np.ones_like(X))[0].data, np.exp(X))


def test_a_pullback_does_not_see_what_is_changed_in_place_afterwards():
    t = tg.Tensor(X.copy(), requires_grad=True)
    (value, same), pullback = tg.vjp(lambda x: (np.exp(x), x), t)
    value *= 3
    same[0] = 5
    close(pullback((np.ones_like(X), T))[0].data, np.exp(X) + T)
    with tg.no_grad():
        _, pullback = tg.vjp(np.exp, t)
        t[...] = 0
        t.data += 1
        close(pullback(np.ones_like(X))[0].data, np.exp(X))


CHANGES_IN_PLACE = [
    ("operator", lambda x: x.__imul__(2) * x),
    ("assignment", lambda x: x.__setitem__(0, x[1] * 3) or x * x),
    ("sort", lambda x: x.sort() or x * x),
]


@pytest.mark.parametrize("f", [f for _, f in CHANGES_IN_PLACE], ids=[name for name, _ in CHANGES_IN_PLACE])
def test_a_function_that_changes_its_argument_in_place_is_refused(f):
    t = tg.Tensor(X, requires_grad=True)

    def of_sum(x):
        return np.sum(f(x))

    for call in (
        lambda: tg.grad(of_sum)(t),
        lambda: tg.grad(lambda x: np.sum(tg.grad(of_sum)(x)))(X),
        lambda: tg.hessian(of_sum)(t),
        lambda: tg.hvp(of_sum, t, T),
        lambda: tg.jacobian(f)(t),
        lambda: tg.jvp(f, t, T),
        lambda: tg.vjp(f, t),
    ):
        with pytest.raises(TypeError, match=r"(grad|hvp|jacobian|jvp|vjp): f changes an argument in place; let it"):
            call()
    close(tg.grad(lambda x: of_sum(x + 0))(X), tg.grad(lambda x: np.sum(f(x + 0)))(t).data)


def test_tangents_and_vectors_are_differentiated():
    close(tg.grad(lambda t: np.sum(tg.jvp(np.sin, (X,), (t,))[1] ** 2))(T), 2 * T * np.cos(X) ** 2)
    close(tg.grad(lambda v: np.sum(tg.hvp(lambda x: np.sum(x**3), X, v)))(T), 6 * X)


def test_nothing_leaks_from_threads():
    failures = []

    def work(seed):
        x = np.random.default_rng(seed).standard_normal(5)
        for _ in range(20):
            with tg.no_grad() if seed % 2 else threading.Lock():
                found = tg.hessian(lambda x: np.sum(x**4 * seed))(x)
            if not np.allclose(found, np.diag(12 * seed * x**2)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_transforms_inside_threads_inside_a_transform():
    def f(x):
        results = [None] * 4

        def work(i):
            results[i] = tg.grad(lambda y: x * y**2)(float(i))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(results[1:], results[0])

    assert tg.grad(f)(1.0) == 12  # of x (0 + 2 + 4 + 6)


# Arguments and structures


def test_argnums():
    def f(x, y, *, scale=1.0):
        return np.sum(x * y**2) * scale

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    close(tg.grad(f, argnums=1)(x, y, scale=2.0), 4 * x * y)
    close(tg.grad(f, argnums=-1)(x, y), 2 * x * y)
    close(tg.grad(f, argnums=(1, 0))(x, y), (2 * x * y, y**2))
    close(tg.grad(f, argnums=[0])(x, y), (y**2,))
    close(tg.grad(f, argnums=np.int64(1))(x, y), 2 * x * y)
    assert tg.grad(f, argnums=())(x, y) == ()
    close(tg.hessian(f, argnums=(0, 1))(x, y), ((np.zeros((2, 2)), np.diag(2 * y)), (np.diag(2 * y), np.diag(2 * x))))
    close(tg.jacobian(np.multiply, argnums=(0, -1))(x, y), (np.diag(y), np.diag(x)))


PARAMETERS = {
    "layers": [Pair(W, np.ones(3)), (V, 0.5)],
    "gain": np.float32(2),
    "ragged": OrderedDict(b=np.zeros((0, 2)), a=np.array(1.5)),
}


def test_nested_containers():
    def loss(p, x):
        (w, b), (v, c) = p["layers"]
        assert type(p["layers"][0]) is Pair
        return np.sum((np.tanh(x @ w + b) @ v * c) ** 2) * p["gain"] + np.sum(p["ragged"]["b"]) + p["ragged"]["a"] ** 2

    value, gradient = tg.value_and_grad(loss)(PARAMETERS, X)
    assert type(gradient["layers"][0]) is Pair and type(gradient["ragged"]) is OrderedDict
    assert list(gradient) == list(PARAMETERS) and list(gradient["ragged"]) == ["b", "a"]
    assert value == pytest.approx(loss(PARAMETERS, X))
    assert gradient["gain"].dtype == np.float32 and gradient["ragged"]["a"] == 3
    for position, leaf in enumerate(tree_leaves(PARAMETERS)):

        def of_one(x, position=position):
            parts = tree_leaves(PARAMETERS)
            parts[position] = x
            rest = iter(parts)
            return loss(tree_map(lambda _: next(rest), PARAMETERS), X)

        close(np.float64(tree_leaves(gradient)[position]), numeric(of_one, np.float64(leaf)), rtol=1e-4)


def test_containers_of_containers():
    def f(p):
        return {"sum": p["a"] + p["b"][0], "both": (p["a"] * p["b"][0], p["b"][1])}

    p = {"a": np.array([1.0, 2.0]), "b": [3.0, np.array([[4.0]])]}
    found = tg.jacobian(f)(p)
    close(found["sum"], {"a": np.eye(2), "b": [np.ones(2), np.zeros((2, 1, 1))]})
    close(found["both"][0], {"a": 3 * np.eye(2), "b": [p["a"], np.zeros((2, 1, 1))]})
    close(found["both"][1], {"a": np.zeros((1, 1, 2)), "b": [np.zeros((1, 1)), np.ones((1, 1, 1, 1))]})
    value, tangent = tg.jvp(f, (p,), (p,))
    close(value, f(p))
    close(tangent["both"], (2 * p["a"] * 3.0, p["b"][1]))
    (pulled,) = tg.vjp(f, p)[1](value)
    close(pulled["a"], value["sum"] + 3.0 * value["both"][0])

    def quadratic(p):
        return np.sum(p["a"] ** 2) * p["b"][0] ** 2 + np.sum(p["b"][1] ** 3)

    (products,) = tg.hvp(quadratic, (p,), (p,))
    close(products, {"a": 6 * 9 * p["a"], "b": [np.float64(5 * 3 * 6), 6 * p["b"][1] ** 2]})
    matrix = tg.hessian(quadratic)(p)
    close(matrix["a"]["b"][0], 12 * p["a"])
    close(matrix["b"][1]["b"][1], np.array(24.0).reshape(1, 1, 1, 1))


def test_leaves_that_are_not_floating_are_passed_on():
    p = {"w": np.array([1.0, 2.0]), "power": 3, "name": "cube", "none": None, "counts": np.arange(2)}

    def f(p):
        assert p["name"] == "cube" and p["none"] is None
        return np.sum(p["w"] ** p["power"] * p["counts"])

    close(tg.grad(f)(p), {"w": np.array([0.0, 12.0]), "power": None, "name": None, "none": None, "counts": None})
    assert tg.vjp(lambda x, n: x * n, 2.0, 3)[1](1.0) == (3.0, None)
    assert tg.jvp(lambda x, n: {"y": x * n, "n": np.arange(n)}, (2.0, 3), (1.0, None))[1] == {"y": 3, "n": None}


def test_containers_themselves():
    tree = defaultdict(list, a=[1, (2, 3)], b=Pair(4, {}))
    doubled = tree_map(lambda x: 2 * x, tree)
    assert doubled == {"a": [2, (4, 6)], "b": Pair(8, {})} and type(doubled) is defaultdict
    assert tree_leaves(tree) == [1, 2, 3, 4] and tree_leaves(5) == [5] and tree_leaves([]) == []
    for other, message in [
        ({"a": 1}, "dict of .'a', 'b'., got a dict of .'a'."),
        ({"a": [1], "b": (1, {})}, "list of 2, got a list of 1"),
        ({"a": 1, "b": (1, {})}, "list of 2, got int"),
    ]:
        with pytest.raises(ValueError, match=message):
            tree_map(max, tree, other)


def test_has_aux():
    def f(x):
        return (np.sum(x**2), {"twice": 2 * x, "name": "f", "total": x.sum()})

    gradient, aux = tg.grad(f, has_aux=True)(X)
    close(gradient, 2 * X)
    assert type(aux["twice"]) is np.ndarray and isinstance(aux["total"], np.float64) and aux["name"] == "f"
    (value, aux), gradient = tg.value_and_grad(f, has_aux=True)(X)
    assert value == pytest.approx(np.sum(X**2))
    close(aux["twice"], 2 * X)
    outer = tg.grad(lambda x: tg.grad(f, has_aux=True)(x)[1]["total"] * 3)(X)
    close(outer, np.full_like(X, 3))


def test_functions_of_all_kinds():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return np.sum(x) * self.factor

        def method(self, x):
            return self(x) ** 2

    close(tg.grad(Scaled(3.0))(X), np.full_like(X, 3))
    assert tg.grad(Scaled(3.0).method)(1.0) == 18
    assert tg.grad(partial(np.power, 2.0))(3.0) == pytest.approx(8 * np.log(2))
    assert tg.grad(np.sin)(0.0) == 1 and tg.grad(np.sin).__name__ == "sin"
    line = tg.nn.Dense(4, 1, np.random.default_rng(0), dtype=np.float64)
    with tg.no_grad():
        close(tg.grad(lambda x: line(x).sum())(X), np.repeat(line.weight.numpy().T, 2, axis=0))


def test_anomalies_inside_transforms_are_detected():
    def f(x):
        return np.sum(np.sqrt(x))

    with tg.detect_anomaly():
        for transform in (tg.grad, tg.hessian, lambda f: tg.jacobian(np.sin), lambda f: tg.grad(tg.checkpoint(f))):
            close(transform(f)(np.abs(X)), transform(f)(np.abs(X)))
        for transform in (tg.grad, tg.jacobian, lambda f: tg.grad(tg.checkpoint(f))):
            with pytest.raises(ArithmeticError, match="sqrt: the gradient"), np.errstate(all="ignore"):
                transform(f)(np.zeros(2))


# What is returned


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_dtypes_stay(dtype):
    x = X.astype(dtype)

    def f(x):
        return (x**3 * 2.0).sum()

    for result in (
        *(tg.grad(f)(x), tg.hessian(f)(x), tg.hvp(f, x, x), *tg.value_and_grad(f)(x), *tg.jvp(f, x, x)),
        *(tg.jacobian(np.exp)(x), tg.elementwise_grad(np.exp)(x), tg.vjp(np.exp, x)[1](x)[0]),
        *tg.grad(lambda x, c: (x * c).sum(), argnums=(0, 1))(x, 2.0),
        tg.jacobian(lambda x: x.sum())(x),
        tg.jacobian(lambda c: x * c)(dtype(2)),
    ):
        assert result.dtype == dtype


def test_mixed_dtypes_each_keep_their_own():
    x, y = X.astype(np.float32), T
    of_x, of_y = tg.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, y)
    assert (of_x.dtype, of_y.dtype) == (np.float32, np.float64)
    of_x, of_y = tg.jacobian(lambda x, y: {"a": x * 2, "b": x * y}, argnums=(0, 1))(x, y)["b"]
    assert (of_x.dtype, of_y.dtype) == (np.float32, np.float64)
    close(tg.vjp(lambda x: (x * 2, y * 1), x)[1]((x, y)), (2 * x,))


def test_arrays_in_arrays_out():
    value, gradient = tg.value_and_grad(lambda x: np.sum(x**2))(X)
    assert isinstance(value, np.float64) and type(gradient) is np.ndarray
    assert isinstance(tg.grad(np.sin)(1.0), np.float64) and isinstance(tg.grad(np.sin)(np.float32(1)), np.float32)
    of_0d = tg.grad(np.sin)(np.array(1.0))
    assert type(of_0d) is np.ndarray and of_0d.shape == ()
    assert isinstance(tg.jacobian(np.sin)(1.0), np.float64) and isinstance(tg.hvp(np.sin, 1.0, 1.0), np.float64)
    gradient[...] = 0  # the caller's own
    np.testing.assert_array_equal(tg.vjp(lambda x: x, X)[1](T)[0], T)
    assert tg.vjp(lambda x: x, X)[1](T)[0] is not T


def test_tensors_in_tensors_out():
    x = tg.Tensor(X)

    def f(x):
        return np.sum(x**2)

    results = [tg.grad(f)(x), *tg.value_and_grad(f)(x), tg.hessian(f)(x), tg.hvp(f, x, T), *tg.jvp(f, X, tg.Tensor(T))]
    results += [tg.jacobian(np.exp)(x), tg.vjp(f, X)[1](tg.Tensor(1.0))[0], tg.grad(lambda x, y: f(x), 0)(X, x)]
    for result in results:
        assert isinstance(result, tg.Tensor) and not result.requires_grad and result.creator is None
    assert x.grad is None and not x.requires_grad


def test_results_on_tensors_that_require_gradients_are_differentiable():
    x = tg.Tensor(X, requires_grad=True)

    def f(x):
        return np.sum(x**4)

    close(tg.gradients(np.sum(tg.grad(f)(x)), x).data, 12 * X**2)
    close(tg.gradients(np.sum(tg.hvp(f, x, T)), x).data, 24 * X * T)
    close(tg.gradients(np.sum(tg.jacobian(np.square)(x)), x).data, np.full_like(X, 2))
    close(tg.gradients(np.sum(tg.hessian(f)(x)), x).data, 24 * X)
    value, gradient = tg.value_and_grad(f)(x)
    (value + gradient.sum()).backward()
    close(x.grad, 4 * X**3 + 12 * X**2)
    with tg.no_grad():
        value, gradient = tg.value_and_grad(f)(x)
    assert not value.requires_grad and not gradient.requires_grad
    close(gradient.data, 4 * X**3)


def test_a_closure_over_parameters_is_noticed():
    """A gradient penalty: what a transform of arrays returns still leads to the weights."""
    weight = tg.Tensor(W, requires_grad=True)
    slope = tg.grad(lambda x: np.sum((x @ weight) ** 2))(X)
    assert isinstance(slope, tg.Tensor)
    np.sum(slope**2).backward()
    close(weight.grad, numeric(lambda w: np.sum((2 * X @ w @ w.T) ** 2), W), rtol=1e-6)
    with tg.no_grad():
        assert type(tg.grad(lambda x: np.sum((x @ weight) ** 2))(X)) is np.ndarray
    _, aux = tg.grad(lambda x: (np.sum(x), weight), has_aux=True)(X)
    assert aux is weight


def test_what_lies_outside_keeps_its_history():
    w = tg.Tensor(2.0, requires_grad=True)
    h = w * w
    with tg.no_grad():
        assert tg.grad(lambda x: x * h)(3.0) == 4
    assert tg.grad(lambda x: x * h)(3.0).item() == 4
    h.backward()
    assert w.grad == 4


def test_gradients_under_no_grad_and_with_no_grad_inside():
    with tg.no_grad():
        assert tg.grad(tg.grad(lambda x: x**3))(2.0) == 12

    @tg.no_grad()
    def constant(x):
        return x * x

    assert tg.grad(lambda x: x * constant(x))(3.0) == 9


def test_other_arrays():
    x, t = StrictArray(X), StrictArray(T)

    def f(x):
        return np.sum(x**3)

    results = [tg.grad(f)(x), tg.hvp(f, x, t), tg.jvp(np.exp, x, t)[1], tg.jacobian(np.exp)(x), tg.hessian(f)(x)]
    expected = [tg.grad(f)(X), tg.hvp(f, X, T), tg.jvp(np.exp, X, T)[1], tg.jacobian(np.exp)(X), tg.hessian(f)(X)]
    for one, other in zip(results, expected):
        assert type(one) is StrictArray
        close(one.values, other)


# Zeros and empty things


def test_what_does_not_depend_on_the_input_has_derivative_zero():
    for f in (
        lambda x: 3,
        lambda x: tg.Tensor(1.0),
        lambda x: np.sum(x).detach(),
        lambda x: np.floor(x).sum(),
    ):
        close(tg.grad(f)(X), np.zeros_like(X))
        close(tg.hessian(f)(X), np.zeros((2, 4, 2, 4)))
        close(tg.hvp(f, X, T), np.zeros_like(X))
        close(tg.jvp(f, X, T)[1], np.zeros(()))
    close(tg.jacobian(lambda x: tg.Tensor(np.ones(3)))(X), np.zeros((3, 2, 4)))
    close(tg.hessian(lambda x: x.sum())(X), np.zeros((2, 4, 2, 4)))
    close(tg.jacobian(lambda x: np.concatenate([x.ravel(), np.ones(3)]))(np.ones(2)), np.eye(5, 2))
    close(tg.vjp(lambda x: (x * 2, np.ones(3)), X)[1]((T, np.ones(3))), (2 * T,))
    outside = tg.Tensor(5.0, requires_grad=True)
    assert tg.grad(lambda x: outside)(1.0).item() == 0


@pytest.mark.parametrize(
    "f", [lambda x: 3.0, lambda x: np.float64(2), lambda x: np.sum(x).item(), lambda x: (x * 2).numpy().sum()]
)
def test_a_function_that_cuts_the_graph_is_noticed(f):
    with pytest.warns(UserWarning, match=r"grad: f returned .*, not a Tensor, so its derivatives are zero") as caught:
        close(tg.grad(f)(X), np.zeros_like(X))
    assert caught[0].filename == __file__


@pytest.mark.parametrize("shape", [(0,), (2, 0), (1,), ()])
def test_small_shapes(shape):
    x = np.ones(shape)
    close(tg.grad(lambda x: np.sum(x**2))(x), 2 * x)
    close(tg.jacobian(np.square)(x), 2 * np.eye(x.size).reshape(shape + shape)[()])
    close(tg.hessian(lambda x: np.sum(x**2))(x), 2 * np.eye(x.size).reshape(shape + shape)[()])
    close(tg.jvp(np.square, x, x)[1], np.asarray(2 * x)[()])


def test_containers_without_leaves():
    assert tg.grad(lambda p, x: x)({}, 1.0) == {}
    assert tg.vjp(lambda x: (), 1.0)[0] == ()
    assert tg.jacobian(lambda x: [])(1.0) == []


# Mistakes


def test_mistakes_are_named():
    def square(x):
        return x**2

    for call, error, message in [
        (lambda: tg.grad(square)(np.ones(3)), ValueError, r"grad: f must return one number, got shape \(3,\)"),
        (lambda: tg.hessian(square)(np.ones(3)), ValueError, "one number"),
        (lambda: tg.hvp(square, np.ones(3), np.ones(3)), ValueError, "hvp: f must return one number"),
        (
            lambda: tg.grad(square)(3),
            TypeError,
            "argument 0 holds no real floats to differentiate, but int; pass floats",
        ),
        (lambda: tg.grad(square)(np.arange(3)), TypeError, r"int64 of shape \(3,\)"),
        (lambda: tg.grad(square)([1, 2]), TypeError, "pass floats"),
        (lambda: tg.jacobian(square)(tg.Tensor([1, 2])), TypeError, "pass floats"),
        (lambda: tg.grad(square)("x"), TypeError, "str"),
        (lambda: tg.grad(square)(None), TypeError, "NoneType"),
        (lambda: tg.grad(square)(True), TypeError, "bool"),
        (lambda: tg.grad(square)(1j), TypeError, "complex"),
        (lambda: tg.grad(square)(np.ones(1, complex)), TypeError, "complex"),
        (lambda: tg.jvp(square, (3,), (1,)), TypeError, "jvp: the arguments hold no real floats"),
        (lambda: tg.vjp(np.multiply, 3, 4), TypeError, "vjp: the arguments hold no real floats"),
        (lambda: tg.vjp(np.multiply, 3.0, 4j), TypeError, "argument 1 holds complex"),
        (lambda: tg.grad(np.multiply, (0, 1))(1.0, 2), TypeError, "argument 1 holds no real floats"),
        (lambda: tg.grad(lambda x: None)(1.0), TypeError, "grad: f must return floats, got NoneType"),
        (lambda: tg.grad(lambda x: "y")(1.0), TypeError, "got str"),
        (lambda: tg.grad(lambda x: (x, x))(1.0), TypeError, "one array, got tuple.*has_aux=True"),
        (lambda: tg.grad(lambda x: [x])(1.0), TypeError, "one array, got list"),
        (lambda: tg.elementwise_grad(lambda x: [x])(1.0), TypeError, "one array"),
        (
            lambda: tg.grad(lambda x: np.argmax(x))(np.ones(3)),
            TypeError,
            r"must return floats, got int64 of shape \(\)",
        ),
        (lambda: tg.jacobian(lambda x: x > 0)(np.ones(3)), TypeError, "bool of shape"),
        (lambda: tg.grad(square, has_aux=True)(1.0), TypeError, r"\(value, aux\)"),
        (lambda: tg.grad(square, argnums=1)(1.0), ValueError, "argnums=1 is out of range for 1"),
        (lambda: tg.grad(square, argnums=-2)(1.0), ValueError, "out of range"),
        (lambda: tg.grad(square)(x=1.0), ValueError, "keyword arguments are not differentiated"),
        (lambda: tg.grad(square, argnums=0.0)(1.0), TypeError, "argnums must be an integer"),
        (lambda: tg.grad(square, argnums="0")(1.0), TypeError, "argnums must be an integer"),
        (lambda: tg.grad(square, argnums=True)(1.0), TypeError, "argnums must be an integer"),
        (lambda: tg.grad(np.multiply, argnums=(0, -2))(1.0, 1.0), ValueError, "twice"),
        (lambda: tg.grad(3), TypeError, "grad: takes a function, got int"),
        (lambda: tg.vjp(X, X), TypeError, "vjp: takes a function"),
        (lambda: tg.checkpoint(None), TypeError, "checkpoint: takes a function"),
    ]:
        with pytest.raises(error, match=message):
            call()


def network(seed=0):
    """With parameters in a list, running means, dropout, a tensor of its own, and what it counts and keeps of calls."""
    return Counting(np.random.default_rng(seed))


class Counting(tg.nn.Module):
    def __init__(self, rng):
        settings = {"dtype": np.float64}
        self.layers = [tg.nn.Dense(4, 3, rng, weight_l2=0.1, **settings), tg.nn.BatchNorm1d(3, **settings)]
        self.layers += [tg.nn.Dropout(0.5, 1), tg.nn.Dense(3, 1, rng, **settings)]
        self.scale, self.last = tg.Tensor(2.0, requires_grad=True), None

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        self.last = x
        return x * self.scale


def loss(network, x=X):
    squares = sum((tensor * tensor).sum() for tensor in network.parameters())
    return np.sum(network(x) ** 2) + network.penalty() + 0.1 * squares


def test_a_network_as_an_argument_stands_for_its_parameters():
    model = network()
    names = [name for name, _ in model.named_parameters()]
    expected = tg.gradients(loss(model), dict(model.named_parameters()))
    mean = model.layers[1].running_mean.data.copy()
    again = network()
    found = tg.grad(loss)(again)
    assert list(found) == names and again.last is None  # what it keeps of a call is the copy's
    assert np.array_equal(again.layers[1].running_mean.data, mean)  # but tensors and generators are shared
    assert again.layers[2].rng.bit_generator.state == model.layers[2].rng.bit_generator.state
    values = {name: tensor.data for name, tensor in found.items()}
    close(values, {name: tensor.data for name, tensor in expected.items()})
    assert all(tensor.grad is None and tensor.is_leaf for tensor in again.parameters())
    third = network()
    close({name: tensor.data for name, tensor in tg.gradients(loss(third), third).items()}, values)
    with tg.no_grad():
        plain = tg.grad(loss)(network())
    assert not any(tensor.requires_grad for tensor in plain.values())
    close({name: tensor.data for name, tensor in plain.items()}, values)


def test_every_transform_takes_networks():
    """Beside the same function of a dict of parameters."""
    model = network().eval()
    parameters = dict(model.named_parameters())

    def of_dict(parameters, x=X):
        return loss(model.with_tensors(parameters), x)

    def data(tree):
        return tree_map(lambda leaf: leaf.data if isinstance(leaf, tg.Tensor) else leaf, tree)

    rng = np.random.default_rng(1)
    vectors = {name: rng.standard_normal(tensor.shape) for name, tensor in parameters.items()}
    for found, expected in [
        (tg.value_and_grad(loss)(model), tg.value_and_grad(of_dict)(parameters)),
        (tg.grad(loss, argnums=(1, 0))(model, X), tg.grad(of_dict, argnums=(1, 0))(parameters, X)),
        (tg.vjp(loss, model)[1](np.float64(1)), tg.vjp(of_dict, parameters)[1](np.float64(1))),
        (tg.jvp(loss, (model, X), (vectors, T)), tg.jvp(of_dict, (parameters, X), (vectors, T))),
        (tg.hvp(loss, model, vectors), tg.hvp(of_dict, parameters, vectors)),
        (tg.hessian(loss)(model), tg.hessian(of_dict)(parameters)),
        (tg.jacobian(lambda net: net(X))(model), tg.jacobian(lambda p: model.with_tensors(p)(X))(parameters)),
    ]:
        close(data(found), data(expected))
    nested = tg.grad(lambda tree: loss(tree["net"]) * tree["factor"])({"net": model, "factor": 2.0})
    close(nested["net"]["scale"].data * 1, 2 * tg.grad(loss)(model)["scale"].data)


def test_networks_in_nested_transforms_are_told_apart():
    model = tg.nn.Dense(4, 1, 0, bias=False, dtype=np.float64)

    def norm(net):
        return sum((gradient * gradient).sum() for gradient in tg.grad(loss)(net).values())

    first = tg.gradients(loss(model), model, create_graph=True)
    expected = tg.gradients(sum((gradient * gradient).sum() for gradient in first.values()), model)
    close(tg.grad(norm)(model)["weight"].data, expected["weight"].data)
    inner = tg.grad(lambda other: (model(X) * other(X)).sum())  # of other alone, though both are the same network
    close(inner(model)["weight"].data, X.T @ (X @ model.weight.data))
    compiled = tg.compile(lambda x: tg.grad(loss)(model, x)["weight"].detach())
    for _ in range(3):
        close(compiled(X).data, tg.grad(loss)(model, X)["weight"].data)


def test_networks_that_cannot_stand_in():
    inner = tg.nn.Dense(4, 1, 0, dtype=np.float64)
    hidden = tg.nn.Sequential(lambda x: inner(x) + x[:, :1])
    with pytest.raises(TypeError, match=r"with_tensors: .*weight is held in a function, which is not copied; hold it"):
        tg.grad(loss)(hidden)
    with pytest.raises(KeyError, match="with_tensors: Dense has no tensor scale"):
        inner.with_tensors({"scale": tg.Tensor(1.0)})
    for parameter in inner.parameters():
        parameter.requires_grad = False
    assert tg.grad(lambda net, x: np.sum(net(x) * x), argnums=(0, 1))(inner, X)[0] == {}


@pytest.mark.parametrize(
    "given, error, message",
    [
        (np.ones(3), ValueError, r"must be float64 of shape \(2, 4\), got float64 of shape \(3,\)"),
        (np.ones((1, 4)), ValueError, "shape"),
        (np.float64(1), ValueError, "shape"),
        (X.astype(np.float32), TypeError, "got float32"),
        (np.ones((2, 4), int), TypeError, "got int64"),
        (1.0, TypeError, "got float"),
        (None, TypeError, "got NoneType"),
        (X.tolist(), TypeError, "got list"),
    ],
)
def test_tangents_and_cotangents_must_fit(given, error, message):
    with pytest.raises(error, match=f"vjp: a cotangent.*{message}|{message}"):
        tg.vjp(np.sin, X)[1](given)
    with pytest.raises(error, match=f"jvp: a tangent.*{message}|{message}"):
        tg.jvp(np.sin, (X,), (given,))
    with pytest.raises(error, match=f"hvp: a vector.*{message}|{message}"):
        tg.hvp(lambda x: np.sum(x), (X,), (given,))


def test_structures_must_fit():
    def f(p):
        return {"a": p["x"] * 2}

    for call in (
        lambda: tg.jvp(f, ({"x": 1.0},), ({"y": 1.0},)),
        lambda: tg.jvp(f, ({"x": 1.0},), ()),
        lambda: tg.vjp(f, {"x": 1.0})[1]([1.0]),
    ):
        with pytest.raises(ValueError, match=r"(jvp: tangents|vjp: cotangents): expected a"):
            call()
    with pytest.raises(TypeError, match="a tangent must be None where there is int"):
        tg.jvp(np.multiply, (1.0, 2), (1.0, 0.5))


def test_python_numbers_as_tangents_take_the_dtype():
    assert tg.jvp(np.sin, (np.float32(0),), (1,))[1].dtype == np.float32
    assert tg.vjp(np.sin, np.float32(0))[1](1.0)[0].dtype == np.float32


# Compiled


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_transforms_equal_plain_ones(name):
    f = FUNCTIONS[name]

    def g(x):
        return np.sum(f(x) ** 2)

    for transformed in (
        *(tg.grad(g), tg.value_and_grad(g), tg.jacobian(f), tg.elementwise_grad(f)),
        *(lambda x: tg.jvp(f, (x,), (x,)), lambda x: tg.hvp(g, x, x), lambda x: tg.vjp(g, x)[1](1.0)),
        *(lambda x: tg.grad(g)(x), tg.grad(tg.checkpoint(g))),
    ):
        compiled = tg.compile(transformed, pure=True)
        for x in (X, T, X + T):
            tree_map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-12), transformed(x), compiled(x))


def test_compiled_hessian_and_containers():
    def f(p, x):
        return np.sum(np.tanh(x @ p["w"]) ** 2)

    for transformed in (tg.hessian(f), tg.value_and_grad(f)):
        compiled = tg.compile(transformed, pure=True)
        for p, x in (({"w": W}, X), ({"w": W + 1}, T), ({"w": W}, T)):
            tree_map(lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-9), transformed(p, x), compiled(p, x))


# Every op: forward mode is the adjoint of reverse mode, and many rows at once are the rows one by one


def sample_of(op, seed):
    """An op as a function of its differentiable operands alone, and these."""
    operands, settings = op.sample(Draw(seed))
    rules = op.rules * len(operands) if op.arity is None else op.rules
    chosen = [
        i
        for i, x in enumerate(operands)
        if isinstance(x, (np.ndarray, np.floating)) and x.dtype.kind == "f" and rules[i]
    ]

    def function(*floats):
        full = list(operands)
        for i, x in zip(chosen, floats):
            full[i] = x
        out = op(*full, **settings)
        return np.stack([np.real(out), np.imag(out)]) if out.dtype.kind == "c" else out

    return function, [np.asarray(operands[i]) for i in chosen]


@pytest.mark.parametrize("name", sorted(tg.OPS))
def test_every_op_forwards_and_row_by_row(name):
    for seed in range(12):
        function, arrays = sample_of(tg.OPS[name], seed)
        if not arrays:
            continue
        random = np.random.default_rng(seed)
        value, pullback = tg.vjp(function, *arrays)
        cotangents = random.standard_normal((3, *np.shape(value)))
        tangents = tuple(random.standard_normal(x.shape) for x in arrays)
        expected = [pullback(np.asarray(cotangent)) for cotangent in cotangents]
        same, tangent = tg.jvp(function, tuple(arrays), tangents)
        np.testing.assert_array_equal(same, value)
        assert np.shape(tangent) == np.shape(value)
        for cotangent, gradients in zip(cotangents, expected):
            forward = np.sum(cotangent * tangent)
            backward = sum(np.sum(g * t) for g, t in zip(gradients, tangents))
            np.testing.assert_allclose(forward, backward, rtol=1e-9, atol=1e-9, err_msg=name)
        variables = [tg.Tensor(x, requires_grad=True) for x in arrays]
        out = function(*variables)
        nodes = [variable._node for variable in variables]
        found = dict(backward_pass(out._node, BatchedArray(cotangents), nodes, retain_graph=True))
        for position, variable in enumerate(variables):
            part = found.get(variable._node)  # a gradient that is the same for all rows is zero, as rules are linear
            stack = part.stack if isinstance(part, BatchedArray) else np.zeros((3, *variable.shape))
            assert stack.dtype == variable.dtype
            np.testing.assert_allclose(stack, np.stack([e[position] for e in expected]), rtol=1e-9, atol=1e-12)


def test_rows_are_not_taken_for_an_array():
    rows = BatchedArray(np.ones((2, 3)))
    for conversion in (np.array, bool, float, lambda rows: {rows}):
        with pytest.raises(TypeError):
            conversion(rows)
    with pytest.raises(AttributeError):
        rows.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.sum(axis=-1),
        lambda x: np.sum(x, axis=(0, -1), keepdims=True),
        lambda x: x.sum(axis=()),
        lambda x: x.reshape(-1),
        lambda x: np.reshape(x, (3, 2)),
        lambda x: x.transpose(),
        lambda x: np.transpose(x, (1, 0)),
        lambda x: x.T @ x,
        lambda x: x[0] @ x[1],
        lambda x: np.array([1.0, 2.0]) @ x,
        lambda x: np.swapaxes(x, 0, -1),
        lambda x: np.broadcast_to(x, (4, 2, 3)),
        lambda x: np.broadcast_to(x[0, 0], 3),
        lambda x: x[..., 1:],
        lambda x: x[None, 0],
        lambda x: x[np.array([0, 1, 1]), :2],
        lambda x: x[x[0, 0] > -9],
        lambda x: np.where(x > 0, x, np.arange(3.0)),
        lambda x: np.concatenate([x, x + 1], axis=1),
        lambda x: np.stack([x[0], np.ones(3)]),
        lambda x: np.cumsum(x, axis=0),
        lambda x: x.cumsum(axis=-1),
        lambda x: np.split(x, 3, axis=1)[1],
        lambda x: np.modf(x)[0],
        lambda x: np.add.reduce(x, axis=1),
        lambda x: np.outer(x[0], np.ones(2)),
        lambda x: np.linalg.svd(x, compute_uv=False),
        lambda x: np.zeros_like(x, shape=(4,)) + x[0, 0],
        lambda x: np.einsum("ij,ij->i", x, np.ones((2, 3))),
        lambda x: x.astype(np.float32) * np.ones((5, 1, 1), np.float32),
        lambda x: np.add(x, 1, dtype=np.float32),
    ],
)
def test_what_numpy_does_to_rows_it_does_to_each(function):
    stack = rng.standard_normal((5, 2, 3))
    found = function(BatchedArray(stack))
    expected = np.stack([function(row) for row in stack])
    assert found.shape == expected.shape[1:] and found.dtype == expected.dtype and found.ndim == expected.ndim - 1
    np.testing.assert_allclose(found.stack, expected, rtol=1e-6)


def test_writing_into_rows_writes_into_each():
    stack = rng.standard_normal((5, 2, 3))
    rows = BatchedArray(np.zeros((5, 2, 3)))
    rows[:, 1:] = BatchedArray(stack[:, :, :2])
    np.add.at(rows, (np.array([0, 0]),), BatchedArray(stack))
    np.put_along_axis(rows, np.array([[2], [0]]), 9.0, axis=1)
    for found, row in zip(rows.stack, stack):
        expected = np.zeros((2, 3))
        expected[:, 1:] = row[:, :2]
        np.add.at(expected, (np.array([0, 0]),), row)
        np.put_along_axis(expected, np.array([[2], [0]]), 9.0, axis=1)
        np.testing.assert_array_equal(found, expected)


# Recomputation


def history(tensor):
    """All tensors that lead to a tensor."""
    found, stack = {}, [tensor]
    while stack:
        tensor = stack.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            stack += [x for x in (tensor.creator or ((), ()))[1] if isinstance(x, tg.Tensor)]
    return list(found.values())


def deep(x, w):
    for _ in range(5):
        x = np.tanh(x @ w)
    return x


def test_a_checkpoint_has_the_same_derivatives_and_keeps_only_inputs_and_outputs():
    w = rng.standard_normal((4, 4))
    plain, again = lambda x, w: np.sum(deep(x, w) ** 2), lambda x, w: np.sum(tg.checkpoint(deep)(x, w) ** 2)
    close(tg.value_and_grad(again, (0, 1))(X, w), tg.value_and_grad(plain, (0, 1))(X, w))
    close(tg.hessian(again, (0, 1))(X, w), tg.hessian(plain, (0, 1))(X, w))
    close(tg.hvp(again, (X, w), (T, w)), tg.hvp(plain, (X, w), (T, w)))
    close(tg.jvp(tg.checkpoint(deep), (X, w), (T, w)), tg.jvp(deep, (X, w), (T, w)))
    close(tg.jacobian(tg.checkpoint(deep), (0, 1))(X, w), tg.jacobian(deep, (0, 1))(X, w))

    def third(f):
        return tg.grad(lambda x: np.sum(tg.hessian(f)(x, w) ** 2))(X)

    close(third(again), third(plain))
    x, w = tg.Tensor(X, requires_grad=True), tg.Tensor(w, requires_grad=True)
    assert len(history(tg.checkpoint(deep)(x, w))) <= 7 < len(history(deep(x, w)))


def test_a_checkpoint_lets_go_of_what_is_inside():
    inside = []

    def f(x):
        hidden = np.exp(x)
        inside.append(weakref.ref(hidden))
        return np.sin(hidden)

    x = tg.Tensor(X, requires_grad=True)
    out = tg.checkpoint(f)(x)
    assert inside[0]() is None and out.requires_grad


def test_what_an_earlier_call_has_kept_is_refused():
    kept = {}

    def f(x):
        kept.setdefault("hidden", np.exp(x))
        return kept["hidden"] * x

    with pytest.raises(RuntimeError, match="checkpoint: f uses tensors that an earlier call of it has kept"):
        tg.grad(lambda x: np.sum(tg.checkpoint(f)(x)))(X)


def test_what_leaves_a_checkpoint_without_being_returned_is_refused():
    x, total, kept = tg.Tensor(X, requires_grad=True), tg.Tensor(np.zeros_like(X)), []

    def f(x):
        hidden = np.exp(x)
        kept.append(hidden)
        return np.sin(hidden)

    out = np.sum(tg.checkpoint(f)(x))
    close(tg.gradients(out, x, retain_graph=True).data, np.cos(np.exp(X)) * np.exp(X))
    for loss in (kept[0].sum(), out + kept[0].sum()):
        for back in (lambda loss: tg.gradients(loss, x, retain_graph=True), lambda loss: loss.backward(None, True)):
            with pytest.raises(RuntimeError, match="checkpoint: a tensor that f has kept was used after the call"):
                back(loss)

    def add(total, x):
        total += np.exp(x)
        return total * x

    with pytest.raises(TypeError, match="checkpoint: f changes an argument in place"):
        tg.checkpoint(add)(total, x)


def test_an_argument_of_a_checkpoint_may_have_been_changed_before():
    def loss(x, make):
        y = x * 2
        y[0] = np.sin(y[1])
        return np.sum(make(lambda y: y * np.exp(y))(y))

    close(tg.grad(lambda x: loss(x, tg.checkpoint))(X), tg.grad(lambda x: loss(x, lambda f: f))(X))


def test_a_checkpoint_calls_once_more_for_the_backward_pass():
    calls = []

    def f(x):
        calls.append(x)
        return np.exp(x)

    x = tg.Tensor(X, requires_grad=True)
    out = tg.checkpoint(f)(x)
    assert len(calls) == 1
    out.sum().backward()
    assert len(calls) == 2
    close(x.grad, np.exp(X))
    with tg.no_grad():
        assert not tg.checkpoint(f)(x).requires_grad
    assert type(tg.checkpoint(np.exp)(X)) is np.ndarray


def test_a_checkpoint_passes_gradients_to_what_it_closes_over():
    def losses(make):
        w = tg.Tensor(W, requires_grad=True)
        scale = tg.Tensor(2.0, requires_grad=True)
        derived = w * scale  # computed outside, and w is used inside as well
        inside = make(lambda x, *, shift: np.sin(x @ derived + shift) * np.sum(w) * np.sum(derived))
        loss = np.sum(inside(X, shift=scale) ** 2)
        first = tg.gradients(loss, [w, scale, derived], create_graph=True)
        second = tg.gradients(sum(np.sum(g**2) for g in first), [w, scale], retain_graph=True)
        loss.backward()
        return [g.data for g in first + second] + [w.grad, scale.grad]

    close(losses(tg.checkpoint), losses(lambda f: f))


def test_an_argument_of_a_checkpoint_may_be_used_inside_by_name_too():
    x = tg.Tensor(X, requires_grad=True)
    for make in (tg.checkpoint, lambda f: f):
        x.zero_grad()
        np.sum(make(lambda y, z: y * z * x)(x, x)).backward()
        close(x.grad, 3 * X**2)


def test_checkpoints_of_containers_and_inside_each_other():
    def f(p, flag=True):
        hidden = np.tanh(X @ p["w"])
        return {"y": hidden, "parts": (hidden.sum(), p["w"], np.float32(2) * p["small"]), "n": 3, "none": None, "c": X}

    def total(f):
        def of(p):
            out = f(p, flag=False)
            assert out["n"] == 3 and out["none"] is None and out["c"] is X
            return np.sum(out["y"] ** 2) * out["parts"][0] + np.sum(out["parts"][1] ** 3) + np.sum(out["parts"][2])

        return of

    p = {"w": W, "small": np.ones(2, np.float32), "name": "w"}
    for nested in (tg.checkpoint(f), tg.checkpoint(lambda p, flag: tg.checkpoint(f)(p, flag=flag))):
        close(tg.grad(total(nested))(p), tg.grad(total(f))(p))
        close(tg.hessian(total(nested))(p)["w"]["w"], tg.hessian(total(f))(p)["w"]["w"])


def test_inner_closures_of_nested_checkpoints():
    w = tg.Tensor(W, requires_grad=True)

    def outer(x):
        y = np.tanh(x @ w)
        return tg.checkpoint(lambda z: np.sin(z) * y * np.sum(w))(y * 2)

    x = tg.Tensor(X, requires_grad=True)
    found = tg.gradients(np.sum(tg.checkpoint(outer)(x)), [x, w])
    expected = tg.gradients(np.sum(outer(x)), [x, w])
    close([g.data for g in found], [g.data for g in expected])
    close(
        tg.grad(lambda w: np.sum(tg.checkpoint(lambda x: np.tanh(x @ w))(X)))(W),
        tg.grad(lambda w: np.sum(np.tanh(X @ w)))(W),
    )

    def twice(make):
        return tg.grad(lambda w: np.sum(tg.grad(lambda v: np.sum(make(lambda x: np.tanh(x @ (w * v)))(X)))(w) ** 2))

    close(twice(tg.checkpoint)(W), twice(lambda f: f)(W))


def test_random_draws_are_repeated_and_go_on_as_if_they_were_not():
    def run(make, generator):
        network = tg.nn.Sequential(
            tg.nn.Dense(4, 8, np.random.default_rng(1), dtype=np.float64), tg.nn.Dropout(0.5, generator)
        )
        block = make(network)
        x = tg.Tensor(X, requires_grad=True)
        first, second = block(x), block(x)
        np.sum((first * second) ** 2).backward()
        return x.grad, network.layers[0].weight.grad, generator.random(3)

    close(run(tg.checkpoint, np.random.default_rng(5)), run(lambda f: f, np.random.default_rng(5)))

    def as_argument(make):
        return tg.grad(lambda x, rng: np.sum(make(lambda x, rng: tg.dropout(x, 0.5, rng) ** 2)(x, rng)))(
            X, np.random.default_rng(3)
        )

    close(as_argument(tg.checkpoint), as_argument(lambda f: f))


SOURCE = np.random.default_rng(11)


def test_a_generator_that_the_code_names_is_found():
    state = SOURCE.bit_generator.state

    def f(x):
        return np.sum(tg.dropout(x, 0.5, SOURCE) ** 2)

    found = tg.grad(tg.checkpoint(f))(X)
    SOURCE.bit_generator.state = state
    close(found, tg.grad(f)(X))


def test_what_changes_in_between_is_noticed():
    numbers = iter([1.0, 2.0])
    x = tg.Tensor(X, requires_grad=True)
    out = tg.checkpoint(lambda x: x * next(numbers))(x)
    with pytest.raises(RuntimeError, match="checkpoint: f gave other values"):
        out.sum().backward()
    weight = tg.Tensor(W, requires_grad=True)
    out = tg.checkpoint(lambda x: x @ weight)(x)
    weight.data = weight.data * 2
    with pytest.raises(RuntimeError, match="checkpoint: f gave other values"):
        out.sum().backward()


@pytest.mark.parametrize("transform", [tg.grad, tg.jacobian, tg.hessian, tg.value_and_grad])
def test_assigning_results_to_a_plain_array_names_what_collects_them(transform):
    """NumPy's own message, which comes last, would hide the remedy."""

    def f(b, zeros):
        c = zeros(b)
        c[0] = b[0] * b[0]
        c[1] = b[1] * b[0]
        return c if transform is tg.jacobian else c.sum()

    b = np.array([1.0, 2.0])
    with pytest.raises(TypeError, match=r"float: this tensor requires gradients.*np\.zeros_like\(tensor\)"):
        transform(lambda b: f(b, lambda b: np.zeros(2)))(b)
    transform(lambda b: f(b, np.zeros_like))(b)
    transform(lambda b: f(b, lambda b: tg.Tensor(np.zeros(2))))(b)
    with pytest.raises(ValueError, match="setting an array element with a sequence"):
        transform(lambda b: b[0] * np.array([[1.0, 2.0], [3.0]], float).sum())(b)


# A bad element concerns those rows of a Jacobian alone that depend on it

NAN, BAD_ROW = np.nan, np.array([[1.0, np.nan], [3.0, 4.0]])
ROWS_WITH_A_BAD_ONE = {
    "outside of the domain": (lambda x: x * np.log(np.cos(x)), np.array([6.0, 8.0, 7.0]), [1]),
    "NaN": (lambda x: x * x, np.array([1.0, NAN, 3.0]), [1]),
    "a pole": (lambda x: 1 / x, np.array([0.0, 2.0, 3.0]), [0]),
    "0 / 0": (lambda x: np.sin(x) / x, np.array([0.0, 2.0, 3.0]), [0]),
    "a vertical tangent": (np.sqrt, np.array([4.0, 0.0, 9.0]), [1]),
    "more rows than columns": (lambda x: np.stack([np.log(x), x, np.sqrt(x)]), np.array([-1.0, 2.0]), [4]),
    "not chosen": (lambda x: np.where(x > 1, np.log(x - 2), x), np.array([2.0, 2.5, 3.0]), [0]),
    "a matrix product": (lambda w: (BAD_ROW @ w).sum(axis=1), np.ones((2, 2)), [0]),
    "the other product": (lambda w: (w @ BAD_ROW.T).sum(axis=0), np.ones((2, 2)), [0]),
    "einsum": (lambda w: np.einsum("ij,jk->i", BAD_ROW, w), np.ones((2, 2)), [0]),
    "einsum of three": (lambda w: np.einsum("ij,jk,kl->i", BAD_ROW, w, np.ones((2, 3))), np.ones((2, 2)), [0]),
    "norms": (lambda x: np.linalg.norm(x, axis=1), BAD_ROW, [0]),
    "products": (lambda x: np.prod(x, axis=1), BAD_ROW, [0]),
    "standard deviations": (lambda x: np.std(x, axis=1), BAD_ROW, [0]),
    "softmax": (tg.softmax, BAD_ROW, [0, 1]),
}


@pytest.mark.parametrize("name", ROWS_WITH_A_BAD_ONE)
def test_a_bad_element_concerns_only_the_rows_that_depend_on_it(name):
    f, x, bad = ROWS_WITH_A_BAD_ONE[name]
    with np.errstate(all="ignore"):
        matrix = tg.jacobian(f)(x).reshape(-1, x.size)
        value, pullback = tg.vjp(f, x)
        rows = [pullback(seed.reshape(value.shape))[0].reshape(-1) for seed in np.eye(value.size)]
    others = [row for row in range(len(matrix)) if row not in bad]
    assert not np.isfinite(matrix[bad]).all(axis=1).any()  # the others are not finite because nothing is reported
    assert np.isfinite(matrix[others]).all()
    np.testing.assert_array_equal(np.array(rows)[others], matrix[others])


def test_a_bad_element_concerns_only_its_own_second_derivatives():
    x, unit = np.array([6.0, 8.0, 7.0]), np.array([1.0, 0.0, 1.0])

    def f(x):
        return x**3 * np.log(np.cos(x))

    with np.errstate(all="ignore"):
        matrix = tg.hessian(lambda x: f(x).sum())(x)
        product = tg.hvp(lambda x: f(x).sum(), x, unit)
        _, tangent = tg.jvp(f, (x,), (unit,))
        apart = np.array([tg.grad(tg.grad(f))(element) for element in x])
    assert np.isnan(matrix[1, 1])
    np.testing.assert_allclose(matrix, np.diag(np.where([True, False, True], apart, np.nan)), rtol=1e-12)
    np.testing.assert_allclose(product, np.where(unit > 0, apart, 0))
    assert np.isfinite(tangent[[0, 2]]).all()
