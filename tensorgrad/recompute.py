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

from .autodiff import swept
from .containers import leaves, mapped
from .recording import _capture, _recording, recorded, repeated
from .tensor import Op, Tensor, _clock
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
    since = next(_clock)

    def run(variables: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        rest = iter(variables)
        args, keywords = mapped(lambda leaf: next(rest) if _is_live(leaf) else leaf, arguments)
        with recorded():
            value = f(*args, **keywords)
        return value, [leaf for leaf in leaves(value) if _is_live(leaf) and leaf._order > since]

    def gradients(g: Any, out: Any, *operands: Any) -> list[Any]:
        create_graph = isinstance(g, Tensor)
        variables = [+x if _is_live(x) else Tensor(x, requires_grad=True) for x in operands]
        own = next(_clock)
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
        stand_ins = dict(zip((tensor._order for tensor in outside), variables[len(inputs) :]))
        _stand_in(output, stand_ins, own)
        if not {tensor._order for tensor in from_outside([output], own)} <= {tensor._order for tensor in variables}:
            raise RuntimeError("checkpoint: f uses tensors that an earlier call of it has kept; compute them anew")
        parts = swept(output, variables, g, create_graph, retain_graph=create_graph)
        return parts if create_graph else [part.data for part in parts]

    variables = [Tensor(x.data, requires_grad=True) for x in inputs]
    value, outputs = run(variables)
    refuse_changed("checkpoint", leaves(arguments), since)
    outside = list(from_outside(outputs, since))
    for variable, x in zip(variables, inputs):  # met again only by way of what f has kept
        variable._record = _KEPT, (x,), [x.data], {}
    if not outputs:
        return value
    operands = (*inputs, *outside)
    result = Tensor(packed([output.data for output in outputs]))
    result._requires_grad = True
    result._record = (_operation(gradients), operands, [operand.data for operand in operands], {})
    pieces, start = [], 0
    for output in outputs:
        piece = result[start : start + output.size].reshape(output.shape)
        piece = piece.real if piece.dtype.kind == "c" != output.dtype.kind else piece
        pieces.append(piece.astype(output.dtype))
        start += output.size
    rest = iter(pieces)
    return mapped(lambda leaf: next(rest) if _is_live(leaf) and leaf._order > since else leaf, value)


def _operation(gradients: Function) -> Op:
    """An op outside the registry, known to its records only."""
    return Op("checkpoint", lambda *operands: operands, (gradients,), lambda draw: ((), {}), "", False, None, False)


def _refuse_kept(g: Any, out: Any, *operands: Any) -> Any:
    raise RuntimeError("checkpoint: a tensor that f has kept was used after the call; let f return it")


_KEPT = _operation(_refuse_kept)


def _stand_in(output: Tensor, others: dict[int, Tensor], since: int) -> None:
    """Put ``others`` in the place of the operands of their key's age, wherever they were used after ``since``.

    A sweep then stops at them; of two operands from outside, one may have been computed from the other.
    """
    met, stack = set(), [output]
    while stack:
        tensor = stack.pop()
        if tensor._record is None or tensor._order < since or tensor._order in met:
            continue
        met.add(tensor._order)
        op, operands, arrays, settings = tensor._record
        operands = tuple(others.get(x._order, x) if isinstance(x, Tensor) else x for x in operands)
        tensor._record = op, operands, arrays, settings
        stack.extend(x for x in operands if isinstance(x, Tensor))


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
