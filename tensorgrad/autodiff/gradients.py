"""Derivatives as values: what is built on the backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from ..core import Tensor, backward_pass, seed_for
from ..core.context import recorded
from ..core.tensor import as_used, history


@overload
def gradients(
    output: Tensor, inputs: Tensor, gradient: Any = ..., create_graph: bool = ..., retain_graph: bool | None = ...
) -> Tensor: ...
@overload
def gradients(
    output: Tensor,
    inputs: Sequence[Tensor],
    gradient: Any = ...,
    create_graph: bool = ...,
    retain_graph: bool | None = ...,
) -> list[Tensor]: ...
def gradients(
    output: Tensor,
    inputs: Tensor | Sequence[Tensor],
    gradient: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Tensor | list[Tensor]:
    """Gradients of ``output`` with respect to ``inputs``, as Tensors; no ``.grad`` is touched.

    Parameters
    ----------
    output
        Tensor computed from the inputs.
    inputs
        One Tensor or a sequence of them, leaves or intermediate results; each must require gradients.
    gradient
        Gradient of the loss with respect to ``output``, of its shape. Default: 1, for an output of one element.
    create_graph
        Record the gradients, so that they can be differentiated again.
    retain_graph
        Keep the history for another call. Default: as ``create_graph``.

    Returns
    -------
    Tensor or list of Tensors
        As ``inputs``; zeros for an input that the output does not depend on.

    Raises
    ------
    RuntimeError
        If nothing was recorded, the history has been freed, or an input was changed since it was used.
    ValueError
        If an input does not require gradients, or ``gradient`` does not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor(2.0, requires_grad=True)
    >>> first = tg.gradients(x**3, x, create_graph=True)
    >>> first.item(), tg.gradients(first, x).item()
    (12.0, 12.0)
    """
    origin = history(output)
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    for position, tensor in enumerate(wanted):
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            raise ValueError(
                f"gradients: input {position} is not a Tensor that requires gradients (requires_grad=True)"
            )
        if history(tensor).order > origin.order:
            raise RuntimeError(
                f"gradients: input {position} was made or changed after the output was computed; compute it again"
            )
    if not wanted:
        return []
    retain = create_graph if retain_graph is None else retain_graph
    results = swept(output, wanted, seed_for(output, gradient), create_graph, retain)
    return results[0] if isinstance(inputs, Tensor) else results


def swept(output: Tensor, wanted: Sequence[Tensor], seed: Any, create_graph: bool, retain_graph: bool) -> list[Tensor]:
    """The gradients of ``wanted`` as Tensors, zeros where ``output`` does not depend on one; nothing is checked."""
    nodes = [history(tensor) for tensor in wanted]
    if create_graph:
        with recorded():
            seed = seed if isinstance(seed, Tensor) else Tensor(seed)
            found = backward_pass(history(output), seed, set(nodes), retain_graph, recorded_as=as_used)
            gradients = {node: _unshared(part) for node, part in found}
    else:
        seed = seed.data if isinstance(seed, Tensor) else seed
        gradients = dict(backward_pass(history(output), seed, set(nodes), retain_graph))
    parts = (gradients.get(node) for node in nodes)
    return [_tensor(np.zeros_like(t._array) if part is None else part) for t, part in zip(wanted, parts)]


def _tensor(part: Any) -> Tensor:
    return part if isinstance(part, Tensor) else Tensor(part)


def _unshared(part: Any) -> Tensor:
    """A recorded gradient as a Tensor with an array of its own: rules may hand one on to several operands."""
    copy: Tensor = _tensor(part) + 0
    return copy
