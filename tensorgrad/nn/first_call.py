"""The first call of a module with gradients, which notices modules that would not be trained."""

from __future__ import annotations

import warnings

from ..core import Tensor
from ..core.context import _recording
from .tree import Tree, in_a_line, inside


class FirstCall:
    """The first call of a module with gradients: notices the modules that it uses and does not know."""

    def __init__(self, outer: Tree, arguments: object) -> None:
        self._outer = outer
        self._given = [value for _, value, _ in inside(arguments) if isinstance(value, Tree)]
        self._known: dict[int, Tree] = {}  # which it also keeps alive
        self._tensors: set[int] = set()
        self._look_again()

    def _look_again(self) -> None:
        modules = [inner for module in (self._outer, *self._given) for inner in module.modules()]
        self._known.update((id(module), module) for module in modules)
        self._tensors |= {id(x) for module in modules for _, x, _ in module._members() if isinstance(x, Tensor)}

    def meet(self, module: Tree) -> None:
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
