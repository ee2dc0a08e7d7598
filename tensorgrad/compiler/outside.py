"""What a function finds outside of itself, by name: a program is for the numbers and objects that were there.

Looked at are the global variables, closures, containers, small arrays, attributes of objects, classes and modules that
the code of the function names, and those of the functions and objects found there. Not those of installed libraries,
nor of this one, whose objects a capture watches; but what a user has put into a network is followed.
"""

from __future__ import annotations

import os
import pickle
import random
import sys
import sysconfig
from collections import deque
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial
from operator import getitem
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Callable

import numpy as np

from ..core import Tensor

MOST_VALUES = 64
"""Values of a name that are remembered."""

LONGEST = 64
"""Items up to which a container or an array is looked into: settings are few, data are many."""

DYNAMIC = {
    *("__dict__", "asdict", "astuple", "attrgetter", "delattr", "eval", "exec", "getattr", "hasattr"),
    *("methodcaller", "setattr", "vars"),
}
"""Where these are named, attributes may be read that are not."""

_PLAIN = (bool, int, float, complex, str, type(None), np.generic)
_COMPARED = (*_PLAIN, bytes, frozenset)
_RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
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
            if now is value or (type(now) is type(value) and isinstance(now, _COMPARED) and now == value):
                self._last = now
                return True
        return False

    def learn(self) -> None:
        """Its present value has been found to give the same program."""
        if not self.is_known():
            self._known = [*self._known, self._now()][-MOST_VALUES:]

    def _now(self) -> Any:
        try:
            return self._read()
        except (KeyError, IndexError, AttributeError, ValueError):
            return _GONE


def outside(function: Callable[..., Any], arguments: Iterable[Any] = ()) -> tuple[list[Name], list[Name]]:
    """The names outside that a function, given these objects as arguments, depends on.

    Then those that it must not change, but others may, such as the states of random generators.
    """
    objects = (x for x in arguments if not isinstance(x, _WITHOUT_INSIDE))
    roots = [("", function), *((f"an argument of type {type(x).__name__}", x) for x in objects)]
    named: set[str] = set()
    while True:  # until no code is met that names more attributes of what is on the way
        known = len(named)
        walk = _walked(roots, named)
        if len(named) == known:
            for module in (random, np.random) if "random" in named else ():
                walk.guard(module.__name__, module)
            return walk.names, list(walk.states.values())


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
            if id(value) in walk.met:
                continue
            walk.met.add(id(value))
            if type(value) is np.ndarray and value.size <= LONGEST:  # Python may have read it
                walk.names.append(Name(f"the numbers in {name}", value.tobytes, value.tobytes()))
            elif (generator := _generator(value)) is not None:
                walk.guard(name, generator)
            elif not isinstance(value, _WITHOUT_INSIDE):
                stack.append((name, value))
    return walk


Inside = Iterator[tuple[str, Callable[[], Any], bool]]
"""Names, how to read what they stand for, and whether another object may take its place."""


class _Walk:
    """What has been found on the way through functions and objects."""

    def __init__(self, function: Any, named: set[str]) -> None:
        self.names: list[Name] = []
        self.states: dict[int, Name] = {}
        self.met: set[int] = set()
        self._named = named  # in the code met so far: the attributes and methods that count
        self._home = str(getattr(function, "__module__", "")).partition(".")[0]

    def guard(self, name: str, generator: Any) -> None:
        """Note the state of a random generator."""
        read = partial(_state, generator)
        self.states[id(generator)] = Name(f"the state of {name}", read, read())

    def inside(self, name: str, value: Any) -> Inside:
        """The names that a value leads to."""
        wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
        if wrapped is not None and not isinstance(wrapped, _WITHOUT_INSIDE):
            yield from self.inside(name, wrapped)
        if isinstance(value, (partial, property, classmethod, staticmethod, MethodType)):
            for part in _parts(value):
                yield from self.inside(name or type(part).__name__, part)
        elif isinstance(value, FunctionType):
            yield from self._inside_function(name, value)
        elif isinstance(value, ModuleType):
            if not self._is_of_a_library(value.__name__):
                yield from self._named_attributes(name, value, vars(value))
        elif isinstance(value, (set, frozenset)):
            read = partial(frozenset if len(value) <= LONGEST else len, value)
            self.names.append(Name(f"what is in {name}", read, read()))
        elif isinstance(value, (dict, list, tuple, deque)):
            if not isinstance(value, tuple):
                self.names.append(Name(f"the length of {name}", partial(len, value), len(value)))
            if len(value) <= LONGEST:
                keys = list(value) if isinstance(value, dict) else range(len(value))
                item: Any = dict.__getitem__ if isinstance(value, dict) else getitem
                may_change = not isinstance(value, tuple)
                yield from ((f"{name}[{key!r}]", partial(item, value, key), may_change) for key in keys)
        elif isinstance(value, type):
            yield from self._inside_class(name, value, value)
        elif any(map(_is_own, type(value).__mro__)):
            yield from self._inside_own(name, value)
            yield from self._inside_class(name, value, type(value))
        else:
            yield from self._inside_object(name, value)
            yield from self._inside_class(name, value, type(value))

    def _inside_function(self, name: str, function: FunctionType) -> Inside:
        cells = zip(function.__code__.co_freevars, function.__closure__ or ())
        yield from ((n, partial(_content, cell), True) for n, cell in cells)
        if not self._is_of_a_library(function.__module__):
            named = _names(function.__code__)
            self._named |= named
            variables = function.__globals__
            yield from ((n, partial(getitem, variables, n), True) for n in named if n in variables)
            for defaults in filter(None, (function.__defaults__, function.__kwdefaults__)):
                yield from self.inside(f"the defaults of {function.__name__}", defaults)

    def _inside_own(self, name: str, value: Any) -> Inside:
        """What a user has put into a network, whose attributes themselves are watched."""
        kind: Any = type(value)
        for key, item in _attributes(value).items() if hasattr(kind, "forward") else ():
            if not isinstance(item, _WITHOUT_INSIDE) and (self._counts(key) or key in _names_of_own(kind)):
                may_change = not isinstance(item, tuple) and not any(map(_is_own, type(item).__mro__))
                yield f"{name}.{key}", partial(getattr, value, key), may_change

    def _inside_object(self, name: str, value: Any) -> Inside:
        foreign = self._is_of_a_library(type(value).__module__)
        if not foreign and isinstance(own := getattr(value, "__dict__", None), dict):
            self.names.append(Name(f"the number of attributes of {name}", partial(len, own), len(own)))
        plain = (*_PLAIN, dict, list, tuple, type(value))
        for key, item in _attributes(value).items():
            if self._counts(key) and (not foreign or isinstance(item, plain)):
                yield f"{name}.{key}", partial(getattr, value, key), True

    def _inside_class(self, name: str, value: Any, kind: type) -> Inside:
        """The methods of a class that may be called, and its attributes that they or others name."""
        members = [vars(c) for c in kind.__mro__ if not self._is_of_a_library(c.__module__)]
        known_to_libraries = {key for c in kind.__mro__ if self._is_of_a_library(c.__module__) for key in vars(c)}
        functions = (FunctionType, property, classmethod, staticmethod)
        for key, method in (pair for found in members for pair in found.items() if isinstance(pair[1], functions)):
            makes_it = key in ("__init__", "__new__", "__post_init__") and not isinstance(value, type)  # it is made
            if (self._counts(key) or key in known_to_libraries or key.startswith("__")) and not makes_it:
                yield from self.inside(name, method)
        for found in members:
            rest = {
                key: item for key, item in found.items() if not isinstance(item, (*functions, MemberDescriptorType))
            }
            yield from self._named_attributes(name, value, rest)

    def _counts(self, key: str) -> bool:
        """Whether the code may read that attribute, or call that method."""
        return key in self._named or not DYNAMIC.isdisjoint(self._named)

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
def _names_of_own(kind: type) -> set[str]:
    """The names in the code of those of a class's methods that are of this library."""
    methods = (x for c in kind.__mro__ if _is_own(c) for x in vars(c).values() if isinstance(x, FunctionType))
    return set().union(*(_names(method.__code__) for method in methods))


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
    """The names in a function's code, and in that of functions inside it; also as text, as for getattr."""
    found = set(code.co_names)
    for constant in code.co_consts:
        found.update(_names(constant) if isinstance(constant, CodeType) else _texts(constant))
    return found


def _texts(constant: Any) -> Iterator[str]:
    if isinstance(constant, str):
        yield constant
    elif isinstance(constant, tuple):
        for item in constant:
            yield from _texts(item)


def _content(cell: CellType) -> Any:
    return cell.cell_contents


def _generator(value: Any) -> Any:
    """The random generator that a value is, or a method of which; None for others."""
    owner = value.__self__ if isinstance(value, (MethodType, BuiltinFunctionType)) else None
    for x in (value, owner):
        if isinstance(x, _RANDOM) or x is random or x is np.random:
            return x
    return None


def _state(generator: Any) -> bytes:
    """Equal for generators that give the same numbers."""
    if isinstance(generator, np.random.Generator):
        return pickle.dumps(generator.bit_generator.state)
    return pickle.dumps((getattr(generator, "get_state", None) or generator.getstate)())
