"""What goes on around the ops: whether they are recorded, by whom they are watched, and who traces them.

While a function is traced, say to be compiled, a :class:`Tracer` lets arrays be stood in for by objects that note down
what NumPy does to them. What else the function does is told to it through the functions at the end of this file; when
nothing is traced they do nothing special. All of this is local to the thread and to the async task.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import Node
    from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_recording: ContextVar[bool | Watcher] = ContextVar("recording", default=True)
_capture: ContextVar[Tracer | None] = ContextVar("capture", default=None)
_repeating: ContextVar[bool] = ContextVar("repeating", default=False)


class Watcher:
    """Is told of everything that is recorded and differentiated while it is the value of ``_recording``."""

    def computed(self, node: Node) -> None:
        """An op was recorded."""

    def differentiated(self, node: Node, position: int, gradient: Any) -> None:
        """A rule has given the gradient for an operand."""


class Tracer(Protocol):
    """What is told of everything that a traced function does, and gives the values that it computes with."""

    def lift(self, tensor: Tensor) -> Any:
        """What stands for the data of a Tensor."""

    def gradient(self, tensor: Tensor) -> Any:
        """What stands for the ``.grad`` of a Tensor."""

    def set_gradient(self, tensor: Tensor) -> None:
        """``.grad`` is about to be set."""

    def opaque(self, function: Callable[..., Any], arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
        """The result of a function that works on real arrays only."""

    def source(self, function: Callable[..., Any], example: Any) -> Any:
        """What stands for ``function()``, an array from Python such as random numbers; ``example`` is one of them."""

    def check(self, function: Callable[..., None], arrays: Sequence[Any], now: bool) -> None:
        """``function(*arrays)`` raises if a value is wrong; it is called at once if ``now``, else in replays only."""

    def watch(self, owner: Any, attribute: str, value: Any) -> None:
        """``owner.attribute`` has been read, and is ``value``."""

    def refuse_to_set(self, owner: Any, attribute: str) -> None:
        """``owner.attribute`` is about to be set, to a value of Python's."""

    def refuse_to_keep(self, owner: Any, attribute: str, value: Any) -> None:
        """``owner.attribute`` is about to be replaced."""

    def refuse_if_outside(self, tensor: Tensor) -> None:
        """A Tensor is about to get a history by a change in place."""


class no_grad:
    """Record nothing inside: a context manager and a decorator, local to the thread and to the async task.

    Raises
    ------
    TypeError
        If it decorates a generator or coroutine function, whose body runs only after the call has returned.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([1.0], requires_grad=True)
    >>> with tg.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self) -> None:
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(False))

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function) or inspect.iscoroutinefunction(function):
            raise TypeError("no_grad: generator and coroutine functions run later; write `with no_grad():` inside them")

        @wraps(function)
        def without_recording(*args: Any, **kwargs: Any) -> Any:
            token = _recording.set(False)  # as `with no_grad():` does, in 0.6 us less: inference of one image takes 17
            try:
                return function(*args, **kwargs)
            finally:
                _recording.reset(token)

        return cast(F, without_recording)


@contextmanager
def recorded() -> Iterator[None]:
    """Record inside, also within :func:`no_grad`."""
    token = _recording.set(_recording.get() or True)
    try:
        yield
    finally:
        _recording.reset(token)


@contextmanager
def repeated() -> Iterator[None]:
    """Inside, functions are called once more for their gradients only: see :func:`is_repeated`."""
    token = _repeating.set(True)
    try:
        yield
    finally:
        _repeating.reset(token)


def is_repeated() -> bool:
    """Whether a call repeats one whose effects there have been, such as running means: it should have none."""
    return _repeating.get()


# What a capture is told


def outside(function: Callable[[], Any], example: Callable[[], Any]) -> Any:
    """``function()``, an array from Python, with effects; called again whenever a captured step is replayed.

    ``example()`` gives such an array without the effects.
    """
    capture = _capture.get()
    return function() if capture is None else capture.source(function, example())


def drawn(rng: np.random.Generator, function: Callable[[np.random.Generator], Any]) -> Any:
    """``function(rng)``, a random array; drawn again whenever a captured step is replayed."""
    return outside(partial(function, rng), lambda: function(copy.deepcopy(rng)))


def verified(check: Callable[..., None], *arrays: Any, now: bool = True) -> None:
    """``check(*arrays)``, which raises if something is wrong; made whenever a captured step is replayed.

    ``now=False`` if nothing that follows relies on it: the values are then not computed while a step is captured.
    """
    capture = _capture.get()
    if capture is None:
        check(*arrays)
    else:
        capture.check(check, arrays, now)


class Replacements:
    """How often an attribute of a module or an optimiser has been replaced: steps captured before are then compared."""

    count = 0

    @classmethod
    def note(cls, owner: Any, attribute: str, value: Any) -> None:
        """Called before ``owner.attribute`` is set."""
        if vars(owner).get(attribute, cls) is not value:
            cls.count += 1
            if (capture := _capture.get()) is not None:
                capture.refuse_to_keep(owner, attribute, value)


def unchangeable(owner: Any, attribute: str) -> None:
    """Raise if a step is being captured: a replay would not set ``owner.attribute``."""
    if (capture := _capture.get()) is not None:
        capture.refuse_to_set(owner, attribute)


def watched(owner: Any, attribute: str) -> Any:
    """``owner.attribute``; a step that was captured with another value is captured again."""
    value = getattr(owner, attribute)
    capture = _capture.get()
    if capture is not None:
        capture.watch(owner, attribute, value)
    return value
