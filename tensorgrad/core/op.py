"""Op: a NumPy function with one gradient rule per operand. Calling it is the forward pass, and records a node."""

from __future__ import annotations

import copy
import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, overload

import numpy as np
from numpy import ndarray

from ..samples import Sample
from .arrays import PRIVATE, READ_ONLY, SHARED, AnyArray, Array, Constant, as_data, as_operand, describe, snapshot
from .context import _recording, _tracer
from .inplace import View, view_of
from .node import LeafNode, Node, UnrecordedView, sequence_nrs
from .registry import refuse_complex, registered
from .tensor import Tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

Rule = Optional[Callable[..., Union[AnyArray, "Sequence[AnyArray]"]]]

_PYTHON_NUMBERS = frozenset({float, int, bool, complex})


class Op:
    """A NumPy function with one gradient rule per operand; made by :func:`declare`.

    Operands are positional and may be Tensors; settings are keyword arguments and are never Tensors. Called on arrays
    alone an op is just its forward function, so that rules can use ops, too.
    """

    __slots__ = (
        "accumulate",
        "arity",
        "broadcasts",
        "differentiable",
        "effect",
        "expects",
        "forward",
        "name",
        "numpy",
        "on_complex",
        "opaque",
        "required",
        "rules",
        "sample",
        "settings",
        "takes_out",
    )

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        rules: tuple[Rule, ...],
        sample: Sample,
        numpy: Callable[..., Any] | None = None,
        broadcasts: bool | None = None,
        expects: str | None = None,
        opaque: bool = False,
        complex_rules: str | None = None,
        accumulate: Callable[..., None] | None = None,
        effect: Callable[..., Any] | None = None,
    ) -> None:
        if numpy is None and isinstance(forward, np.ufunc):
            numpy = forward
        if broadcasts is None:
            broadcasts = isinstance(forward, np.ufunc) and forward.signature is None
        if expects is None:
            expects = "operands whose shapes broadcast together" if broadcasts else "operands of fitting shapes"
        self.name, self.forward, self.rules, self.sample = name, forward, rules, sample
        self.numpy, self.broadcasts, self.expects = numpy, broadcasts, expects
        self.opaque, self.accumulate, self.effect = opaque or effect is not None, accumulate, effect
        self.arity, self.settings, self.takes_out = _signature(forward)
        self.required = [name for name, default in self.settings.items() if default is inspect.Parameter.empty]
        self.differentiable = any(rule is not None for rule in rules)
        if not callable(sample):
            raise TypeError(f"declare: the sample of {name!r} is not a function that draws operands")
        if len(rules) != (1 if self.arity is None else self.arity):
            raise ValueError(
                f"declare: {name!r} has {self.arity or 'any number of'} operand(s) but {len(rules)} rule(s)"
            )
        self.on_complex = self._on_complex(complex_rules)

    def _on_complex(self, complex_rules: str | None) -> Op | None:
        """The op to record for complex results, with the rules for these; None if complex operands raise."""
        if complex_rules is None:
            return None
        if complex_rules == "direct":
            return self
        if complex_rules != "holomorphic":
            raise ValueError(
                f"declare: {self.name!r}: complex_rules must be 'direct', 'holomorphic' or None, got {complex_rules!r}"
            )
        on_complex = copy.copy(self)
        on_complex.on_complex = on_complex
        on_complex.rules = tuple(_conjugated(rule) for rule in self.rules)
        return on_complex

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @overload
    def __call__(self, first: Tensor, /, *others: Any, **settings: Any) -> Tensor: ...
    @overload
    def __call__(self, first: Any, second: Tensor, /, *others: Any, **settings: Any) -> Tensor: ...
    @overload
    def __call__(self, first: Any, second: Any, third: Tensor, /, *others: Any, **settings: Any) -> Tensor: ...
    @overload
    def __call__(self, first: Constant, /, *others: Any, **settings: Any) -> Any: ...  # which may be a Tensor
    def __call__(self, *operands: Any, **settings: Any) -> Any:
        if (tracer := _tracer.get()) is not None:
            if tracer.follows:
                return tracer.follow(self, operands, settings)
            operands = tuple(tracer.stand_in(x) if type(x) is Tensor else x for x in operands)
        arrays: list[Any] = []
        parents: list[Node | None] = []
        traced = needs_gradient = may_change = False
        for operand in operands:
            kind = type(operand)
            if kind is Tensor:
                traced = True
                if operand._view is not None:
                    operand._update_view()
                if operand._requires_grad:
                    needs_gradient = True
                if operand._memory is SHARED:
                    may_change = True
                parents.append(operand._node)
                arrays.append(operand._array)
            else:
                parents.append(None)
                if kind not in _PYTHON_NUMBERS:
                    may_change = True
                    operand = operand if kind is ndarray else as_operand(operand)
                arrays.append(operand)
        if settings or self.settings or len(operands) != self.arity:
            settings = self._checked(operands, settings)
        if self.on_complex is None and traced and self.differentiable:
            refuse_complex(self.name, arrays)
        try:
            data = self.forward(*arrays, **settings) if tracer is None else tracer.compute(self, arrays, settings)
        except (TypeError, ValueError, IndexError) as error:
            raise self._refusal(arrays, settings, error) from error
        if not traced:
            return data
        if type(data) is ndarray:
            base = data.base
        else:
            data = self._as_result(data)
            base = getattr(data, "base", None)
        out = _new_tensor(Tensor)
        out._array, out._memory, out._grad, out._view = data, READ_ONLY, None, None
        if base is not None:
            out._view = view_of(self, operands, arrays, settings, data)
            out._memory = SHARED if may_change else READ_ONLY
        if (kind := data.dtype.kind) != "f" and kind not in "iub":
            self._check_kind(data)
        if needs_gradient and self.differentiable and (kind == "f" or kind == "c") and (recording := _recording.get()):
            out._requires_grad = True
            if may_change:
                arrays = self._snapshots(operands, arrays)
            node = out._node = _new_node(Node)  # the same as Node(...), in half the time: 80 ns of 2.4 us
            node.op, node.array, node.sequence_nr = self if kind == "f" else self.on_complex, data, next(sequence_nrs)
            node.parents, node.arrays, node.settings = parents, arrays, settings
            if recording is not True:
                recording.on_forward(node)
        else:
            out._requires_grad, out._node = False, _unrecorded_node(out._view) if tracer is None else LeafNode()
        return out if tracer is None else tracer.made(out)

    def _check_kind(self, data: Array) -> None:
        """Raise for a result that is not numeric, or is complex though the rules hold for real numbers only."""
        if data.dtype.kind != "c":
            raise TypeError(f"{self.name} gives {data.dtype}, and Tensors hold numbers; check the operands")
        if self.on_complex is None:
            refuse_complex(self.name, [data])

    def _as_result(self, data: object) -> Array:
        """The result of a forward function as an array, where it is not one of NumPy's."""
        if isinstance(data, np.generic):
            return np.asarray(data)
        if isinstance(data, Tensor):
            raise TypeError(
                f"{self.name}: its forward function gave a Tensor; it is called with arrays, and returns one"
            )
        return as_data(data)

    def _snapshots(self, operands: tuple[object, ...], arrays: list[object]) -> list[Any]:
        """The arrays for the node: copies of those that may be written into before the backward pass."""
        return [
            array if type(operand) is Tensor and operand._memory is not SHARED else snapshot(array)
            for operand, array in zip(operands, arrays)
        ]

    def _checked(self, operands: tuple[object, ...], settings: dict[str, object]) -> dict[str, Any]:
        if self.arity is not None and len(operands) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} operand(s), got {len(operands)}")
        if not settings and not self.required:
            return self.settings.copy()
        for name, value in settings.items():
            if name not in self.settings:
                known = ", ".join(self.settings) or "no settings"
                raise TypeError(f"{self.name} has no setting {name}= (it takes {known})")
            if type(value) is list or type(value) is ndarray:  # it may be changed before the backward pass
                settings[name] = value.copy()
        for name in self.required:
            if name not in settings:
                raise TypeError(f"{self.name} needs the setting {name}=, which has no default")
        return {**self.settings, **settings}

    def _refusal(self, arrays: list[object], settings: dict[str, object], error: Exception) -> Exception:
        kind = next(
            kind for kind in (np.linalg.LinAlgError, IndexError, ValueError, TypeError) if isinstance(error, kind)
        )
        came = ", ".join(map(describe, arrays))
        given = "".join(f", {name}={value!r}" for name, value in settings.items())
        return kind(f"{self.name} got ({came}{given}) but takes {self.expects}: {str(error).strip()}")


def declare(
    name: str,
    forward: Callable[..., Any],
    *rules: Rule,
    sample: Sample,
    numpy: Callable[..., Any] | None = None,
    broadcasts: bool | None = None,
    expects: str | None = None,
    opaque: bool = False,
    complex_rules: str | None = None,
    accumulate: Callable[..., None] | None = None,
    effect: Callable[..., Any] | None = None,
) -> Op:
    """Declare an op: its forward function, one gradient rule per operand, and how to draw valid operands.

    Parameters
    ----------
    name
        Unique name, used in messages.
    forward
        A NumPy ufunc, or a function of arrays: positional parameters are the operands (``*arrays``: any number),
        keyword-only ones the settings.
    rules
        ``rule(g, out, *operands, **settings)`` for each operand: from ``g``, the gradient of the loss with respect to
        the result ``out``, that with respect to the operand; None: not differentiable in it. Written in NumPy for
        arrays and Tensors, never in place. Of ``*arrays`` a single rule gives a sequence of all gradients.
    sample
        ``sample(draw)`` returns valid ``(operands, settings)``, drawn with :mod:`tensorgrad.samples`.
    numpy
        The NumPy function that this op implements on Tensors. Default: ``forward``, if that is a ufunc.
    broadcasts
        Whether operands broadcast, so that gradients are summed back; default: for elementwise ufuncs.
    expects
        What valid operands are, for the error message.
    opaque
        Whether ``forward`` needs real arrays, for example because it writes into one: a compiled step then calls it as
        a whole. If it has a keyword-only ``out=None``, it has to write its result there if an array is passed.
    complex_rules
        What the rules mean for complex operands, whose gradient is dL/dRe(z) + i dL/dIm(z). ``"direct"``: they give
        just that, as those of linear functions do. ``"holomorphic"``: they multiply by f'(z), and the engine
        conjugates. None: complex operands raise.
    accumulate
        For an op that reads a part of its only operand, such as indexing: ``accumulate(total, g, **settings)`` adds the
        gradient to ``total`` in place, which spares the rule an array of zeros.
    effect
        For a ``forward`` that does more than compute, such as to send a message: ``effect(*operands, **settings)``
        gives a result of that kind without doing so, to see what it is like. Compiled, such calls keep their order.

    Raises
    ------
    ValueError, TypeError
        If the name is taken, the number of rules is not that of the operands, or another part does not fit.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> cube = tg.declare("cube", lambda x: x**3, lambda g, out, x: 3 * g * x**2, sample=tg.samples.unary())
    >>> cube(tg.Tensor([1.0, 2.0]))
    Tensor([1., 8.])
    >>> del tg.OPS["cube"]
    """
    op = Op(name, forward, rules, sample, numpy, broadcasts, expects, opaque, complex_rules, accumulate, effect)
    return registered(op)


def _conjugated(rule: Rule) -> Rule:
    """For complex operands of a holomorphic function: from the rule for J^T g that for J^H g = conj(J^T conj(g))."""
    if rule is None:
        return None

    @wraps(rule)
    def conjugated(g: AnyArray, out: AnyArray, *operands: object, **settings: object) -> Any:
        part = rule(np.conj(g), out, *operands, **settings)
        return list(map(np.conj, part)) if isinstance(part, (list, tuple)) else np.conj(part)

    return conjugated


def _signature(forward: Callable[..., Any]) -> tuple[int | None, dict[str, Any], bool]:
    """Number of operands (None: any), settings with their defaults, and whether the function takes ``out``."""
    if isinstance(forward, np.ufunc):
        return forward.nin, {}, False
    parameters = inspect.signature(forward).parameters.values()
    settings = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    fills = settings.pop("out", inspect.Parameter.empty) is None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None, settings, fills
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters), settings, fills


def _unrecorded_node(view: View | None) -> Node | None:
    """The node of a result that is not recorded: of a view that of its root, which tells when it was last changed."""
    if view is None or view.root._memory is not PRIVATE:
        return None
    node: Any = view.root._node
    return UnrecordedView(node) if node.requires_grad else node


_new_tensor, _new_node = Tensor.__new__, Node.__new__
