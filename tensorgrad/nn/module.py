"""Module: a function with parameters, which it finds among its own attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from itertools import count
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

import numpy as np

from .._pytree import are_leaves
from ..core import Tensor
from ..core.context import Replacements, _recording, guarded, refuse_while_traced
from .first_call import FirstCall
from .snapshot import Snapshot
from .state import State
from .tree import KINDS, NOTHING_INSIDE, class_attributes, own_classes

if TYPE_CHECKING:
    from .summary import Summary

_made = count()
_first_call: ContextVar[FirstCall | None] = ContextVar("first_call", default=None)


class Module(State):
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
    _was_called: bool = False  # with gradients, so that :class:`FirstCall` has checked it

    @property
    def training(self) -> bool:
        """Whether layers such as dropout act as in training; set by :meth:`train` and :meth:`eval`."""
        training: bool = guarded(self, "_training")
        return training

    @training.setter
    def training(self, value: bool) -> None:
        refuse_while_traced(self, "training")
        self._training = value

    def __setattr__(self, name: str, value: object) -> None:
        vars(self).setdefault("_made", next(_made))  # by which the modules in a set are ordered
        if isinstance(value, (Module, Tensor)) and hasattr(Module, name) and name != "forward":
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
            token = _first_call.set(FirstCall(self, (args, kwargs)))
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
        """Set the gradients of all parameters to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def summary(self, *inputs: Any) -> Summary:
        """A table of the modules inside with their output shapes and numbers of parameters.

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


def is_trained(value: object) -> bool:
    """Whether it is a tensor that requires gradients, or a module with such parameters."""
    return bool(value.parameters()) if isinstance(value, Module) else getattr(value, "requires_grad", False)


def _has_penalty(module: Module) -> bool:
    """Whether it answers for the penalties of all that is inside it."""
    return type(module).penalty is not Module.penalty


def _is_noticed(module: Module, snapshot: Snapshot) -> bool:
    """Whether another tensor or module inside would change what the snapshot shows."""
    if not _are_noticed(vars(module).values(), snapshot):
        return False
    for kind in own_classes(module):
        snapshot.hold(vars(kind).values())
        if not _are_noticed(class_attributes(kind).values(), snapshot):
            return False
    return True


def _are_noticed(values: Iterable[Any], snapshot: Snapshot, around: tuple[int, ...] = ()) -> bool:
    """Whether what is inside is in lists, tuples and dicts alone; the snapshot takes note of these."""
    for value in values:
        kind = type(value)
        if kind in (list, tuple, dict) and id(value) not in around:
            inner = value.values() if kind is dict else value
            if kind is not tuple:  # which cannot change
                snapshot.hold(inner)
            if not _are_noticed(inner, snapshot, (*around, id(value))):
                return False
        elif not (kind in NOTHING_INSIDE or isinstance(value, KINDS) or _is_plain_array(value)):
            return False
    return True


def _is_plain_array(value: object) -> bool:
    return type(value) is np.ndarray and not value.dtype.hasobject
