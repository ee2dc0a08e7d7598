"""The operators of ONNX, written in NumPy for Tensors and arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any, Callable, NoReturn

import numpy as np

from ...ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    normal_cdf,
    relu,
    selu,
    sigmoid,
    softmax,
    softplus,
    softsign,
)
from ...ops.conversion import without_history
from ...ops.convolution import conv, conv_transpose
from ...ops.linalg import affine
from ...ops.normalisation import batch_norm, layer_norm
from ...ops.pooling import avg_pool, max_pool
from ...ops.reductions import logsumexp

Operator = Callable[..., Any]
"""Called with the inputs, None for one that is left out, and attributes as keyword arguments; a list if of several."""

OPERATORS: dict[str, Operator] = {}


class Unsupported(ValueError):
    """Something in a file that cannot be computed here; the message ends a sentence about the file."""


def operator(name: str) -> Callable[[Operator], Operator]:
    """Register what an operator computes."""

    def register(function: Operator) -> Operator:
        OPERATORS[name] = function
        return function

    return register


def _refuse(what: str) -> NoReturn:
    raise Unsupported(f"{what}, which cannot be computed here; export the network without it")


def _integers(value: Any) -> list[int]:
    """Numbers that are part of the graph, such as axes and shapes."""
    return [int(n) for n in np.ravel(without_history(value))]


# Elementwise

OPERATORS.update(
    {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Neg": np.negative,
        "Abs": np.absolute,
        "Exp": np.exp,
        "Log": np.log,
        "Sqrt": np.sqrt,
        "Reciprocal": np.reciprocal,
        "Sign": np.sign,
        "Floor": np.floor,
        "Ceil": np.ceil,
        "Round": np.rint,
        "Sin": np.sin,
        "Cos": np.cos,
        "Tan": np.tan,
        "Asin": np.arcsin,
        "Acos": np.arccos,
        "Atan": np.arctan,
        "Sinh": np.sinh,
        "Cosh": np.cosh,
        "Tanh": np.tanh,
        "Asinh": np.arcsinh,
        "Acosh": np.arccosh,
        "Atanh": np.arctanh,
        "Equal": np.equal,
        "Less": np.less,
        "LessOrEqual": np.less_equal,
        "Greater": np.greater,
        "Not": np.logical_not,
        "GreaterOrEqual": np.greater_equal,
        "And": np.logical_and,
        "Or": np.logical_or,
        "Xor": np.logical_xor,
        "IsNaN": np.isnan,
        "Where": np.where,
        "MatMul": np.matmul,
        "Relu": relu,
        "Sigmoid": sigmoid,
        "Softplus": softplus,
        "Softsign": softsign,
    }
)


@operator("Identity")
def _identity(x: object) -> Any:
    return x


@operator("Dropout")
def _dropout(x: object, ratio: object = None, training_mode: object = None, seed: int = 0) -> Any:
    return x


@operator("Div")
def _div(x: Any, y: Any) -> Any:
    if np.result_type(x, y).kind in "iu":  # towards 0
        return np.trunc(np.true_divide(x, y)).astype(np.result_type(x, y))
    return np.divide(x, y)


@operator("Pow")
def _pow(x: Any, y: Any) -> Any:
    return np.power(x, y).astype(x.dtype)


@operator("Mod")
def _mod(x: Any, y: Any, fmod: int = 0) -> Any:
    return np.fmod(x, y) if fmod else np.remainder(x, y)


def _of_all(function: Operator) -> Operator:
    """A function of two inputs as that of any number."""
    return lambda *xs: reduce(function, xs)


OPERATORS.update({"Max": _of_all(np.maximum), "Min": _of_all(np.minimum), "Sum": _of_all(np.add)})


@operator("Clip")
def _clip(x: Any, low: Any = None, high: Any = None) -> Any:
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


@operator("IsInf")
def _is_inf(x: Any, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    found = np.isinf(x)
    found = found if detect_negative else np.logical_and(found, x > 0)
    return found if detect_positive else np.logical_and(found, x < 0)


@operator("LeakyRelu")
def _leaky_relu(x: Any, alpha: float = 0.01) -> Any:
    return leaky_relu(x, alpha)


@operator("PRelu")
def _prelu(x: Any, slope: Any) -> Any:
    return np.where(x > 0, x, slope * x)


@operator("Elu")
def _elu(x: Any, alpha: float = 1.0) -> Any:
    return elu(x, alpha)


@operator("Selu")
def _selu(x: Any, alpha: float = 1.6732632, gamma: float = 1.050701) -> Any:
    if not (math.isclose(alpha, 1.6732632, rel_tol=1e-6) and math.isclose(gamma, 1.050701, rel_tol=1e-6)):
        _refuse("it has Selu with constants of its own")
    return selu(x)


@operator("Gelu")
def _gelu(x: Any, approximate: str = "none") -> Any:
    return gelu(x, approximate)


@operator("Erf")
def _erf(x: Any) -> Any:
    return 2 * normal_cdf(x * math.sqrt(2)) - 1


@operator("HardSigmoid")
def _hard_sigmoid(x: Any, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return np.clip(alpha * x + beta, 0, 1)


@operator("HardSwish")
def _hard_swish(x: Any) -> Any:
    return x * np.clip(x / 6 + 0.5, 0, 1)


@operator("Mish")
def _mish(x: Any) -> Any:
    return x * np.tanh(softplus(x))


@operator("Softmax")
def _softmax(x: Any, axis: int = -1) -> Any:
    return softmax(x, axis=axis)


@operator("LogSoftmax")
def _log_softmax(x: Any, axis: int = -1) -> Any:
    return log_softmax(x, axis=axis)


_CASTS = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
}
"""NumPy's dtypes by the numbers that ONNX gives them."""


def dtype_of(number: int) -> np.dtype:
    """NumPy's dtype for the number of an element type."""
    if number not in _CASTS:
        _refuse(f"it has numbers of the element type {number}")
    return np.dtype(_CASTS[number])


@operator("Cast")
def _cast(x: Any, to: int, saturate: int = 1) -> Any:
    return x.astype(dtype_of(to))


# Along axes


def _reduction(function: Callable[..., Any]) -> Operator:
    """With the axes as an input, or, in files of older versions, an attribute."""

    def reduce(
        x: object, given: object = None, axes: object = None, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Any:
        chosen = _integers(axes if given is None else given) if axes is not None or given is not None else []
        if not chosen and noop_with_empty_axes:
            return x
        return function(x, axis=tuple(chosen) or None, keepdims=bool(keepdims))

    return reduce


_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceProd": np.prod,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceLogSumExp": logsumexp,
    "ReduceL1": lambda x, **where: np.sum(np.absolute(x), **where),
    "ReduceL2": lambda x, **where: np.sqrt(np.sum(np.square(x), **where)),
    "ReduceSumSquare": lambda x, **where: np.sum(np.square(x), **where),
    "ReduceLogSum": lambda x, **where: np.log(np.sum(x, **where)),
}
for _name, _function in _REDUCTIONS.items():
    OPERATORS[_name] = _reduction(_function)


def _position(x: Any, function: Any, axis: int, keepdims: int, select_last_index: int) -> Any:
    if select_last_index:
        _refuse("it asks for the last of several extremes (select_last_index)")
    return function(x, axis=axis, keepdims=bool(keepdims))


@operator("ArgMax")
def _arg_max(x: object, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _position(x, np.argmax, axis, keepdims, select_last_index)


@operator("ArgMin")
def _arg_min(x: object, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _position(x, np.argmin, axis, keepdims, select_last_index)


@operator("CumSum")
def _cumsum(x: Any, axis: Any, exclusive: int = 0, reverse: int = 0) -> Any:
    if exclusive:
        _refuse("it has an exclusive CumSum")
    (along,) = _integers(axis)
    if reverse:
        return np.flip(np.cumsum(np.flip(x, along), axis=along), along)
    return np.cumsum(x, axis=along)


@operator("Einsum")
def _einsum(*xs: Any, equation: str) -> Any:
    return np.einsum(equation, *xs)


# Shapes


@operator("Constant")
def _constant(**attributes: Any) -> Any:
    ((name, value),) = attributes.items()
    if name not in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        _refuse(f"it has a Constant with {name}")
    dtypes = {"value_float": np.float32, "value_floats": np.float32}
    return value if name == "value" else np.array(value, dtypes.get(name, np.int64))


@operator("ConstantOfShape")
def _constant_of_shape(shape: Any, value: Any = None) -> Any:
    return np.broadcast_to(np.zeros((), np.float32) if value is None else value.reshape(()), _integers(shape))


@operator("Shape")
def _shape(x: Any, start: int = 0, end: int | None = None) -> Any:
    return np.array(x.shape[start:end], np.int64)


@operator("Size")
def _size(x: Any) -> Any:
    return np.array(x.size, np.int64)


@operator("Reshape")
def _reshape(x: Any, shape: Any, allowzero: int = 0) -> Any:
    lengths = _integers(shape)
    if not allowzero:
        lengths = [x.shape[i] if n == 0 and i < x.ndim else n for i, n in enumerate(lengths)]
    return x.reshape(tuple(lengths))


@operator("Flatten")
def _flatten(x: Any, axis: int = 1) -> Any:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@operator("Expand")
def _expand(x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_integers(shape))))


@operator("Tile")
def _tile(x: Any, repeats: Any) -> Any:
    return np.tile(x, _integers(repeats))


@operator("Transpose")
def _transpose(x: Any, perm: Sequence[int] | None = None) -> Any:
    return np.transpose(x, None if perm is None else tuple(perm))


@operator("Squeeze")
def _squeeze(x: Any, axes: Any = None) -> Any:
    return np.squeeze(x, None if axes is None else tuple(_integers(axes)))


@operator("Unsqueeze")
def _unsqueeze(x: Any, axes: Any) -> Any:
    return np.expand_dims(x, tuple(_integers(axes)))


@operator("Concat")
def _concat(*xs: Any, axis: int) -> Any:
    return np.concatenate(xs, axis=axis)


@operator("Split")
def _split(x: Any, split: Any = None, axis: int = 0, num_outputs: int = 1) -> list[Any]:
    if split is not None:
        return list(np.split(x, np.cumsum(_integers(split))[:-1].tolist(), axis=axis))
    size = -(-x.shape[axis] // num_outputs)
    return list(np.split(x, [size * i for i in range(1, num_outputs)], axis=axis))


@operator("Slice")
def _slice(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    first, last = _integers(starts), _integers(ends)
    along = list(range(len(first))) if axes is None else _integers(axes)
    by = [1] * len(first) if steps is None else _integers(steps)
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in zip(along, first, last, by):
        index[axis] = slice(start, stop, step)
    return x[tuple(index)]


@operator("Gather")
def _gather(x: Any, indices: Any, axis: int = 0) -> Any:
    return np.take(x, without_history(indices), axis=axis)


@operator("GatherElements")
def _gather_elements(x: Any, indices: Any, axis: int = 0) -> Any:
    return np.take_along_axis(x, without_history(indices), axis)


@operator("Pad")
def _pad(x: Any, pads: Any, value: Any = None, axes: Any = None, mode: str = "constant") -> Any:
    given = _integers(pads)
    along = list(range(x.ndim)) if axes is None else [a % x.ndim for a in _integers(axes)]
    widths = [(0, 0)] * x.ndim
    for axis, before, after in zip(along, given[: len(along)], given[len(along) :]):
        widths[axis] = (before, after)
    if min(given, default=0) < 0:
        _refuse("it has a Pad that cuts off")
    if mode == "constant":
        return np.pad(x, widths, constant_values=0 if value is None else without_history(value).item())
    return np.pad(x, widths, mode)  # type: ignore[call-overload]


# Layers


@operator("Gemm")
def _gemm(
    x: Any, w: Any, bias: Any = None, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0
) -> Any:
    x, w = x.T if transA else x, w.T if transB else w
    if bias is not None and alpha == beta == 1 and bias.ndim == 1:
        return affine(x, w, bias)
    product = x @ w
    product = product if alpha == 1 else alpha * product
    return product if bias is None else product + (bias if beta == 1 else beta * bias)


def _padding(kind: str, pads: Sequence[int] | None, n: int) -> Any:
    if kind in ("SAME_UPPER", "VALID"):
        return "same" if kind == "SAME_UPPER" else "valid"
    if kind != "NOTSET":
        _refuse(f"it has windows with auto_pad={kind}")
    return [(0, 0)] * n if pads is None else list(zip(pads[:n], pads[n:]))


@operator("Conv")
def _conv(
    x: Any,
    w: Any,
    bias: Any = None,
    auto_pad: str = "NOTSET",
    dilations: Any = 1,
    group: int = 1,
    kernel_shape: Any = None,
    pads: Any = None,
    strides: Any = 1,
) -> Any:
    padding = _padding(auto_pad, pads, x.ndim - 2)
    return conv(x, w, bias, stride=strides, padding=padding, dilation=dilations, groups=group)


@operator("ConvTranspose")
def _conv_transpose(
    x: Any,
    w: Any,
    bias: Any = None,
    auto_pad: str = "NOTSET",
    dilations: Any = 1,
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = 0,
    output_shape: Any = None,
    pads: Any = None,
    strides: Any = 1,
) -> Any:
    if output_shape is not None or auto_pad != "NOTSET":
        _refuse("it has a ConvTranspose with output_shape or auto_pad")
    padding = _padding(auto_pad, pads, x.ndim - 2)
    settings = {"stride": strides, "padding": padding, "output_padding": output_padding, "dilation": dilations}
    return conv_transpose(x, w, bias, groups=group, **settings)


@operator("MaxPool")
def _max_pool(
    x: Any,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Any = 1,
    pads: Any = None,
    storage_order: int = 0,
    strides: Any = 1,
) -> Any:
    if ceil_mode:
        _refuse("it has a MaxPool with ceil_mode")
    padding = _padding(auto_pad, pads, x.ndim - 2)
    return max_pool(x, kernel_shape, stride=strides, padding=padding, dilation=dilations)


@operator("AveragePool")
def _average_pool(
    x: Any,
    kernel_shape: Any,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Any = None,
    pads: Any = None,
    strides: Any = 1,
) -> Any:
    if ceil_mode or any(n != 1 for n in dilations or ()):
        _refuse("it has an AveragePool with ceil_mode or dilations")
    padding = _padding(auto_pad, pads, x.ndim - 2)
    return avg_pool(x, kernel_shape, stride=strides, padding=padding, count_include_pad=bool(count_include_pad))


@operator("GlobalAveragePool")
def _global_average_pool(x: Any) -> Any:
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("GlobalMaxPool")
def _global_max_pool(x: Any) -> Any:
    return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)


@operator("BatchNormalization")
def _batch_normalization(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Any:
    return batch_norm(x, scale, bias, mean=mean, var=var, eps=epsilon)


@operator("LayerNormalization")
def _layer_normalization(
    x: Any, scale: Any, bias: Any = None, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Any:
    return layer_norm(x, scale, bias, axis=tuple(range(axis % x.ndim, x.ndim)), eps=epsilon)


@operator("InstanceNormalization")
def _instance_normalization(x: Any, scale: Any, bias: Any, epsilon: float = 1e-5) -> Any:
    shape = (-1,) + (1,) * (x.ndim - 2)
    axes = tuple(range(2, x.ndim))
    return layer_norm(x, scale.reshape(shape), bias.reshape(shape), axis=axes, eps=epsilon)
