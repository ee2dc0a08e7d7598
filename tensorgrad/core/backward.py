"""The backward pass: from the gradient of a result to the gradients of everything that it was computed from.

Without error checks and shortcuts it is the chain rule in four lines::

    gradients = {output: 1}
    for node in reached(gradients, latest_first=True):
        for rule, parent in zip(node.op.rules, node.parents):
            gradients[parent] += rule(gradients[node], node.array, *node.arrays)

``op.rules[i]`` gives the gradient for operand ``i``; an op of any number of operands has one rule, which gives all.
A node is always created after its parents, so that latest first is a topological order. A leaf that is later than a
node computed from it has been changed in between, which is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
from numpy import ndarray

from .arrays import AnyArray, Array, describe, is_view
from .context import Hook, _recording, _tracer
from .node import Node

if TYPE_CHECKING:
    from .op import Op
    from .tensor import Tensor


def backward_pass(
    output: Node,
    seed: Any,
    wanted: Collection[Node] | None = None,
    retain_graph: bool = False,
    recorded_as: Callable[[Node, Array], Tensor] | None = None,
    retained: Collection[Node] | None = None,
) -> list[tuple[Node, Any]]:
    """Go through the graph behind ``output``, latest node first, and return the gradients.

    Parameters
    ----------
    output, seed
        Where to start, and the gradient of the loss with respect to it.
    wanted
        The nodes whose gradients are returned; only what leads to them is computed. Default: all leaves.
    retain_graph
        Keep the graph. By default each node is freed as soon as it has been used.
    recorded_as
        ``recorded_as(node, array)`` makes a Tensor of a value. The rules are then called with Tensors, so that they are
        recorded in turn and the gradients can be differentiated. Default: they are called with arrays.
    retained
        Further nodes whose gradients are returned, in addition to those of all leaves.

    Returns
    -------
    list of (Node, gradient)
        Tensors with ``recorded_as``, else arrays to which nothing else refers.
    """
    relevant, returned = (None, retained) if wanted is None else (_nodes_towards(output, wanted), wanted)
    found: list[tuple[Node, Any]] = []
    gradients = {output: seed}  # of leaves they stay here until the end
    buffers: set[Node] = set()  # nodes whose gradient is an array of our own, which is accumulated in place
    latest_first = [(-output.sequence_nr, output)] if output.op is not None else []
    hook = recording if isinstance(recording := _recording.get(), Hook) else None
    in_place = hook is None and _tracer.get() is None
    while latest_first:
        node = heappop(latest_first)[1]
        gradient = gradients.pop(node)
        if returned is not None and node in returned:
            found.append((node, gradient))
            if wanted is not None and (node.is_freed or not _leads_to_wanted(node, relevant)):
                continue
        op: Any = node.op
        arrays, settings, out = node.arrays, node.settings, node.array
        if arrays is None:
            raise _freed()
        values, out = (_recorded_operands(node, recorded_as), recorded_as(node, out)) if recorded_as else (arrays, out)
        accumulate = op.accumulate if in_place and type(gradient) is ndarray else None
        parts = op.rules[0](gradient, out, *values, **settings) if op.arity is None else None
        for index, parent in enumerate(node.parents):
            if parent is None:
                continue
            if parent.sequence_nr > node.sequence_nr or (relevant is not None and _base_has_changed(parent)):
                raise _changed(op)
            if not parent.requires_grad or (relevant is not None and parent not in relevant):
                continue
            so_far, operand = gradients.get(parent), arrays[index]
            if accumulate is not None:
                if parent not in buffers:
                    buffers.add(parent)
                    gradients[parent] = np.zeros_like(operand) if so_far is None else np.array(so_far)
                accumulate(gradients[parent], gradient, **settings)
            else:
                if parts is not None:
                    part = parts[index]
                elif (rule := op.rules[index]) is not None:
                    part = rule(gradient, out, *values, **settings)
                else:
                    continue
                if hook is not None:
                    hook.on_backward(node, index, gradient, part)
                if part.shape != operand.shape or part.dtype != operand.dtype:
                    part = match_operand(op, index, part, operand, node.array)
                gradients[parent] = part if so_far is None else so_far + part
            if so_far is None and parent.op is not None:
                heappush(latest_first, (-parent.sequence_nr, parent))
        if not retain_graph:
            node.parents, node.arrays, node.settings = (), None, {}
    found += gradients.items()
    return found if recorded_as is not None else _own_arrays(found, seed)


def _recorded_operands(node: Node, recorded_as: Callable[[Node, Array], Tensor]) -> list[AnyArray]:
    """The operands for a rule that is recorded: Tensors where a gradient flows, else arrays."""
    return [
        array if parent is None or not parent.requires_grad else recorded_as(parent, array)
        for parent, array in zip(node.parents, node.arrays)
    ]


def _base_has_changed(node: Node) -> bool:
    """Whether the node's array is a view, and what it is a view of has changed since."""
    while node.arrays and is_view(node.array, node.arrays[0]) and (parent := node.parents[0]) is not None:
        if parent.sequence_nr > node.sequence_nr:
            return True
        node = parent
    return False


def _leads_to_wanted(node: Node, relevant: Collection[Node] | None) -> bool:
    """Whether one of the wanted nodes is behind a node."""
    return relevant is None or any(parent in relevant for parent in node.parents)


def _nodes_towards(output: Node, wanted: Collection[Node]) -> set[Node]:
    """All nodes on the way from ``output`` to ``wanted``; the gradients of others are not needed."""
    relevant, oldest = set(wanted), min(node.sequence_nr for node in wanted)
    visited, stack = {output}, [output]
    while stack:
        node = stack.pop()
        if node.is_freed:
            if node in relevant and node.sequence_nr == oldest:
                continue
            raise _freed()
        for parent in node.parents:
            if parent is not None and parent.requires_grad and parent not in visited:
                visited.add(parent)
                stack.append(parent)
    for node in sorted(visited, key=lambda node: node.sequence_nr):  # parents come before what was computed from them
        if _leads_to_wanted(node, relevant):
            relevant.add(node)
    return relevant


def match_operand(op: Op, index: int, part: Any, operand: Array, out: Array) -> Any:
    """The gradient from a rule in the shape and dtype of its operand: undoes broadcasting and type promotion.

    Differences that neither explains are errors of the rule. The gradient of a real operand is the real part.
    """
    shape, dtype = operand.shape, operand.dtype
    if part.shape != shape:
        if not op.broadcasts or not _broadcasts_to(shape, part.shape):
            raise _wrong_gradient(op, index, part, operand)
        part = sum_to_shape(part, shape)
    if part.dtype == dtype:
        return part
    if part.dtype.kind == "c" != dtype.kind:
        part = np.real(part)
    if part.dtype != dtype:
        if _precision(part.dtype) != _precision(out.dtype) or dtype == out.dtype:
            raise _wrong_gradient(op, index, part, operand)
        part = part.astype(dtype)
    return part


def _precision(dtype: Any) -> Any:
    """The dtype of the real part of a complex dtype; any other dtype unchanged."""
    return np.finfo(dtype).dtype if dtype.kind == "c" else dtype


def sum_to_shape(gradient: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Undo broadcasting: sum ``gradient`` over the axes along which an operand of ``shape`` was repeated.

    Examples
    --------
    >>> import numpy as np
    >>> sum_to_shape(np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    """
    if gradient.dtype.char == "e":  # sums of ones in half precision stop at 2,048
        return sum_to_shape(gradient.astype(np.float32), shape).astype(gradient.dtype)
    added = gradient.ndim - len(shape)
    if gradient.shape[added:] == shape:
        return gradient.sum(axis=0 if added == 1 else tuple(range(added)))
    stretched = tuple(added + axis for axis, length in enumerate(shape) if length == 1 != gradient.shape[added + axis])
    return gradient.sum(axis=tuple(range(added)) + stretched, keepdims=True).reshape(shape)


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    aligned = target[len(target) - len(shape) :]
    return shape == aligned or (len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape, aligned)))


def _own_arrays(found: list[tuple[Node, Any]], seed: object) -> list[tuple[Node, Array]]:
    """The gradients as arrays to which nothing else refers, since users may change ``.grad`` in place.

    A rule may return the gradient that it was given, or a view; those are copied. Copying all would cost a pass over
    every parameter in each step.
    """
    seen, own = {id(seed)}, []
    for node, gradient in found:
        if type(gradient) is not ndarray or gradient.base is not None or id(gradient) in seen:
            gradient = np.array(gradient) if isinstance(gradient, np.generic) else gradient.copy()
        seen.add(id(gradient))
        own.append((node, gradient))
    return own


def _freed() -> RuntimeError:
    return RuntimeError(
        "backward: the history has been freed by an earlier backward; pass retain_graph=True to the earlier one"
    )


def _changed(op: Op) -> RuntimeError:
    return RuntimeError(
        f"backward: an operand of {op.name} was changed after it was used (an optimiser step, or tensor.data = ...); "
        "call backward before changing it"
    )


def _wrong_gradient(op: Op, index: int, part: object, operand: Array) -> RuntimeError:
    return RuntimeError(
        f"backward: the gradient rule of {op.name} for operand {index} returned {describe(part)}, "
        f"but the operand is {describe(operand)}; correct the rule"
    )
