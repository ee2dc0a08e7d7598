"""Groups of parameters, each with settings of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core import Tensor

if TYPE_CHECKING:
    from .optimiser import Optimiser


class Setting:
    """An attribute of an optimiser that groups of parameters may have each of their own.

    Read, it is that of the first group; set, it becomes that of all groups.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, optimiser: Optimiser | None, owner: object = None) -> Any:
        return self if optimiser is None else optimiser.param_groups[0][self._name]

    def __set__(self, optimiser: Optimiser, value: object) -> None:
        for group in optimiser.param_groups:
            group[self._name] = value


class ParameterGroup(Mapping[str, Any]):
    """Parameters that share their settings: ``params``, ``lr`` and what else the optimiser takes.

    Settings can be read and set; the next step takes what has been set. The parameters stay, in a tuple. ``given`` is
    what the group had at first.

    >>> import tensorgrad as tg
    >>> weight, bias = (tg.Tensor([1.0], requires_grad=True) for _ in range(2))
    >>> optimiser = tg.optim.SGD([{"params": [weight], "momentum": 0.9}, {"params": [bias]}], lr=0.1)
    >>> for group in optimiser.param_groups:
    ...     group["lr"] /= 2
    >>> [(group["lr"], group["momentum"]) for group in optimiser.param_groups]
    [(0.05, 0.9), (0.05, 0.0)]
    """

    def __init__(self, optimiser: Optimiser, given: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> None:
        self._optimiser = optimiser
        self.given = _in_own_types(given)
        self._values = self.given if values is None else dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.update({name: value})

    def update(self, settings: Mapping[str, Any]) -> None:
        """Set several settings at once; all of them or, if together they make no sense, none."""
        kind = type(self._optimiser).__name__
        for name in settings:
            if name == "params":
                raise KeyError(f"{kind}: the parameters of a group stay; make a new optimiser for others")
            if name not in self._values:
                raise KeyError(f"{kind}: a group has no {name!r}; it has {', '.join(self._values)}")
        changed = {**self._values, **_in_own_types(settings)}
        self._optimiser._check_group(changed)
        self._values = changed
        if settings.keys() - {"lr"}:
            self._optimiser._read_settings()

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in {**self.settings, "lr": self["lr"]}.items())
        return f"ParameterGroup(params=<{len(self['params'])} Tensors>, {shown})"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings other than parameters and learning rate."""
        return {name: value for name, value in self._values.items() if name not in ("params", "lr")}

    def changed(self) -> dict[str, Any]:
        """The settings that are others than when the optimiser was made, if they are numbers."""
        return {
            name: value
            for name, value in self._values.items()
            if name != "params" and isinstance(value, (int, float, tuple)) and value != self.given[name]
        }


def _in_own_types(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "lr" else plain(value) for name, value in settings.items()}


def plain(setting: object) -> Any:
    """A setting in Python's own types: with NumPy's the dtype of what is computed would become theirs."""
    if isinstance(setting, (np.generic, np.ndarray)):
        return plain(setting.tolist())
    return tuple(map(plain, setting)) if isinstance(setting, (list, tuple)) else setting


def grouped(kind: str, parameters: object, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The groups that an optimiser is given, with the settings that are not their own; Tensors alone are one group."""
    if not isinstance(parameters, Iterable) or isinstance(parameters, (Tensor, Mapping)):
        raise TypeError(f"{kind}: takes a sequence of parameters; pass model.parameters()")
    given = list(parameters)
    if not any(isinstance(group, Mapping) for group in given):
        return [{"params": tuple(given), **settings}]
    return [_group(kind, position, group, settings) for position, group in enumerate(given)]


def _group(kind: str, position: int, group: object, settings: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(group, Mapping) or "params" not in group:
        raise TypeError(
            f"{kind}: group {position} must be a dict with params, such as {{'params': model.parameters(), "
            f"'lr': 1e-4}}, got {f'a dict with {list(group)}' if isinstance(group, Mapping) else type(group).__name__}"
        )
    unknown = [name for name in group if name != "params" and name not in settings]
    if unknown:
        raise TypeError(f"{kind}: group {position} has {unknown[0]!r}, which is none of params, {', '.join(settings)}")
    params = group["params"]
    if not isinstance(params, Iterable):
        raise TypeError(f"{kind}: params of group {position} must be Tensors in a list, got {type(params).__name__}")
    own = {name: value for name, value in group.items() if name != "params"}
    return {"params": (params,) if isinstance(params, Tensor) else tuple(params), **settings, **own}


def checked_parameters(kind: str, parameters: Sequence[Any]) -> list[Tensor]:
    """The parameters, if each can be optimised."""
    if not parameters:
        raise ValueError(
            f"{kind}: got no parameters; pass model.parameters(), the Tensors that were made with requires_grad=True"
        )
    for position, parameter in enumerate(parameters):
        if not isinstance(parameter, Tensor) or not parameter.requires_grad:
            raise TypeError(
                f"{kind}: parameter {position} is not a Tensor that requires gradients, but of type "
                f"{type(parameter).__name__}; pass model.parameters()"
            )
        if parameter.dtype.kind == "c":
            raise TypeError(
                f"{kind}: parameter {position} is {parameter.dtype}; optimise its real and "
                "imaginary parts, as real + 1j * imag"
            )
        if not parameter.is_leaf:
            raise TypeError(f"{kind}: parameter {position} is a result of ops; pass the leaves")
    if len({id(parameter) for parameter in parameters}) != len(parameters):
        raise ValueError(f"{kind}: a parameter is given twice; it would be updated twice in each step")
    return list(parameters)
