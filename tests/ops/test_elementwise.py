"""Elementwise functions and choices: awkward calls, kinks and poles, what is refused, and dtypes."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autodiff import gradients
from tensorgrad.testing import check_call

A = np.array([[0.7, -1.27, 2.4], [-0.43, 1.63, -2.21]])
B = np.array([1.7, -0.6, 0.9])
COLUMN = np.array([[0.45], [-1.15]])
POSITIVE = np.abs(A)
UNIT = A / 3
WHOLE = np.array([[3, -1, 2], [-2, 1, 4]])
SMALL = np.array([1, 2, 3], np.int8)
MASK = np.array([[True, False, True], [False, False, True]])
ZERO_D = np.array(0.83)
EMPTY = np.zeros((0, 3))
STRIDED = np.repeat(A, 2, axis=1)[:, ::2][::-1]
FORTRAN = np.asfortranarray(A)
DEEP = np.linspace(0.31, 1.43, 8).reshape(2, 1, 4)

DOMAINS = {
    **dict.fromkeys(("arccosh",), (1.2, 2.9)),
    **dict.fromkeys(("arcsin", "arccos", "arctanh"), (-0.8, 0.7)),
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "frexp"), (0.53, 0.97)),
    **dict.fromkeys(("tan", "log1p"), (-0.9, 1.1)),
}


def words(text):
    return text.split()


UNARY = words(
    """
    abs absolute fabs negative positive conj conjugate square reciprocal sqrt cbrt exp exp2 expm1
    log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh
    degrees radians deg2rad rad2deg sinc i0 nan_to_num modf frexp real
    """
)
BINARY = words(
    """
    add subtract multiply divide true_divide power float_power remainder mod fmod divmod hypot
    arctan2 logaddexp logaddexp2 maximum minimum fmax fmin copysign
    """
)
STEPS = words(
    """
    sign floor ceil rint trunc spacing signbit isnan isinf isfinite isposinf isneginf isreal
    iscomplex logical_not fix round around
    """
)


def over(name, shape):
    """Irregular values of a shape within the domain of a function."""
    low, high = DOMAINS.get(name, (-1.9, 2.3))
    size = int(np.prod(shape))
    return (low + (high - low) * ((np.arange(size) * 0.6180339887 + 0.137) % 1)).reshape(shape)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_operand(name):
    function = getattr(np, name)
    for shape in ((), (1,), (5,), (2, 3), (0, 3), (2, 1, 2)):
        check_call(function, over(name, shape))
    check_call(function, over(name, (6, 4))[::-2, ::3])
    check_call(function, over(name, (3, 4)).T)


@pytest.mark.parametrize("name", STEPS)
def test_steps_and_tests_have_no_gradient(name):
    function = getattr(np, name)
    for x in (A, ZERO_D, EMPTY, STRIDED, WHOLE, MASK, A.astype(np.float32)):
        if name in ("sign", "spacing", "signbit") and x.dtype.kind in "bi" and name != "sign":
            continue
        try:
            expected = np.asarray(function(x))
        except TypeError:
            with pytest.raises(TypeError, match=name):
                function(tg.Tensor(x))
            continue
        found = function(tg.Tensor(x, requires_grad=x.dtype.kind == "f"))
        assert isinstance(found, tg.Tensor) and not found.requires_grad
        np.testing.assert_array_equal(found.data, expected, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands(name):
    function = getattr(np, name)
    positive = name in ("power", "float_power")
    x, y, row = (POSITIVE, B, np.abs(B)) if positive else (A, B, B)
    for first, second in (
        (x, y),
        (x, COLUMN),
        (row, A),
        (x, ZERO_D),
        (ZERO_D, A),
        (EMPTY, B),
        (np.zeros((2, 0)), COLUMN),
        (x.T, COLUMN.T[:, :1]),
        (np.abs(STRIDED) if positive else STRIDED, B),
        (np.asfortranarray(x), A[::-1]),
        (DEEP, np.linspace(-1.37, 1.21, 6).reshape(3, 1, 2, 1)),
        (x, 2.0),
        (x, 3),
        (1.3, A),
        (2, A),
        (x, WHOLE * 1.07),
        (WHOLE[0] * 0 + 2, A),
        (x, SMALL),
        (SMALL, A),
        (x, MASK + 1),
        (x, [0.55, 1.45, -0.35]),
        ([0.55, 1.45, 0.35], A),
        (x, np.float64(1.45)),
        (np.float64(1.45), A),
    ):
        check_call(function, first, second)


@pytest.mark.parametrize("name", BINARY)
def test_float32_stays_float32_beside_python_numbers(name):
    function = getattr(np, name)
    dtype = np.float64 if name == "float_power" else np.float32
    x = np.array([0.7, 1.3, 2.4], np.float32)
    for scalar in (2, 1.5, True):
        for arguments in ((x, scalar), (scalar, x)):
            tensors = [tg.Tensor(a, requires_grad=True) if a is x else a for a in arguments]
            results = function(*tensors)
            for out, plain in zip(*((r if isinstance(r, tuple) else (r,)) for r in (results, function(*arguments)))):
                assert out.dtype == plain.dtype == dtype
                if out.requires_grad:
                    (tensor,) = (t for t in tensors if isinstance(t, tg.Tensor))
                    (first,) = gradients(out.sum(), [tensor], create_graph=True)
                    assert first.dtype == np.float32
                    if first.requires_grad:
                        assert gradients(first.sum(), [tensor])[0].dtype == np.float32


@pytest.mark.parametrize("name", [name for name in UNARY + BINARY if name not in ("real", "nan_to_num")])
def test_integers_give_the_dtype_that_numpy_gives(name):
    function = getattr(np, name)
    for dtype in (np.int8, np.uint8, np.int32, np.int64, bool):
        x = np.array([1, 1, 1], dtype) if name in DOMAINS else np.array([1, 2, 3]).astype(dtype)
        arguments = (x,) if name in UNARY else (x, x)
        try:
            with np.errstate(all="ignore"):
                expected = function(*arguments)
        except TypeError:
            with pytest.raises(TypeError):
                function(*map(tg.Tensor, arguments))
            continue
        with np.errstate(all="ignore"):
            found = function(*map(tg.Tensor, arguments))
        for one, other in zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, expected))):
            assert not one.requires_grad
            np.testing.assert_array_equal(one.data, other, strict=True)


X = np.array([-2.3, -0.4, 0.6, 1.8])
TWO_ROWS = np.array([[-2.3, -0.4], [0.6, 1.8]])

CALLS = {
    # powers
    "negative bases, even exponent": lambda x: x**2,
    "negative bases, odd exponent": lambda x: x**3,
    "negative bases, negative exponent": lambda x: x**-3,
    "negative bases, whole float exponent": lambda x: x**4.0,
    "negative bases, exponents in an array": lambda x: x ** np.array([2.0, 3.0, -1.0, 0.0]),
    "negative bases, integer exponents": lambda x: x ** np.array([2, 3, -1, 0]),
    "negative bases, int8 exponents": lambda x: x ** np.array([2, 3, -1, 0], np.int8),
    "np.power by a NumPy scalar": lambda x: np.power(x, np.float64(3)),
    "np.power by a 0-d array": lambda x: np.power(x, np.array(2)),
    "number to the tensor": lambda x: 2**x,
    "fraction to the tensor": lambda x: 0.3**x,
    "array to the tensor": lambda x: np.array([2.0, 3.0, 0.5, 1.0]) ** x,
    "one to the tensor": lambda x: 1**x,
    "tensor to itself": lambda x: np.abs(x) ** np.abs(x),
    "np.float_power": lambda x: np.float_power(x, 3),
    "square by operator of a square": lambda x: (x**2) ** 2,
    # arithmetic by operators
    "reflected operators": lambda x: 2 - x + 3 / x - 2 * x,
    "reflected division with remainder": lambda x: 7.3 % x + 7.3 // x,
    "modulo a negative number": lambda x: x % -0.7,
    "np.fmod by a negative number": lambda x: np.fmod(x, -0.7),
    "np.divmod": lambda x: np.divmod(x, 0.7),
    "np.divmod, reflected": lambda x: np.divmod(3.1, x),
    # parts
    "np.modf": np.modf,
    "np.frexp": np.frexp,
    "np.ldexp": lambda x: np.ldexp(x, 3),
    "np.ldexp by an array": lambda x: np.ldexp(x, np.array([-2, 0, 1, 5])),
    "np.ldexp, broadcast": lambda x: np.ldexp(x[:, None], np.array([[1, 2]])),
    "np.real and np.imag": lambda x: np.real(x) * 2 + np.imag(x),
    "np.angle": lambda x: x * np.angle(x) + x * np.angle(x, deg=True),
    "np.real_if_close": lambda x: np.real_if_close(x * x, tol=10),
    "np.sinc far and near": lambda x: np.sinc(x * 3.1) + np.sinc(x * 0.01),
    "np.i0 far and near": lambda x: np.i0(x * 5) + np.i0(x * 0.01),
    "np.heaviside's value": lambda x: np.heaviside(np.array([-1.0, 0.0, 0.0, 2.0]), x),
    # choices
    "np.where": lambda x: np.where(x > 0, x, 2 * x),
    "np.where with a number": lambda x: np.where(x > 0, x, 0),
    "np.where with a list": lambda x: np.where([True, False, True, False], x, [1, 2, 3, 4]),
    "np.where, broadcast": lambda x: np.where(np.array([[True], [False]]), x, 1.0),
    "np.where of numbers as condition": lambda x: np.where([1, 0, 2.5, 0], x, -x),
    "np.where with the tensor as condition": lambda x: np.where(x, x, 1.0),
    "np.where of scalars": lambda x: np.where(x > 0, 1.0, -1.0) * x,
    "np.where of positions": lambda x: x[np.where(x > 0)] * 2,
    "np.clip": lambda x: np.clip(x, -1, 1),
    "np.clip by old names": lambda x: np.clip(a=x, a_min=-1, a_max=1),
    "np.clip from below": lambda x: np.clip(x, 0.1, None),
    "np.clip from above": lambda x: np.clip(x, None, 0.1),
    "np.clip by bounds in lists": lambda x: np.clip(x, [-3, -0.1, 0, 0], [0, 0.1, 1, 1]),
    "np.clip of an array by tensors": lambda x: np.clip(np.array([0.0, 9.0, -9.0, 1.0]), x - 0.5, x + 0.5),
    "np.clip of a list by tensors": lambda x: np.clip([0.0, 9.0, -9.0, 1.0], x - 0.5, x + 0.5),
    "np.clip, lower bound above": lambda x: np.clip(x, x + 1, x - 1),
    "np.clip, broadcast": lambda x: np.clip(x, np.array([[-1.0], [0.0]]), 1.5),
    "method clip": lambda x: x.clip(-1, 1),
    "np.select": lambda x: np.select([x < -1, x < 1], [x * x, x * 3], default=x),
    "np.select, the first condition wins": lambda x: np.select([x < 1, x < 2], [x, 2 * x], 7.0),
    "np.select of numbers": lambda x: np.select([x < 0, x > 1], [1, 2.5], x),
    "np.select, broadcast": lambda x: np.select([np.array([[True], [False]])], [x], 0),
    "np.select of plain conditions": lambda x: np.select([np.array([True, False, False, True])], [x]),
    "np.piecewise": lambda x: np.piecewise(x, [x < 0, x >= 0], [lambda v: v * v, np.sqrt]),
    "np.piecewise with an otherwise": lambda x: np.piecewise(x, [x < -1, x > 1], [-1, np.log, np.exp]),
    "np.piecewise of one condition": lambda x: np.piecewise(x, x > 0, [np.log, 0.5]),
    "np.piecewise, the last condition wins": lambda x: np.piecewise(x, [x < 1, x < 0], [np.exp, np.sin]),
    "np.piecewise with arguments": lambda x: np.piecewise(x, [x > 0], [lambda v, a, b: v * a + b] * 2, 3.0, b=x.sum()),
    "np.piecewise of sums": lambda x: np.piecewise(x, [x > 0], [lambda v: v / v.sum(), np.sum]),
    "np.nan_to_num": lambda x: np.nan_to_num(
        np.where([True, False, True, False], x * x, [0, np.nan, 0, -np.inf]), nan=2, posinf=3, neginf=4
    ),
    "np.maximum of a number": lambda x: np.maximum(x, 0),
    "np.maximum of a list": lambda x: np.maximum([0, 1, 2, 3], x),
    "np.fmax beside NaN": lambda x: np.fmax(x, np.array([np.nan, 0, 1, np.nan])),
    "np.fmin beside NaN": lambda x: np.fmin(x, np.array([np.nan, 0, 1, np.nan])),
    "np.abs by operator": lambda x: abs(x) + (+x) + (-x),
    "np.copysign": lambda x: np.copysign(x, [1, -1, -0.0, 0.0]),
    "np.copysign of a number": lambda x: x * np.copysign(2, x),
    "comparisons as factors": lambda x: x * (x > 0) * (x != 1) * np.logical_and(x, x < 5),
    # methods of ufuncs
    "np.add.reduce": np.add.reduce,
    "np.maximum.reduce": np.maximum.reduce,
    "np.minimum.reduce": np.minimum.reduce,
    "np.add.reduce of rows": lambda x: np.add.reduce(x.reshape(2, 2)),
    "np.subtract.outer": lambda x: np.subtract.outer(x, x),
    "np.multiply.outer of a number": lambda x: np.multiply.outer(x, 2),
    "np.power.outer": lambda x: np.power.outer(x, np.array([1, 2, 3])),
    "np.add.outer of a list": lambda x: np.add.outer([1, 2], x),
    "np.divide.outer of ranks": lambda x: np.divide.outer(x.reshape(2, 2), x.reshape(2, 1, 2)),
    "np.arctan2.outer": lambda x: np.arctan2.outer(x, np.array([0.5, -1.5])),
    "np.logaddexp.outer": lambda x: np.logaddexp.outer(x, x),
    "np.maximum.outer": lambda x: np.maximum.outer(x, np.array([0.0, 1.0])),
    "np.fmod.outer": lambda x: np.fmod.outer(x, np.array([0.7, -1.1])),
}

if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
    CALLS |= {
        "np.clip by new names": lambda x: np.clip(x, min=-1, max=1),
        "np.clip by one new name": lambda x: np.clip(x, max=x[::-1]) + np.clip(x, min=0.1),
        "np.clip without bounds": lambda x: np.clip(x, None, None) + np.clip(x),
    }


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    check_call(CALLS[name], X)


@pytest.mark.parametrize(
    "function, args, keywords",
    [
        (np.where, (MASK, A, B), {}),
        (np.where, (MASK[0], A, COLUMN), {}),
        (np.where, (A, B, 1), {}),
        (np.where, (True, A, ZERO_D), {}),
        (np.where, (np.ones((4, 1, 1), bool), A, B), {}),
        (np.clip, (A, COLUMN - 0.5, COLUMN + 0.5), {}),
        (np.clip, (A, ZERO_D - 1, None), {}),
        (np.clip, (ZERO_D, 0, POSITIVE), {}),
        (np.clip, (EMPTY, -1, B), {}),
        (np.select, ([MASK, ~MASK], [A, B]), {}),
        (np.select, ((MASK,), (ZERO_D,)), {"default": 3}),
        (np.select, ([True, False], [A, A * 2]), {}),
        (np.piecewise, (A, [MASK], [np.exp, np.sin]), {}),
        (np.piecewise, (A, [MASK.tolist()], [np.exp, 3]), {}),
        (np.piecewise, (A, [MASK], [1, 2]), {}),
        (np.piecewise, (ZERO_D, [False, True], [np.exp, np.sin]), {}),
        (np.piecewise, (ZERO_D, True, [np.exp]), {}),
        (np.piecewise, (EMPTY, [EMPTY > 0], [np.exp, np.sin]), {}),
        (np.nan_to_num, (A,), {"nan": 1.0, "posinf": 2.0, "neginf": -2.0}),
        (np.nan_to_num, (A, True, 1.0), {}),
        (np.ldexp, (A, WHOLE), {}),
        (np.hypot.outer, (A, B), {}),
        (np.hypot.outer, (ZERO_D, B), {}),
        (np.add.outer, (EMPTY, B), {}),
        (np.copysign.outer, (A, B), {}),
        (np.heaviside, (A, B), {}),
    ],
)
def test_calls_of_several_arrays(function, args, keywords):
    check_call(function, *args, **keywords)


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum"])
def test_reduce_takes_axis_and_keepdims(name):
    reduce = getattr(np, name).reduce
    check_call(reduce, A)
    check_call(reduce, A, 1)
    check_call(reduce, A, axis=-1, keepdims=True)
    check_call(reduce, A, axis=None)
    check_call(reduce, DEEP, axis=(0, -1))
    check_call(reduce, A, axis=0, initial=1.31)
    check_call(reduce, A, axis=1, where=MASK, initial=-1.31 if name == "maximum" else 1.31)


@pytest.mark.parametrize("name", ["add", "multiply"])
def test_accumulate_takes_an_axis(name):
    accumulate = getattr(np, name).accumulate
    check_call(accumulate, A)
    check_call(accumulate, A, axis=-1)
    check_call(accumulate, B)
    np.testing.assert_array_equal(accumulate(tg.Tensor(SMALL)).data, accumulate(SMALL), strict=True)


@pytest.mark.parametrize("name", ["logical_and", "logical_or"])
def test_reduce_of_truth_values(name):
    reduce = getattr(np, name).reduce
    x = tg.Tensor(A, requires_grad=True)
    np.testing.assert_array_equal(reduce(x > 0).data, reduce(A > 0), strict=True)
    np.testing.assert_array_equal(reduce(x, axis=1, keepdims=True).data, reduce(A, axis=1, keepdims=True), strict=True)


# Kinks and poles: value, first and second derivative of each operand


def derivatives(f, *values):
    """First and second derivatives of the sum of ``f`` with respect to each operand, elementwise."""
    tensors = [tg.Tensor(np.array(value, np.float64), requires_grad=True) for value in values]

    def first() -> list[tg.Tensor]:
        return gradients(f(*tensors).sum(), tensors, create_graph=True)

    second = [
        gradients(first()[i].sum(), [x])[0].data if first()[i].requires_grad else np.zeros(x.shape)
        for i, x in enumerate(tensors)
    ]
    return [g.data.tolist() for g in first()], [g.tolist() for g in second]


inf = np.inf
KINKS = [
    (np.abs, [[0.0, -0.0]], [[0.0, 0.0]], [[0.0, 0.0]]),
    (np.fabs, [0.0], [0.0], [0.0]),
    (np.sqrt, [0.0], [inf], [-inf]),
    (np.cbrt, [0.0], [inf], [-inf]),
    (np.log, [0.0], [inf], [-inf]),
    (np.log1p, [-1.0], [inf], [-inf]),
    (np.arcsin, [[1.0, -1.0]], [[inf, inf]], [[inf, -inf]]),
    (np.arctanh, [1.0], [inf], [inf]),
    (np.reciprocal, [0.0], [-inf], [inf]),
    (np.square, [0.0], [0.0], [2.0]),
    (np.sinc, [0.0], [0.0], [-(np.pi**2) / 3]),
    (np.i0, [0.0], [0.0], [0.5]),
    (lambda x: x**2, [0.0], [0.0], [2.0]),
    (lambda x: np.power(x, 2), [0.0], [0.0], [2.0]),
    (
        lambda x: np.power(x, np.array([0.0, 1.0, 2.0, 3.0])),
        [[0.0] * 4],
        [[0.0, 1.0, 0.0, 0.0]],
        [[0.0, 0.0, 2.0, 0.0]],
    ),
    (lambda x: np.power(x, np.array([0, 1, 2, 3])), [[0.0] * 4], [[0.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 2.0, 0.0]]),
    (lambda x: np.float_power(x, 2), [0.0], [0.0], [2.0]),
    (lambda x: x**0, [0.0], [0.0], [0.0]),
    (lambda x: x**1, [0.0], [1.0], [0.0]),
    (lambda x: x**3, [0.0], [0.0], [0.0]),
    (lambda x: x**0.5, [0.0], [inf], [-inf]),
    (lambda x: x**1.5, [0.0], [0.0], [inf]),
    (lambda x: x**-1, [0.0], [-inf], [inf]),
    (lambda x: x**0, [[-2.0, inf]], [[0.0, 0.0]], [[0.0, 0.0]]),
    (np.power, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    (np.power, [0.0, 2.0], [0.0, 0.0], [2.0, 0.0]),
    (lambda y: 0**y, [[1.0, 2.0, 0.0]], [[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
    (lambda y: np.power(0.0, y), [-1.0], [-inf], [inf]),
    (np.hypot, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    (np.hypot, [0.0, 2.0], [0.0, 1.0], [0.5, 0.0]),
    (np.hypot, [3e200, 4e200], [0.6, 0.8], [0.0, 0.0]),
    (np.arctan2, [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]),
    (np.arctan2, [0.0, 2.0], [0.5, 0.0], [0.0, 0.0]),
    (np.arctan2, [0.0, -2.0], [-0.5, 0.0], [0.0, 0.0]),
    (np.arctan2, [2.0, 0.0], [0.0, -0.5], [0.0, 0.0]),
    (np.arctan2, [1e-200, 1e-200], [5e199, -5e199], None),
    (np.hypot, [[inf, -inf, inf], [3.0, 0.0, -1e300]], [[1.0, -1.0, 1.0], [0.0] * 3], [[0.0] * 3] * 2),
    (np.hypot, [[1e-300, -2.0], [-inf, inf]], [[0.0, 0.0], [-1.0, 1.0]], [[0.0] * 2] * 2),
    (np.hypot, [[inf, -inf], [inf, inf]], [[0.5**0.5, -(0.5**0.5)], [0.5**0.5] * 2], [[0.0] * 2] * 2),
    (lambda x: np.hypot(x, 3), [[inf, 4.0]], [[1.0, 0.8]], [[0.0, 0.072]]),
    (np.arctan2, [[inf, -inf, inf], [3.0, 0.0, -1e300]], [[0.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.arctan2, [[1e-300, -2.0], [-inf, inf]], [[0.0] * 2] * 2, [[0.0] * 2] * 2),
    (np.arctan2, [[inf, -inf], [inf, inf]], [[0.0] * 2] * 2, [[0.0] * 2] * 2),
    (np.arctan2, [0.0, 1e-300], [1e300, 0.0], [0.0, 0.0]),
    (np.arctan2, [1e-300, 0.0], [0.0, -1e300], [0.0, 0.0]),
    (np.logaddexp, [-inf, -inf], [0.5, 0.5], [0.0, 0.0]),
    (np.logaddexp, [inf, inf], [0.5, 0.5], [0.0, 0.0]),
    (np.logaddexp, [1.0, -inf], [1.0, 0.0], [0.0, 0.0]),
    (np.logaddexp, [-inf, 1.0], [0.0, 1.0], [0.0, 0.0]),
    (np.logaddexp, [inf, 1.0], [1.0, 0.0], [0.0, 0.0]),
    (np.logaddexp, [1e18, 1e18], [0.5, 0.5], [0.25, 0.25]),
    (np.logaddexp, [-1000.0, 1000.0], [0.0, 1.0], [0.0, 0.0]),
    (np.logaddexp2, [-inf, -inf], [0.5, 0.5], [0.0, 0.0]),
    (np.logaddexp2, [3000.0, -3000.0], [1.0, 0.0], [0.0, 0.0]),
    (np.logaddexp2, [2.0, 2.0], [0.5, 0.5], [np.log(2) / 4] * 2),
    (np.maximum, [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]),
    (np.minimum, [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]),
    (np.fmax, [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]),
    (np.fmin, [1.0, 1.0], [0.5, 0.5], [0.0, 0.0]),
    (np.maximum, [inf, inf], [0.5, 0.5], [0.0, 0.0]),
    (np.fmax, [np.nan, 1.0], [0.0, 1.0], [0.0, 0.0]),
    (np.fmin, [1.0, np.nan], [1.0, 0.0], [0.0, 0.0]),
    (np.maximum, [[np.nan, 1.0, np.nan], [1.0, np.nan, np.nan]], [[1.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.minimum, [[np.nan, 1.0, np.nan], [1.0, np.nan, np.nan]], [[1.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.clip, [np.nan, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0] * 3),
    (np.clip, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0] * 3),
    (np.clip, [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0] * 3),
    (np.clip, [2.0, 1.0, 1.0], [0.0, 0.0, 1.0], [0.0] * 3),
    (np.clip, [0.0, 1.0, 1.0], [0.0, 1.0, 0.0], [0.0] * 3),
    (np.clip, [0.0, 2.0, 1.0], [0.0, 0.0, 1.0], [0.0] * 3),
    (np.copysign, [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]),
    (np.copysign, [2.0, -0.0], [-1.0, 0.0], [0.0, 0.0]),
    (np.copysign, [-2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]),
    (np.heaviside, [0.0, 0.5], [0.0, 1.0], [0.0, 0.0]),
    (np.heaviside, [1.0, 0.5], [0.0, 0.0], [0.0, 0.0]),
    (np.remainder, [-7.0, 3.0], [1.0, 3.0], [0.0, 0.0]),
    (np.remainder, [7.0, -3.0], [1.0, 3.0], [0.0, 0.0]),
    (np.fmod, [-7.0, 3.0], [1.0, 2.0], [0.0, 0.0]),
    (np.fmod, [7.0, -3.0], [1.0, 2.0], [0.0, 0.0]),
    (np.fmod, [5.0, inf], [1.0, 0.0], [0.0, 0.0]),
    (np.nan_to_num, [[np.nan, inf, -inf, 1.0]], [[0.0, 0.0, 0.0, 1.0]], [[0.0] * 4]),
    (lambda x: np.modf(x)[0], [[inf, 2.0, -0.0]], [[1.0, 1.0, 1.0]], [[0.0] * 3]),
    (lambda x: np.frexp(x)[0], [[0.0, 4.0]], [[1.0, 0.125]], [[0.0] * 2]),
    (np.exp, [-inf], [0.0], [0.0]),
    (np.tanh, [[inf, -inf]], [[0.0, 0.0]], [[0.0, 0.0]]),
    (np.arctan, [[inf, -inf, 1e300]], [[0.0] * 3], [[0.0] * 3]),
    (np.arcsinh, [[inf, -inf]], [[0.0, 0.0]], [[0.0, 0.0]]),
    (np.arcsinh, [[1e200, 0.0]], [[1e-200, 1.0]], [[0.0, 0.0]]),
    (np.arccosh, [1e200], [1e-200], None),
    (np.arccosh, [1.0], [inf], [-inf]),
    (np.power, [0.5, 1e200], [0.0, 0.0], [0.0, 0.0]),
    (np.power, [[inf, inf, -inf], [-2.0, -1e300, -2.0]], [[0.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.power, [[inf, 1000.0, 1e300], [-inf] * 3], [[0.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.power, [[0.0, 1e-300, 0.5], [inf] * 3], [[0.0] * 3] * 2, [[0.0] * 3] * 2),
    (np.power, [1e-300, 0.0], [0.0, np.log(1e-300)], [0.0, np.log(1e-300) ** 2]),
    (lambda x: x**inf, [0.5], [0.0], [0.0]),
    *(
        (f, [[inf, 1e308, -1e308, -inf]], [[1.0, 1.0, 0.0, 0.0]], [[0.0] * 4])
        for f in (tg.silu, tg.gelu, lambda x: tg.gelu(x, "tanh"))
    ),
    (tg.softsign, [[inf, 1e308, -1e308, -inf]], [[0.0] * 4], [[0.0] * 4]),
]


@pytest.mark.parametrize("f, values, first, second", KINKS)
def test_kinks_and_poles(f, values, first, second):
    with np.errstate(all="ignore"):
        found = derivatives(f, *values)
    for one, other in zip(found, (first, second)):
        if other is not None:
            for a, b in zip(one, other):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "f, values",
    [
        (np.abs, [0.0]),
        (np.sinc, [0.0]),
        (np.hypot, [0.0, 0.0]),
        (np.arctan2, [0.0, 0.0]),
        (np.power, [0.0, 0.0]),
        (np.power, [0.0, 2.0]),
        (np.logaddexp, [-inf, -inf]),
        (np.logaddexp, [-1000.0, 1000.0]),
        (np.logaddexp, [inf, 0.0]),
        (np.arccosh, [1e200]),
        (np.arcsinh, [1e200]),
        (np.heaviside, [0.0, 0.5]),
    ],
)
def test_no_warning_where_nothing_is_wrong(f, values):
    tensors = [tg.Tensor(np.array(value), requires_grad=True) for value in values]
    out = f(*tensors)
    with np.errstate(all="raise", under="ignore"):
        gradients(out.sum(), tensors)


def test_rules_are_exact_where_formulas_cancel():
    def slope(f, at):
        return derivatives(f, at)[0][0]

    by_exponent = tg.grad(np.power, 1)
    assert tg.grad(by_exponent)(1e-200, 2.0) == pytest.approx(2e-200 * np.log(1e-200), rel=1e-2)
    assert slope(np.expm1, -50.0) == pytest.approx(np.exp(-50.0), rel=1e-14)
    assert slope(np.log1p, 1e-300) == 1
    assert slope(np.arctanh, 1 - 2**-50) == pytest.approx(2.0**49, rel=1e-14)
    assert slope(lambda x: np.logaddexp(x, 0.0), -50.0) == pytest.approx(np.exp(-50.0), rel=1e-14)
    assert slope(lambda x: np.fmod(0.3, x), 0.1) == -2
    for x in (1e-9, 1e-5, 1e-3, 0.1):  # sinc'(x) = -pi^2 x / 3 + pi^4 x^3 / 30 - pi^6 x^5 / 840 + pi^8 x^7 / 45360
        z = np.pi * x
        series = np.pi * (-z / 3 + z**3 / 30 - z**5 / 840 + z**7 / 45360 - z**9 / 3991680)
        assert slope(np.sinc, x) == pytest.approx(series, rel=1e-12)
        assert slope(np.i0, x) == pytest.approx(x / 2 + x**3 / 16 + x**5 / 384 + x**7 / 18432, rel=1e-9)


@pytest.mark.parametrize("f", [np.sinc, np.i0])
def test_derivatives_of_high_order(f):
    """On both sides of where sinc changes its formula, and up to the fourth derivative."""

    def nth(order):
        def derivative(x):
            y = f(x)
            for _ in range(order):
                (y,) = gradients(y.sum(), [x], create_graph=True)
            return y

        return derivative

    for order in (2, 3):
        tg.gradcheck(nth(order), [np.array([-4.2, -3.0002, -2.9, -0.5, 0.0, 1e-3, 2.9998, 3.1, 7.3])], rtol=1e-5)


@pytest.mark.parametrize("f", [np.maximum, np.minimum, lambda x, y: np.clip(x, y, y + 1)])
def test_not_a_number_comes_back_as_a_gradient(f):
    """The value is NaN, so what comes back from a loss of it is NaN: choices must not drop that."""
    x, y = tg.Tensor([np.nan, 1.0], requires_grad=True), tg.Tensor([1.0, 0.5], requires_grad=True)
    (f(x, y) ** 2).sum().backward()
    np.testing.assert_array_equal(np.isnan(x.grad), [True, False])


def test_a_branch_not_taken_by_piecewise_is_not_computed():
    x = tg.Tensor([-1.0, 4.0], requires_grad=True)
    with np.errstate(all="raise"):
        out = np.piecewise(x, [x > 0], [np.sqrt, 0.0])
        out.sum().backward()
    np.testing.assert_array_equal(x.grad, [0.0, 0.25])


def test_constants_of_piecewise_have_gradients():
    x = tg.Tensor([-1.0, 4.0, 9.0], requires_grad=True)
    below, above = tg.Tensor(2.0, requires_grad=True), tg.Tensor([3.0, 5.0], requires_grad=True)
    out = np.piecewise(x, [x < 0, x > 0], [below, above])
    np.testing.assert_array_equal(out.data, [2.0, 3.0, 5.0])
    (out * np.array([1.0, 2.0, 3.0])).sum().backward()
    np.testing.assert_array_equal(below.grad, 1)
    np.testing.assert_array_equal(above.grad, [2.0, 3.0])
    assert x.grad is None or not x.grad.any()


def test_where_alone_gives_positions():
    x = tg.Tensor([[0.0, 1.0], [2.0, 0.0]], requires_grad=True)
    rows, columns = np.where(x > 0)
    assert type(rows) is np.ndarray
    np.testing.assert_array_equal([rows, columns], [[0, 1], [1, 0]])
    (positions,) = np.where(tg.Tensor([0, 3, 0, 4]))
    np.testing.assert_array_equal(positions, [1, 3])


def test_answers_about_tensors_are_plain():
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    y = tg.Tensor([1.0, 2.0 + 1e-9])
    assert np.allclose(x, y) is True
    assert np.allclose(x, [1.0, 3.0]) is False
    assert np.allclose([1.0, 2.1], x, rtol=0, atol=0.2) is True
    assert np.allclose(tg.Tensor([np.nan]), [np.nan]) is False
    assert np.allclose(tg.Tensor([np.nan]), [np.nan], equal_nan=True) is True
    assert np.array_equal(x, y) is False
    assert np.array_equal(x, [1.0, 2.0]) is True
    assert np.array_equal([1.0, 2.0], x) is True
    assert np.array_equal(x, x[:1]) is False
    assert np.array_equal(tg.Tensor([np.nan]), tg.Tensor([np.nan]), equal_nan=True) is True
    assert np.array_equiv(x, [[1.0, 2.0]]) is True
    assert np.isrealobj(x) is True
    assert np.iscomplexobj(x) is False
    np.testing.assert_array_equal(np.isclose(x, y, rtol=0, atol=1e-10).data, [True, False])
    np.testing.assert_array_equal(np.isclose(x, 1).data, [True, False])
    np.testing.assert_array_equal(np.isclose(x, 1, atol=tg.Tensor(1.0), rtol=np.zeros(2)).data, [True, True])


@pytest.mark.parametrize(
    "name", ["bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm", "left_shift", "right_shift"]
)
def test_functions_of_integers(name):
    function = getattr(np, name)
    x, y = np.array([[6], [4]], np.int16), np.array([2, 3], np.int8)
    for first, second in ((x, y), (x, 2), (2, y), (x, [1, 2])):
        found = function(*(tg.Tensor(a) if isinstance(a, np.ndarray) else a for a in (first, second)))
        np.testing.assert_array_equal(found.data, function(first, second), strict=True)
    np.testing.assert_array_equal(function.outer(tg.Tensor(x), y).data, function.outer(x, y), strict=True)
    with pytest.raises(TypeError, match=name):
        function(tg.Tensor([1.5]), 2)


def test_more_functions_of_integers():
    x = np.array([-5, 0, 7], np.int32)
    for function in (np.invert, np.bitwise_count, np.bitwise_not, np.bitwise_invert):
        np.testing.assert_array_equal(function(tg.Tensor(x)).data, function(x), strict=True)
    np.testing.assert_array_equal(np.clip(tg.Tensor(x), -1, None).data, np.clip(x, -1, None), strict=True)
    np.testing.assert_array_equal(np.clip(tg.Tensor(x), None, 2.5).data, np.clip(x, None, 2.5), strict=True)
    truths = np.array([True, False])
    np.testing.assert_array_equal(np.clip(tg.Tensor(truths), None, 1).data, np.clip(truths, None, 1), strict=True)
    np.testing.assert_array_equal(np.clip(tg.Tensor(truths), None, None).data, truths, strict=True)
    np.testing.assert_array_equal(np.nan_to_num(tg.Tensor(x)).data, x, strict=True)
    np.testing.assert_array_equal(np.around(tg.Tensor(x), -1).data, np.around(x, -1), strict=True)
    np.testing.assert_array_equal(
        np.select([tg.Tensor(truths)], [tg.Tensor(x[:2])], 9).data, np.select([truths], [x[:2]], 9), strict=True
    )
    np.testing.assert_array_equal(
        np.piecewise(tg.Tensor(x), [x > 0], [2.7, -1]).data, np.piecewise(x, [x > 0], [2.7, -1]), strict=True
    )


@pytest.mark.parametrize(
    "choose",
    [
        lambda x: ([x, 1.0], 0),
        lambda x: ([1.0, x], 2.0),
        lambda x: ([1, x], x),
        lambda x: ([x, np.ones(3)], 0),
        lambda x: ([x, np.ones(3, int)], 0),
    ],
)
def test_select_keeps_the_common_dtype(choose):
    x = np.array([1, 2, 3], np.float32)
    tensor = tg.Tensor(x, requires_grad=True)
    found = np.select([x > 2, x > 1], *choose(tensor))
    np.testing.assert_array_equal(found.data, np.select([x > 2, x > 1], *choose(x)), strict=True)
    found.sum().backward()
    assert tensor.grad.dtype == np.float32


def test_rounding_takes_decimals():
    x = tg.Tensor(A, requires_grad=True)
    for function in (np.round, np.around):
        np.testing.assert_array_equal(function(x, 1).data, np.round(A, 1))
        np.testing.assert_array_equal(function(x, decimals=-1).data, np.round(A, -1))
    np.testing.assert_array_equal(np.angle(x, deg=True).data, np.angle(A, deg=True))


# What is refused, by name

REFUSED = [
    (lambda x: np.exp(x, where=A > 0), TypeError, "np.exp: where="),
    (lambda x: np.exp(x, out=np.empty((2, 3))), TypeError, "np.exp: out="),
    (lambda x: np.exp(A, out=x), TypeError, "np.exp: out="),
    (lambda x: np.exp(x, dtype=np.float32), TypeError, "np.exp: dtype="),
    (lambda x: np.add(x, 1, casting="unsafe"), TypeError, "np.add: casting="),
    (lambda x: np.add(x, 1, order="F"), TypeError, "np.add: order="),
    (lambda x: np.add(x, 1, subok=False), TypeError, "np.add: subok="),
    (lambda x: np.divmod(x, 2, out=(None, np.empty((2, 3)))), TypeError, "np.divmod: out="),
    (lambda x: np.modf(x, where=A > 0), TypeError, "np.modf: where="),
    (lambda x: np.power(x, 2, where=A > 0), TypeError, "np.power: where="),
    (lambda x: np.clip(x, 0, 1, out=np.empty((2, 3))), TypeError, "np.clip: out="),
    (lambda x: np.clip(x, 0, 1, where=A > 0), TypeError, "np.clip: where="),
    (lambda x: np.clip(x, 0, 1, dtype=np.float32), TypeError, "np.clip: dtype="),
    (lambda x: np.clip(x, 0, 1, min=0, max=1), ValueError, "np.clip takes bounds"),
    (lambda x: np.nan_to_num(x, copy=False), TypeError, "np.nan_to_num: copy="),
    (lambda x: np.round(x, 1, out=np.empty((2, 3))), TypeError, "np.round: out="),
    (lambda x: np.around(x, out=np.empty((2, 3))), TypeError, "np.around: out="),
    (lambda x: np.fix(x, out=np.empty((2, 3))), TypeError, "np.fix: out="),
    (lambda x: np.isposinf(x, out=np.empty((2, 3), bool)), TypeError, "np.isposinf: out="),
    (lambda x: np.nextafter(x, 1), TypeError, "np.nextafter has no gradient rule"),
    (lambda x: np.add.at(x, 0, 1), TypeError, "np.add.at"),
    (lambda x: np.add.reduceat(x, [0]), TypeError, "np.add.reduceat"),
    (lambda x: np.add.reduce(x, out=np.empty(3)), TypeError, "np.add.reduce: out="),
    (lambda x: np.add.reduce(A, out=x), TypeError, "np.add.reduce: out="),
    (lambda x: np.multiply.accumulate(x, out=np.empty((2, 3))), TypeError, "np.multiply.accumulate: out="),
    (lambda x: np.add.reduce(x, 5), IndexError, "axis 5"),
    (lambda x: np.subtract.reduce(x), TypeError, "np.subtract.reduce"),
    (lambda x: np.maximum.accumulate(x), TypeError, "np.maximum.accumulate"),
    (lambda x: np.add.outer(x, 1, dtype=np.float32), TypeError, "np.add.outer: dtype="),
    (lambda x: np.where(x, 1), ValueError, "np.where takes a condition alone"),
    (lambda x: np.select([x > 0], [x, x]), ValueError, "np.select takes as many choices"),
    (lambda x: np.select([x], [x]), TypeError, "conditions of dtype bool"),
    (lambda x: np.select([A > 0], [1], x), TypeError, "requires gradients"),  # NumPy does not ask its default
    (lambda x: np.piecewise(x, [x > 0], [1, 2, 3]), ValueError, "np.piecewise takes 1 or 2 functions"),
    (lambda x: np.exp(x, x), TypeError, "np.exp: out="),
    (lambda x: np.add(x, np.ones(4)), ValueError, "add got"),
    (lambda x: np.arctan2(x, np.ones(4)), ValueError, "arctan2 got"),
    (lambda x: np.gcd(x, 2), TypeError, "gcd got"),
    (lambda x: np.ldexp(x, 0.5), TypeError, "ldexp got"),
    (lambda x: np.bitwise_count(x), TypeError, "bitwise_count got"),
    (lambda x: np.power(tg.Tensor([2, 3]), -1), ValueError, "power got"),
    (lambda x: np.hypot(x, 1j), TypeError, "complex|real numbers"),
    (lambda x: np.round(x, decimals=1, digits=2), TypeError, "digits"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(tg.Tensor(A, requires_grad=True))


def test_every_ufunc_is_in_the_table_or_refused():
    known = {np.nextafter, np.isnat, np.matmul, *(getattr(np, n, None) for n in ("vecdot", "matvec", "vecmat"))}
    for name in dir(np):
        ufunc = getattr(np, name)
        if isinstance(ufunc, np.ufunc) and ufunc not in known:
            assert tg.core.status(ufunc) != "refused", name


def test_compiled_choices_follow_the_values():
    def step(x):
        tensor = tg.Tensor(x, requires_grad=True)
        out = np.select([tensor < 0, tensor < 1], [tensor**2, np.sinc(tensor)], np.hypot(tensor, 2.0))
        out = out + np.clip(tensor, -1, 1) * np.nan_to_num(np.fmod(tensor, 0.7)) + np.logaddexp(tensor, 1.0)
        (gradient,) = gradients(out.sum(), [tensor])
        return out.data, gradient.data

    compiled = tg.compile(step, pure=True)
    for x in (X, X[::-1].copy(), -X, X):
        for one, other in zip(compiled(x), step(x)):
            np.testing.assert_allclose(one, other, rtol=1e-12)


def test_compiled_piecewise_is_for_the_branches_that_it_has_met():
    compiled = tg.compile(lambda x: np.piecewise(tg.Tensor(x), [x > 0], [np.sqrt]).data, pure=True)
    for _ in range(2):
        np.testing.assert_array_equal(compiled(np.array([-1.0, -2.0])), [0, 0])
    with pytest.raises(ValueError, match="held nowhere when the function was compiled"):
        compiled(np.array([-1.0, 4.0]))
