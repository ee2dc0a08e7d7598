"""What belongs to a module: the tensors, modules and random generators that it holds, wherever they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Callable, cast

import numpy as np

from .._pytree import parts
from ..core import Tensor
from .snapshot import Snapshot

if TYPE_CHECKING:
    from typing_extensions import TypeGuard

    from .module import Module


class Tree:
    """How a module finds what belongs to it; a mixin."""

    _unnamed: str = ""  # an attribute whose items are named without it
    _stand_ins: frozenset[int] = frozenset()  # the identities of tensors that stand in for parameters

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        return ((name, value) for name, value, _ in self._members() if is_module(value))

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it."""
        return (module for _, module in self.named_modules())

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors, parameters and others, with dotted names."""
        found = self._named(Tensor)
        others = self._stand_ins
        return ((name, x) for name, x in found if x.is_leaf or id(x) in others)  # a result of a call is no part

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """The parameters with dotted names, such as ``hidden.weight``; one that is shared comes once."""
        seen: set[int] = set()
        for name, tensor in self.named_tensors():
            if tensor.requires_grad and id(tensor) not in seen:
                seen.add(id(tensor))
                yield name, tensor

    def parameters(self) -> list[Tensor]:
        """The parameters: every tensor inside that requires gradients, once."""
        return [tensor for _, tensor in self.named_parameters()]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with dotted names."""
        return iter(self._tree(lambda module: True))

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The random generators among the attributes of this module and of those inside it, with dotted names."""
        return self._named(np.random.Generator)

    def _named(self, kind: type[Any]) -> Iterator[tuple[str, Any]]:
        """The objects of one kind in all modules; those not in plain sight last, and only if they are new."""
        known, hidden = set(), []
        for path, module in self.named_modules():
            for inner, value, plain in module._members():
                if isinstance(value, kind):
                    name = f"{path}.{inner}" if path else inner
                    if plain:
                        known.add(id(value))
                        yield name, value
                    else:
                        hidden.append((name, value))
        for name, value in hidden:
            if id(value) not in known:
                known.add(id(value))
                yield name, value

    def _tree(self, enters: Callable[[Module], bool]) -> list[tuple[str, Module]]:
        """This module and all inside it, and inside those that ``enters`` allows.

        A module in plain sight comes once for each name that it has, but a reference back to one around it is not
        followed. Those that are not come last, and only if they are new: what was saved before they were found, or
        beside which they are just another way to the same layer, keeps its names.
        """
        found: list[tuple[str, Module]] = []
        hidden: list[tuple[str, Module]] = []
        self._enter("", (), enters, found, hidden)
        known = {id(module) for _, module in found}
        for path, child in hidden:  # which grows on the way
            if id(child) not in known:
                start = len(found)
                child._enter(path, (id(self),), enters, found, hidden)
                found[start:] = [(name, module) for name, module in found[start:] if id(module) not in known]
                known.update(id(module) for _, module in found[start:])
        return found

    def _enter(
        self,
        name: str,
        above: tuple[int, ...],
        enters: Callable[[Module], bool],
        found: list[tuple[str, Module]],
        hidden: list[tuple[str, Module]],
    ) -> None:
        """Add this module and those inside it that are in plain sight to ``found``, the others to ``hidden``."""
        found.append((name, cast("Module", self)))
        if not above or enters(cast("Module", self)):
            around = (*above, id(self))
            for inner, child, plain in self._members():
                if is_module(child) and id(child) not in around:
                    path = f"{name}.{inner}" if name else inner
                    if plain:
                        child._enter(path, around, enters, found, hidden)
                    else:
                        hidden.append((path, child))

    def _members(self) -> list[Found]:
        """The tensors, modules and generators that this module holds itself."""
        found: list[Found] = []
        own = self.__dict__
        for name, value in own.items():
            if type(value) not in NOTHING_INSIDE:
                if isinstance(value, KINDS):
                    found.append((name, value, True))
                else:
                    _look_into(value, "" if name == self._unnamed else name, found)
        for name, value in _of_class(self).items():
            if name not in own:
                _look_into(value, name, found, plain=False)
        return found


NOTHING_INSIDE = frozenset((bool, int, float, complex, str, bytes, type(None), np.ufunc, type, Snapshot))
Found = tuple[str, Any, bool]
"""The name of a tensor, module or generator, itself, and whether it is in plain sight."""

KINDS = (Tensor, Tree, np.random.Generator)


def is_module(value: object) -> TypeGuard[Module]:
    """Whether a value is a module, of which this mixin is a part."""
    return isinstance(value, Tree)


def inside(value: object) -> list[Found]:
    """The tensors, modules and generators in a value, or itself if it is one."""
    found: list[Found] = []
    _look_into(value, "", found)
    return found


def in_a_line(module: object) -> str:
    """``repr(module)`` for the middle of a sentence."""
    return " ".join(repr(module).split())


def _look_into(value: object, name: str, found: list[Found], plain: bool = True, around: tuple[int, ...] = ()) -> None:
    """Add the tensors, modules and generators in a value, named by the keys that lead to them.

    They are in plain sight where lists, tuples and dicts alone lead to them. ``around`` are the containers on the way.
    """
    if isinstance(value, KINDS):
        found.append((name, value, plain))
    elif id(value) not in around:
        plain, around = plain and isinstance(value, (list, tuple, dict)), (*around, id(value))
        items = enumerate(_in_order(name, value)) if isinstance(value, (set, frozenset)) else parts(value)
        for key, item in items:
            if type(item) not in NOTHING_INSIDE:
                path = name if key is None else f"{name}.{key}" if name else str(key)
                if isinstance(item, KINDS):  # as most often
                    found.append((path, item, plain))
                else:
                    _look_into(item, path, found, plain, around)


def _in_order(name: str, items: Iterable[Any]) -> list[Any]:
    """What holds modules or tensors in a set, ordered by when these modules were made, which is always the same."""
    held = [(found[0][1], item) for item in items if (found := inside(item))]
    if len(held) > 1 and not all(isinstance(first, Tree) for first, _ in held):
        raise TypeError(
            f"Module: {name} is a set of several tensors or generators, which has no order by which a saved state "
            "could tell them apart; hold them in a list or a dict"
        )
    return [item for _, item in sorted(held, key=lambda pair: getattr(pair[0], "_made", 0))]


def own_classes(module: object) -> list[type]:
    """The classes that may hold tensors and modules: those of this library hold none."""
    return [kind for kind in type(module).__mro__ if kind is not object and not kind.__module__.startswith(_HERE)]


def class_attributes(kind: type) -> dict[str, Any]:
    """What a class itself holds that may hold tensors and modules; of a slot its descriptor."""
    return {name: x for name, x in vars(kind).items() if name[:2] != "__" and type(x) not in _NO_STATE}


def _of_class(module: object) -> dict[str, Any]:
    """What is in the slots and class attributes of a module."""
    found: dict[str, Any] = {}
    for kind in own_classes(module):
        for name, value in class_attributes(kind).items():
            found.setdefault(name, getattr(module, name, None) if type(value) is MemberDescriptorType else value)
    return found


_HERE = __name__.rpartition(".")[0]
_NO_STATE = frozenset((FunctionType, property, classmethod, staticmethod, *NOTHING_INSIDE))
