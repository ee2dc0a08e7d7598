"""A table of the layers of a module with their output shapes and numbers of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._pytree import tree_map
from ..core import Tensor
from ..core.context import no_grad
from .watching import watched

if TYPE_CHECKING:
    from .module import Module

_HEADINGS = ("layer", "output shape", "parameters")
_MOST_CHARACTERS = 60


class Row(NamedTuple):
    """A module in a :class:`Summary`.

    Attributes
    ----------
    name
        Dotted, as in ``named_modules``; empty for the outermost one.
    label
        What the module around it calls it.
    layer
        What it is.
    output
        The shape that it gave first, of a container of arrays that of each; None where it was not called.
    parameters
        How many numbers it is trained by that are in no row before, without those of the modules inside.
    depth
        How many modules are around it.
    """

    name: str
    label: str
    layer: str
    output: Any
    parameters: int
    depth: int


class Summary:
    """What :meth:`Module.summary` returns: shown as a table, by Jupyter as HTML.

    Attributes
    ----------
    rows
        One for each module.
    parameters, other, nbytes
        How many numbers are trained, how many more belong to the module, and their size together.
    """

    def __init__(self, module: Module, inputs: Sequence[Any]) -> None:
        outputs = _outputs(module, inputs) if inputs else {}
        self.has_outputs = bool(inputs)
        self.rows: list[Row] = []
        counted: dict[int, Tensor] = {}
        around: list[str] = []
        for name, inner in module.named_modules():
            while around and around[-1] and not name.startswith(around[-1] + "."):
                around.pop()
            label = name[len(around[-1]) + 1 :] if around and around[-1] else name
            new = {id(x): x for _, x, _ in inner._members() if isinstance(x, Tensor) and x.is_leaf}
            size = sum(x.size for key, x in new.items() if x.requires_grad and key not in counted)
            counted.update(new)
            self.rows.append(Row(name, label, _in_short(inner), outputs.get(id(inner)), size, len(around)))
            around.append(name)
        self.parameters = sum(row.parameters for row in self.rows)
        self.other = sum(x.size for x in counted.values()) - self.parameters
        self.nbytes = sum(x.nbytes for x in counted.values())

    def _cells(self) -> Iterator[tuple[str, str, str]]:
        for row in self.rows:
            layer = "  " * row.depth + (f"({row.label}): " if row.label else "") + row.layer
            output = "" if row.output is None else str(row.output)
            yield layer, output, f"{row.parameters:,}" if row.parameters else ""

    def totals(self) -> str:
        """How many numbers there are, trained and not, and their size together."""
        other = f", {self.other:,} not trained" if self.other else ""
        unit, size = next(((u, n) for u, n in (("MB", 1e6), ("kB", 1e3)) if self.nbytes >= n), ("bytes", 1))
        return f"{self.parameters:,} parameters{other}, {self.nbytes / size:.3g} {unit}"

    def __repr__(self) -> str:
        cells = [_HEADINGS, *self._cells()]
        first, second, third = (max(len(row[i]) for row in cells) for i in range(3))
        second = second if self.has_outputs else 0
        lines = [
            f"{layer:<{first}}  {(output if second else ''):<{second}}{'  ' * bool(second)}{count:>{third}}".rstrip()
            for layer, output, count in cells
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join([*lines, lines[1], self.totals()])

    def _repr_html_(self) -> str:
        shown = [0, 1, 2] if self.has_outputs else [0, 2]
        head = "".join(f"<th>{_HEADINGS[i]}</th>" for i in shown)
        style = ("text-align:left;white-space:pre", "text-align:left", "text-align:right")
        body = "".join(
            "<tr>" + "".join(f'<td style="{style[i]}">{escape(cells[i])}</td>' for i in shown) + "</tr>"
            for cells in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{self.totals()}</p>"


def _in_short(module: Module) -> str:
    """``repr(module)`` where that is a short line, else the name of its class."""
    text = repr(module)
    return type(module).__name__ if "\n" in text or len(text) > _MOST_CHARACTERS else text


def _outputs(module: Module, inputs: Sequence[Any]) -> dict[int, Any]:
    """The shapes that the modules give first, by their identities, in evaluation mode and without recording."""
    floats = (x.dtype for _, x in module.named_tensors() if x.dtype.kind == "f")
    dtype = next(floats, np.dtype(np.float32))
    arrays = [np.zeros(given, dtype) if _is_shape(given) else given for given in inputs]
    shapes: dict[int, Any] = {}

    def note(inner: Module, result: object) -> None:
        shapes.setdefault(id(inner), tree_map(lambda x: getattr(x, "shape", type(x).__name__), result))

    with watched(module, note), no_grad():
        try:
            module(*arrays)
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            given = ", ".join(f"zeros of {x.shape}" if _is_shape(y) else "the example" for x, y in zip(arrays, inputs))
            raise ValueError(
                f"summary: called with {given}, {_in_short(module)} raised {type(error).__name__}: {error}; pass "
                "inputs as it takes them, as in summary(images[:1]), or nothing, for a table without shapes"
            ) from error
    return shapes


def _is_shape(given: object) -> bool:
    return isinstance(given, tuple) and all(isinstance(n, (int, np.integer)) for n in given)
