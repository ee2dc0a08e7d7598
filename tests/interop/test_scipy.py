"""SciPy's functions on Tensors: derivatives against high precision, products of sparse matrices, what is refused."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

import tensorgrad as tg

special = pytest.importorskip("scipy.special")
sp = pytest.importorskip("scipy.sparse")
linalg = pytest.importorskip("scipy.linalg")

from tensorgrad.interop.scipy import polygamma, sparse_matmul  # noqa: E402  after what it needs

UFUNCS = sorted({name for name in dir(special) if isinstance(getattr(special, name), np.ufunc)} - {"digamma", "jn"})
DECLARED = [name for name in UFUNCS if f"special.{name}" in tg.OPS]


def scipy(module):
    """A package of SciPy's that takes long to import."""
    return importlib.import_module(f"scipy.{module}")


def run(code):
    """What a process of its own prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


# When it is imported


@pytest.mark.slow
def test_scipy_is_imported_when_one_of_its_functions_meets_a_tensor_and_not_before():
    assert run(
        """
import sys, numpy as np, tensorgrad as tg
print("scipy" in sys.modules)
import scipy.special as special
print("tensorgrad.interop.scipy" in sys.modules)
print(tg.grad(lambda x: np.sum(special.expit(x)))(np.zeros(2)))
print("tensorgrad.interop.scipy" in sys.modules)
"""
    ).splitlines() == ["False", "False", "[0.25 0.25]", "True"]


@pytest.mark.slow
def test_without_scipy_one_sentence_names_it():
    said = run(
        """
import sys, tensorgrad as tg
sys.modules["scipy"] = None
try:
    import tensorgrad.interop.scipy
except ImportError as error:
    print(type(error).__name__, error)
"""
    )
    assert said.startswith("MissingExtra tensorgrad.interop.scipy needs scipy (")
    assert said.rstrip().endswith("install it with: pip install scipy")


# Derivatives of scipy.special, beside mpmath's


def mpmath():
    library = pytest.importorskip("mpmath")
    library.mp.dps = 160
    return library


PRECISE = {  # in mpmath's words, and where it is looked at
    "erf": ("erf(x)", [-5.5, -1, 1e-3, 0.7, 4, 5.8]),
    "erfc": ("erfc(x)", [-3, 1e-3, 2, 7.3, 9]),
    "erfcx": ("exp(x*x) * erfc(x)", [-4, -0.5, 0.3, 2.9, 3.1, 12, 3e4, 1e8]),
    "erfinv": ("erfinv(x)", [-0.99, 1e-3, 0.4]),
    "erfcinv": ("erfinv(1 - x)", [1e-3, 0.7, 1.9]),
    "ndtr": ("erfc(-x / sqrt(2)) / 2", [-9, -3, 0.1, 2, 9]),
    "log_ndtr": ("log(erfc(-x / sqrt(2)) / 2)", [-1e8, -3e4, -70, -4.3, -4.2, -1, 0.1, 5, 9]),
    "ndtri": ("-sqrt(2) * erfinv(1 - 2*x)", [1e-3, 0.2, 0.9]),
    "expit": ("1 / (1 + exp(-x))", [-80, -3, 0.5, 12, 80]),
    "log_expit": ("-log(1 + exp(-x))", [-80, -3, 0.5, 12, 80]),
    "logit": ("log(x / (1 - x))", [1e-20, 0.01, 0.7]),
    "gamma": ("gamma(x)", [-3.3, -0.4, 0.01, 1.2, 20]),
    "gammaln": ("log(abs(gamma(x)))", [-3.3, -0.4, 0.01, 1.2, 20, 1e6]),
    "loggamma": ("loggamma(x)", [0.01, 1.2, 20, 1e6]),
    "psi": ("digamma(x)", [-3.3, -0.4, 0.01, 1.2, 20, 1e6]),
    "entr": ("-x * log(x)", [1e-30, 0.1, 2, 50]),
    "exp10": ("10**x", [-20, 0.3, 20]),
    "exp2": ("2**x", [-20, 0.3, 20]),
    "cbrt": ("cbrt(x)", [1e-20, 0.3, 20]),
    "expm1": ("expm1(x)", [-20, 1e-10, 20]),
    "log1p": ("log1p(x)", [-0.9, 1e-10, 20]),
    "j0": ("besselj(0, x)", [-9, 0.1, 1.5, 30]),
    "j1": ("besselj(1, x)", [-9, 0.1, 1.5, 30]),
    "i0": ("besseli(0, x)", [-9, 0.1, 1.5, 30]),
    "i1": ("besseli(1, x)", [-9, 0.1, 1.5, 30]),
    "i0e": ("exp(-abs(x)) * besseli(0, x)", [-9, 0.1, 1.5, 9, 1e3]),
    "i1e": ("exp(-abs(x)) * besseli(1, x)", [-9, 0.1, 1.5, 9, 1e3]),
    "k0e": ("exp(x) * besselk(0, x)", [0.1, 1.5, 9, 1e3]),
    "k1e": ("exp(x) * besselk(1, x)", [0.1, 1.5, 9, 1e3]),
}
LOSES_DIGITS = {"i0e", "i1e", "k0e", "k1e"}
"""Of order x at first, x^2 at second order, as the other scaled ones do; of float64, in which they are computed."""


def derivatives(library, text, x):
    """The first and second derivative, by differences in 160 digits."""
    function = eval(f"lambda x: {text}", vars(library))
    x = library.mpf(float(x))
    step = abs(x) / library.mpf(10) ** 30
    below, here, above = (library.re(function(at)) for at in (x - step, x, x + step))
    return (above - below) / (2 * step), (above - 2 * here + below) / step**2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PRECISE)
def test_derivatives_are_those_of_high_precision(name, dtype):
    library, (text, places) = mpmath(), PRECISE[name]
    function, limits = getattr(special, name), np.finfo(dtype)
    x = np.array(places, dtype)
    with np.errstate(all="ignore"):
        first = tg.elementwise_grad(function)
        found = first(x), tg.elementwise_grad(first)(x)
    for order, (slopes, units) in enumerate(zip(found, (200, 400))):
        assert slopes.dtype == dtype
        for at, slope in zip(x, slopes):
            exact = derivatives(library, text, at)[order]
            lost = float(at) ** 2 * float(np.finfo(np.float64).eps) if name in LOSES_DIGITS else 0
            allowed = units * (float(limits.eps) + lost) * abs(exact) + float(limits.tiny)
            assert abs(exact) > float(limits.max) or abs(library.mpf(float(slope)) - exact) <= allowed, (
                f"{name}, order {order + 1}, at {at}: {slope} in place of {float(exact)}"
            )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_of_the_beta_function_keep_their_digits_where_one_operand_is_much_the_larger(dtype):
    library, a = mpmath(), np.array([2, 19, 21, 100, 1e4, 1e6, 1e8, 0.5], dtype)
    b = np.array([3, 1, 0.5, 2, 1e4, 10, 1, 1e6], dtype)
    operands = [tg.Tensor(a, requires_grad=True), tg.Tensor(b, requires_grad=True)]
    slopes = tg.gradients(special.betaln(*operands).sum(), operands, create_graph=True)
    curvature = tg.gradients(slopes[0].sum(), operands)
    for n, found in ((0, slopes), (1, curvature)):
        for i, (x, y) in enumerate(zip(map(library.mpf, a.tolist()), map(library.mpf, b.tolist()))):
            both = library.polygamma(n, x + y)
            exact = library.polygamma(n, x) - both, (library.polygamma(0, y) if n == 0 else 0) - both
            for slope, wanted in zip(found, exact):
                assert abs(slope.data[i] / float(wanted) - 1) < 30 * np.finfo(dtype).eps


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_polygamma_is_scipys(n):
    for dtype in (np.float32, np.float64):
        x = np.array([-1.5, 0.3, 2.0, 50.0], dtype)
        found = polygamma(n, x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, special.polygamma(n, x.astype(np.float64)), rtol=20 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(polygamma(n, tg.Tensor(x)).numpy(), found)
    slope = tg.grad(lambda x: np.sum(polygamma(n, x)))(x)
    np.testing.assert_allclose(slope, special.polygamma(n + 1, x), rtol=1e-13)


def test_polygamma_takes_an_order_of_0_or_more():
    with pytest.raises(ValueError, match="n must be 0 or more, got -1"):
        polygamma(-1, np.ones(2))
    with pytest.raises(TypeError):
        polygamma(0.5, np.ones(2))


@pytest.mark.parametrize("name", DECLARED)
def test_half_precision_is_computed_as_scipy_does(name):
    function = getattr(special, name)
    x = [np.array([0.3, 0.6], np.float16)] * function.nin
    out = function(*map(tg.Tensor, x))
    np.testing.assert_array_equal(out.numpy(), function(*x), strict=True)
    assert out.dtype in (np.float32, np.float64)
    last = x[-1]  # in the others some have no derivative
    half = tg.grad(lambda last: np.sum(function(*x[:-1], last)))(last)
    single = tg.grad(lambda last: np.sum(function(*x[:-1], last)))(last.astype(np.float32))
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, single, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", UFUNCS)
def test_each_function_is_differentiated_or_refused_by_its_name(name):
    function = getattr(special, name)
    x = tg.Tensor([0.3, 0.6], requires_grad=True)
    if name in DECLARED:
        assert function(*[x] * function.nin).requires_grad
    else:
        with pytest.raises(TypeError, match=f"^{function.__name__} has no gradient rule in tensorgrad"):
            function(*[x] * function.nin)


@pytest.mark.parametrize(
    "function, operand",
    [
        (lambda v: special.jv(v, 2.0), "order"),
        (lambda v: special.kve(v, 2.0), "order"),
        (lambda a: special.gammainc(a, 2.0), "first argument"),
        (lambda a: special.gammaincc(a, 2.0), "first argument"),
        (lambda a: special.betainc(a, 2.0, 0.5), "first argument"),
        (lambda b: special.betaincc(2.0, b, 0.5), "second argument"),
    ],
)
def test_operands_without_a_known_derivative_are_refused(function, operand):
    v = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match=rf"scipy.special.\w+ is not differentiated in its {operand}; pass a number"):
        function(v).sum().backward()
    function(v.numpy())
    assert not function(v.detach()).requires_grad


def test_orders_of_bessel_functions_broadcast_against_the_variable():
    orders, x = np.array([[0.0], [1.0], [2.5]]), np.array([0.5, 3.0])
    slope = tg.grad(lambda x: np.sum(special.jv(orders, x) * [[1], [2], [3]]))(x)
    np.testing.assert_allclose(slope, [1, 2, 3] @ special.jvp(orders, x), rtol=1e-13)


@pytest.mark.parametrize("name", ["erf", "erfc", "expm1", "log1p"])
def test_holomorphic_functions_take_complex_numbers(name):
    tg.gradcheck(lambda z: np.abs(getattr(special, name)(z)), [np.array([0.3 + 0.4j, -0.5 + 0.1j])], order=2)


@pytest.mark.parametrize("name", ["gamma", "loggamma", "psi", "log_ndtr", "xlogy"])
def test_others_refuse_complex_numbers(name):
    function = getattr(special, name)
    z = tg.Tensor([0.3 + 0.4j], requires_grad=True)
    with pytest.raises(TypeError, match=rf"special\.{name} is differentiated for real numbers only.*\.real and \.imag"):
        function(*[z] * function.nin)
    assert function(*[z.real] * function.nin).requires_grad


inf = np.inf
KINKS = [
    (special.xlogy, (0.0, 0.0), (0, 0)),
    (special.xlogy, (0.0, 2.0), (np.log(2), 0)),
    (special.xlogy, (1.0, 0.0), (-inf, inf)),
    (special.xlog1py, (0.0, -1.0), (0, 0)),
    (special.entr, (0.0,), (inf,)),
    (special.rel_entr, (0.0, 0.0), (0, 0)),
    (special.rel_entr, (0.0, 2.0), (-inf, 0)),
    (special.kl_div, (0.0, 0.0), (0, 0)),
    (special.kl_div, (0.0, 2.0), (-inf, 1)),
    (special.kl_div, (2.0, 2.0), (0, 0)),
    (special.i0e, (0.0,), (0,)),
    (special.i1e, (0.0,), (0.5,)),
    (special.j1, (0.0,), (0.5,)),
    (special.i1, (0.0,), (0.5,)),
    (special.logit, (0.0,), (inf,)),
    (special.logit, (1.0,), (inf,)),
    (special.erfinv, (1.0,), (inf,)),
    (special.ndtri, (0.0,), (inf,)),
    (special.gammaln, (0.0,), (-inf,)),
    (special.log_ndtr, (-inf,), (inf,)),
    (special.log_ndtr, (inf,), (0,)),
    (special.expit, (inf,), (0,)),
    (special.log_expit, (-inf,), (1,)),
    (special.erf, (inf,), (0,)),
    (special.erfcx, (inf,), (0,)),
]


@pytest.mark.parametrize("function, at, slopes", KINKS)
def test_kinks_and_poles(function, at, slopes):
    with np.errstate(all="ignore"):
        found = tg.grad(lambda operands: function(*operands))([np.array(x) for x in at])
    assert [slope.item() for slope in found] == pytest.approx(list(slopes), rel=1e-15)


def test_second_derivatives_where_x_log_y_is_0_are_those_beside():
    hessian = tg.hessian(lambda v: special.xlogy(v[0], v[1]) - special.rel_entr(v[0], v[1]))(np.array([1.0, 2.0]))
    np.testing.assert_allclose(hessian, [[-1, 1], [1, -0.5]])
    mixed = tg.hessian(lambda v: special.xlogy(v[0], v[1]))(np.array([0.0, 2.0]))
    np.testing.assert_allclose(mixed, [[0, 0.5], [0.5, 0]])
    with np.errstate(all="ignore"):
        assert np.isfinite(tg.hessian(lambda v: special.xlogy(v[0], v[1]))(np.zeros(2))).all()


@pytest.mark.slow
def test_a_compiled_training_step_is_the_eager_one():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 3)), rng.integers(0, 9, 20)

    def trained(compiled):
        w = tg.Tensor(np.zeros(3), requires_grad=True)
        r = tg.Tensor(1.0, requires_grad=True)

        def step():
            mean, shape = np.exp(x @ w), np.exp(r)
            likelihood = special.gammaln(y + shape) - special.gammaln(shape) + special.xlogy(y, mean / (mean + shape))
            loss = -np.mean(likelihood - shape * np.log1p(mean / shape) + special.log_ndtr(w[0]))
            loss.backward()
            for parameter in (w, r):
                parameter.data = parameter.data - 0.1 * parameter.grad
                parameter.grad = None
            return loss

        step = tg.compile(step) if compiled else step
        return [step().item() for _ in range(4)], w.data, r.data

    for eager, compiled in zip(trained(False), trained(True)):
        np.testing.assert_allclose(eager, compiled, rtol=1e-12)  # sums may be added up in another order


# Functions of SciPy's that take arrays alone: what does it instead

A = np.array([[2.0, 0.0], [1.0, 3.0]])
P = A @ A.T
INSTEAD = {  # docs/scipy.md has the same
    "logsumexp": (special.logsumexp, tg.logsumexp, np.ones(2)),
    "weighted logsumexp": (
        lambda x: special.logsumexp(x, b=[1.0, 3.0]),
        lambda x: tg.logsumexp(x + np.log([1.0, 3.0])),
        np.ones(2),
    ),
    "softmax": (lambda x: special.softmax(x, axis=-1), tg.softmax, A),
    "log_softmax": (lambda x: special.log_softmax(x, axis=-1), tg.log_softmax, A),
    "polygamma": (lambda x: special.polygamma(1, x), lambda x: polygamma(1, x), A + 1),
    "multigammaln": (
        lambda a: special.multigammaln(a, 2),
        lambda a: 0.5 * np.log(np.pi) + special.gammaln(a) + special.gammaln(a - 0.5),
        np.array(3.0),
    ),
    "solve": (lambda b: linalg.solve(A, b), lambda b: np.linalg.solve(A, b), np.ones(2)),
    "solve_triangular": (
        lambda a: linalg.solve_triangular(a, np.ones(2), lower=True),
        lambda a: np.linalg.solve(np.tril(a), np.ones(2)),
        A,
    ),
    "cho_solve": (lambda b: linalg.cho_solve((A, True), b), lambda b: np.linalg.solve(A @ A.T, b), np.ones(2)),
    "cholesky": (lambda a: linalg.cholesky(a, lower=True), np.linalg.cholesky, P),
    "inv": (linalg.inv, np.linalg.inv, A),
    "det": (linalg.det, np.linalg.det, A),
    "norm": (linalg.norm, np.linalg.norm, A),
    "eigh": (lambda a: linalg.eigh(a)[0], lambda a: np.linalg.eigh(a)[0], P),
    "toeplitz": (linalg.toeplitz, lambda x: x[abs(np.arange(3)[:, None] - np.arange(3))], np.array([3.0, 1.0, 0.5])),
    "convolve": (lambda x: scipy("signal").convolve(x, [1.0, 2.0]), lambda x: np.convolve(x, [1.0, 2.0]), np.ones(3)),
    "trapezoid": (lambda x: scipy("integrate").trapezoid(x), np.trapezoid, np.array([3.0, 1.0, 0.5])),
    "interp1d": (
        lambda x: scipy("interpolate").interp1d([0.0, 1.0, 3.0], [1.0, 2.0, 0.0])(x),
        lambda x: np.interp(x, [0.0, 1.0, 3.0], [1.0, 2.0, 0.0]),
        np.array([0.5, 2.5]),
    ),
    "cdist": (
        lambda x: scipy("spatial.distance").cdist(x, 2 * P),
        lambda x: np.linalg.norm(x[:, None] - 2 * P, axis=-1),
        A,
    ),
    "norm.logpdf": (
        lambda s: scipy("stats").norm.logpdf(3.0, 2.0, s),
        lambda s: -0.5 * ((3.0 - 2.0) / s) ** 2 - np.log(s * np.sqrt(2 * np.pi)),
        np.array([0.5, 2.0]),
    ),
    "norm.logcdf": (
        lambda s: scipy("stats").norm.logcdf(3.0, 2.0, s),
        lambda s: special.log_ndtr((3.0 - 2.0) / s),
        np.array([0.5, 2.0]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTEAD)
def test_functions_of_arrays_are_refused_and_what_does_it_instead_works(name):
    function, instead, x = INSTEAD[name]
    with pytest.raises(TypeError, match=r"in place of SciPy's functions of arrays .* see docs/scipy\.md"):
        tg.grad(lambda x: np.sum(function(x)))(x)
    np.testing.assert_allclose(instead(x), function(x), rtol=1e-12)
    tg.gradcheck(lambda x: np.sum(np.sin(instead(x))), [x])


# Sparse matrices

RNG = np.random.default_rng(0)
DENSE = RNG.standard_normal((4, 3)).astype(np.float32) * (RNG.random((4, 3)) < 0.6)
FORMATS = ("csr", "csc", "coo", "dia", "lil", "dok", "bsr")
PLACES = {
    "S @ vector": (lambda S, x: (S, x), (3,)),
    "S @ matrix": (lambda S, x: (S, x), (3, 2)),
    "vector @ S": (lambda S, x: (x, S), (4,)),
    "matrix @ S": (lambda S, x: (x, S), (2, 4)),
}


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
@pytest.mark.parametrize("place", PLACES)
def test_products_of_sparse_matrices_are_those_of_dense_ones(place, kind):
    arranged, shape = PLACES[place]
    x = RNG.standard_normal(shape).astype(np.float32)

    def of_dense(x):
        return np.sum(np.square(np.matmul(*arranged(DENSE, x))))

    for name in FORMATS:
        sparse = kind(DENSE).asformat(name)

        def product(x, sparse=sparse):
            return sparse_matmul(*arranged(sparse, x))

        assert type(product(x)) is np.ndarray
        np.testing.assert_allclose(product(tg.Tensor(x)).numpy(), np.matmul(*arranged(DENSE, x)), rtol=1e-5)

        def loss(x, product=product):
            return np.sum(np.square(product(x)))

        found = tg.grad(loss)(x)
        assert found.dtype == product(tg.Tensor(x)).dtype == np.float32
        np.testing.assert_allclose(found, tg.grad(of_dense)(x), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tg.hessian(loss)(x), tg.hessian(of_dense)(x), rtol=1e-4, atol=1e-5)
        compiled = tg.compile(tg.grad(loss), pure=True)
        for values in (x, -2 * x):
            np.testing.assert_array_equal(compiled(values), tg.grad(loss)(values))


@pytest.mark.parametrize("place", PLACES)
def test_operators_name_the_function_that_works(place):
    arranged, shape = PLACES[place]
    a, b = arranged(sp.csr_array(DENSE), tg.Tensor(np.ones(shape), requires_grad=True))
    with pytest.raises(TypeError, match=r"tensorgrad\.interop\.scipy\.sparse_matmul"):
        a @ b
    assert sparse_matmul(a, b).requires_grad


def test_a_compiled_step_with_a_sparse_product_is_the_eager_one():
    S = sp.csr_array(DENSE)

    def trained(compiled):
        w = tg.Tensor(np.ones((3, 2), np.float32), requires_grad=True)

        def step():
            loss = np.mean(np.tanh(sparse_matmul(S, w)))
            loss.backward()
            w.data, w.grad = w.data - w.grad, None
            return loss

        step = tg.compile(step) if compiled else step
        return [step().item() for _ in range(4)], w.data

    for eager, compiled in zip(trained(False), trained(True)):
        np.testing.assert_array_equal(eager, compiled)


def test_a_sparse_matrix_may_be_written_into_before_the_backward_pass():
    S, x = sp.csr_array(DENSE), tg.Tensor(np.ones(3), requires_grad=True)
    loss = sparse_matmul(S, x).sum()
    S.data[:] = 0
    loss.backward()
    np.testing.assert_allclose(x.grad, DENSE.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_gradients_of_sparse_products_of_any_numbers(dtype):
    S = sp.csr_array(DENSE.astype(dtype) * (1 + 1j if dtype == np.complex128 else 1))
    for x in (np.array([1.0, -0.5, 2.0]), np.array([1.0 + 1j, -0.5, 2j])):
        tg.gradcheck(lambda x: np.abs(sparse_matmul(S, x)) ** 2, [x], order=2)


@pytest.mark.parametrize(
    "operands",
    [
        lambda S: (S, np.ones(4)),
        lambda S: (np.ones(3), S),
        lambda S: (S, np.float64(2)),
        lambda S: (S, np.ones((2, 3, 2))),
        lambda S: (np.ones((1, 1, 4)), S),
    ],
)
def test_shapes_that_do_not_fit_are_refused(operands):
    a, b = operands(sp.csr_array(DENSE))
    with pytest.raises(ValueError, match=r"sparse_matmul: takes operands of shapes .* got .*shape .* reshape"):
        sparse_matmul(a, b)


def test_two_sparse_matrices_or_none_are_refused():
    S = sp.csr_array(DENSE)
    for a, b in ((S, S.T), (np.ones(3), tg.Tensor(np.ones(3)))):
        with pytest.raises(TypeError, match=r"one sparse matrix and one Tensor or array, got .*; write a @ b"):
            sparse_matmul(a, b)
        assert (a @ b).shape is not None
