"""Seeing what the modules inside a network give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .module import Module


@contextmanager
def watched(module: Module, note: Callable[[Module, Any], Any]) -> Iterator[None]:
    """Inside, a module and those in it are in evaluation mode, and ``note(module, result)`` is told of each result."""
    modules = {id(inner): inner for inner in module.modules()}
    with ExitStack() as stack:
        for inner in modules.values():
            stack.enter_context(_watched(inner, note))
        yield


@contextmanager
def _watched(module: Module, note: Callable[[Module, Any], Any]) -> Iterator[None]:
    own = vars(module)
    before = {name: own[name] for name in _REPLACED if name in own}
    own.update(forward=_Watched(module, note), _training=False)
    try:
        yield
    finally:
        for name in _REPLACED:  # each at its place, as a snapshot of the module goes by their order
            if name in before:
                own[name] = before[name]
            else:
                del own[name]


_REPLACED = ("forward", "_training")


class _Watched:
    """A forward method that tells of its results; no function, whose variables would be looked into."""

    def __init__(self, module: Module, note: Callable[[Module, Any], Any]) -> None:
        self._module, self._forward, self._note = module, module.forward, note

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self._forward(*args, **kwargs)
        self._note(self._module, result)
        return result
