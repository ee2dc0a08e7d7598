"""Nested containers: dicts, lists, tuples and namedtuples, with anything else as leaves."""

from __future__ import annotations

from typing import Any, Callable


def mapped(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """``function`` of each leaf of ``tree`` and of what ``others`` hold at its place, in containers like ``tree``'s.

    Leaves are visited in the order of ``tree``; dicts keep it, and others are looked up by key.

    Raises
    ------
    ValueError
        If another one lacks a container of ``tree``, or has other keys or another length there.

    Examples
    --------
    >>> mapped(lambda x, y: x + y, {"a": [1, 2], "b": 3}, {"b": 30, "a": (10, 20)})
    {'a': [11, 22], 'b': 33}
    """
    if isinstance(tree, dict):
        for other in others:
            if not isinstance(other, dict) or other.keys() != tree.keys():
                raise ValueError(f"expected a dict of {list(tree)}, got {_in_words(other)}")
        result = tree.copy()
        for key in tree:
            result[key] = mapped(function, tree[key], *(other[key] for other in others))
        return result
    if isinstance(tree, (list, tuple)):
        for other in others:
            if not isinstance(other, (list, tuple)) or len(other) != len(tree):
                raise ValueError(f"expected a {type(tree).__name__} of {len(tree)}, got {_in_words(other)}")
        items = [mapped(function, *parts) for parts in zip(tree, *others)]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(tree, *others)


def leaves(tree: Any) -> list[Any]:
    """The leaves of a container in order; of anything else, itself.

    >>> leaves({"a": [1, 2], "b": (3, None)})
    [1, 2, 3, None]
    """
    found: list[Any] = []
    mapped(found.append, tree)
    return found


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict of {list(value)}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
