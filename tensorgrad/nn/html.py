"""HTML of a module for notebooks: the tree of its layers, with shapes and numbers of parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._html import card, folded, table
from ..core import Tensor
from .summary import Summary
from .tree import in_a_line

if TYPE_CHECKING:
    from .module import Module

DEEPEST_OPEN = 2
"""Levels of the tree that are open at first."""


def module_html(module: Module) -> str:
    """The module as HTML."""
    facts = [Summary(module, ()).totals(), "in training mode" if module.training else "in evaluation mode"]
    return card(type(module).__name__, facts, _inside(module, 1, (id(module),)))


def _inside(module: Module, level: int, around: tuple[int, ...]) -> str:
    """What a module holds itself, and the modules inside it; a reference back to one around it is not followed."""
    tensors = [(name, tensor) for name, tensor, _ in module._members() if isinstance(tensor, Tensor) and tensor.is_leaf]
    rows = [(name, str(x.shape), str(x.dtype), "" if x.requires_grad else "no parameter") for name, x in tensors]
    own = table(("tensor", "shape", "dtype", ""), rows) if rows else ""
    children = (
        _child(name, child, level, around) for name, child in module.named_children() if id(child) not in around
    )
    return own + "".join(children)


def _child(name: str, child: Module, level: int, around: tuple[int, ...]) -> str:
    content = _inside(child, level + 1, (*around, id(child)))
    has_children = any(True for _ in child.named_children())
    title = type(child).__name__ if has_children else in_a_line(child)
    count = sum(parameter.size for parameter in child.parameters())
    return folded(f"{name}: {title}", _count(count) if count else "", content, has_children and level < DEEPEST_OPEN)


def _count(parameters: int) -> str:
    return f"{parameters:,} parameters" if parameters != 1 else "1 parameter"
