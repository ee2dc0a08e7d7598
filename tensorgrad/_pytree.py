"""Pytrees: the leaves and the structure of nested containers; and everything that an object refers to.

A *tree* is a leaf or a container of trees. Containers are dicts, lists and tuples with their subclasses (OrderedDicts,
defaultdicts, namedtuples) and dataclasses of any kind; everything else, None included, is a leaf.
"""

from __future__ import annotations

from collections import ChainMap, UserDict, UserList, defaultdict, deque
from collections.abc import ItemsView, Iterable, Iterator, ValuesView
from contextlib import suppress
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from types import FunctionType, MappingProxyType, MemberDescriptorType, MethodType, ModuleType, SimpleNamespace
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

# Trees


class Structure(NamedTuple):
    """The containers of a tree without its leaves: hashable, and equal for trees that differ in their leaves alone.

    Attributes
    ----------
    kind
        The class of the container; None for a leaf.
    keys
        Of a dict its keys, of a dataclass the names of its fields, of a sequence its length.
    children
        The structures of what it holds.
    factory
        What a defaultdict calls for a key that it does not have.
    """

    kind: Any
    keys: Any
    children: tuple[Any, ...]
    factory: Any = None

    def classes(self) -> Iterator[type]:
        """Those of its containers whose methods are not Python's own."""
        if self.kind is not None and self.kind.__module__ not in ("builtins", "collections"):
            yield self.kind
        for child in self.children:
            yield from child.classes()


LEAF = Structure(None, 0, ())

_as_structure: Callable[[tuple[Any, ...]], Structure] = partial(tuple.__new__, Structure)

IsLeaf = Callable[[Any], bool]


def tree_flatten(tree: object, is_leaf: IsLeaf | None = None) -> tuple[list[Any], Structure]:
    """The leaves of a tree in order, and its structure.

    Parameters
    ----------
    tree
        Of dicts, which keep their order, lists, tuples, namedtuples and dataclasses.
    is_leaf
        Whether a container is not to be looked into.

    Examples
    --------
    >>> leaves, structure = tree_flatten({"a": [1, 2], "b": (3, None)})
    >>> leaves
    [1, 2, 3, None]
    >>> tree_unflatten(structure, "wxyz")
    {'a': ['w', 'x'], 'b': ('y', 'z')}
    >>> structure == tree_flatten({"a": [5, 6], "b": (7, 8)})[1]
    True
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[object], is_leaf: IsLeaf | None) -> Structure:
    kind = type(tree)
    container = _CONTAINERS[kind]
    if container is None or (is_leaf is not None and is_leaf(tree)):
        leaves.append(tree)
        return LEAF
    keys, children = (len(tree), tree) if container is _SEQUENCE else container.split(tree)
    structures = []
    for child in children:
        if _CONTAINERS[type(child)] is None:  # which spares a call
            leaves.append(child)
            structures.append(LEAF)
        else:
            structures.append(_flatten(child, leaves, is_leaf))
    factory = tree.default_factory if container is _DEFAULTDICT else None
    return _as_structure((kind, keys, tuple(structures), factory))  # half the time of Structure(...)


def tree_unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """The tree of a structure with these leaves; the inverse of :func:`tree_flatten`.

    Dataclasses are made without their ``__init__``: fields alone are set. Subclasses of dict and list are called with
    their items.

    Raises
    ------
    ValueError
        If there are more leaves than places for them, or fewer.
    """
    rest = iter(leaves)
    try:
        tree = _unflatten(structure, rest)
    except StopIteration:
        raise ValueError("tree_unflatten: there are fewer leaves than the structure has places") from None
    for _ in rest:
        raise ValueError("tree_unflatten: there are more leaves than the structure has places")
    return tree


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    kind, _, children, _ = structure
    if kind is None:
        return next(leaves)
    items = [next(leaves) if child is LEAF else _unflatten(child, leaves) for child in children]
    return _CONTAINERS[kind].build(structure, items)  # type: ignore[union-attr]


def flatten_up_to(structure: Structure, tree: object) -> list[Any]:
    """What ``tree`` holds at the places of the leaves of a structure, containers included.

    Dicts are looked up by key, and any list or tuple may stand for another one.

    Raises
    ------
    ValueError
        If the tree lacks a container of the structure, or has other keys or another length there.

    Examples
    --------
    >>> _, structure = tree_flatten({"a": [1, 2], "b": 3})
    >>> flatten_up_to(structure, {"b": {"c": 30}, "a": (10, 20)})
    [10, 20, {'c': 30}]
    """
    found: list[Any] = []
    _flatten_up_to(structure, tree, found)
    return found


def _flatten_up_to(structure: Structure, tree: Any, found: list[object]) -> None:
    wanted = _CONTAINERS[structure.kind]
    if wanted is None:
        found.append(tree)
        return
    given = _CONTAINERS[type(tree)]
    keys, children = (None, ()) if given is None or given.family is not wanted.family else given.split(tree)
    if wanted.family is dict and keys is not None and set(keys) == set(structure.keys):
        keys, children = structure.keys, [tree[key] for key in structure.keys]
    if keys != structure.keys:
        raise ValueError(f"expected {_in_words(structure.kind, structure.keys)}, got {_of_tree(tree)}")
    for child, item in zip(structure.children, children):
        _flatten_up_to(child, item, found)


def tree_leaves(tree: object, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a tree in order; of a leaf, itself.

    >>> tree_leaves({"a": [1, 2], "b": (3, None)})
    [1, 2, 3, None]
    """
    return tree_flatten(tree, is_leaf)[0]


def tree_map(function: Callable[..., Any], tree: object, *others: Any, is_leaf: IsLeaf | None = None) -> Any:
    """``function`` of each leaf of ``tree`` and of what ``others`` hold at its place, in containers like ``tree``'s.

    Leaves are visited in the order of ``tree``.

    Raises
    ------
    ValueError
        If another tree does not fit, as for :func:`flatten_up_to`.

    Examples
    --------
    >>> tree_map(lambda x, y: x + y, {"a": [1, 2], "b": 3}, {"b": 30, "a": (10, 20)})
    {'a': [11, 22], 'b': 33}
    """
    leaves, structure = tree_flatten(tree, is_leaf)
    columns = [flatten_up_to(structure, other) for other in others]
    return tree_unflatten(structure, [function(*row) for row in zip(leaves, *columns)])


# The kinds of containers


class _Container(NamedTuple):
    """How to take one kind of container apart and to put it together again."""

    family: type
    split: Callable[[Any], tuple[Any, Iterable[Any]]]
    build: Callable[[Structure, list[Any]], Any]


def _build_sequence(structure: Structure, items: list[object]) -> Any:
    return structure.kind(*items) if hasattr(structure.kind, "_fields") else structure.kind(items)


def _build_dict(structure: Structure, items: list[object]) -> Any:
    content = dict(zip(structure.keys, items))
    return content if structure.kind is dict else structure.kind(content)


def _build_defaultdict(structure: Structure, items: list[object]) -> Any:
    return structure.kind(structure.factory, zip(structure.keys, items))


def _split_dataclass(value: object) -> tuple[Any, Iterable[Any]]:
    kind: Any = type(value)
    names = tuple([name for name in _fields(kind) if hasattr(value, name)])
    return names, [getattr(value, name) for name in names]


@lru_cache(maxsize=1024)
def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _build_dataclass(structure: Structure, items: list[object]) -> Any:
    made = object.__new__(structure.kind)
    for name, item in zip(structure.keys, items):
        object.__setattr__(made, name, item)  # frozen or not
    return made


_SEQUENCE = _Container(list, lambda value: (len(value), value), _build_sequence)
_DICT = _Container(dict, lambda value: (tuple(value), value.values()), _build_dict)
_DEFAULTDICT = _DICT._replace(build=_build_defaultdict)


class _Containers(dict[Any, Optional[_Container]]):
    """How to take apart the containers of each class; None for leaves, which have no class in a structure."""

    def __missing__(self, kind: type | None) -> _Container | None:
        if len(self) > _MOST_CLASSES:  # made on the fly
            self.clear()
        self[kind] = found = None if kind is None else self._of(kind)
        return found

    def _of(self, kind: type) -> _Container | None:
        if issubclass(kind, dict):
            return _DEFAULTDICT if issubclass(kind, defaultdict) else _DICT
        if issubclass(kind, (list, tuple)):
            return _SEQUENCE
        is_other = issubclass(kind, tuple(_LEAVES)) or hasattr(kind, "__array__")
        return None if is_other or not is_dataclass(kind) else _Container(kind, _split_dataclass, _build_dataclass)


_MOST_CLASSES = 1024
_CONTAINERS = _Containers()
_LEAVES: list[type] = []


def are_leaves(kind: type) -> None:
    """Objects of this class are leaves, also of subclasses that are dataclasses."""
    _LEAVES.append(kind)
    _CONTAINERS.clear()


def _in_words(kind: Any, keys: Any) -> str:
    return f"a {kind.__name__} of {keys if isinstance(keys, int) else list(keys)}"


def _of_tree(tree: object) -> str:
    container = _CONTAINERS[type(tree)]
    return type(tree).__name__ if container is None else _in_words(type(tree), container.split(tree)[0])


# What any object reaches

_IN_A_ROW = (list, tuple, deque, UserList, ValuesView, ItemsView)
_BY_KEY = (dict, MappingProxyType, UserDict, ChainMap)


def parts(value: object) -> Iterable[tuple[Any, Any]]:
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


def attributes(value: object) -> Iterator[tuple[str, Any]]:
    """The attributes of an object itself, those in slots included."""
    yield from _own(value).items()
    kind: Any = type(value)
    for name, member in _slots(kind):
        with suppress(AttributeError):  # a slot that has no value
            yield name, member.__get__(value)


@lru_cache(maxsize=1024)
def _slots(kind: Any) -> list[tuple[str, Any]]:
    """The slots of a class, but for those of Python itself, as ``__globals__``."""
    members = (item for base in kind.__mro__ for item in vars(base).items())
    return [(name, x) for name, x in members if isinstance(x, MemberDescriptorType) and name[:2] != "__"]


def _own(value: object) -> dict[str, Any]:
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
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        with suppress(ValueError):  # a variable that has no value yet
            found[name] = cell.cell_contents
    found.update((name, x) for name, x in _globals(function).items() if not isinstance(x, FunctionType))
    return found


def _globals(function: FunctionType) -> dict[str, Any]:
    """The global variables that a function names, but for modules and classes."""
    of_module = function.__globals__
    named = ((name, of_module[name]) for name in function.__code__.co_names if name in of_module)
    return {name: value for name, value in named if not isinstance(value, (ModuleType, type))}


def reachable(value: object, closed: tuple[type, ...] = ()) -> Iterator[Any]:
    """Everything that an object leads to, each thing once: its parts, its attributes, and theirs in turn.

    Of functions also the global ones that they name. Classes, modules, text, numbers, and what is of the classes in
    ``closed``, are left out.

    >>> class Box:
    ...     def __init__(self, content):
    ...         self.content = content
    >>> [x for x in reachable(Box([range(3)])) if isinstance(x, range)]
    [range(0, 3)]
    """
    ignored = (type, ModuleType, str, bytes, int, float, complex, type(None), *closed)
    met: dict[int, Any] = {}  # keeps what it holds alive, so that no identity is taken twice
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, ignored) or id(value) in met:
            continue
        met[id(value)] = value
        yield value
        stack.extend(value if isinstance(value, (set, frozenset)) else (item for _, item in parts(value)))
        stack.extend(item for _, item in attributes(value))
        if isinstance(value, FunctionType):
            stack.extend(_globals(value).values())
        elif isinstance(value, MethodType):
            stack.append(value.__func__)
