"""For each op that can be exported, the operators of ONNX that compute it."""

from __future__ import annotations

import math
from typing import Any, Callable, Protocol

import numpy as np

from .recording import Batch, ExportError, Length, Step, Value

END = np.iinfo(np.int64).max


class Call(Protocol):
    """A step that is being written."""

    step: Step

    def operand(self, i: int, dtype: Any = None) -> str:
        """The name of an operand, in a dtype or its own."""

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """The name of what an operator gives."""

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """The name of a constant."""

    def cast(self, name: str, dtype: Any) -> str:
        """The name of a value in another dtype."""

    def shape(self, lengths: tuple[Length, ...]) -> str:
        """The name of a shape, of which parts may depend on the batch."""

    def value(self, value: Value) -> str:
        """The name of a value."""


Rule = Callable[[Call], str]
RULES: dict[str, Rule] = {}
"""By the name of the op, or of the fused pattern."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register what exports the ops of these names."""

    def register(function: Rule) -> Rule:
        for name in names:
            RULES[name] = function
        return function

    return register


# Elementwise

_ONE_OPERATOR = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "float_power": "Pow",
    "maximum": "Max",
    "minimum": "Min",
    "negative": "Neg",
    "positive": "Identity",
    "absolute": "Abs",
    "fabs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "reciprocal": "Reciprocal",
    "sign": "Sign",
    "floor": "Floor",
    "ceil": "Ceil",
    "rint": "Round",
    "sin": "Sin",
    "cos": "Cos",
    "tan": "Tan",
    "arcsin": "Asin",
    "arccos": "Acos",
    "arctan": "Atan",
    "sinh": "Sinh",
    "cosh": "Cosh",
    "tanh": "Tanh",
    "arcsinh": "Asinh",
    "arccosh": "Acosh",
    "arctanh": "Atanh",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "matmul": "MatMul",
    "concatenate": "Concat",
}
"""Operators whose operands and result are of one dtype."""

_COMPARISONS = {
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "logical_not": "Not"}


def _all(c: Call, dtype: object) -> list[str]:
    return [c.operand(i, dtype) for i in range(len(c.step.operands))]


def _out(c: Call) -> np.dtype:
    return c.step.result.dtype


def _in_common(c: Call) -> np.dtype:
    """The dtype in which NumPy computes with the operands; Python's numbers give way."""
    operands = [x.dtype if isinstance(x, Value) else x for x in c.step.operands]
    return np.result_type(*operands)


@rule(*_ONE_OPERATOR)
def _one_operator(c: Call) -> str:
    settings = {"axis": c.step.settings["axis"]} if c.step.op == "concatenate" else {}
    return c.node(_ONE_OPERATOR[c.step.op], *_all(c, _out(c)), **settings)


@rule(*_COMPARISONS)
def _comparison(c: Call) -> str:
    return c.node(_COMPARISONS[c.step.op], *_all(c, _in_common(c)))


@rule("not_equal")
def _not_equal(c: Call) -> str:
    return c.node("Not", c.node("Equal", *_all(c, _in_common(c))))


@rule(*_LOGIC)
def _logic(c: Call) -> str:
    return c.node(_LOGIC[c.step.op], *_all(c, bool))


@rule("bitwise_and", "bitwise_or", "bitwise_xor", "invert")
def _bits(c: Call) -> str:
    if _out(c).kind != "b":
        raise ExportError(f"export: {c.step.op} can be exported for booleans only, got {_out(c)}")
    logic = "logical_not" if c.step.op == "invert" else f"logical_{c.step.op[len('bitwise_') :]}"
    return c.node(_LOGIC[logic], *_all(c, bool))


@rule("isnan", "isinf", "isfinite")
def _test(c: Call) -> str:
    x = c.operand(0)
    if c.step.op != "isfinite":
        return c.node("IsNaN" if c.step.op == "isnan" else "IsInf", x)
    return c.node("Not", c.node("Or", c.node("IsNaN", x), c.node("IsInf", x)))


@rule("where")
def _where(c: Call) -> str:
    return c.node("Where", c.operand(0, bool), c.operand(1, _out(c)), c.operand(2, _out(c)))


@rule("clip")
def _clip(c: Call) -> str:
    x, low, high = _all(c, _out(c))
    return c.node("Min", c.node("Max", x, low), high)


@rule("square")
def _square(c: Call) -> str:
    x = c.operand(0, _out(c))
    return c.node("Mul", x, x)


def _number(c: Call, value: float) -> str:
    return c.constant(value, _out(c))


@rule("exp2", "expm1", "log1p", "log2", "log10")
def _exponential(c: Call) -> str:
    x, op = c.operand(0, _out(c)), c.step.op
    if op == "exp2":
        return c.node("Pow", _number(c, 2), x)
    if op == "expm1":
        return c.node("Sub", c.node("Exp", x), _number(c, 1))
    if op == "log1p":
        return c.node("Log", c.node("Add", x, _number(c, 1)))
    return c.node("Div", c.node("Log", x), _number(c, math.log(2 if op == "log2" else 10)))


@rule("leaky_relu", "elu")
def _with_slope(c: Call) -> str:
    if c.step.op == "elu":
        return c.node("Elu", c.operand(0, _out(c)), alpha=float(c.step.settings["alpha"]))
    return c.node("LeakyRelu", c.operand(0, _out(c)), alpha=float(c.step.settings["negative_slope"]))


@rule("gated")
def _gated(c: Call) -> str:
    return c.node("Mul", *_all(c, _out(c)))


@rule("normal_cdf")
def _normal_cdf(c: Call) -> str:
    error = c.node("Erf", c.node("Mul", c.operand(0, _out(c)), _number(c, math.sqrt(0.5))))
    return c.node("Mul", c.node("Add", error, _number(c, 1)), _number(c, 0.5))


@rule("remainder", "floor_divide")
def _divided(c: Call) -> str:
    if _out(c).kind != "f":
        raise ExportError(f"export: {c.step.op} of integers cannot be exported; convert them to floats with astype")
    x, y = _all(c, _out(c))
    whole = c.node("Floor", c.node("Div", x, y))
    return whole if c.step.op == "floor_divide" else c.node("Sub", x, c.node("Mul", whole, y))


@rule("round")
def _round(c: Call) -> str:
    if c.step.settings["decimals"] != 0:
        raise ExportError("export: round to decimals cannot be exported; round x * 10**decimals and divide again")
    return c.node("Round", c.operand(0))


@rule("astype")
def _astype(c: Call) -> str:
    return c.cast(c.operand(0), _out(c))


# Along axes


def _axes(c: Call, axis: object) -> list[int]:
    """The axes of the first operand that are meant, as integers from 0 on."""
    ndim = len(c.step.operands[0].shape)
    if axis is None:
        return list(range(ndim))
    return [a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]


def _reduced(c: Call, operator: str, x: str, keepdims: bool | None = None) -> str:
    settings = c.step.settings
    axes = _axes(c, settings["axis"])
    keep = settings["keepdims"] if keepdims is None else keepdims
    return c.node(operator, x, c.constant(axes), keepdims=int(keep)) if axes else c.node("Identity", x)


_REDUCTIONS = {
    "sum": "ReduceSum",
    "mean": "ReduceMean",
    "prod": "ReduceProd",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "logsumexp": "ReduceLogSumExp",
}


@rule(*_REDUCTIONS)
def _reduction(c: Call) -> str:
    return _reduced(c, _REDUCTIONS[c.step.op], c.operand(0, _out(c)))


@rule("var", "std")
def _variance(c: Call) -> str:
    x, settings = c.operand(0, _out(c)), c.step.settings
    centred = c.node("Sub", x, _reduced(c, "ReduceMean", x, keepdims=True))
    variance = _reduced(c, "ReduceMean", c.node("Mul", centred, centred))
    if ddof := settings["ddof"]:
        lengths = [c.step.operands[0].shape[axis] for axis in _axes(c, settings["axis"])]
        if any(isinstance(length, Batch) for length in lengths):
            raise ExportError(
                f"export: {c.step.op} with ddof={ddof} over the batch cannot be exported; leave out ddof, or take the "
                "variance over other axes"
            )
        count = math.prod(lengths)
        variance = c.node("Mul", variance, _number(c, count / (count - ddof)))
    return variance if c.step.op == "var" else c.node("Sqrt", variance)


@rule("any", "all")
def _truth(c: Call) -> str:
    number = c.cast(c.operand(0, bool), np.int32)
    return c.cast(_reduced(c, "ReduceMax" if c.step.op == "any" else "ReduceMin", number), bool)


@rule("argmax", "argmin")
def _position(c: Call) -> str:
    x, axis, keep = c.operand(0), c.step.settings["axis"], int(c.step.settings["keepdims"])
    if axis is None:
        if keep:
            raise ExportError(f"export: {c.step.op} with axis=None and keepdims cannot be exported; leave out keepdims")
        x, axis = c.node("Reshape", x, c.constant([-1])), 0
    return c.node("ArgMax" if c.step.op == "argmax" else "ArgMin", x, axis=axis, keepdims=keep)


@rule("norm")
def _norm(c: Call) -> str:
    if c.step.settings["order"] != 2:
        raise ExportError("export: only norms of order 1, 2 and infinity can be exported; write the sum of powers")
    return _reduced(c, "ReduceL2", c.operand(0, _out(c)))


@rule("squared_norm")
def _squared_norm(c: Call) -> str:
    return c.node("Mul", c.node("ReduceSumSquare", c.operand(0), keepdims=0), c.operand(1, _out(c)))


@rule("cumsum")
def _cumsum(c: Call) -> str:
    x, axis = c.operand(0, _out(c)), c.step.settings["axis"]
    if axis is None:
        x, axis = c.node("Reshape", x, c.constant([-1])), 0
    return c.node("CumSum", x, c.constant(axis))


@rule("softmax", "log_softmax")
def _softmax(c: Call) -> str:
    operator = "Softmax" if c.step.op == "softmax" else "LogSoftmax"
    return c.node(operator, c.operand(0, _out(c)), axis=c.step.settings["axis"])


@rule("standardise")
def _standardise(c: Call) -> str:
    x, axes = c.operand(0), c.constant(_axes(c, c.step.settings["axis"]))
    centred = c.node("Sub", x, c.node("ReduceMean", x, axes, keepdims=1))
    variance = c.node("ReduceMean", c.node("Mul", centred, centred), axes, keepdims=1)
    return c.node("Div", centred, c.node("Sqrt", c.node("Add", variance, _number(c, c.step.settings["eps"]))))


# Shapes


@rule("reshape")
def _reshape(c: Call) -> str:
    lengths = c.step.result.shape
    varying = [i for i, length in enumerate(lengths) if isinstance(length, Batch)]
    if len(varying) == 1:
        return c.node("Reshape", c.operand(0), c.constant([-1 if i in varying else n for i, n in enumerate(lengths)]))
    return c.node("Reshape", c.operand(0), c.shape(lengths))


@rule("broadcast_to")
def _broadcast_to(c: Call) -> str:
    return c.node("Expand", c.operand(0), c.shape(c.step.result.shape))


@rule("transpose")
def _transpose(c: Call) -> str:
    axes = c.step.settings["axes"]
    order = list(range(len(c.step.result.shape)))
    return c.node("Transpose", c.operand(0), perm=order[::-1] if axes is None else _axes(c, axes))


@rule("swapaxes")
def _swapaxes(c: Call) -> str:
    order = list(range(len(c.step.result.shape)))
    one, other = _axes(c, (c.step.settings["axis1"], c.step.settings["axis2"]))
    order[one], order[other] = other, one
    return c.node("Transpose", c.operand(0), perm=order)


@rule("squeeze")
def _squeeze(c: Call) -> str:
    axis = c.step.settings["axis"]
    axes = [i for i, n in enumerate(c.step.operands[0].shape) if n == 1] if axis is None else _axes(c, axis)
    if any(isinstance(c.step.operands[0].shape[a], Batch) for a in axes):
        raise ExportError("export: squeeze of the batch cannot be exported, as it may have any size; reshape instead")
    return c.node("Squeeze", c.operand(0), c.constant(axes)) if axes else c.node("Identity", c.operand(0))


@rule("expand_dims")
def _expand_dims(c: Call) -> str:
    axis = c.step.settings["axis"]
    axes = [a % len(c.step.result.shape) for a in (axis if isinstance(axis, (tuple, list)) else (axis,))]
    return c.node("Unsqueeze", c.operand(0), c.constant(axes))


def _sliced(c: Call, x: str, parts: list[tuple[int, Any, Any, int]]) -> str:
    """``x`` with a slice (axis, start, stop, step) along some axes."""
    if not parts:
        return x
    axes, starts, stops, steps = zip(*parts)
    return c.node("Slice", x, c.constant(starts), c.constant(stops), c.constant(axes), c.constant(steps))


@rule("flip")
def _flip(c: Call) -> str:
    return _sliced(c, c.operand(0), [(axis, -1, -END, -1) for axis in _axes(c, c.step.settings["axis"])])


@rule("pad")
def _pad(c: Call) -> str:
    settings = c.step.settings
    mode, options = settings["mode"], dict(settings["options"])
    value = options.pop("constant_values", 0)
    if mode not in ("constant", "edge", "reflect") or options or np.ndim(value):
        raise ExportError(
            f"export: pad with mode={mode!r} and these options cannot be exported; those of one constant, 'edge' and "
            "'reflect' can"
        )
    before, after = zip(*settings["pad_width"])
    fill = [_number(c, value)] if mode == "constant" else []
    return c.node("Pad", c.operand(0), c.constant([*before, *after]), *fill, mode=mode)


@rule("repeat")
def _repeat(c: Call) -> str:
    """A new axis after the one that is repeated, and both made one."""
    repeats, axis = c.step.settings["repeats"], _axes(c, c.step.settings["axis"])[0]
    shape = c.step.operands[0].shape
    if not isinstance(repeats, int) or any(isinstance(length, Batch) for length in shape[1:]):
        raise ExportError("export: repeat can be exported with one number of repetitions only; use x[indices] instead")
    apart = (*shape[: axis + 1], repeats, *shape[axis + 1 :])
    expanded = c.node("Expand", c.node("Unsqueeze", c.operand(0), c.constant([axis + 1])), c.shape(apart))
    return c.node("Reshape", expanded, c.shape(c.step.result.shape))


# Elements chosen by index


@rule("getitem")
def _getitem(c: Call) -> str:
    """Slices first, then an array of integers, then what removes and adds axes."""
    index = c.step.settings["index"]
    parts = list(index) if isinstance(index, tuple) else [index]
    shape = c.step.operands[0].shape
    used = sum(part is not None and part is not Ellipsis for part in parts)
    if Ellipsis not in [part for part in parts if part is Ellipsis]:
        parts.append(Ellipsis)
    at = next(i for i, part in enumerate(parts) if part is Ellipsis)
    parts[at : at + 1] = [slice(None)] * (len(shape) - used)
    slices, gathered, removed, added = _sorted_by_kind(parts, shape)
    if len(gathered) > 1 or (gathered and (removed or added)):
        raise ExportError(
            "export: an index of several arrays, or of an array and integers, cannot be exported; take one after the "
            "other, as in x[:, 0][rows]"
        )
    x = _sliced(c, c.operand(0), slices)
    for axis, which in gathered:
        name = c.value(which) if isinstance(which, Value) else c.constant(which)
        x = c.node("Gather", x, c.cast(name, np.int64), axis=axis)
    if removed:
        x = c.node("Squeeze", x, c.constant(removed))
    return c.node("Unsqueeze", x, c.constant(added)) if added else x


def _sorted_by_kind(parts: list[Any], shape: tuple[Length, ...]) -> tuple[list[Any], list[Any], list[int], list[int]]:
    """Slices, arrays with their axes, the axes that integers remove, and where new ones are in the result."""
    slices: list[Any] = []
    gathered: list[Any] = []
    removed: list[int] = []
    added: list[int] = []
    axis = place = 0
    for part in parts:
        if part is None:
            added.append(place)
            place += 1
            continue
        if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
            slices.append((axis, int(part), int(part) + 1 if part != -1 else END, 1))
            removed.append(axis)
        elif isinstance(part, slice):
            if part != slice(None):
                slices.append((axis, *_ends(part, shape[axis])))
            place += 1
        else:
            array = part if isinstance(part, Value) else np.asarray(part)
            if array.dtype.kind not in "iu":
                raise ExportError(
                    "export: a boolean index cannot be exported, as the shape of its result depends on "
                    "values; use np.where to choose by element"
                )
            gathered.append((axis, array))
            place += len(array.shape)
        axis += 1
    return slices, gathered, removed, added


def _ends(part: slice, length: Length) -> tuple[int, int, int]:
    """Start, stop and step of a slice as ONNX has them: the end of the batch is that of any batch."""
    step = 1 if part.step is None else part.step
    start = (END if step < 0 else 0) if part.start is None else part.start
    stop = (-END if step < 0 else END) if part.stop is None else part.stop
    if isinstance(stop, Batch) and stop == length:
        stop = END
    if any(isinstance(end, Batch) for end in (start, stop, step)):
        raise ExportError(
            "export: a slice whose ends depend on the size of the batch cannot be exported; count from the end, as in "
            "x[:-1]"
        )
    return start, stop, step


@rule("take_along_axis")
def _take_along_axis(c: Call) -> str:
    x, indices = c.step.operands
    axis = _axes(c, c.step.settings["axis"])[0]
    if any(a != b for i, (a, b) in enumerate(zip(x.shape, indices.shape)) if i != axis):
        raise ExportError("export: take_along_axis can be exported for indices of the array's shape along other axes")
    return c.node("GatherElements", c.operand(0), c.operand(1, np.int64), axis=axis)


@rule("einsum")
def _einsum(c: Call) -> str:
    return c.node("Einsum", *_all(c, _out(c)), equation=c.step.settings["subscripts"])


# Layers


@rule("affine", "dense")
def _affine(c: Call) -> str:
    x, weight, bias = _all(c, _out(c))
    if len(c.step.operands[0].shape) == 2 and len(c.step.operands[2].shape) <= 2:
        return c.node("Gemm", x, weight, bias)
    return c.node("Add", c.node("MatMul", x, weight), bias)


@rule("batch_norm")
def _batch_norm(c: Call) -> str:
    return c.node("BatchNormalization", *_all(c, _out(c)), epsilon=c.step.settings["eps"])


@rule("layer_norm")
def _layer_norm(c: Call) -> str:
    axis = min(_axes(c, c.step.settings["axis"]))
    return c.node("LayerNormalization", *_all(c, _out(c)), axis=axis, epsilon=c.step.settings["eps"])


def _windows(c: Call, kernel: tuple[int, ...]) -> dict[str, Any]:
    settings = c.step.settings
    low, high = zip(*settings["padding"])
    found = {"kernel_shape": kernel, "strides": settings["stride"], "pads": (*low, *high)}
    return {**found, "dilations": settings["dilation"]} if "dilation" in settings else found


@rule("conv", "biased_conv")
def _conv(c: Call) -> str:
    attributes = _windows(c, c.step.operands[1].shape[2:])
    return c.node("Conv", *_all(c, _out(c)), group=c.step.settings["groups"], **attributes)


@rule("conv_transpose", "biased_conv_transpose")
def _conv_transpose(c: Call) -> str:
    x, weight = (operand.shape[2:] for operand in c.step.operands[:2])
    settings, attributes = c.step.settings, _windows(c, weight)
    extra = [
        wanted - ((n - 1) * step - low - high + d * (k - 1) + 1)
        for wanted, n, step, (low, high), d, k in zip(
            settings["spatial"], x, settings["stride"], settings["padding"], settings["dilation"], weight
        )
    ]
    groups = settings["groups"]
    return c.node("ConvTranspose", *_all(c, _out(c)), group=groups, output_padding=extra, **attributes)


@rule("rnn_tanh", "rnn_relu", "lstm", "gru")
def _recurrent(c: Call) -> str:
    """One step after the other: the op has projected the inputs already, which ONNX's own operators do themselves."""
    projected, mask = c.step.operands[0], c.step.operands[3]
    if isinstance(projected.shape[0], Batch):
        raise ExportError(f"export: {c.step.op} over the batch cannot be exported; its first axis must be the examples")
    x, weight, bias = (c.operand(i) for i in range(3))
    states = [c.operand(i) for i in range(4, len(c.step.operands))]
    only_some = mask.kind != "constant" or not mask.array.all()
    found: list[list[str]] = [[] for _ in states]
    for t in range(projected.shape[0]):
        recurrent = c.node("Gemm", states[0], weight, bias)
        after = _RECURRENT_STEPS[c.step.op](c, c.node("Gather", x, c.constant(t), axis=0), recurrent, states)
        if only_some:
            inside = c.node("Unsqueeze", c.node("Gather", c.operand(3), c.constant(t), axis=0), c.constant([1]))
            after = [c.node("Where", inside, new, old) for new, old in zip(after, states)]
        states = after
        for each, state in zip(found, states):
            each.append(c.node("Unsqueeze", state, c.constant([0, 1])))
    return c.node("Concat", *(c.node("Concat", *each, axis=1) for each in found), axis=0)


def _gates(c: Call, x: str, count: int) -> list[str]:
    """Equal parts of the last axis."""
    size: Any = c.step.result.shape[-1]
    return [_sliced(c, x, [(1, i * size, (i + 1) * size, 1)]) for i in range(count)]


def _plain_step(c: Call, projected: str, recurrent: str, states: list[str]) -> list[str]:
    return [c.node("Tanh" if c.step.op == "rnn_tanh" else "Relu", c.node("Add", projected, recurrent))]


def _lstm_step(c: Call, projected: str, recurrent: str, states: list[str]) -> list[str]:
    i, f, g, o = _gates(c, c.node("Add", projected, recurrent), 4)
    kept = c.node("Mul", c.node("Sigmoid", f), states[1])
    cells = c.node("Add", kept, c.node("Mul", c.node("Sigmoid", i), c.node("Tanh", g)))
    return [c.node("Mul", c.node("Sigmoid", o), c.node("Tanh", cells)), cells]


def _gru_step(c: Call, projected: str, recurrent: str, states: list[str]) -> list[str]:
    (p_r, p_z, p_n), (a_r, a_z, a_n) = _gates(c, projected, 3), _gates(c, recurrent, 3)
    r, z = c.node("Sigmoid", c.node("Add", p_r, a_r)), c.node("Sigmoid", c.node("Add", p_z, a_z))
    n = c.node("Tanh", c.node("Add", p_n, c.node("Mul", r, a_n)))
    return [c.node("Add", n, c.node("Mul", z, c.node("Sub", states[0], n)))]


_RECURRENT_STEPS = {"rnn_tanh": _plain_step, "rnn_relu": _plain_step, "lstm": _lstm_step, "gru": _gru_step}


@rule("max_pool", "avg_pool")
def _pool(c: Call) -> str:
    attributes = _windows(c, c.step.settings["kernel"])
    if c.step.op == "max_pool":
        return c.node("MaxPool", c.operand(0), **attributes)
    return c.node(
        "AveragePool", c.operand(0), count_include_pad=int(c.step.settings["count_include_pad"]), **attributes
    )
