"""What a function finds outside of itself, by name: a program is for the numbers and objects that were there.

Looked at are the global variables, closures, dicts, lists, tuples and attributes that the code of the function names,
and those of the functions and objects found there. Not those of installed libraries, nor of this one, whose objects a
capture watches.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache, partial
from operator import getitem
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Callable

import numpy as np

from .traced import CaptureError

MOST_VALUES = 64
"""What has had more values than that changes in each call."""

LONGEST = 64
"""Items up to which a container is looked into: settings are few, data are many."""

_PLAIN = (bool, int, float, complex, str, type(None), np.generic)
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


def names(function: Callable[..., Any]) -> list[Name]:
    """The names outside that a function depends on."""
    found: list[Name] = []
    met: set[int] = set()
    stack: list[tuple[str, Any]] = [("", function)]
    while stack:
        for name, read in _inside(*stack.pop()):
            try:
                value = read()
            except ValueError:  # a variable that has no value yet
                continue
            if isinstance(value, (ModuleType, type, BuiltinFunctionType, np.ufunc)):
                continue
            found.append(Name(name, read, value))
            if id(value) not in met and not isinstance(value, (*_PLAIN, np.ndarray)):
                met.add(id(value))
                stack.append((name, value))
    return found


def _inside(name: str, value: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The names that a value leads to, and how to read what they stand for."""
    if isinstance(value, partial):
        for inner in (value.func, value.args, value.keywords):
            yield from _inside(name, inner)
    elif isinstance(value, MethodType):
        yield from _inside(name, value.__func__)
        yield from _inside(name, value.__self__)
    elif isinstance(value, FunctionType):
        if not _is_of_a_library(value):
            variables = value.__globals__
            yield from ((n, partial(getitem, variables, n)) for n in _names(value.__code__) if n in variables)
            cells = zip(value.__code__.co_freevars, value.__closure__ or ())
            yield from ((n, partial(_content, cell)) for n, cell in cells)
            yield from _inside(name, value.__defaults__ or ())
            yield from _inside(name, value.__kwdefaults__ or {})
    elif type(value) in (dict, list, tuple):
        keys = list(value) if type(value) is dict else range(len(value))
        if len(value) <= LONGEST:
            yield from ((f"{name}[{key!r}]", partial(getitem, value, key)) for key in keys)
    elif isinstance(attributes := getattr(value, "__dict__", None), dict):
        classes = type(value).__mro__[:-1]  # without object
        foreign = any(map(_is_of_a_library, classes))
        if not any(map(_is_own, classes)) and len(attributes) <= LONGEST:
            keys = [key for key, item in attributes.items() if not foreign or isinstance(item, _PLAIN)]
            yield from ((f"{name}.{key}", partial(getattr, value, key)) for key in keys)
        for method in (m for c in classes if not _is_of_a_library(c) for m in vars(c).values()):
            if isinstance(method, FunctionType):
                yield from _inside(name, method)


def _is_own(value: Any) -> bool:
    return str(value.__module__).partition(".")[0] == __name__.partition(".")[0]


def _is_of_a_library(value: Any) -> bool:
    return _is_own(value) or _is_library(str(value.__module__))


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
