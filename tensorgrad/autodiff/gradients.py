"""Gradients as values, without setting ``.grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, overload

import numpy as np

from .._pytree import tree_flatten, tree_unflatten
from ..core import Operand, Tensor, backward_pass, seed_for
from ..core.context import recorded
from ..core.tensor import as_used, history
from .networks import with_parameters

T = TypeVar("T")


@overload
def gradients(
    output: Tensor, inputs: Tensor, gradient: Operand = ..., create_graph: bool = ..., retain_graph: bool | None = ...
) -> Tensor: ...
@overload
def gradients(
    output: Tensor,
    inputs: Sequence[Tensor],
    gradient: Operand = ...,
    create_graph: bool = ...,
    retain_graph: bool | None = ...,
) -> list[Tensor]: ...
@overload
def gradients(
    output: Tensor, inputs: T, gradient: Operand = ..., create_graph: bool = ..., retain_graph: bool | None = ...
) -> T: ...
def gradients(
    output: Tensor,
    inputs: Any,
    gradient: Any = None,
    create_graph: bool = False,
    retain_graph: bool | None = None,
) -> Any:
    """Gradients of ``output`` with respect to ``inputs``, as Tensors; no ``.grad`` is touched.

    Parameters
    ----------
    output
        Tensor computed from the inputs.
    inputs
        One Tensor, a sequence of them or any nested container, leaves of the history or intermediate results; each must
        require gradients. A network stands for a dict of its parameters by name.
    gradient
        Gradient of the loss with respect to ``output``, of its shape. Default: 1, for an output of one element.
    create_graph
        Record the gradients, so that they can be differentiated again.
    retain_graph
        Keep the history for another call. Default: as ``create_graph``.

    Returns
    -------
    Tensor, list of Tensors or container of them
        As ``inputs``, a list for any sequence but a namedtuple; zeros for an input that the output does not depend on.

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
    >>> layer = tg.nn.Dense(2, 1)
    >>> found = tg.gradients(layer(np.ones(2)).sum(), layer)
    >>> {name: gradient.shape for name, gradient in found.items()}
    {'weight': (2, 1), 'bias': (1,)}
    """
    origin = history(output)
    wanted, structure = tree_flatten(with_parameters(inputs))
    if structure.kind in (None, tuple) and not isinstance(inputs, Tensor):  # of an iterator, say, a list
        wanted, structure = tree_flatten(with_parameters(list(inputs)))
    for position, tensor in enumerate(wanted):
        if not isinstance(tensor, Tensor) or not tensor.requires_grad:
            raise ValueError(
                f"gradients: input {position} is not a Tensor that requires gradients (requires_grad=True)"
            )
        if history(tensor).sequence_nr > origin.sequence_nr:
            raise RuntimeError(
                f"gradients: input {position} was made or changed after the output was computed; compute it again"
            )
    if not wanted:
        return tree_unflatten(structure, [])
    retain = create_graph if retain_graph is None else retain_graph
    return tree_unflatten(structure, gradients_of(output, wanted, seed_for(output, gradient), create_graph, retain))


def gradients_of(
    output: Tensor, wanted: Sequence[Tensor], seed: Any, create_graph: bool, retain_graph: bool
) -> list[Tensor]:
    """The gradients of ``wanted`` as Tensors, zeros where ``output`` does not depend on one; no argument checks."""
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


def _unshared(part: object) -> Tensor:
    """A recorded gradient as a Tensor with its own array, as a rule may return the same one for several operands."""
    copy: Tensor = _tensor(part) + 0
    return copy
