"""Nested containers: how to map over them, and what any object holds that is there to hold others."""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, deque
from collections.abc import ItemsView, Iterable, Iterator, ValuesView
from contextlib import suppress
from functools import partial
from inspect import getclosurevars
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import Any, Callable

import numpy as np


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


_IN_A_ROW = (list, tuple, deque, UserList, ValuesView, ItemsView)
_BY_KEY = (dict, MappingProxyType, UserDict, ChainMap)


def parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """What an object holds whose purpose is to hold others, by key; of any other object nothing.

    That is the items of sequences, dicts and arrays of objects, the attributes of dataclasses and namespaces, the
    object of a bound method, the function and arguments of a partial, and the variables of a function (see
    :func:`variables`). The key None stands for the object itself. Sets, which have no order, are left to the caller.

    >>> from functools import partial
    >>> list(parts({"a": 1}))
    [('a', 1)]
    >>> list(parts(partial(max, 1, key=abs)))
    [('func', <built-in function max>), ('args', (1,)), ('keywords', {'key': <built-in function abs>})]
    """
    if isinstance(value, _IN_A_ROW):
        return enumerate(value)
    if isinstance(value, _BY_KEY):
        return value.items()
    if isinstance(value, np.ndarray):
        return [(None, value.tolist())] if value.dtype.hasobject else ()
    if isinstance(value, FunctionType):
        return variables(value).items()
    if isinstance(value, MethodType):
        return [(None, value.__self__)]
    if isinstance(value, partial):
        return [(name, getattr(value, name)) for name in ("func", "args", "keywords")]
    if isinstance(value, SimpleNamespace) or hasattr(type(value), "__dataclass_fields__"):
        return attributes(value)
    own = _own(value)
    return [(None, own["__wrapped__"])] if "__wrapped__" in own else ()


def attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object itself, those in slots included."""
    yield from _own(value).items()
    for kind in type(value).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, MemberDescriptorType) and name[:2] != "__":  # not those of Python, as __globals__
                with suppress(AttributeError):  # a slot that has no value
                    yield name, member.__get__(value)


def _own(value: Any) -> dict[str, Any]:
    """The ``__dict__`` of an object, without asking the object."""
    try:
        found: dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return found


def variables(function: FunctionType) -> dict[str, Any]:
    """The values that a function finds in its defaults, its closure and, but for functions, among the globals.

    >>> y = 2.0
    >>> variables(lambda x, z=3.0: x + y + z)
    {'z': 3.0, 'y': 2.0}
    """
    parameters = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    found = dict(zip(parameters[len(parameters) - len(defaults) :], defaults))
    found.update(function.__kwdefaults__ or {})
    with suppress(ValueError):  # a variable that has no value yet
        in_closure, in_globals, *_ = getclosurevars(function)
        found.update(in_closure)
        found.update((name, x) for name, x in in_globals.items() if not isinstance(x, (FunctionType, ModuleType, type)))
    return found


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict of {list(value)}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return type(value).__name__
