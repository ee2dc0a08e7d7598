"""Module: a function with parameters, which it finds among its own attributes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..recording import Replacements, unchangeable, watched
from ..tensor import Tensor, describe


class Module:
    """A function of Tensors with parameters; subclasses write :meth:`forward`.

    Every attribute that is a Tensor or a Module, also inside lists, tuples and dicts, belongs to the module. Tensors
    that require gradients are its parameters; the others (say, running means) are saved and loaded with them.

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

    @property
    def training(self) -> bool:
        """Whether layers such as dropout act as in training; set by :meth:`train` and :meth:`eval`."""
        training: bool = watched(self, "_training")
        return training

    @training.setter
    def training(self, value: bool) -> None:
        unchangeable(self, "training")
        self._training = value

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("training", "_training"):  # a compiled step watches these
            Replacements.note(self, name, value)
        super().__setattr__(name, value)

    def forward(self, x: Any) -> Tensor:
        """The function itself; called as ``module(x)``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward method; write forward(self, x)")

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.forward(*args, **kwargs)

    def penalty(self) -> Any:
        """Sum of the L1 and L2 penalties of all layers inside: a 0-d Tensor, or 0.0 where there are none.

        A layer that is shared counts once. A module with a ``penalty`` of its own answers for what is inside it.
        """
        found = {id(self): self}
        _collect_modules(vars(self).values(), found)
        del found[id(self)]
        return total([module.penalty() for module in found.values() if type(module).penalty is not Module.penalty])

    # What belongs to it

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        return ((name, value) for name, value in self._members() if isinstance(value, Module))

    def modules(self) -> Iterator[Module]:
        """This module and all modules inside it."""
        return (module for _, module in self.named_modules())

    def named_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """All tensors, parameters and others, with dotted names."""
        for path, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Tensor) and value.is_leaf:  # results of a call are not part of the module
                    yield f"{path}.{name}" if path else name, value

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

    def named_modules(self, name: str = "", above: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with dotted names; a reference back to one ``above`` is not followed."""
        yield name, self
        for inner, child in self.named_children():
            if child is not self and not any(child is module for module in above):
                yield from child.named_modules(f"{name}.{inner}" if name else inner, (*above, self))

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The random generators among the attributes of this module and of those inside it, with dotted names."""
        for path, module in self.named_modules():
            for attribute, held in vars(module).items():
                for name, rng in _flattened(attribute, held, np.random.Generator):
                    yield f"{path}.{name}" if path else name, rng

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            yield from _flattened(name, value, (Tensor, Module))

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

    def state_dict(self, copy: bool = True) -> dict[str, np.ndarray]:
        """The arrays of all tensors, by dotted name; copies, unless they are only looked at and ``copy`` is False."""
        named = list(self.named_tensors())
        state = {name: tensor.data.copy() if copy else tensor.data for name, tensor in named}
        if len(state) != len(named):
            raise ValueError("state_dict: two tensors have the same dotted name; keys of dicts must differ as text")
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all tensors from ``state``, as returned by :meth:`state_dict`; all or, on an error, none.

        Raises
        ------
        TypeError
            If it is no mapping of names to arrays.
        KeyError
            If a name is missing or unknown.
        ValueError
            If a shape or the kind of a dtype differs.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                "load_state_dict: takes a mapping of names to arrays, such as np.load(path), got "
                f"{type(state).__name__}"
            )
        tensors = dict(self.named_tensors())
        missing, unknown = sorted(tensors.keys() - state.keys()), sorted(state.keys() - tensors.keys())
        if missing or unknown:
            raise KeyError(
                f"load_state_dict: the state is of another network; missing: {', '.join(missing) or 'nothing'}, "
                f"unknown: {', '.join(unknown) or 'nothing'}"
            )
        arrays = {name: np.asarray(state[name]) for name in tensors}
        for name, array in arrays.items():
            if array.shape != tensors[name].shape or array.dtype.kind != tensors[name].dtype.kind:
                raise ValueError(
                    f"load_state_dict: {name} is {describe(array)}, the network needs {describe(tensors[name])}"
                )
        for name, array in arrays.items():
            tensors[name].data = array.astype(tensors[name].dtype, copy=False)

    def _parts(self) -> Iterator[tuple[str, str]]:
        """What :func:`repr` shows inside the brackets, by name."""
        return ((name, repr(child)) for name, child in self.named_children())

    def __repr__(self) -> str:
        lines = [f"  ({name}): " + part.replace("\n", "\n  ") for name, part in self._parts()]
        body = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({body})"


def total(penalties: Iterable[Any]) -> Any:
    """The sum of those penalties that are Tensors; 0.0 if none is."""
    tensors = [penalty for penalty in penalties if isinstance(penalty, Tensor)]
    return sum(tensors[1:], start=tensors[0]) if tensors else 0.0


def _collect_modules(values: Iterable[Any], found: dict[int, Module]) -> None:
    """Add the modules among attributes, also inside lists, tuples, dicts and modules without a penalty of their own."""
    for value in values:
        if isinstance(value, Module):
            if id(value) not in found:
                found[id(value)] = value
                if type(value).penalty is Module.penalty:
                    _collect_modules(vars(value).values(), found)
        elif isinstance(value, (list, tuple)):
            _collect_modules(value, found)
        elif isinstance(value, dict):
            _collect_modules(value.values(), found)


def _flattened(name: str, value: Any, kinds: Any) -> Iterator[tuple[str, Any]]:
    """The objects of some kinds in an attribute, with the keys that lead to them."""
    if isinstance(value, kinds):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _flattened(f"{name}.{i}", item, kinds)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _flattened(f"{name}.{key}", item, kinds)
