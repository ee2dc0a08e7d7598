"""Snapshot: what a module and its containers hold, to tell later whether a walk would find the same."""

from __future__ import annotations

from collections.abc import Collection
from operator import is_
from typing import Any


class Snapshot:
    """What was found in a module, and the objects that were met on the way, by identity.

    It is kept as the last attribute of the module, and refers neither to that nor to itself, so that a network that
    nobody uses is freed at once. A copied or pickled module has None in its place.

    Attributes
    ----------
    found
        What the walk has found.
    """

    __slots__ = ("_classes", "_held", "_own", "found")

    def __init__(self, module: object, found: list[Any]) -> None:
        self.found = found
        self._own = (type(module), tuple(vars(module).values()))
        self._classes: list[tuple[object, type]] = []
        self._held: list[tuple[Collection[Any], tuple[Any, ...]]] = []  # a live view of values, and what it showed

    def __reduce__(self) -> Any:
        return type(None), ()

    def is_current(self, module: object) -> bool:
        """Whether the module and the containers hold the very same objects, in the same order."""
        kind, own = self._own
        now = vars(module).values()  # of which the last is this snapshot
        if type(module) is not kind or len(now) != len(own) + 1 or not all(map(is_, own, now)):
            return False
        for view, then in self._held:
            if len(view) != len(then) or not all(map(is_, view, then)):
                return False
        return all(type(inner) is its_class for inner, its_class in self._classes)

    def watch(self, inner: object) -> None:
        """Take note of the attributes and the class of a module inside."""
        self._classes.append((inner, type(inner)))
        self.hold(vars(inner).values())

    def hold(self, values: Collection[Any]) -> None:
        """Take note of what is in a list, or of a view of the values of a dict."""
        self._held.append((values, tuple(values)))
