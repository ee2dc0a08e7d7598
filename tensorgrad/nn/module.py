"""Module: a function with parameters, which it finds among its own attributes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from copy import deepcopy
from itertools import count
from pathlib import Path
from reprlib import recursive_repr
from types import FunctionType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from .._paths import printable
from .._pytree import are_leaves, parts
from ..core import Tensor, describe
from ..core.context import Replacements, _recording, guarded, refuse_while_traced
from ..ops.conversion import without_history
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .summary import Summary

_made = count()
_first_call: ContextVar[_FirstCall | None] = ContextVar("first_call", default=None)


class Module:
    """A function of Tensors with parameters; subclasses write :meth:`forward`.

    Every attribute that is a Tensor or a Module belongs to the module, and so do those inside containers of any kind
    and depth (lists, dicts, sets, dataclasses, namespaces, arrays of objects), in slots and class attributes, in the
    object of a bound method, the arguments of a partial and the variables of a function. Tensors that require gradients
    are its parameters; the others (say, running means) are saved and loaded with them. A weak reference, or an object
    of any other class, keeps what it holds to itself; where the first call uses a module that is not found, a warning
    says so.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> class Line(tg.nn.Module):
    ...     def __init__(self):
    ...         self.slope = tg.Tensor(np.float32(2), requires_grad=True)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> line(np.float32(3)).item()
    6.0
    >>> [name for name, _ in line.named_parameters()]
    ['slope']
    """

    _training: bool = True
    _unnamed: str = ""  # an attribute whose items are named without it
    _stand_ins: frozenset[int] = frozenset()  # the identities of tensors that stand in for parameters
    _was_called: bool = False  # with gradients, so that :class:`_FirstCall` has looked at it

    @property
    def training(self) -> bool:
        """Whether layers such as dropout act as in training; set by :meth:`train` and :meth:`eval`."""
        training: bool = guarded(self, "_training")
        return training

    @training.setter
    def training(self, value: bool) -> None:
        refuse_while_traced(self, "training")
        self._training = value

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self).setdefault("_made", next(_made))  # by which the modules in a set are ordered
        if isinstance(value, (Module, Tensor)) and name in vars(Module) and name != "forward":
            raise AttributeError(
                f"{type(self).__name__}: an attribute named {name!r} would hide what Module has under that name; "
                f"choose another one, such as {name.strip('_')}_layer"
            )
        if name not in ("training", "_training"):  # a compiled step watches these
            Replacements.note(self, name, value)
        super().__setattr__(name, value)

    def forward(self, x: Any) -> Tensor:
        """The function itself; called as ``module(x)``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method; write forward(self, x)")

    def __call__(self, *args: Any, **kwargs: object) -> Tensor:
        if self._was_called and _first_call.get() is None:
            return self.forward(*args, **kwargs)
        return self._call_watched(args, kwargs)

    def _call_watched(self, args: Any, kwargs: Any) -> Tensor:
        """The call, noticing modules whose parameters this one, or the one around it, does not know."""
        outer = _first_call.get()
        if outer is not None:
            outer.meet(self)
        elif _recording.get():
            token = _first_call.set(_FirstCall(self, (args, kwargs)))
            try:
                result = self.forward(*args, **kwargs)
            finally:
                _first_call.reset(token)
            for module in self.modules():
                vars(module)["_was_called"] = True
            return result
        return self.forward(*args, **kwargs)

    def penalty(self) -> Tensor | float:
        """Sum of the L1 and L2 penalties of all layers inside: a 0-d Tensor, or 0.0 where there are none.

        A layer that is shared counts once. A module with a ``penalty`` of its own answers for what is inside it.
        """
        known = vars(self).get("_snapshot")
        if known is None or not known.is_current(self):
            known = self._penalised()
        return total([module.penalty() for module in known.found])

    def _penalised(self) -> Snapshot:
        """The modules inside that answer for penalties; kept, unless what they are in may change without notice."""
        tree = {id(module): module for _, module in self._tree(lambda module: not _has_penalty(module))}
        del tree[id(self)]
        own = vars(self)
        own.pop("_snapshot", None)
        snapshot = Snapshot(self, [module for module in tree.values() if _has_penalty(module)])
        entered = [module for module in tree.values() if not _has_penalty(module)]
        for module in entered:
            snapshot.watch(module)
        if all(_is_noticed(module, snapshot) for module in (self, *entered)):
            own["_snapshot"] = snapshot
        return snapshot

    # What belongs to it

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        return ((name, value) for name, value, _ in self._members() if isinstance(value, Module))

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
        found.append((name, self))
        if not above or enters(self):
            around = (*above, id(self))
            for inner, child, plain in self._members():
                if isinstance(child, Module) and id(child) not in around:
                    path = f"{name}.{inner}" if name else inner
                    if plain:
                        child._enter(path, around, enters, found, hidden)
                    else:
                        hidden.append((path, child))

    def _members(self) -> list[_Found]:
        """The tensors, modules and generators that this module holds itself."""
        found: list[_Found] = []
        own = self.__dict__
        for name, value in own.items():
            if type(value) not in _NOTHING_INSIDE:
                if isinstance(value, _KINDS):
                    found.append((name, value, True))
                else:
                    _look_into(value, "" if name == self._unnamed else name, found)
        for name, value in _of_class(self).items():
            if name not in own:
                _look_into(value, name, found, plain=False)
        return found

    # What is done to all of it

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all inside it to training mode (or, with False, out of it); returns itself."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch to evaluation mode; returns itself."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def save(self, path: str | Path, description: Mapping[str, Any] | None = None) -> None:
        """Write all tensors to a file, which :meth:`load` reads; the old file stays until the new one is on disk.

        Parameters
        ----------
        path
            Ending in ``.npz``, a file that proves its own integrity, which ``numpy.load`` opens too; or in
            ``.safetensors``, for other libraries (the extra ``safetensors``).
        description
            What else the file should say, such as the names of classes: whatever JSON can hold.

        Raises
        ------
        ValueError
            If the path ends in something else.
        TypeError
            If a tensor is of a dtype, or the description of a kind, that the file cannot hold.
        CheckpointError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import tensorgrad as tg
        >>> path = Path(tempfile.mkdtemp()) / "dense.npz"
        >>> one, other = tg.nn.Dense(3, 2, rng=0), tg.nn.Dense(3, 2, rng=1)
        >>> one.save(path, {"classes": ["cat", "dog"]})
        >>> other.load(path)
        {'classes': ['cat', 'dog']}
        >>> bool((one.weight.data == other.weight.data).all())
        True
        """
        from .._checkpoint import checked_suffix, save_checkpoint

        save_checkpoint(checked_suffix(path), self.state_dict(copy=False), description or {})

    def load(self, path: str | Path) -> dict[str, Any]:
        """Set all tensors from a file of :meth:`save`, a checkpoint of ``fit`` such as ``best.npz`` included.

        All are set or, on an error, none. Returns what the file says besides: the description given to :meth:`save`.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or of another network.
        """
        return self._load(path, lambda description: None)

    def _load(self, path: str | Path, accept: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """What :meth:`load` does, if ``accept``, called with what the file says besides, raises nothing."""
        from .._checkpoint import load_checkpoint, shortened
        from ..archive import CheckpointError

        def check(found: Mapping[str, np.ndarray]) -> None:
            state = _of_model(found)
            self._check_names(state)
            for name, tensor in self.named_tensors():
                _check_fits(name, state[name], tensor)

        try:
            arrays, description = load_checkpoint(path, check)
            accept(description)
            self.load_state_dict(_of_model(arrays))
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{printable(path)}: of another network ({shortened(error)})") from None
        return description

    def state_dict(self, copy: bool = True) -> dict[str, np.ndarray]:
        """The arrays of all tensors, by dotted name; copies, unless they are only looked at and ``copy`` is False."""
        named = list(self.named_tensors())
        state = {name: (tensor.detach() if copy else tensor).data for name, tensor in named}
        if len(state) != len(named):
            raise ValueError("state_dict: two tensors have the same dotted name; keys of dicts must differ as text")
        return state

    def _check_names(self, state: Mapping[str, Any]) -> None:
        """Raise unless a state is of tensors with the names of these."""
        names = {name for name, _ in self.named_tensors()}
        missing, unknown = sorted(names - state.keys()), sorted(map(repr, state.keys() - names))
        if missing or unknown:
            raise KeyError(
                f"load_state_dict: the state is of another network; missing: {', '.join(missing) or 'nothing'}, "
                f"unknown: {', '.join(unknown) or 'nothing'}"
            )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all tensors from ``state``, as returned by :meth:`state_dict`; all or, on an error, none.

        Raises
        ------
        TypeError
            If it is no mapping of names to arrays.
        KeyError
            If a name is missing or unknown.
        ValueError
            If a shape or the kind of a dtype differs, or what is one tensor here are two in the state.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                "load_state_dict: takes a mapping of names to arrays, such as np.load(path), got "
                f"{type(state).__name__}"
            )
        tensors = dict(self.named_tensors())
        self._check_names(state)
        arrays = {name: np.asarray(without_history(state[name])) for name in tensors}
        names: dict[int, str] = {}
        for name, array in arrays.items():
            _check_fits(name, array, tensors[name])
            same = names.setdefault(id(tensors[name]), name)
            if same != name and not np.array_equal(array, arrays[same], equal_nan=True):
                raise ValueError(
                    f"load_state_dict: {same} and {name} are one tensor of this network, but differ in the state, "
                    "which is of a network that does not share it"
                )
        for name, array in arrays.items():
            tensors[name].data = array.astype(tensors[name].dtype, copy=False)

    def summary(self, *inputs: Any) -> Summary:
        """A table of the modules inside: what goes out of each, and how many parameters it has.

        Parameters
        ----------
        inputs
            What the module is called with to see the shapes of outputs: for each argument a shape, with that of the
            batch in front, as a tuple of integers, or an example, such as an array. The call is made in evaluation mode
            and records nothing. None: no outputs are shown.

        Examples
        --------
        >>> import tensorgrad as tg
        >>> network = tg.nn.Sequential(tg.nn.Dense(784, 512), tg.nn.ReLU(), tg.nn.Dense(512, 10))
        >>> network.summary((32, 784))
        layer                     output shape  parameters
        --------------------------------------------------
        Sequential                (32, 10)
          (0): Dense(784 -> 512)  (32, 512)        401,920
          (1): ReLU()             (32, 512)
          (2): Dense(512 -> 10)   (32, 10)           5,130
        --------------------------------------------------
        407,050 parameters, 1.63 MB
        """
        from .summary import Summary

        return Summary(self, inputs)

    def with_tensors(self, others: Mapping[str, Tensor]) -> Module:
        """A copy in which other tensors, by dotted name, stand in for its own; all the rest is shared.

        Raises
        ------
        KeyError
            If there is no tensor of a name.
        TypeError
            If one is held in a function, say in its closure: functions are not copied.

        Examples
        --------
        >>> import numpy as np, tensorgrad as tg
        >>> layer = tg.nn.Dense(2, 1, bias=False)
        >>> other = layer.with_tensors({"weight": tg.Tensor(np.ones((2, 1), np.float32))})
        >>> other([[2.0, 3.0]]).item()
        5.0
        """
        own = dict(self.named_tensors())
        if unknown := sorted(others.keys() - own.keys()):
            raise KeyError(f"with_tensors: {type(self).__name__} has no tensor {', '.join(unknown)}")
        replaced = {id(own[name]): tensor for name, tensor in others.items()}
        held = (value for module in self.modules() for _, value, _ in module._members())
        twin = deepcopy(self, {id(x): replaced.get(id(x), x) for x in held if not isinstance(x, Module)})
        for module in twin.modules():
            vars(module)["_stand_ins"] = frozenset(map(id, others.values()))
        for name, tensor in twin.named_tensors():
            if id(tensor) in replaced:
                raise TypeError(
                    f"with_tensors: {name} is held in a function, which is not copied; hold it, or the layer that it "
                    "belongs to, in an attribute of a module"
                )
        return twin

    def _parts(self) -> Iterator[tuple[str, str]]:
        """What :func:`repr` shows inside the brackets, by name."""
        return ((name, repr(child)) for name, child in self.named_children())

    @recursive_repr()
    def __repr__(self) -> str:
        lines = [f"  ({name}): " + part.replace("\n", "\n  ") for name, part in self._parts()]
        body = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({body})"

    def _repr_html_(self) -> str:
        from .html import module_html  # which notebooks alone need

        return module_html(self)


are_leaves(Module)  # a network is one thing with a state, also where it is a dataclass


def total(penalties: Iterable[Tensor | float]) -> Tensor | float:
    """The sum of those penalties that are Tensors; 0.0 if none is."""
    tensors = [penalty for penalty in penalties if isinstance(penalty, Tensor)]
    return sum(tensors[1:], start=tensors[0]) if tensors else 0.0


def is_trained(value: Any) -> bool:
    """Whether it is a tensor that requires gradients, or a module with such parameters."""
    return bool(value.parameters()) if isinstance(value, Module) else getattr(value, "requires_grad", False)


def _check_fits(name: str, array: np.ndarray, tensor: Tensor) -> None:
    """Raise unless a tensor can be set from an array."""
    if array.shape != tensor.shape or array.dtype.kind != tensor.dtype.kind:
        raise ValueError(f"load_state_dict: {name} is {describe(array)}, the network needs {describe(tensor)}")


def _of_model(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The arrays of a network in a file, which in a checkpoint of ``fit`` are beside others."""
    prefix = "model/"
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    return inside or arrays


def in_a_line(module: Any) -> str:
    """``repr(module)`` for the middle of a sentence."""
    return " ".join(repr(module).split())


def _has_penalty(module: Module) -> bool:
    """Whether it answers for the penalties of all that is inside it."""
    return type(module).penalty is not Module.penalty


_NOTHING_INSIDE = frozenset((bool, int, float, complex, str, bytes, type(None), np.ufunc, type, Snapshot))
_Found = tuple[str, Any, bool]
"""The name of a tensor, module or generator, itself, and whether it is in plain sight."""

_KINDS = (Tensor, Module, np.random.Generator)


def inside(value: Any) -> list[_Found]:
    """The tensors, modules and generators in a value, or itself if it is one."""
    found: list[_Found] = []
    _look_into(value, "", found)
    return found


def _look_into(value: Any, name: str, found: list[_Found], plain: bool = True, around: tuple[int, ...] = ()) -> None:
    """Add the tensors, modules and generators in a value, named by the keys that lead to them.

    They are in plain sight where lists, tuples and dicts alone lead to them. ``around`` are the containers on the way.
    """
    if isinstance(value, _KINDS):
        found.append((name, value, plain))
    elif id(value) not in around:
        plain, around = plain and isinstance(value, (list, tuple, dict)), (*around, id(value))
        items = enumerate(_in_order(name, value)) if isinstance(value, (set, frozenset)) else parts(value)
        for key, item in items:
            if type(item) not in _NOTHING_INSIDE:
                path = name if key is None else f"{name}.{key}" if name else str(key)
                if isinstance(item, _KINDS):  # as most often
                    found.append((path, item, plain))
                else:
                    _look_into(item, path, found, plain, around)


def _in_order(name: str, items: Iterable[Any]) -> list[Any]:
    """What holds modules or tensors in a set, ordered by when these modules were made, which is always the same."""
    held = [(found[0][1], item) for item in items if (found := inside(item))]
    if len(held) > 1 and not all(isinstance(first, Module) for first, _ in held):
        raise TypeError(
            f"Module: {name} is a set of several tensors or generators, which has no order by which a saved state "
            "could tell them apart; hold them in a list or a dict"
        )
    return [item for _, item in sorted(held, key=lambda pair: getattr(pair[0], "_made", 0))]


def _is_noticed(module: Module, snapshot: Snapshot) -> bool:
    """Whether another tensor or module inside would change what the snapshot shows."""
    if not _are_noticed(vars(module).values(), snapshot):
        return False
    for kind in _own_classes(module):
        snapshot.hold(vars(kind).values())
        values = [value for name, value in vars(kind).items() if name[:2] != "__" and type(value) not in _NO_STATE]
        if not _are_noticed(values, snapshot):
            return False
    return True


def _are_noticed(values: Iterable[Any], snapshot: Snapshot, around: tuple[int, ...] = ()) -> bool:
    """Whether what is inside is in lists, tuples and dicts alone; the snapshot takes note of these."""
    for value in values:
        kind = type(value)
        if kind in (list, tuple, dict) and id(value) not in around:
            inner = value.values() if kind is dict else value
            snapshot.hold(inner)
            if not _are_noticed(inner, snapshot, (*around, id(value))):
                return False
        elif not (kind in _NOTHING_INSIDE or isinstance(value, _KINDS) or _is_plain_array(value)):
            return False
    return True


def _is_plain_array(value: object) -> bool:
    return type(value) is np.ndarray and not value.dtype.hasobject


def _own_classes(module: Module) -> list[type]:
    """The classes that may hold tensors and modules: those of this library hold none."""
    kind = type(module)
    return [] if kind.__module__.startswith(_HERE) else [base for base in kind.__mro__ if base not in Module.__mro__]


def _of_class(module: Module) -> dict[str, Any]:
    """What is in the slots and class attributes of a module."""
    found: dict[str, Any] = {}
    for kind in _own_classes(module):
        for name, value in vars(kind).items():
            if name[:2] != "__" and type(value) not in _NO_STATE:
                found.setdefault(name, getattr(module, name, None) if type(value) is MemberDescriptorType else value)
    return found


_HERE = __name__.rpartition(".")[0]
_NO_STATE = frozenset((FunctionType, property, classmethod, staticmethod, *_NOTHING_INSIDE))


class _FirstCall:
    """The first call of a module with gradients: notices the modules that it uses and does not know."""

    def __init__(self, outer: Module, arguments: object) -> None:
        self._outer = outer
        self._given = [value for _, value, _ in inside(arguments) if isinstance(value, Module)]
        self._known: dict[int, Module] = {}  # which it also keeps alive
        self._tensors: set[int] = set()
        self._look_again()

    def _look_again(self) -> None:
        modules = [inner for module in (self._outer, *self._given) for inner in module.modules()]
        self._known.update((id(module), module) for module in modules)
        self._tensors |= {id(x) for module in modules for _, x, _ in module._members() if isinstance(x, Tensor)}

    def meet(self, module: Module) -> None:
        """Warn, once, of a module with parameters that are not those of the outer one."""
        if id(module) in self._known or not _recording.get():
            return
        self._look_again()  # it may have been made in this call
        if id(module) in self._known:
            return
        self._known[id(module)] = module
        if any(id(parameter) not in self._tensors for parameter in module.parameters()):
            kind = type(self._outer).__name__
            warnings.warn(
                f"{kind}: uses {in_a_line(module)}, which is not found in it, so that neither an optimiser of its "
                "parameters() nor train(), eval() and state_dict() reach that module; assign it to an attribute of "
                f"{kind}, also in a list or a dict, in __init__; or, if it is not to be trained, call it in "
                "`with tg.no_grad():`",
                RuntimeWarning,
                stacklevel=4,
            )
