"""Gradient checkpointing: intermediate results are recomputed in the backward pass instead of being kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .._pytree import reachable, tree_flatten, tree_leaves, tree_map, tree_unflatten
from ..core import Op, Tensor
from ..core.context import _recording, _tracer, recorded, repeated
from ..core.node import Node, sequence_nrs
from ..core.tensor import history
from .batched import packed
from .call import Function, check_unchanged, named, outer_tensors
from .gradients import gradients_of


def checkpoint(f: Function) -> Function:
    """``f`` without its intermediate results in the graph: the backward pass calls ``f`` again.

    That takes the time of one more evaluation and saves the memory of everything computed inside (Griewank & Walther,
    "Revolve", 2000; Chen et al., "Training deep nets with sublinear memory cost", 2016). Values and gradients are those
    of ``f``, of any order. Tensors that ``f`` finds elsewhere, such as the parameters of a network, get their gradients
    too. Random generators that ``f`` reaches (arguments, attributes, what its code refers to) draw the same numbers
    again, and are restored afterwards. Inside a compiled function ``f`` is simply called.

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
        if not _recording.get() or _tracer.get() is not None:
            return f(*args, **keywords)
        return _Checkpoint(f, (args, keywords)).value()

    return call


class _Checkpoint:
    """One call of a function of which only inputs and outputs are kept."""

    def __init__(self, f: Function, arguments: Any) -> None:
        self._f = f
        self._leaves, self._structure = tree_flatten(arguments)
        self._generators = _generators((f, arguments))
        self._states = _states(self._generators)
        self._inputs = [leaf for leaf in self._leaves if _is_live(leaf)]
        self._outside: list[Tensor] = []
        self._since = next(sequence_nrs)

    def value(self) -> Any:
        """What the function returns, with a history that is this call as a whole."""
        variables = [Tensor(x.data, requires_grad=True) for x in self._inputs]
        value, outputs = self._run(variables)
        check_unchanged("checkpoint", self._leaves, self._since)
        self._outside = list(outer_tensors(outputs, self._since))
        for variable, x in zip(variables, self._inputs):  # reached only through something that f has kept
            node = history(variable)
            node.op, node.parents, node.arrays, node.array = _KEPT, [history(x)], [x._array], variable._array
        if not outputs:
            return value
        rest = iter(self._recorded(outputs))
        return tree_map(lambda leaf: next(rest) if self._is_output(leaf) else leaf, value)

    def _run(self, variables: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        """What the function returns for variables in place of the inputs, and those leaves of it that depend on
        them or on Tensors from outside.
        """
        rest = iter(variables)
        filled = (next(rest) if _is_live(leaf) else leaf for leaf in self._leaves)
        args, keywords = tree_unflatten(self._structure, filled)
        with recorded():
            value = self._f(*args, **keywords)
        return value, [leaf for leaf in tree_leaves(value) if self._is_output(leaf)]

    def _is_output(self, leaf: Any) -> bool:
        """Whether a leaf of the value was computed in this call."""
        return _is_live(leaf) and history(leaf).sequence_nr > self._since

    def _recorded(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs as pieces of a single result, whose gradient rule is :meth:`_gradients`."""
        operands = (*self._inputs, *self._outside)
        result = Tensor(packed([output.data for output in outputs]))
        result._requires_grad = True
        parents, arrays = [history(x) for x in operands], [x._array for x in operands]
        result._node = Node(_operation(self._gradients), parents, arrays, {}, result._array)
        pieces, start = [], 0
        for output in outputs:
            piece = result[start : start + output.size].reshape(output.shape)
            piece = piece.real if piece.dtype.kind == "c" != output.dtype.kind else piece
            pieces.append(piece.astype(output.dtype))
            start += output.size
        return pieces

    def _gradients(self, g: Any, out: Any, *operands: Any) -> list[Any]:
        """The gradient rule: the function is called again, now with a history, and the backward pass goes through."""
        create_graph = isinstance(g, Tensor)
        variables = [+x if _is_live(x) else Tensor(x, requires_grad=True) for x in operands]
        inputs, outside = variables[: len(self._inputs)], variables[len(self._inputs) :]
        began = next(sequence_nrs)
        output = self._again(inputs, out.data if isinstance(out, Tensor) else out)
        _stand_in(history(output), dict(zip(map(history, self._outside), map(history, outside))), began)
        if not set(map(history, outer_tensors([output], began))) <= set(map(history, variables)):
            raise RuntimeError("checkpoint: f uses tensors that an earlier call of it has kept; compute them again")
        parts = gradients_of(output, variables, g, create_graph, retain_graph=create_graph)
        return parts if create_graph else [part.data for part in parts]

    def _again(self, inputs: Sequence[Tensor], expected: ndarray) -> Tensor:
        """The packed outputs of another call, with the random numbers of the first; an error if they differ."""
        now = _states(self._generators)
        _set_states(self._generators, self._states)
        try:
            with repeated():
                _, outputs = self._run(inputs)
        finally:
            _set_states(self._generators, now)
        with recorded():
            output: Tensor | None = packed(outputs) if outputs else None
        if output is None or output.shape != expected.shape or not _close(output.data, expected):
            raise RuntimeError(
                "checkpoint: f gave other values when it was called again; draw random numbers from a generator that f "
                "is given as an argument, and leave what f depends on as it was until the backward pass"
            )
        return output


def _operation(gradients: Function) -> Op:
    """An op outside the registry, known to its records only."""
    return Op("checkpoint", lambda *operands: operands, (gradients,), lambda draw: ((), {}))


def _refuse_kept(g: object, out: object, *operands: Any) -> Any:
    raise RuntimeError("checkpoint: a tensor that f has kept was used after the call; let f return it")


_KEPT = _operation(_refuse_kept)


def _stand_in(output: Node, others: dict[Node, Node], since: int) -> None:
    """Replace parents by ``others``, which stand in for them, in all nodes after ``since``.

    A backward pass then stops at them; of two operands from outside, one may have been computed from the other.
    """
    visited, stack = set(), [output]
    while stack:
        node = stack.pop()
        if node.sequence_nr < since or node in visited:
            continue
        visited.add(node)
        node.parents = [parent if parent is None else others.get(parent, parent) for parent in node.parents]
        stack.extend(parent for parent in node.parents if parent is not None)


def _is_live(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.requires_grad


def _close(one: Any, other: Any) -> bool:
    """Equal but for rounding, which is relative to the largest element."""
    tolerance = float(np.finfo(other.dtype).eps) ** 0.5
    largest = float(np.where(np.isfinite(other), np.abs(other), 0).max(initial=0))
    return bool(np.allclose(one, other, rtol=tolerance, atol=tolerance * largest, equal_nan=True))


def _states(generators: Sequence[np.random.Generator]) -> list[Any]:
    return [generator.bit_generator.state for generator in generators]


def _set_states(generators: Sequence[np.random.Generator], states: Sequence[Any]) -> None:
    for generator, state in zip(generators, states):
        generator.bit_generator.state = state


def _generators(value: object) -> list[np.random.Generator]:
    """The random generators that a function and its arguments reach."""
    return [found for found in reachable(value, (Tensor,)) if isinstance(found, np.random.Generator)]
