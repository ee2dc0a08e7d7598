"""Recomputation: what a function computes inside is computed again in the backward pass, instead of being kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from inspect import getclosurevars
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from numpy import ndarray

from .._pytree import leaves, mapped
from ..core import Op, Tensor
from ..core.context import _capture, _recording, recorded, repeated
from ..core.node import Node, clock
from ..core.tensor import history
from .gradients import swept
from .transforms import Function, from_outside, named, packed, refuse_changed


def checkpoint(f: Function) -> Function:
    """``f`` with a history that holds only its inputs and outputs: the backward pass calls ``f`` again.

    That takes the time of one more evaluation and saves the memory of everything computed inside (Griewank & Walther,
    "Revolve", 2000; Chen et al., "Training deep nets with sublinear memory cost", 2016). Values and gradients are those
    of ``f``, of any order. Tensors that ``f`` finds elsewhere, such as the parameters of a network, get their gradients
    too. Random generators that ``f`` reaches (arguments, attributes, what its code refers to) draw the same numbers
    again, and go on afterwards as if they had not. Inside a compiled function ``f`` is simply called.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays. Its effects, if it
        has any, happen once more in the backward pass; but running means of batch normalisation move once.

    Raises
    ------
    RuntimeError
        In the backward pass, if ``f`` gives other values than before: it depends on something that has changed; or if
        something it computes inside was used elsewhere without being returned.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> block = tg.checkpoint(lambda x, w: np.tanh(x @ w))
    >>> w = np.eye(2)
    >>> tg.grad(lambda w: block(np.ones(2), w).sum())(w).round(4)
    array([[0.42, 0.42],
           [0.42, 0.42]])
    """

    @named("checkpoint", f)
    def call(*args: Any, **keywords: Any) -> Any:
        if not _recording.get() or _capture.get() is not None:
            return f(*args, **keywords)
        return _checkpointed(f, (args, keywords))

    return call


def _checkpointed(f: Function, arguments: Any) -> Any:
    generators = _generators((f, arguments))
    states = [generator.bit_generator.state for generator in generators]
    inputs = [leaf for leaf in leaves(arguments) if _is_live(leaf)]
    since = next(clock)

    def run(variables: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        rest = iter(variables)
        args, keywords = mapped(lambda leaf: next(rest) if _is_live(leaf) else leaf, arguments)
        with recorded():
            value = f(*args, **keywords)
        return value, [leaf for leaf in leaves(value) if _is_live(leaf) and history(leaf).order > since]

    def gradients(g: Any, out: Any, *operands: Any) -> list[Any]:
        create_graph = isinstance(g, Tensor)
        variables = [+x if _is_live(x) else Tensor(x, requires_grad=True) for x in operands]
        own = next(clock)
        now = [generator.bit_generator.state for generator in generators]
        _set_states(generators, states)
        try:
            with repeated():
                _, outputs = run(variables[: len(inputs)])
        finally:
            _set_states(generators, now)
        with recorded():
            output = packed(outputs) if outputs else None
        data = out.data if isinstance(out, Tensor) else out
        if output is None or output.shape != data.shape or not _close(output.data, data):
            raise RuntimeError(
                "checkpoint: f gave other values when it was called again; draw random numbers from a generator that f "
                "is given as an argument, and leave what f depends on as it was until the backward pass"
            )
        stand_ins = dict(zip(map(history, outside), map(history, variables[len(inputs) :])))
        _stand_in(history(output), stand_ins, own)
        if not set(map(history, from_outside([output], own))) <= set(map(history, variables)):
            raise RuntimeError("checkpoint: f uses tensors that an earlier call of it has kept; compute them anew")
        parts = swept(output, variables, g, create_graph, retain_graph=create_graph)
        return parts if create_graph else [part.data for part in parts]

    variables = [Tensor(x.data, requires_grad=True) for x in inputs]
    value, outputs = run(variables)
    refuse_changed("checkpoint", leaves(arguments), since)
    outside = list(from_outside(outputs, since))
    for variable, x in zip(variables, inputs):  # met again only by way of what f has kept
        node = history(variable)
        node.op, node.parents, node.arrays, node.array = _KEPT, [history(x)], [x._array], variable._array
    if not outputs:
        return value
    operands = (*inputs, *outside)
    result = Tensor(packed([output.data for output in outputs]))
    result._requires_grad = True
    result._node = Node(
        _operation(gradients), list(map(history, operands)), [x._array for x in operands], {}, result._array
    )
    pieces, start = [], 0
    for output in outputs:
        piece = result[start : start + output.size].reshape(output.shape)
        piece = piece.real if piece.dtype.kind == "c" != output.dtype.kind else piece
        pieces.append(piece.astype(output.dtype))
        start += output.size
    rest = iter(pieces)
    return mapped(lambda leaf: next(rest) if _is_live(leaf) and history(leaf).order > since else leaf, value)


def _operation(gradients: Function) -> Op:
    """An op outside the registry, known to its records only."""
    return Op("checkpoint", lambda *operands: operands, (gradients,), lambda draw: ((), {}))


def _refuse_kept(g: Any, out: Any, *operands: Any) -> Any:
    raise RuntimeError("checkpoint: a tensor that f has kept was used after the call; let f return it")


_KEPT = _operation(_refuse_kept)


def _stand_in(output: Node, others: dict[Node, Node], since: int) -> None:
    """Put ``others`` in the place of the parents that they stand in for, wherever those were used after ``since``.

    A backward pass then stops at them; of two operands from outside, one may have been computed from the other.
    """
    met, stack = set(), [output]
    while stack:
        node = stack.pop()
        if node.order < since or node in met:
            continue
        met.add(node)
        node.parents = [parent if parent is None else others.get(parent, parent) for parent in node.parents]
        stack.extend(parent for parent in node.parents if parent is not None)


def _is_live(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _close(one: Any, other: Any) -> bool:
    """Equal but for rounding, which is relative to the largest element."""
    tolerance = float(np.finfo(other.dtype).eps) ** 0.5
    largest = float(np.where(np.isfinite(other), np.abs(other), 0).max(initial=0))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def _set_states(generators: Sequence[np.random.Generator], states: Sequence[Any]) -> None:
    for generator, state in zip(generators, states):
        generator.bit_generator.state = state


def _generators(value: Any) -> list[np.random.Generator]:
    """The random generators that a function and its arguments reach."""
    found: list[np.random.Generator] = []
    met: dict[int, Any] = {}  # keeps what it holds alive, so that no identity is taken twice
    stack = [value]
    while stack:
        value = stack.pop()
        if id(value) in met or isinstance(value, (type, ModuleType, ndarray, Tensor, str, int, float)):
            continue
        met[id(value)] = value
        if isinstance(value, np.random.Generator):
            found.append(value)
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, partial):
            stack.extend((value.func, value.args, value.keywords))
        elif isinstance(value, MethodType):
            stack.extend((value.__self__, value.__func__))
        elif isinstance(value, FunctionType):
            with suppress(ValueError):  # a variable that has no value yet
                stack.extend(getclosurevars(value)[:2])
            stack.extend((value.__defaults__, value.__kwdefaults__))
        else:
            stack.append(getattr(value, "__dict__", None))
    return found
