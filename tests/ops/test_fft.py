"""Fourier transforms, and real losses computed by way of complex numbers."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import check_call, check_op


def reals(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def complexes(*shape, seed=0):
    return reals(*shape, seed=seed) + 1j * reals(*shape, seed=seed + 1)


# Transforms along one axis: lengths, axes and norms

ALONG_ONE = [np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft]
OF_REALS_ONLY = [np.fft.rfft, np.fft.ihfft]


@pytest.mark.parametrize("function", ALONG_ONE)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("n", [None, 1, 2, 3, 4, 5, 6])
def test_lengths(function, length, n):
    """Odd and even, cropped and padded."""
    if n is None and length == 1 and function in (np.fft.irfft, np.fft.hfft):
        n = 2  # by default there would be no point at all
    norm = [None, "backward", "ortho", "forward"][(length + (n or 0)) % 4]
    operands = [reals(length)] if function in OF_REALS_ONLY else [reals(length), complexes(length)]
    for x in operands:
        check_call(function, x, n, norm=norm)


@pytest.mark.parametrize("function", ALONG_ONE)
@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_axes(function, norm, axis):
    x = reals(2, 3, 2) if function in OF_REALS_ONLY else complexes(2, 3, 2)
    check_call(function, x, axis=axis, norm=norm, n=3)


# Transforms along several axes

SEVERAL_AXES = [
    {},
    {"s": (2, 4)},
    {"s": (3, 3), "axes": (0, 2)},
    {"s": (3, 3), "axes": (2, 0)},
    {"s": (-1, 3), "axes": (0, 1)},
    {"axes": (1,)},
    {"axes": [-1, 0]},
    {"axes": (0, 0)},
    {"norm": "ortho"},
    {"norm": "forward", "axes": (-2, -1), "s": [3, 2]},
    {"norm": "backward", "axes": (0, 1, 2)},
]
OF_SEVERAL = ["fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn"]


@pytest.mark.filterwarnings("ignore:`axes` should not be `None`:DeprecationWarning")
@pytest.mark.parametrize("keywords", SEVERAL_AXES, ids=str)
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_several_axes(name, keywords):
    check_call(getattr(np.fft, name), reals(2, 2, 3) if name.startswith("r") else complexes(2, 2, 3), **keywords)


AWKWARD = [
    (np.fft.fftn, complexes(2, 2), None, (), "ortho"),
    (np.fft.fftn, reals(2, 2), None, ()),
    (np.fft.ifftn, np.array(2.0)),
    (np.fft.fft2, reals(2, 3), (3, 2), (1, 0), "forward"),
    (np.fft.rfftn, reals(4)),
    (np.fft.irfftn, reals(2, 3)),
    (np.fft.irfftn, complexes(2, 3), (2, 5)),
    (np.fft.irfftn, complexes(2, 3), (2, -1), (0, 1)),
    (np.fft.fft, np.zeros((0, 3))),
    (np.fft.rfft, np.zeros((0, 3))),
    (np.fft.irfft, np.zeros((0, 3), complex)),
    (np.fft.fft, reals(3, 4).T, 3, 0),
    (np.fft.fft, np.asfortranarray(reals(3, 4)), 5, -2),
    (np.fft.rfft, reals(8)[::-2]),
    (np.fft.fftshift, complexes(2, 3)),
    (np.fft.fftshift, reals(5)),
    (np.fft.fftshift, reals(2, 3), 1),
    (np.fft.ifftshift, complexes(2, 3), (0, -1)),
    (np.fft.ifftshift, reals(2, 5), [1]),
    (np.fft.fftshift, np.zeros((0, 2))),
]


@pytest.mark.filterwarnings("ignore:`axes` should not be `None`:DeprecationWarning")
@pytest.mark.parametrize("function, args", [(call[0], call[1:]) for call in AWKWARD])
def test_awkward_calls(function, args):
    check_call(function, *args)


def test_keywords_by_name_and_frequencies():
    x = reals(4)
    check_call(np.fft.fft, a=x, n=3, axis=-1, norm="ortho")
    check_call(np.fft.rfftn, a=x, s=[3], axes=[0], norm=None)
    check_call(lambda step: np.fft.fftfreq(5, step), np.array(0.5))
    check_call(lambda step: np.fft.rfftfreq(5, d=step), np.array(0.5))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool])
def test_integers_are_transformed_without_gradient(dtype):
    x = np.array([1, 0, 1, 1], dtype)
    for function in (np.fft.fft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.fftn):
        found = function(tg.Tensor(x))
        np.testing.assert_array_equal(found.data, function(x), strict=True)
        assert not found.requires_grad


def test_the_imaginary_parts_that_irfft_ignores_have_no_gradient():
    for n, ignored in ((4, [0, 2]), (5, [0])):
        spectrum = tg.Tensor(complexes(3), requires_grad=True)
        (np.fft.irfft(spectrum, n) ** 3).sum().backward()
        assert np.flatnonzero(spectrum.grad.imag == 0).tolist() == ignored


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_precisions(dtype):
    for function in (*ALONG_ONE, np.fft.fftn, np.fft.rfftn):
        x = tg.Tensor(np.array([0.5, 0.25, 1, -0.5], dtype), requires_grad=True)
        result = function(x)
        np.testing.assert_array_equal(result.data, function(x.data), strict=True)
        first = tg.gradients((np.abs(result) ** 3).sum(), x, create_graph=True)
        assert first.dtype == dtype and tg.gradients((first * first).sum(), x).dtype == dtype


# What complex numbers are used for


def circular_convolution(x, h):
    return np.fft.irfft(np.fft.rfft(x) * np.fft.rfft(h), n=len(x))


def low_pass(x, kernel):
    return np.fft.ifft(np.fft.fft(x) * kernel).real


def spectral_derivative(x):
    return np.fft.irfft(1j * np.arange(x.size // 2 + 1) * np.fft.rfft(x), n=x.size)


def autocorrelation(x):
    return np.fft.irfft(np.abs(np.fft.rfft(x, 2 * len(x))) ** 2)[: len(x)]


def wave(x):
    return np.exp(1j * x)


def rotation(x, y, angle):
    z = (x + 1j * y) * np.exp(1j * angle)
    return z.real, z.imag, np.angle(z), np.abs(z)


def unitary(x):
    """A state of norm 1 under exp(i x), and its overlap with the first one."""
    state = np.exp(1j * x) / np.sqrt(x.size)
    return np.abs((np.conj(state) * np.fft.fft(state, norm="ortho")).sum()) ** 2


def moved_about(z):
    parts = [z[1:, ::-1].conj(), z[[0, 0], :], np.swapaxes(np.expand_dims(z[0], 1), 0, 1)]
    joined = np.concatenate(parts).reshape(-1, 2)
    return np.where(np.real(joined) > 0, joined, 2j * joined).sum(axis=0) / 3 - np.stack([z[0, 0], z[1, 1]])


def mixed(x, z):
    return np.concatenate([x, z * x, -z / (2 + x)]), np.where(x > 0, x, z), (x - z).mean(), x**2 * z


COMPOSITES = [
    (lambda x: np.sum(np.abs(np.fft.rfft(x)) ** 2), reals(6)),
    (circular_convolution, reals(5), reals(5, seed=1)),
    (circular_convolution, reals(6), reals(6, seed=1)),
    (low_pass, reals(4), reals(4, seed=1)),
    (low_pass, reals(2, 4), complexes(4, seed=1)),
    (spectral_derivative, reals(6)),
    (autocorrelation, reals(4)),
    (lambda x: np.angle(np.fft.fft(x))[1:], reals(5)),
    (lambda x: np.angle(np.fft.rfft(x), deg=True)[1:-1], reals(6)),
    (lambda x: np.log(np.abs(np.fft.rfft(x)) + 1), reals(5)),
    (lambda x: np.abs(np.fft.fftshift(np.fft.fft2(x))), reals(3, 4)),
    (wave, reals(2, 3)),
    (lambda x: wave(x).imag * wave(2 * x).real, reals(3)),
    (rotation, reals(3), reals(3, seed=1), np.array(0.3)),
    (unitary, reals(4)),
    (moved_about, complexes(3, 2)),
    (mixed, reals(3), complexes(3)),
    (lambda z, w: z @ w, complexes(2, 3), complexes(3, 2)),
    (lambda z, w: z @ w, complexes(2, 2, 3), complexes(3)),
    (lambda z, x: z @ x, complexes(3), reals(3)),
    (lambda x, z: x @ z, reals(2, 3), complexes(2, 3, 1)),
    (lambda z: np.abs(z), complexes(4)),
    (lambda z: abs(z) ** 3, complexes(4)),
    (lambda z: np.real(z * np.conj(z)), complexes(4)),
    (lambda z: z.real**2 + z.imag**2, complexes(4)),
    (lambda z: np.angle(z), complexes(4)),
    (lambda z: z.conj().T, complexes(2, 3)),
    (lambda z: z**3, complexes(3)),
    (lambda z: z**2, complexes(3)),
    (lambda z: z**-1, complexes(3)),
    (lambda z: z**0.5, complexes(3)),
    (lambda z: z ** (1 + 2j), complexes(3)),
    (lambda z: 2**z, complexes(3)),
    (lambda z: (-2) ** z, complexes(3)),
    (lambda z: (1 - 2j) ** z, complexes(3)),
    (lambda z, w: z**w, complexes(3), complexes(3, seed=5)),
    (lambda x, z: x**z, np.array([0.5, 2.0]), complexes(2)),
    (lambda x: x**1j, np.array([0.5, 2.0])),
    (lambda z: 1 / z - 3j / (z * z), complexes(3)),
    (lambda z: np.exp(z) + np.log(z) * np.sqrt(z), complexes(3)),
    (lambda z: np.sin(z) * np.cos(z) + np.tanh(z), complexes(3)),
    (lambda z: np.log1p(z) + np.expm1(z) + np.square(z), complexes(3)),
    (lambda z: z.sum(axis=0) * z.mean(axis=0), complexes(2, 3)),
    (lambda z: np.broadcast_to(z, (2, 3)) * np.reshape(z, (3,)), complexes(3)),
    (lambda x: x.astype(complex) ** 2, reals(3)),
    (lambda x: np.imag(x) + np.real(x) + np.conj(x) + np.abs(x) + np.angle(x), reals(3)),
    (lambda z: np.real(np.real(z)) + np.imag(np.real(z)), complexes(3)),
    # statistics
    *[(lambda z, f=f: f(z), complexes(2, 3)) for f in (np.var, np.std, np.average, np.prod, np.cumprod)],
    *[(lambda z, f=f: f(z, axis=1, ddof=1, keepdims=True), complexes(2, 3)) for f in (np.var, np.std)],
    (lambda z: np.var(z, axis=0, mean=z.mean(axis=0, keepdims=True)), complexes(2, 3)),
    (lambda x: np.sum(x, dtype=complex) * np.cumsum(x, dtype=complex) + np.cumprod(x, dtype=complex), reals(3)),
    (lambda z: z.std() + z.var(), complexes(3)),
    (lambda z, w: np.average(z, weights=w), complexes(3), reals(3)),
    # linear algebra
    (np.vdot, complexes(2, 3), complexes(6, seed=1)),
    (np.vdot, reals(3), complexes(3)),
    (np.vdot, complexes(3), reals(3)),
    (np.vecdot, complexes(2, 3), complexes(3, seed=1)),
    (lambda z, w: np.linalg.vecdot(z, w, axis=0), complexes(3, 2), complexes(3, 2, seed=1)),
    (lambda z, w: np.cross(z, w) + np.linalg.cross(w, z), complexes(3), complexes(2, 3, seed=1)),
    (np.linalg.inv, complexes(2, 3, 3)),
    (np.linalg.solve, complexes(3, 3), complexes(3, 2)),
    (np.linalg.solve, complexes(3, 3), reals(3)),
    (np.linalg.solve, 2 * np.eye(3) + reals(3, 3), complexes(3)),
    (lambda z: np.linalg.tensorinv(z, 1), complexes(4, 2, 2)),
    (np.linalg.tensorsolve, complexes(2, 2, 4), complexes(2, 2, seed=1)),
    *[(np.linalg.det, complexes(*shape)) for shape in ((1, 1), (3, 3), (2, 3, 3), (0, 0))],
    (np.linalg.det, np.outer(complexes(3), complexes(3, seed=1))),
    (np.linalg.det, np.zeros((2, 2), complex)),
    *[(lambda z, p=p: np.linalg.norm(z, p), complexes(3)) for p in (None, 1, 2, 3, 4, 0.5, -1, 0, np.inf, -np.inf)],
    *[(lambda z, p=p: np.linalg.norm(z, p), complexes(2, 3)) for p in (None, "fro", 1, -1, np.inf, -np.inf)],
    *[(lambda z, p=p: np.linalg.norm(np.where([True, False], z, 0), p), complexes(2)) for p in (2, 3, 4, 1.5)],
    (lambda z: np.linalg.norm(z, axis=0, keepdims=True), complexes(2, 3)),
    (lambda z: np.linalg.vector_norm(z, ord=3) + np.linalg.matrix_norm(z), complexes(2, 3)),
    (lambda z: np.linalg.trace(z) + np.linalg.diagonal(z, offset=1), complexes(3, 3)),
    (lambda z: np.linalg.matrix_transpose(z) + np.matrix_transpose(z), complexes(3, 3)),
    # shapes, sums and polynomials
    (lambda z: np.tril(z) + 2 * np.triu(z, 1) + np.diag(z[0]) + np.diagflat(z[0, :2], 1), complexes(3, 3)),
    (lambda z: np.pad(z, 1) + np.pad(z, 1, mode="reflect"), complexes(2, 3)),
    (lambda z: np.meshgrid(z, z[:2]), complexes(3)),
    (lambda z: np.insert(np.delete(z, 1), 0, 2j) + np.roll(z, 1), complexes(3)),
    (lambda z: np.select([z.real > 0, z.imag > 0], [z, 2j * z], z * z), complexes(4)),
    (lambda z: np.trapezoid(z) + np.gradient(z)[1] + np.ediff1d(z)[0], complexes(4)),
    (np.convolve, complexes(3), complexes(2, seed=1)),
    (np.convolve, reals(2), complexes(3)),
    (np.correlate, complexes(4), complexes(2, seed=1)),
    (np.correlate, complexes(2), complexes(4, seed=1)),
    (np.polyval, complexes(3), complexes(2, seed=1)),
    (np.vander, complexes(3)),
    (lambda z: np.polymul(z, z[:2]) + np.polyadd(z, np.polysub(z[:2], [1.0, 2.0, 3j])).sum(), complexes(4)),
    (lambda z: np.block([[z, 2j * z], [z * z, z]]) + np.resize(z, (4, 4)), complexes(2, 2)),
    (lambda z: np.compress([True, False, True], z) * np.extract(np.array([False, True, True]), z), complexes(3)),
    (lambda z, w: np.linalg.tensordot(z, w, axes=1), complexes(2, 3), complexes(3, 2, seed=1)),
    (
        lambda z: np.mean(z, axis=1, where=[True, False, True]) + 1j * np.sum(z, where=[True, True, False]),
        complexes(2, 3),
    ),
    (lambda z: np.prod(z, axis=1, where=[True, False, True], initial=2.0), complexes(2, 3)),
]

if hasattr(np, "unstack"):
    COMPOSITES += [
        (lambda z: np.unstack(z)[1] * 2j, complexes(2, 3)),
        (lambda z: np.cumulative_sum(z, axis=1, include_initial=True), complexes(2, 3)),
        (lambda z: np.cumulative_prod(z, axis=0, include_initial=True), complexes(3, 2)),
    ]

if hasattr(np, "matvec"):
    COMPOSITES += [
        (np.matvec, complexes(2, 3), complexes(3, seed=1)),
        (np.vecmat, complexes(2), complexes(2, 3, seed=1)),
    ]


@pytest.mark.parametrize("call", COMPOSITES)
def test_composites(call):
    check_call(*call)


def test_casting_to_real_numbers_discards_the_imaginary_part_with_numpys_warning():
    z = tg.Tensor(complexes(3), requires_grad=True)
    with pytest.warns(np.exceptions.ComplexWarning):
        x = z.astype(np.float64)
    (x * [1.0, 2.0, 3.0]).sum().backward()
    np.testing.assert_array_equal(z.grad, [1, 2, 3])


@pytest.mark.parametrize("function", [np.iscomplexobj, np.isrealobj, np.isreal, np.iscomplex])
@pytest.mark.parametrize("array", [reals(2), np.array([1, 2j]), np.arange(2)])
def test_questions(function, array):
    found = function(tg.Tensor(array))
    np.testing.assert_array_equal(found.data if isinstance(found, tg.Tensor) else found, function(array))


def test_python_numbers_keep_the_precision():
    x = tg.Tensor(np.float32([1, 2]), requires_grad=True)
    for z in (1j * x, x + 1j, x / (1 + 1j), x ** (1j), 1j**x, np.where(x > 1, x, 1j), np.exp(1j * x)):
        assert z.dtype == np.complex64
        (first,) = tg.gradients(np.abs(z + 1).sum(), [x], create_graph=True)
        (second,) = tg.gradients((first * first).sum(), [x])
        assert first.dtype == second.dtype == np.float32


# Kinks and poles


def gradient(f, *values):
    tensors = [tg.Tensor(np.array(value), requires_grad=True) for value in values]
    f(*tensors).sum().backward()
    return [tensor.grad.tolist() for tensor in tensors]


KINKS = [
    (np.abs, [0j], [0]),
    (np.abs, [[0j, 3 + 4j]], [[0, 0.6 + 0.8j]]),
    (np.angle, [0j], [0]),
    (np.angle, [[2j, -2 + 0j]], [[-0.5, -0.5j]]),
    (np.angle, [[-1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0]]),
    (lambda z: np.angle(z, deg=True), [1 + 0j], [1j * 180 / np.pi]),
    (np.imag, [[1.0, 0.0]], [[0.0, 0.0]]),
    (lambda z: np.abs(z) ** 2, [0j], [0]),
    (lambda z: (z**0).real, [0j], [0]),
    (lambda z: (z**1).real, [0j], [1]),
    (lambda z: (z**2).real, [0j], [0]),
    (lambda z, w: np.power(z, w).real, [0j, 2 + 0j], [0, 0]),
    (lambda x: np.abs(np.fft.rfft(x)), [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
]


@pytest.mark.parametrize("f, values, expected", KINKS)
def test_kinks(f, values, expected):
    for one, other in zip(gradient(f, *values), expected):
        np.testing.assert_allclose(one, other, rtol=1e-15)


def test_second_derivatives_at_zero_are_finite():
    for function in (np.abs, np.angle):
        z = tg.Tensor(np.zeros(2, complex), requires_grad=True)
        first = tg.gradients(function(z).sum(), z, create_graph=True)
        second = tg.gradients((first.real + first.imag).sum(), z)
        np.testing.assert_array_equal(second.data, 0)


def test_the_square_of_the_modulus_has_its_second_derivative_at_zero():
    """Without a root on the way, that is; of ``abs(z) ** 2`` the root has the derivative 0 there, whatever follows."""
    for function in (lambda z: (z * z.conj()).real, lambda z: z.real**2 + z.imag**2):
        z = tg.Tensor(np.zeros(2, complex), requires_grad=True)
        first = tg.gradients(function(z).sum(), z, create_graph=True)
        np.testing.assert_array_equal(tg.gradients((first.real + first.imag).sum(), z).data, 2 + 2j)


def test_spreads_of_equal_numbers_are_flat():
    z = tg.Tensor(np.full(3, 0.1 + 0.7j), requires_grad=True)
    np.testing.assert_array_equal(tg.gradients(np.std(z), z).data, 0)


# The convention


def test_a_gradient_is_the_derivative_by_the_real_part_and_i_times_that_by_the_imaginary_part():
    z = tg.Tensor(3 + 4j, requires_grad=True)
    (z.real * z.imag).backward()
    assert z.grad == 4 + 3j
    z.zero_grad()
    (z * z).backward(1.0)  # of the real part of z^2
    assert z.grad == np.conj(2 * (3 + 4j))
    (found,) = tg.gradients(z * z, [z], gradient=1j)  # of its imaginary part
    assert found.item() == 1j * np.conj(2 * (3 + 4j))


def test_descent_along_it_goes_down():
    z = np.array([1 + 1j, -2j])
    for _ in range(50):
        leaf = tg.Tensor(z, requires_grad=True)
        loss = np.abs(np.fft.fft(leaf) - np.array([1, 1j])) ** 2
        loss.sum().backward()
        z = z - 0.2 * leaf.grad
    assert loss.sum().item() < 1e-12


def test_an_op_of_ones_own():
    cube = tg.declare(
        "cube",
        lambda z: z * z * z,
        lambda g, out, z: g * (3 * z * z),
        sample=tg.samples.unary(),
        complex_rules="holomorphic",
    )
    squared_modulus = tg.declare(
        "squared_modulus",
        lambda z: np.real(z * np.conj(z)),
        lambda g, out, z: 2 * g * z,
        sample=tg.samples.unary(),
        complex_rules="direct",
    )
    try:
        check_op(cube, max_examples=20)
        check_op(squared_modulus, max_examples=20)
    finally:
        del tg.OPS["cube"], tg.OPS["squared_modulus"]
    with pytest.raises(ValueError, match="complex_rules must be 'direct', 'holomorphic' or None, got 'both'"):
        tg.declare("wrong", np.cbrt, None, sample=tg.samples.unary(), complex_rules="both")


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule, complex_rules",
    [
        (lambda g, out, z: g * (3 * z * z), "direct"),
        (lambda g, out, z: g * np.conj(3 * z * z), "holomorphic"),
        (lambda g, out, z: np.real(g * (3 * z * z)), "holomorphic"),
    ],
)
def test_the_checker_fails_on_a_rule_that_is_wrong_for_complex_numbers(rule, complex_rules):
    wrong = tg.declare("wrong", lambda z: z**3, rule, sample=tg.samples.unary(), complex_rules=complex_rules)
    try:
        with pytest.raises((AssertionError, RuntimeError)):
            check_op(wrong)
    finally:
        del tg.OPS["wrong"]


# Refused by name

Z = np.array([1 + 1j, 2j, 3])


@pytest.mark.parametrize("name", sorted(n for n, op in tg.OPS.items() if op.on_complex is None and op.differentiable))
def test_every_other_op_refuses_complex_operands(name):
    op = tg.OPS[name]
    z = tg.Tensor(Z.reshape(3, 1), requires_grad=True)
    with pytest.raises(TypeError, match=f"{name}.* is differentiated for real numbers only, got complex128"):
        op(*[z] * (op.arity or 1), **dict.fromkeys(op.required))


REFUSED = [
    (lambda z: z.sum().backward(), r"a loss is a real number, got complex128 of shape \(\); take its .real"),
    (lambda z: tg.gradients(z, z), "a loss is a real number"),
    (lambda z: z.real.sum().backward(1j), "gradient= is complex128, the output float64"),
    (lambda z: np.sign(z), "sign is differentiated for real numbers only, got complex128"),
    (lambda z: np.rint(z), "rint is differentiated for real numbers only"),
    (lambda z: np.clip(z, 0, 1), "np.clip is differentiated for real numbers only"),
    (lambda z: np.clip(np.real(z), 0, 1j), "np.clip is differentiated for real numbers only, got 1j"),
    (lambda z: np.maximum(z.real, 1j), "maximum is differentiated for real numbers only, got 1j"),
    (lambda z: np.var(z, dtype=complex), "masked_var is differentiated for real numbers only"),
    (lambda z: np.pad(z, 1, mode="maximum"), "np.max is differentiated for real numbers only"),
    (lambda z: np.linalg.norm(z.reshape(1, 3), 2), "np.linalg.svdvals is differentiated for real numbers only"),
    (lambda z: np.linalg.slogdet(z.reshape(3, 1)), "np.linalg.slogdet is differentiated for real numbers only"),
    (lambda z: z.max(), "max is differentiated for real numbers only"),
    (lambda z: z % 2, "remainder is differentiated for real numbers only"),
    (lambda z: np.fft.rfft(z), "fft.rfft got .* but takes a real array"),
    (lambda z: np.fft.ihfft(z), "fft.rfft got .* but takes a real array"),
    (lambda z: np.fft.rfftn(z), "fft.rfft got .* but takes a real array"),
    (lambda z: np.fft.fft(z, out=np.zeros(3, complex)), "np.fft.fft: out="),
    (lambda z: np.fft.hfft(z, out=np.zeros(4)), "np.fft.hfft: out="),
    (lambda z: np.fft.ihfft(z.real, out=np.zeros(2)), "np.fft.ihfft: out="),
    (lambda z: np.fft.fftn(z, out=np.zeros(3)), "np.fft.fftn: out="),
    (lambda z: np.fft.irfft2(z, out=np.zeros(3)), "np.fft.irfft2: out="),
    (lambda z: np.add(z, z, out=np.zeros(3, complex)), "np.add: out="),
    (lambda z: float(z.sum().detach()), "complex"),
    (lambda z: complex(z.sum()), "complex: this tensor requires gradients"),
    (lambda z: tg.optim.SGD([z], lr=0.1), "SGD: parameter 0 is complex128; optimise its real and"),
    (lambda z: tg.optim.Adam([z]), "Adam: parameter 0 is complex128"),
    (lambda z: tg.dropout(z, 0.5, np.random.default_rng(0)), "dropout: takes floats, got complex128"),
    (lambda z: tg.softmax(z), "softmax is differentiated for real numbers only"),
    (lambda z: tg.grad(np.abs)(1j), "grad: argument 0 holds complex, .* pass the parts, .* or call backward"),
    (lambda z: tg.hvp(lambda x, y: x, (1.0, Z), (1.0, Z)), "hvp: argument 1 holds complex128 .* pass the parts"),
    (lambda z: tg.grad(lambda x: x * 1j)(1.0), "grad: f must return floats, got complex128"),
    (lambda z: tg.vjp(lambda x: (x, 1j * x), 1.0), "vjp: f must return floats, got complex128"),
    (lambda z: tg.jacobian(np.fft.fft)(np.ones(3)), "jacobian: f must return floats, got complex128"),
    (lambda z: tg.gradcheck(np.exp, np.ones(1, np.complex64)), "input 0 is complex64, .* pass complex128"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_what_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(tg.Tensor(Z, requires_grad=True))


def test_clipping_complex_gradients_is_refused():
    z = tg.Tensor(Z, requires_grad=True)
    z.grad = Z
    with pytest.raises(TypeError, match="clip_gradients: takes real gradients, got complex"):
        tg.optim.clip_gradients([z], 1.0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda z: np.fft.fft(z, 0), ValueError, "fft.fft got .* at least one point"),
        (lambda z: np.fft.irfft(z[:1]), ValueError, "fft.irfft got .* at least one point"),
        (lambda z: np.fft.fft(z, norm="unitary"), ValueError, "fft.fft got .* norm"),
        (lambda z: np.fft.hfft(z, norm="unitary"), ValueError, "fft.irfft got .* norm"),
        (lambda z: np.fft.fft(z, axis=1), IndexError, "fft.fft got .* one of its axes"),
        (lambda z: np.fft.fft(z.sum()), IndexError, "fft.fft got .* one of its axes"),
        (lambda z: np.fft.fftn(z, axes=(1,)), IndexError, "np.fft.fftn: axis 1 is out of bounds"),
        (lambda z: np.fft.fft2(z), IndexError, "np.fft.fft2: axis -2 is out of bounds"),
        (lambda z: np.fft.fftn(z, s=(1, 2), axes=(0,)), ValueError, r"np.fft.fftn: s= has 2 length\(s\) for 1 axes"),
        (lambda z: np.fft.irfftn(z, axes=()), IndexError, "np.fft.irfftn: takes at least one axis"),
    ],
)
def test_mistakes_are_numpys_errors_with_the_name(call, error, message):
    with pytest.raises(error, match=message):
        call(tg.Tensor(Z, requires_grad=True))


def test_a_composition_refuses_complex_arguments_unless_it_says_that_it_is_right_for_them():
    before = tg.core.NUMPY[np.ediff1d]

    @tg.implements(np.ediff1d)
    def difference(ary, to_end=None):
        return ary[1:] - ary[:-1]

    try:
        for call in (
            lambda: np.ediff1d(tg.Tensor(Z)),
            lambda: np.ediff1d(tg.Tensor([1.0]), to_end=1j),
            lambda: np.ediff1d(tg.Tensor([1.0]), [tg.Tensor(Z)]),
        ):
            with pytest.raises(TypeError, match=r"np\.ediff1d is differentiated for real numbers only, got"):
                call()
        assert np.ediff1d(tg.Tensor([1.0, 3.0])).item() == 2
        tg.implements(np.ediff1d, on_complex=True)(difference)
        assert np.ediff1d(tg.Tensor(Z))[0].item() == -1 + 1j
    finally:
        tg.core.NUMPY[np.ediff1d] = before


# Around it


def test_a_complex_leaf():
    z = tg.Tensor([1 + 2j, 3], requires_grad=True, dtype=np.complex64)
    assert z.dtype == np.complex64 and z[0].item() == 1 + 2j and complex(z.detach()[1]) == 3
    assert f"{tg.Tensor(1j):.1f}" == "0.0+1.0j" and "1.+2.j" in repr(z)
    z.data = np.array([1j, 2], np.complex64)
    (np.abs(z) ** 2).sum().backward()
    np.testing.assert_allclose(z.grad, [2j, 4], rtol=1e-6)
    for other in (copy.deepcopy(z), pickle.loads(pickle.dumps(z))):
        np.testing.assert_array_equal(other.data, z.data, strict=True)
        np.testing.assert_array_equal(other.grad, z.grad, strict=True)


def test_comparisons_are_numpys():
    z = tg.Tensor(Z, requires_grad=True)
    for compare in (np.equal, np.not_equal, np.isfinite, np.isnan, np.isinf, np.argmax, np.any, np.all):
        args = (2j,) if isinstance(compare, np.ufunc) and compare.nin == 2 else ()
        np.testing.assert_array_equal(compare(z, *args).data, compare(Z, *args))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled(dtype):
    @partial(tg.compile, pure=True)
    def step(x, z):
        x, z = tg.Tensor(x, requires_grad=True), tg.Tensor(z, requires_grad=True)
        loss = (np.abs(np.fft.irfft(np.fft.rfft(x) * z * 1j)) ** 3).sum() + (z**2).real.sum()
        loss = loss + np.where(x > 0, 1j * x, z[0]).imag.sum()
        of_x, of_z = tg.gradients(loss, [x, z], create_graph=True)
        second = tg.gradients((of_x * of_x).sum() + (np.abs(of_z) ** 2).sum(), [x, z])
        return [tensor.detach() for tensor in (loss, of_x, of_z, *second)]

    for seed in range(3):
        x, z = reals(6, seed=seed).astype(dtype), complexes(4, seed=seed).astype(np.result_type(dtype, np.complex64))
        for found, expected in zip(step(x, z), step.function(x, z)):
            assert found.dtype == expected.dtype
            np.testing.assert_allclose(found.data, expected.data, rtol=1e-4 if dtype is np.float32 else 1e-12)


def test_checkpointed():
    def spectrum(x, z):
        return np.abs(np.fft.fft(x)), np.fft.rfft(x) * z

    def loss(x, z, wrap):
        modulus, product = wrap(spectrum)(x, z)
        return modulus.sum() + (product * product).real.sum()

    for wrap in (tg.checkpoint, lambda function: function):
        tg.gradcheck(lambda x, z: loss(x, z, wrap), [reals(4), complexes(3)], order=2)  # noqa: B023


def test_transforms_of_real_functions_by_way_of_complex_numbers():
    def power(x):
        return (np.abs(np.fft.fft(x)) ** 2).sum()

    x = reals(3)
    np.testing.assert_allclose(tg.grad(power)(x), 6 * x)
    np.testing.assert_allclose(tg.hessian(power)(x), 6 * np.eye(3), atol=1e-12)
    jacobian = tg.jacobian(low_pass)(x, np.ones(3))
    np.testing.assert_allclose(jacobian, np.eye(3), atol=1e-12)
    value, tangent = tg.jvp(spectral_derivative, (x,), (x,))
    np.testing.assert_allclose(tangent, value)


def test_anomalies_are_found_in_complex_numbers():
    z = tg.Tensor([0j], requires_grad=True)
    with np.errstate(all="ignore"), tg.detect_anomaly(), pytest.raises(tg.AnomalyError, match="divide: gave"):
        1 / z


SQUARE_Z = np.array([[3 + 1j, 0.5 - 1j], [0.2j, 2 - 1j]])


@pytest.mark.parametrize(
    "call",
    [
        (np.sum, SQUARE_Z, 0),
        (np.mean, SQUARE_Z, -1),
        (np.cumsum, SQUARE_Z, 1),
        (np.trace, SQUARE_Z),
        (np.diff, SQUARE_Z),
        (np.take, SQUARE_Z, [1, 0, 1], 0),
        (np.take_along_axis, SQUARE_Z, np.array([[0, 1], [1, 1]]), 1),
        (np.moveaxis, SQUARE_Z, 0, 1),
        (np.atleast_3d, SQUARE_Z),
        (np.roll, SQUARE_Z, 1, 0),
        (np.repeat, SQUARE_Z, 2, 1),
        (np.tile, SQUARE_Z, (2, 1)),
        (np.diagonal, SQUARE_Z),
        (np.hstack, [SQUARE_Z, SQUARE_Z]),
        (np.column_stack, [SQUARE_Z, SQUARE_Z[0]]),
        (np.append, SQUARE_Z, SQUARE_Z),
        (np.split, SQUARE_Z, 2),
        (np.dot, SQUARE_Z, SQUARE_Z[0]),
        (np.inner, SQUARE_Z, SQUARE_Z),
        (np.outer, SQUARE_Z[0], SQUARE_Z[1]),
        (np.tensordot, SQUARE_Z, SQUARE_Z, 1),
        (np.kron, SQUARE_Z, SQUARE_Z),
        (np.einsum, "ij,kj->ik", SQUARE_Z, SQUARE_Z),
        (np.linalg.multi_dot, [SQUARE_Z, SQUARE_Z, SQUARE_Z]),
        (np.linalg.matrix_power, SQUARE_Z, -2),
        (np.linalg.solve, SQUARE_Z, SQUARE_Z),
        (np.linalg.inv, SQUARE_Z),
    ],
)
def test_compositions_of_complex_numbers(call):
    check_call(*call)
