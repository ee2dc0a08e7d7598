"""Traced: an object in place of an array that notes down what NumPy does to it."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from functools import partial
from typing import Any, Callable, NamedTuple, NoReturn

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..core import Tensor
from ..core.arrays import Axis
from .layouts import Beneath, Order, beneath, inverse, order_of
from .program import EFFECTS, ELEMENTWISE, Instruction, Program, Value, resolved_dtypes

_NUMBERS = (int, float, bool, complex)

Computation = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function, and what it is to be called with."""


class CaptureError(RuntimeError):
    """Something that a compiled step cannot do; the message says what to do instead."""


class Call(NamedTuple):
    """What an instruction does: see :class:`Instruction`."""

    kind: str
    function: Any
    operands: tuple[Any, ...]
    settings: dict[str, Any]

    def computation(self) -> Computation:
        """What gives its result."""
        if self.kind == "reduce":
            return partial(self.function.reduce, **self.settings), self.operands
        return self.function, self.operands


class Recorder:
    """Collects the instructions of a program while a function runs on :class:`Traced` arrays."""

    def __init__(self) -> None:
        self.program = Program([], [])
        self._known: dict[Any, Value] = {}
        self._constants: dict[int, Value] = {}
        self._beneath: dict[Value, tuple[tuple[int, ...], Traced]] = {}
        self._alive: list[object] = []

    def emit(self, call: Call, example: Any, compute: Computation | None = None) -> Traced:
        """Add an instruction, or find the earlier one that computes the same.

        ``example`` is what it gives this time, or, with ``compute``, an array like it whose values mean nothing yet.
        """
        if call.kind in ("call", "fill") and compute is None and (order := order_of(np.asarray(example))) is not None:
            beneath = call._replace(function=Beneath(call.function, order))
            return self._view_of(self.emit(beneath, example.transpose(order)), order)
        if call.kind != "view":
            example = np.array(example, order="C", copy=None)  # as its buffer will be
        return Traced(
            self, self._value(call, example.shape, example.dtype, example.flags.c_contiguous), example, compute
        )

    def defer(self, call: Call, shape: tuple[int, ...], dtype: np.dtype) -> Traced:
        """The same, of which only shape and dtype are known yet. Elementwise ones are done in the order in memory."""
        if call.kind in ELEMENTWISE and (order := _common_order(call.operands, shape)) is not None:
            shape = tuple(shape[axis] for axis in order)
            moved = tuple(self._dense(self.beneath(x, order), shape) for x in call.operands)
            return self._view_of(self.defer(call._replace(operands=moved), shape, dtype), order)
        return Traced(self, self._value(call, shape, dtype), None, call.computation())

    def ufunc(self, ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Traced:
        """A call of an elementwise ufunc with one result, or of matmul."""
        kind, shape = ("matmul", _matmul_shape(*inputs)) if ufunc is np.matmul else ("ufunc", _broadcast_shape(inputs))
        return self.defer(Call(kind, ufunc, inputs, {}), shape, resolved_dtypes(ufunc, inputs)[-1])

    def _value(self, call: Call, shape: tuple[int, ...], dtype: np.dtype, contiguous: bool = True) -> Value:
        """The result of an instruction, which is added unless an earlier one computes the same."""
        kind, function, operands, settings = call
        key: Any = None
        if kind not in EFFECTS:
            key = (kind, function, *[x.value if type(x) is Traced else _hashable(x) for x in operands])
            if settings:
                key = (*key, "settings", *((name, _hashable(value)) for name, value in settings.items()))
        try:
            known = self._known.get(key)
        except TypeError:  # something without a hash, which is not looked up
            known = key = None
        if known is not None:
            return known
        if kind in ELEMENTWISE:
            operands = tuple(map(self._constant, operands))
        plain = tuple([x.value if type(x) is Traced else x for x in operands])
        value = Value("result", shape, dtype, contiguous=contiguous)
        self.program.instructions.append(Instruction(kind, function, plain, settings, value))
        if key is not None:
            self._known[key] = value
        return value

    def _view_of(self, found: Traced, order: tuple[int, ...]) -> Traced:
        """What lies in memory in this order, of which ``found`` is the array in C order."""
        view: Traced = found.transpose(inverse(order))
        self._beneath[view.value] = order, found
        return view

    def beneath(self, x: Any, order: tuple[int, ...]) -> Any:
        """:func:`layouts.beneath`; where it is known, the array itself instead of a view of a view of it."""
        known = self._beneath.get(x.value) if isinstance(x, Traced) else None
        if known is not None and known[0] == order:  # an axis of length 1 may be anywhere in it
            return known[1]
        return beneath(x, order)

    def _dense(self, operand: object, shape: tuple[int, ...]) -> object:
        """An operand of that shape in C order, so that it can be part of a fused group."""
        if not isinstance(operand, Traced) or operand.shape != shape or operand.hollow.flags.c_contiguous:
            return operand
        return self.call(np.ascontiguousarray, (operand,), {}) if order_of(operand.hollow) else operand

    def _constant(self, operand: object) -> object:
        """An array that is not traced, as a Value; one number that is spread over a shape, as that number."""
        if not isinstance(operand, np.ndarray):
            return operand
        if operand.size and operand.ndim and not any(operand.strides):
            self._alive.append(operand)  # so that no other array takes its identity, as the instruction holds a part
            operand = operand[(0,) * operand.ndim + (...,)]
        return self.constant(operand).value

    def constant(self, array: np.ndarray) -> Traced:
        """An array that is not traced: the program reads it where it is."""
        value = self._constants.get(id(array))
        if value is None:
            self._alive.append(array)
            contiguous = array.flags.c_contiguous
            value = Value("constant", array.shape, array.dtype, contiguous=contiguous, array=array)
            self._constants[id(array)] = value
        return Traced(self, value, array)

    def call(self, function: Callable[..., Any], args: Any, settings: dict[str, Any], kind: str = "call") -> Any:
        """Any function of arrays: as a view if its result is one, else as a call that makes an array or fills one."""
        args = tuple(args)
        if any(map(_holds_traced, settings.values())) or any(type(x) is not Traced and _holds_traced(x) for x in args):
            found: list[Traced] = []
            template = _template((args, settings), found)
            function, args, settings, kind = _Rebuilt(function, template), tuple(found), {}, "call"
        compute, examples = None, tuple(map(example_of, args[1:]))
        if function in _MOVING and isinstance(args[0], Traced):
            example = function(args[0].hollow, *examples, **settings)
            if args[0].compute is not None:
                compute = partial(function, **settings), args
        else:
            example = function(*map(example_of, args[:1]), *examples, **settings)
        if isinstance(example, (tuple, list)):
            return self._call_of_several(function, args, settings, example)
        if not isinstance(example, (np.ndarray, np.generic)):
            raise CaptureError(
                f"{function.__name__}: gives {type(example).__name__}, which a compiled function cannot use, as it "
                "would stay the same in every replay; choose with np.where, compute a new array, or do it outside"
            )
        traced = [x for x in args if isinstance(x, Traced)]
        is_view = isinstance(example, np.ndarray) and any(np.may_share_memory(example, x.hollow) for x in traced)
        kind = "view" if is_view and len(traced) == 1 else kind
        return self.emit(Call(kind, function, args, settings), example, compute)

    def _call_of_several(self, function: Callable[..., Any], args: Any, settings: dict[str, Any], example: Any) -> Any:
        parts = []
        for position, part in enumerate(example):
            picked = _Picked(function, position)
            parts.append(self.emit(Call("call", picked, args, settings), np.array(part)))
        return type(example)(parts) if type(example) in (tuple, list) else tuple(parts)


class Traced(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the program that is being recorded.

    Attributes
    ----------
    hollow
        An array of its shape, dtype and layout. Its values are not computed, as most functions do not need them to be
        recorded: a step is recorded without its work, and memory that is never written to costs none.
    compute
        How the values are computed; None: ``hollow`` has them.
    """

    __slots__ = ("_hollow", "compute", "dtype", "recorder", "shape", "value")
    __hash__ = object.__hash__

    def __init__(
        self, recorder: Recorder, value: Value, hollow: np.ndarray | None, compute: Computation | None = None
    ) -> None:
        self.recorder, self.value, self._hollow, self.compute = recorder, value, hollow, compute
        self.shape, self.dtype = value.shape, value.dtype

    @property
    def hollow(self) -> np.ndarray:
        """Made where it is looked at."""
        if self._hollow is None:
            self._hollow = np.empty(self.shape, self.dtype)
        return self._hollow

    @property
    def example(self) -> np.ndarray:
        """What it is this time."""
        waiting = [self]
        while waiting:  # not by recursion: some functions are thousands of instructions long
            traced = waiting[-1]
            function, operands = traced.compute or (None, ())
            needed = [x for x in operands if isinstance(x, Traced) and x.compute is not None]
            waiting += needed
            if not needed:
                if function is not None:
                    values = (x.hollow if isinstance(x, Traced) else x for x in operands)
                    traced._hollow, traced.compute = np.asarray(function(*values)), None
                waiting.pop()
        return self.hollow

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: self.value.size)
    nbytes = property(lambda self: self.value.nbytes)
    T = property(lambda self: self.transpose())
    base = property(lambda self: None if self.value.root is self.value else self.value.root)

    def __repr__(self) -> str:
        return f"<an array under capture: {self.dtype} of shape {self.shape}>"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # What NumPy does

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        for x in inputs:
            if isinstance(x, Tensor):
                return NotImplemented  # the Tensor's turn
        if settings.get("out") is not None or method == "at":
            raise CaptureError(
                f"np.{ufunc.__name__}: writing into an array is not captured; compute a new one, as in "
                "x = x + y, and assign it: tensor.data = tensor.data - step"
            )
        if method == "reduce":
            return self._reduced(ufunc, *inputs, **settings)
        if method != "__call__":
            return self.recorder.call(getattr(ufunc, method), inputs, settings)
        if settings or ufunc.nout > 1 or (ufunc.signature is not None and ufunc is not np.matmul):
            return self.recorder.call(ufunc, inputs, settings)
        return self.recorder.ufunc(ufunc, inputs)

    def _reduced(self, ufunc: np.ufunc, x: Any, axis: Any = 0, keepdims: bool = False, **settings: Any) -> Any:
        if any(value is not None for value in settings.values()):
            return self.recorder.call(ufunc.reduce, (x,), {"axis": axis, "keepdims": keepdims, **settings})
        if (order := order_of(x.hollow)) is not None and x.size:
            return self._reduced_in_order(ufunc, x, axis, keepdims, order)
        if axis is not None:  # one way of writing it, so that common work is found
            axes = normalize_axis_tuple(axis, x.ndim)
            axis = axes[0] if len(axes) == 1 else axes
        call = Call("reduce", ufunc, (x,), {"axis": axis})
        if x.size == 0:  # NumPy says where that is an error
            reduced = self.recorder.emit(call, ufunc.reduce(x.hollow, axis=axis))
        else:
            dtype = ufunc.reduce(np.zeros((1,) * x.ndim, x.dtype), axis=axis).dtype
            reduced = self.recorder.defer(call, _reduced_shape(x.shape, axis), dtype)
        return reduced.reshape(_reduced_shape(x.shape, axis, keepdims=True)) if keepdims else reduced

    def _reduced_in_order(self, ufunc: np.ufunc, x: Any, axis: Any, keepdims: bool, order: tuple[int, ...]) -> Any:
        """The same of the array beneath, where the axes have other places."""
        axes = range(x.ndim) if axis is None else normalize_axis_tuple(axis, x.ndim)
        reduced = self._reduced(ufunc, self.recorder.beneath(x, order), tuple(sorted(map(order.index, axes))))
        left = [axis for axis in order if axis not in axes]
        if left != sorted(left):
            reduced = reduced.transpose(tuple(map(left.index, sorted(left))))
        return reduced.reshape(_reduced_shape(x.shape, tuple(axes), keepdims=True)) if keepdims else reduced

    def __array_function__(self, function: Any, types: Any, args: Any, settings: Any) -> Any:
        if any(issubclass(kind, Tensor) for kind in types):
            return NotImplemented
        if function is np.where and len(args) == 3 and not settings:
            if args[0].dtype.kind != "b" if hasattr(args[0], "dtype") else False:
                args = (args[0] != 0, *args[1:])
            choices = (
                x if type(x) in _NUMBERS else np.asarray(x).dtype if not isinstance(x, Traced) else x.dtype
                for x in args[1:]
            )
            call = Call("select", np.where, tuple(map(_as_array, args)), {})
            return self.recorder.defer(call, _broadcast_shape(args), np.result_type(*choices))
        if function is np.asarray:  # with like=
            return args[0] if isinstance(args[0], Traced) else self.recorder.constant(np.asarray(args[0]))
        if function in _METHODS and isinstance(args[0], Traced):
            return getattr(args[0], _METHODS[function])(*args[1:], **settings)
        if function in _OF_SHAPE and not any(map(_holds_traced, (*args[1:], *settings.values()))):
            return function(*_template((args, settings), [], hollow=True)[0], **settings)
        _refuse_out(function.__name__, settings.get("out"))
        return self.recorder.call(function, args, settings)

    def __pow__(self, exponent: Any) -> Any:
        quick = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}  # as arrays do
        if type(exponent) in (int, float) and exponent in quick and self.dtype.kind in "fc":
            return quick[exponent](self)
        return np.power(self, exponent)

    def __getitem__(self, index: object) -> Any:
        return self.recorder.call(operator.getitem, (self, index), {})

    # The methods that arrays have

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        """``ndarray.sum``."""
        return np.add.reduce(self, axis=axis, keepdims=keepdims, dtype=dtype, out=out, **more)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        """``ndarray.mean``: for the usual dtypes the sum divided by the number, which is how NumPy does it."""
        _refuse_out("mean", out)
        if more or dtype is not None or self.dtype not in (np.float32, np.float64):
            settings = {"axis": axis, "dtype": dtype, "keepdims": keepdims, **more}
            return self.recorder.call(np.ndarray.mean, (self,), settings)
        total = self.sum(axis=axis, keepdims=keepdims)
        return total / (self.size // max(total.size, 1))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """``ndarray.astype``; always in C order."""
        dtype = np.dtype(dtype)
        if dtype == self.dtype:
            return self
        return self.recorder.defer(Call("cast", np.ndarray.astype, (self, dtype), {}), self.shape, dtype)

    def copy(self) -> Traced:
        """Itself: arrays under capture do not change."""
        return self

    def ravel(self) -> Any:
        """``ndarray.ravel``."""
        return self.reshape(-1)

    # What a program has no place for

    def _refuse(self, what: str, remedy: str) -> CaptureError:
        return CaptureError(f"{what}: a compiled function cannot read values, as it runs on {self!r}; {remedy}")

    def __bool__(self) -> NoReturn:
        raise self._refuse("if, and, or, while", "choose with np.where, or decide outside the compiled function")

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise self._refuse(
            "np.asarray",
            "use NumPy's functions on it as it is, index a Tensor with it (tensorgrad.Tensor(table)[labels]), or "
            "return it and convert it outside",
        )

    def __float__(self) -> NoReturn:
        raise self._refuse("float", "return it and convert it outside")

    def __int__(self) -> NoReturn:
        raise self._refuse("int", "return it and convert it outside")

    def __index__(self) -> NoReturn:
        raise self._refuse("index", "index with the array itself: x[i] works with an array i")

    def item(self, *args: object) -> NoReturn:
        """Refused."""
        raise self._refuse("item", "return the tensor and call .item() outside")

    def tolist(self) -> NoReturn:
        """Refused."""
        raise self._refuse("tolist", "return the array and call .tolist() outside")

    def __setitem__(self, index: object, value: object) -> NoReturn:
        raise CaptureError(
            "assignment: writing into an array is not captured; choose with np.where instead "
            "(the forward function of an op may write where it is declared with opaque=True)"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(np.ndarray, name):
            raise AttributeError(name)
        raise CaptureError(f"array.{name} is not captured; use np.{name} or another of NumPy's functions")


def _array_method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: Traced, *args: Any, **settings: Any) -> Any:
        return self.recorder.call(function, (self, *args), settings)

    method.__name__, method.__doc__ = name, f"``ndarray.{name}``."
    return method


for _name in (
    *("reshape", "transpose", "swapaxes", "squeeze", "var", "std", "prod", "argmax", "argmin", "argsort", "clip"),
    *("cumsum", "cumprod", "repeat", "take", "trace", "diagonal", "dot", "round", "flatten", "view", "ptp", "nonzero"),
):
    if hasattr(np.ndarray, _name):
        setattr(Traced, _name, _array_method(_name))


def _reduction(name: str, ufunc: np.ufunc) -> Callable[..., Any]:
    def method(self: Traced, axis: Any = None, out: Any = None, keepdims: bool = False, **more: Any) -> Any:
        return ufunc.reduce(self, axis=axis, keepdims=keepdims, out=out, **more)

    method.__name__, method.__doc__ = name, f"``ndarray.{name}``."
    return method


_REDUCTIONS: dict[str, np.ufunc] = {
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}
for _name in _REDUCTIONS:
    setattr(Traced, _name, _reduction(_name, _REDUCTIONS[_name]))


def _operator(name: str, ufunc: Any) -> Callable[..., Any]:
    """``self + other`` and the like: to get there by way of NumPy takes it microseconds for a Python number."""
    usual, is_reflected = getattr(np.lib.mixins.NDArrayOperatorsMixin, name), name.startswith("__r")

    def operator(self: Traced, other: Any) -> Any:
        if type(other) is Traced or type(other) in _NUMBERS or isinstance(other, np.generic):
            return self.recorder.ufunc(ufunc, (other, self) if is_reflected else (self, other))
        return usual(self, other)

    return operator


for _name, _ufunc in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide}.items():
    setattr(Traced, f"__{_name}__", _operator(f"__{_name}__", _ufunc))
    setattr(Traced, f"__r{_name}__", _operator(f"__r{_name}__", _ufunc))

_METHODS: dict[Any, str] = {
    getattr(np, name): name for name in ("sum", "max", "min", "any", "all", "mean", "copy", "ravel", "astype")
}
_OF_SHAPE = (
    np.shape,
    np.ndim,
    np.size,
    np.zeros_like,
    np.ones_like,
    np.full_like,
    np.empty_like,
    np.result_type,
    np.isrealobj,
)


_MOVING = (
    *(np.ndarray.reshape, np.ndarray.transpose, np.ndarray.swapaxes, np.ndarray.squeeze, operator.getitem),
    *(np.broadcast_to, np.expand_dims, np.transpose, np.swapaxes, np.squeeze, np.reshape, np.moveaxis, np.flip),
    *(np.ndarray.take, np.take),
)
"""Functions for whose result the values of the first argument do not matter: they move elements only."""


def example_of(x: object) -> Any:
    """What an operand is this time."""
    return x.example if isinstance(x, Traced) else x


def _common_order(operands: tuple[Any, ...], shape: tuple[int, ...]) -> Order:
    """The order in memory of the first operand of that shape that does not lie in C order; None where there is none."""
    for operand in operands:
        is_moved = type(operand) is Traced and not operand.value.contiguous and operand.shape == shape
        if is_moved and (order := order_of(operand.hollow)) is not None:
            return order
    return None


def _broadcast_shape(operands: tuple[Any, ...]) -> tuple[int, ...]:
    shapes = {x.shape if type(x) is Traced else np.shape(x) for x in operands if type(x) not in _NUMBERS}
    shapes.discard(())
    return np.broadcast_shapes(*shapes) if len(shapes) != 1 else shapes.pop()


def _matmul_shape(x: Any, y: Any) -> tuple[int, ...]:
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2 if y.ndim > 1 else -1]:
        raise ValueError(f"matmul: shapes {x.shape} and {y.shape} do not fit together")
    rows, columns = x.shape[-2:-1], y.shape[-1:] if y.ndim > 1 else ()
    return (*np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), *rows, *columns)


def _reduced_shape(shape: tuple[int, ...], axis: Axis, keepdims: bool = False) -> tuple[int, ...]:
    axes = range(len(shape)) if axis is None else normalize_axis_tuple(axis, len(shape))
    if keepdims:
        return tuple(1 if a in axes else length for a, length in enumerate(shape))
    return tuple(length for a, length in enumerate(shape) if a not in axes)


def _refuse_out(name: str, out: object) -> None:
    if out is not None:
        raise CaptureError(f"np.{name}: out= is not captured; use the result that it returns")


def _as_array(operand: object) -> Any:
    return operand if isinstance(operand, Traced) or type(operand) in _NUMBERS else np.asarray(operand)


def _holds_traced(x: object) -> bool:
    if isinstance(x, (list, tuple)):
        return any(map(_holds_traced, x))
    return isinstance(x, Traced)


class _Slot:
    """The place of an operand inside nested arguments."""

    def __init__(self, position: int) -> None:
        self.position = position


def _template(tree: object, found: list[Traced], hollow: bool = False) -> Any:
    """Nested arguments with a slot (or the hollow array) in the place of everything traced."""
    if isinstance(tree, Traced):
        found.append(tree)
        return tree.hollow if hollow else _Slot(len(found) - 1)
    if isinstance(tree, (list, tuple)):
        return type(tree)(_template(item, found, hollow) for item in tree)
    if isinstance(tree, dict):
        return {name: _template(item, found, hollow) for name, item in tree.items()}
    return tree


class _Rebuilt:
    """A function of nested arguments as one of its arrays alone."""

    def __init__(self, function: Callable[..., Any], template: Any) -> None:
        self.function, self.template, self.__name__ = function, template, function.__name__

    def __call__(self, *arrays: Any) -> Any:
        def fill(tree: object) -> Any:
            if isinstance(tree, _Slot):
                return arrays[tree.position]
            if isinstance(tree, (list, tuple)):
                return type(tree)(map(fill, tree))
            return {name: fill(item) for name, item in tree.items()} if isinstance(tree, dict) else tree

        args, settings = fill(self.template)
        return self.function(*args, **settings)


class _Picked:
    """One of the results of a function that has several."""

    def __init__(self, function: Callable[..., Any], position: int) -> None:
        self.function, self.position, self.__name__ = function, position, f"{function.__name__}[{position}]"

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self.function(*args, **settings)[self.position]


def _hashable(x: object) -> object:
    """Equal for operands that are the same: signs of zeros, dtypes, and which array it is count."""
    if type(x) is float:
        return float, x.hex()
    if isinstance(x, np.ndarray):
        return "array", id(x)
    if isinstance(x, np.generic):
        return "number", x.dtype.str, x.tobytes()
    if isinstance(x, slice):
        return ("slice", *map(_hashable, (x.start, x.stop, x.step)))
    if isinstance(x, tuple):
        return ("tuple", *map(_hashable, x))
    return type(x), x
