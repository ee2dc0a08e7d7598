"""What a function finds outside of itself, by name: a program is for the numbers and objects that were there.

Looked at are the global variables, closures, containers, attributes of objects, classes and modules that the code of
the function names, and those of the functions and objects found there. Not those of installed libraries, nor of this
one, whose objects a capture watches; but what a user has put into a network is followed.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from operator import getitem
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Callable

import numpy as np

from ..tensor import Tensor
from .traced import CaptureError

MOST_VALUES = 64
"""What has had more values than that changes in each call."""

LONGEST = 64
"""Items up to which a container is looked into: settings are few, data are many."""

_PLAIN = (bool, int, float, complex, str, type(None), np.generic)
_WITHOUT_INSIDE = (*_PLAIN, np.ndarray, np.ufunc, np.random.Generator, BuiltinFunctionType, Tensor)
_OWN = __name__.partition(".")[0]
_GONE = object()


class Name:
    """One name outside: how it is read, and the values with which the program is the same."""

    def __init__(self, name: str, read: Callable[[], Any], value: Any) -> None:
        self.name, self._read, self._last, self._known = name, read, value, [value]

    def is_known(self) -> bool:
        """Whether its value now is one of those: the same object, or an equal number or text."""
        now = self._now()
        if now is self._last:
            return True
        for value in self._known:
            if now is value or (type(now) is type(value) and isinstance(now, _PLAIN) and now == value):
                self._last = now
                return True
        return False

    def learn(self) -> None:
        """Its present value has been found to give the same program."""
        if self.is_known():
            return
        if len(self._known) >= MOST_VALUES:
            raise CaptureError(
                f"compile: {self.name}, from outside the function, has had {MOST_VALUES} values, and for each the "
                "function is recorded anew; pass it as an argument, a number as a 0-d array"
            )
        self._known.append(self._now())

    def _now(self) -> Any:
        try:
            return self._read()
        except (KeyError, IndexError, AttributeError, ValueError):
            return _GONE


def outside(function: Callable[..., Any], arguments: Iterable[Any] = ()) -> tuple[list[Name], list[Container]]:
    """The names outside that a function, given these objects as arguments, depends on, and the containers there."""
    objects = (x for x in arguments if not isinstance(x, _WITHOUT_INSIDE))
    roots = [("", function), *((f"an argument of type {type(x).__name__}", x) for x in objects)]
    named: set[str] = set()
    while True:  # until no code is met that names more attributes of the modules and classes on the way
        known = len(named)
        walk = _walked(roots, named)
        if len(named) == known:
            return walk.names, walk.containers


def _walked(roots: list[tuple[str, Any]], named: set[str]) -> _Walk:
    walk, stack = _Walk(roots[0][1], named), list(roots)
    while stack:
        for name, read, may_change in walk.inside(*stack.pop()):
            try:
                value = read()
            except (ValueError, AttributeError):  # a variable that has no value yet
                continue
            if may_change and not isinstance(value, ModuleType):
                walk.names.append(Name(name, read, value))
            if id(value) not in walk.met and not isinstance(value, _WITHOUT_INSIDE):
                walk.met.add(id(value))
                stack.append((name, value))
    return walk


class Container:
    """A list or dict outside, of which items are added or taken away by what should not do so."""

    def __init__(self, name: str, items: Any) -> None:
        self.name, self._items, self._count = name, items, len(items)

    def has_changed(self) -> bool:
        """Whether it has more or fewer items than before."""
        return len(self._items) != self._count


Inside = Iterator[tuple[str, Callable[[], Any], bool]]
"""Names, how to read what they stand for, and whether another object may take its place."""


class _Walk:
    """What has been found on the way through functions and objects."""

    def __init__(self, function: Any, named: set[str]) -> None:
        self.names: list[Name] = []
        self.containers: list[Container] = []
        self.met: set[int] = set()
        self._named = named  # in the code met so far: the attributes of modules and classes that count
        self._home = str(getattr(function, "__module__", "")).partition(".")[0]

    def inside(self, name: str, value: Any) -> Inside:
        """The names that a value leads to."""
        if isinstance(value, (partial, property, classmethod, staticmethod, MethodType)):
            for part in _parts(value):
                yield from self.inside(name, part)
        elif isinstance(value, FunctionType):
            yield from self._inside_function(name, value)
        elif isinstance(value, ModuleType):
            if not self._is_of_a_library(value.__name__):
                yield from self._named_attributes(name, value, vars(value))
        elif isinstance(value, (dict, list, tuple, deque)):
            self.containers.append(Container(name, value))
            if len(value) <= LONGEST:
                keys = list(value) if isinstance(value, dict) else range(len(value))
                read: Any = dict.__getitem__ if isinstance(value, dict) else getitem
                may_change = not isinstance(value, tuple)
                yield from ((f"{name}[{key!r}]", partial(read, value, key), may_change) for key in keys)
        elif isinstance(value, type):
            yield from self._inside_class(name, value, value)
        else:
            yield from self._inside_object(name, value)

    def _inside_function(self, name: str, function: FunctionType) -> Inside:
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        yield from ((n, partial(_content, cell), True) for n, cell in cells)
        if not self._is_of_a_library(function.__module__):
            named = _names(function.__code__)
            self._named |= named
            variables = function.__globals__
            yield from ((n, partial(getitem, variables, n), True) for n in named if n in variables)
            yield from self.inside(name, function.__defaults__ or ())
            yield from self.inside(name, function.__kwdefaults__ or {})

    def _inside_object(self, name: str, value: Any) -> Inside:
        attributes = _attributes(value)
        if any(map(_is_own, type(value).__mro__)):  # whose attributes are watched, but not what is inside of them
            for key, item in attributes.items() if hasattr(value, "forward") else ():
                if not isinstance(item, _WITHOUT_INSIDE):
                    may_change = not isinstance(item, tuple) and not any(map(_is_own, type(item).__mro__))
                    yield f"{name}.{key}", partial(getattr, value, key), may_change
        elif len(attributes) <= LONGEST:
            foreign = self._is_of_a_library(type(value).__module__)
            plain = (*_PLAIN, dict, list, tuple, type(value))
            keys = [key for key, item in attributes.items() if not foreign or isinstance(item, plain)]
            yield from ((f"{name}.{key}", partial(getattr, value, key), True) for key in keys)
        yield from self._inside_class(name, value, type(value))

    def _inside_class(self, name: str, value: Any, kind: type) -> Inside:
        """The methods of a class, and its attributes that they or others name, read from it or from an object of it."""
        members = [vars(c) for c in kind.__mro__ if not self._is_of_a_library(c.__module__)]
        functions = (FunctionType, property, classmethod, staticmethod)
        for method in (item for found in members for item in found.values() if isinstance(item, functions)):
            yield from self.inside(name, method)
        for found in members:
            rest = {
                key: item for key, item in found.items() if not isinstance(item, (*functions, MemberDescriptorType))
            }
            yield from self._named_attributes(name, value, rest)

    def _named_attributes(self, name: str, value: Any, attributes: Iterable[str]) -> Inside:
        chosen = [key for key in attributes if key in self._named and not key.startswith("__")]
        yield from ((f"{name}.{key}", partial(getattr, value, key), True) for key in chosen)

    def _is_of_a_library(self, module: str) -> bool:
        package = str(module).partition(".")[0]
        return package == _OWN or (package != self._home and _is_library(str(module)))


def _parts(value: Any) -> Iterator[Any]:
    """What wraps functions, as what it wraps."""
    parts = ("func", "args", "keywords", "__func__", "__self__", "fget")
    yield from (getattr(value, part) for part in parts if getattr(value, part, None) is not None)


def _attributes(value: Any) -> dict[str, Any]:
    """Those in slots as well, but for private ones."""
    given = (vars(c).get("__slots__", ()) for c in type(value).__mro__)
    slots = [slot for names in given for slot in ((names,) if isinstance(names, str) else names) if slot[0] != "_"]
    found = {slot: getattr(value, slot) for slot in slots if hasattr(value, slot)}
    attributes = getattr(value, "__dict__", None)
    return {**found, **attributes} if isinstance(attributes, dict) else found


def _is_own(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] == _OWN


@lru_cache(maxsize=1024)
def _is_library(name: str) -> bool:
    """Whether a module is built in or of an installed package."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return name in sys.builtin_module_names
    installed = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    return any(file.startswith(os.path.join(path, "")) for path in installed)


def _names(code: CodeType) -> set[str]:
    """The names in a function's code, and in that of functions inside it."""
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*inner)


def _content(cell: CellType) -> Any:
    return cell.cell_contents
