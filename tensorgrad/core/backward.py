"""The backward pass: from the gradient of a result to those of what it was computed from.

Without what makes it safe and spares work it is the chain rule in four lines::

    gradients = {output: 1}
    for node in reached(gradients, latest_first=True):
        for rule, parent in zip(node.op.rules, node.parents):
            gradients[parent] += rule(gradients[node], node.array, *node.arrays)

A node is always made later than its parents, so visiting the latest first is a topological order; a leaf whose node
is later than what was computed from it has been changed since, which is an error.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Callable

import numpy as np
from numpy import ndarray

from .arrays import AnyArray, Array, describe, is_view
from .context import Watcher, _capture, _recording
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
    """Follow the history of ``output`` back, the latest node first, and return the gradients found.

    Parameters
    ----------
    output, seed
        Where to start, and the gradient of the loss with respect to it.
    wanted
        The nodes whose gradients are asked for; only what leads to them is computed. Default: every source.
    retain_graph
        Keep the history. By default each node is freed as soon as it has been used.
    recorded_as
        ``recorded_as(node, array)`` gives a Tensor: the rules are called with Tensors, so that the gradients are
        recorded in turn, where recording is on. Default: they are called with arrays.
    retained
        Nodes whose gradients are returned as well, where all sources are asked for.

    Returns
    -------
    list of (Node, gradient)
        Gradients are Tensors with ``recorded_as``, else arrays that nobody else holds.
    """
    relevant, returned = (None, retained) if wanted is None else (_leading_to(output, wanted), wanted)
    found: list[tuple[Node, Any]] = []
    gradients = {output: seed}  # those of sources, which lead nowhere, are left for the end
    buffers: set[Node] = set()  # the nodes whose gradient so far nobody else holds, so that it is added to in place
    latest_first = [(-output.sequence_nr, output)] if output.op is not None else []
    watcher = recording if isinstance(recording := _recording.get(), Watcher) else None
    in_place = watcher is None and _capture.get() is None
    while latest_first:
        node = heappop(latest_first)[1]
        gradient = gradients.pop(node)
        if returned is not None and node in returned:
            found.append((node, gradient))
            if wanted is not None and (node.is_freed or not _leads_on(node, relevant)):
                continue
        op: Any = node.op
        arrays, settings, out = node.arrays, node.settings, node.array
        if arrays is None:
            raise _freed()
        values, out = (_live(node, recorded_as), recorded_as(node, out)) if recorded_as else (arrays, out)
        accumulate = op.accumulate if in_place and type(gradient) is ndarray else None
        parts = op.rules[0](gradient, out, *values, **settings) if op.arity is None else None
        for index, parent in enumerate(node.parents):
            if parent is None:
                continue
            if parent.sequence_nr > node.sequence_nr or (relevant is not None and _shows_a_change(parent)):
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
                if watcher is not None:
                    watcher.differentiated(node, index, gradient, part)
                if part.shape != operand.shape or part.dtype != operand.dtype:
                    part = fitted(op, index, part, operand, node.array)
                gradients[parent] = part if so_far is None else so_far + part
            if so_far is None and parent.op is not None:
                heappush(latest_first, (-parent.sequence_nr, parent))
        if not retain_graph:
            node.parents, node.arrays, node.settings = (), None, {}
    found += gradients.items()
    return found if recorded_as is not None else _unshared(found, seed)


def _live(node: Node, recorded_as: Callable[[Node, Array], Tensor]) -> list[AnyArray]:
    """Operands for a rule that is recorded: Tensors where a gradient flows, else the values of the forward pass."""
    return [
        array if parent is None or not parent.requires_grad else recorded_as(parent, array)
        for parent, array in zip(node.parents, node.arrays)
    ]


def _shows_a_change(node: Node) -> bool:
    """Whether its array is a view of one that has been written into since; where all is visited, that is noticed."""
    while node.arrays and is_view(node.array, node.arrays[0]) and (parent := node.parents[0]) is not None:
        if parent.sequence_nr > node.sequence_nr:
            return True
        node = parent
    return False


def _leads_on(node: Node, relevant: Collection[Node] | None) -> bool:
    """Whether anything that is asked for lies behind a node."""
    return relevant is None or any(parent in relevant for parent in node.parents)


def _leading_to(output: Node, wanted: Collection[Node]) -> set[Node]:
    """All nodes between ``wanted`` and ``output``; nothing else needs to be computed."""
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
    for node in sorted(visited, key=lambda node: node.sequence_nr):  # parents are decided before what uses them
        if _leads_on(node, relevant):
            relevant.add(node)
    return relevant


def fitted(op: Op, index: int, part: Any, operand: Array, out: Array) -> Any:
    """A rule's gradient in its operand's shape and dtype, where broadcasting or mixed dtypes explain a difference.

    To a real operand belongs the real part: the other one says what would happen if it could move off the real axis.
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
    """The dtype of the parts of a complex dtype; any other as it is."""
    return np.finfo(dtype).dtype if dtype.kind == "c" else dtype


def sum_to_shape(gradient: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Undo broadcasting: sum ``gradient`` over the axes along which an operand of ``shape`` was repeated.

    Examples
    --------
    >>> import numpy as np
    >>> sum_to_shape(np.ones((2, 3)), (3,))
    array([2., 2., 2.])
    """
    if gradient.dtype.char == "e":  # half precision does not count beyond 2,048
        return sum_to_shape(gradient.astype(np.float32), shape).astype(gradient.dtype)
    added = gradient.ndim - len(shape)
    if gradient.shape[added:] == shape:
        return gradient.sum(axis=0 if added == 1 else tuple(range(added)))
    stretched = tuple(added + axis for axis, length in enumerate(shape) if length == 1 != gradient.shape[added + axis])
    return gradient.sum(axis=tuple(range(added)) + stretched, keepdims=True).reshape(shape)


def _broadcasts_to(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    aligned = target[len(target) - len(shape) :]
    return shape == aligned or (len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape, aligned)))


def _unshared(found: list[tuple[Node, Any]], seed: object) -> list[tuple[Node, Array]]:
    """The gradients as arrays that nobody else holds: ``.grad`` belongs to the user, who may change it.

    A rule gives a new array, or hands on the gradient that it was given, or a view. Copying always would cost a pass
    over every parameter in each step.
    """
    handed_on, own = {id(seed)}, []
    for node, gradient in found:
        if type(gradient) is not ndarray or gradient.base is not None or id(gradient) in handed_on:
            gradient = np.array(gradient) if isinstance(gradient, np.generic) else gradient.copy()
        handed_on.add(id(gradient))
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
