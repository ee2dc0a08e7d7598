"""Names: of ops as their users write them, of values as modules and users call them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._text import printable
from ..core import NUMPY, Op, Tensor
from ..core.node import Node
from ..core.registry import numpy_name
from ..core.tensor import history
from . import summaries

SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "matmul": "@",
    "power": "**",
    "floor_divide": "//",
    "remainder": "%",
}
"""The operators that stand for ops of two operands."""

_SIGNS = {"affine": "x @ w + b", "getitem": "[...]", "setitem": "[...] ="}

LONGEST = 60
"""Characters of a name or a setting."""


def op_name(op: Op) -> str:
    """The name by which a user calls an op: an operator, a function of NumPy, or the name that it was declared with.

    >>> import tensorgrad as tg
    >>> [op_name(tg.OPS[name]) for name in ("matmul", "exp", "getitem", "relu")]
    ['@', 'np.exp', '[...]', 'relu']
    """
    if op.name in SYMBOLS:
        return SYMBOLS[op.name]
    if op.name in _SIGNS:
        return _SIGNS[op.name]
    function = op.numpy
    if function is None and op.name != "astype":  # NumPy's parameters are not those of the op
        named = getattr(np, op.name, None) or getattr(np.linalg, op.name, None)
        function = named if named in NUMPY else None
    return numpy_name(function) if function is not None else printable(op.name.strip("_"), LONGEST)


def expression(op: Op, operands: Sequence[str], settings: Mapping[str, Any]) -> str:
    """The call of an op as it would be written in Python.

    >>> import tensorgrad as tg
    >>> expression(tg.OPS["matmul"], ["x", "w"], {}), expression(tg.OPS["sum"], ["x"], {"axis": 0})
    ('x @ w', 'np.sum(x, axis=0)')
    >>> expression(tg.OPS["getitem"], ["x"], {"index": (0, slice(1, None))})
    'x[0, 1:]'
    """
    if op.name in SYMBOLS and len(operands) == 2:
        return f" {SYMBOLS[op.name]} ".join(map(in_brackets, operands))
    if op.name == "affine":
        return "{} @ {} + {}".format(*map(in_brackets, operands))
    if op.name == "negative" and len(operands) == 1:
        return f"-{operands[0]}"
    if op.name == "getitem":
        return f"{operands[0]}[{index(settings['index'])}]"
    if op.name == "setitem":
        return f"{operands[0]} with [{index(settings['index'])}] = {operands[1]}"
    return f"{op_name(op)}({', '.join([*operands, *given(op, settings)])})"


def in_brackets(text: str) -> str:
    """A negative number in brackets, so that it may stand beside an operator."""
    return f"({text})" if text.startswith("-") else text


def given(op: Op, settings: Mapping[str, Any]) -> Iterator[str]:
    """The keyword arguments that are not the op's defaults, as they would be written."""
    for name, value in settings.items():
        default = op.settings.get(name, settings)
        if value is not default and not (type(value) is type(default) and _is_equal(value, default)):
            yield f"{name}={index(value) if name == 'index' else setting(value)}"


def setting(value: object) -> str:
    """The value of a keyword argument, in short."""
    if isinstance(value, np.ndarray):
        return summaries.numbers(value) if value.size <= summaries.FEW else f"array of {summaries.kind(value)}"
    if isinstance(value, np.dtype):
        return str(value)
    name = getattr(value, "__name__", None)
    return printable(name if isinstance(name, str) else repr(value), LONGEST)


def index(value: object) -> str:
    """An index as it is written between brackets."""
    if isinstance(value, tuple):
        return ", ".join(map(index, value)) + ("," if len(value) == 1 else "") or "()"
    if isinstance(value, slice):
        start, stop, step = ("" if part is None else str(part) for part in (value.start, value.stop, value.step))
        return f"{start}:{stop}" + (f":{step}" if step else "")
    return {id(None): "None", id(Ellipsis): "..."}.get(id(value)) or setting(value)


def _is_equal(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays of several elements
        return False


class Names:
    """What users call the values of a graph.

    Parameters
    ----------
    function
        Who asks, for the error message.
    named
        Modules, whose parameters have names; and mappings of names to Tensors, arrays and modules, such as
        ``locals()``, in which anything else is passed over.
    """

    def __init__(self, function: str, named: Sequence[object]) -> None:
        self._nodes: dict[Node, str] = {}
        self._arrays: list[tuple[str, np.ndarray]] = []
        for each in named:
            if _is_module(each):
                self._add_module("", each)
            elif isinstance(each, Mapping):
                has_others = "__name__" in each  # global variables, among them those in which notebooks keep results
                for name, value in each.items():
                    if not (has_others and str(name).startswith("_")):
                        self._add(str(name), value)
            else:
                raise TypeError(
                    f"{function}: takes names from modules and from mappings of names to Tensors, got "
                    f"{type(each).__name__}; write {function}(loss, network), or {function}(loss, {{'w': w}})"
                )

    def of(self, node: Node | None, array: Any) -> str | None:
        """The name of a value; None if it has none. Arrays are known by their elements, as histories hold copies."""
        if node is not None and node in self._nodes:
            return self._nodes[node]
        if node is not None and node.requires_grad:
            return None
        same = {name for name, known in self._arrays if _holds(known, array)}
        return same.pop() if len(same) == 1 else None

    def _add(self, name: str, value: object) -> None:
        if isinstance(value, Tensor):
            if value.requires_grad:
                self._nodes.setdefault(history(value), printable(name, LONGEST))
            else:
                self._arrays.append((printable(name, LONGEST), value.detach().numpy()))
        elif isinstance(value, np.ndarray):
            self._arrays.append((printable(name, LONGEST), value))
        elif _is_module(value):
            self._add_module(f"{name}.", value)

    def _add_module(self, prefix: str, module: Any) -> None:
        for name, tensor in module.named_tensors():
            self._add(prefix + name, tensor)


def _is_module(value: object) -> bool:
    """Whether it is a module, which is asked of its class, as objects may answer to any name."""
    return hasattr(type(value), "named_tensors")


def _holds(known: np.ndarray, array: object) -> bool:
    """Whether an array holds the elements of another, perhaps in another dtype or shape, as flattened images do."""
    if not isinstance(array, np.ndarray) or known.size != array.size or array.ndim == 0:
        return False
    if known.dtype.kind == "c" != array.dtype.kind:
        return False
    with np.errstate(all="ignore"):
        return known is array or bool(np.array_equal(known.astype(array.dtype, copy=False).reshape(array.shape), array))
