"""Networks among the arguments of a transform: it differentiates with respect to their parameters.

A network is any object with ``named_parameters`` and ``with_tensors``, as a :class:`tensorgrad.nn.Module` has them.
"""

from __future__ import annotations

from typing import Any

from numpy import ndarray

from .._pytree import flatten_up_to, tree_flatten, tree_leaves, tree_map, tree_unflatten
from ..core import Tensor


def is_network(leaf: object) -> bool:
    """Whether it has parameters."""
    kind = type(leaf)
    return kind is not ndarray and kind is not Tensor and hasattr(kind, "named_parameters")


def with_parameters(tree: object) -> Any:
    """The container with each network replaced by the dict of its parameters, by name."""
    if not any(map(is_network, tree_leaves(tree))):
        return tree
    return tree_map(lambda leaf: dict(leaf.named_parameters()) if is_network(leaf) else leaf, tree)


def with_networks(tree: object, parameters: object) -> Any:
    """The inverse of :func:`with_parameters`: copies of the networks in ``tree`` with these parameters."""
    leaves, structure = tree_flatten(tree)
    others = flatten_up_to(structure, parameters)
    return tree_unflatten(structure, [_filled(leaf, other) for leaf, other in zip(leaves, others)])


def _filled(leaf: Any, other: Any) -> Any:
    if not is_network(leaf):
        return other
    return leaf.with_tensors({name: other[name] for name, _ in leaf.named_parameters()})
