"""The context of the ops: whether they are recorded (``no_grad``), which hooks are called, and which tracer listens.

A :class:`Tracer` follows a function, for example to compile it. The core calls its methods and knows nothing else of
compilers; side effects, random draws and checks reach it through the functions at the end of this file, which without a
tracer just do what they say. All of this is local to the thread and to the async task.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Callable, Literal, Protocol, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import Node
    from .op import Op
    from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_recording: ContextVar[bool | Hook] = ContextVar("recording", default=True)
_tracer: ContextVar[AbstractTracer | Follower | None] = ContextVar("tracer", default=None)
_repeating: ContextVar[bool] = ContextVar("repeating", default=False)


class Hook:
    """While ``_recording`` is set to one, its methods are called for every op that is recorded and every gradient."""

    def on_forward(self, node: Node) -> None:
        """Called when an op has been recorded."""

    def on_backward(self, node: Node, position: int, arrived: object, gradient: object) -> None:
        """Called when a rule has returned ``gradient`` for an operand, given ``arrived``, that of the node's result."""

    def after_outer(self) -> Hook:
        """A hook that calls the one that is set already, if any, and then this one."""
        outer = _recording.get()
        return _Both(outer, self) if isinstance(outer, Hook) else self


class _Both(Hook):
    """Two hooks, of which the outer one is called first."""

    def __init__(self, outer: Hook, inner: Hook) -> None:
        self._outer, self._inner = outer, inner

    def on_forward(self, node: Node) -> None:
        self._outer.on_forward(node)
        self._inner.on_forward(node)

    def on_backward(self, node: Node, position: int, arrived: object, gradient: object) -> None:
        self._outer.on_backward(node, position, arrived, gradient)
        self._inner.on_backward(node, position, arrived, gradient)


class Tracer(Protocol):
    """Follows a function that is traced: the core calls these methods for everything that the function does."""

    def stand_in(self, tensor: Tensor) -> Tensor:
        """The Tensor on which to operate instead, for one from outside the function; itself for one made inside."""

    def reading(self, tensor: Tensor) -> Tensor:
        """The Tensor whose array is to be read, but not written into, instead."""

    def original(self, tensor: Tensor) -> Tensor:
        """The inverse of ``stand_in``."""

    def made(self, tensor: Tensor) -> Tensor:
        """Called for each Tensor that is created; returns it."""

    def reading_gradient(self, tensor: Tensor) -> Tensor:
        """The Tensor whose ``.grad`` is to be read instead."""

    def set_gradient(self, tensor: Tensor, value: object) -> None:
        """Set ``.grad``."""

    def has_gradient(self, tensor: Tensor) -> bool:
        """Whether ``.grad`` is not None."""

    def changing_history(self, tensor: Tensor) -> None:
        """Called before ``.requires_grad`` is set, or an in-place change gives a Tensor a history."""

    def io_callback(self, function: Callable[..., Any], example: Callable[[], Any]) -> Any:
        """The result of ``function()``, an array that is new in each call, such as random numbers."""

    def check(self, function: Callable[..., None], arrays: Sequence[object], now: bool) -> None:
        """Run ``function(*arrays)``, which raises for wrong values: at once if ``now``, else when they are known."""

    def guard(self, owner: object, attribute: str, value: object) -> None:
        """Called when ``owner.attribute`` has been read, and is ``value``."""

    def refuse_to_set(self, owner: object, attribute: str) -> None:
        """Called before ``owner.attribute`` is set to a Python value."""

    def refuse_to_keep(self, owner: object, attribute: str, value: object) -> None:
        """Called before ``owner.attribute`` is replaced."""


class AbstractTracer(Tracer, Protocol):
    """A tracer that runs the function on abstract arrays, without values, and records what NumPy does to them."""

    follows: Literal[False]

    def compute(self, op: Op, arrays: Sequence[object], settings: dict[str, object]) -> Any:
        """The result of the op's forward function."""


class Follower(Tracer, Protocol):
    """A tracer that runs the function as Python and supplies the result of each op."""

    follows: Literal[True]

    def follow(
        self,
        what: Callable[..., Any],
        operands: tuple[object, ...],
        settings: dict[str, object],
        changed: int = 0,
        undo: Callable[[], None] | None = None,
    ) -> Any:
        """The result of an op, or of a function of Tensors that may change the first ``changed`` ones in place.

        ``undo()`` reverts what has been done in Python, if a deferred op before it turns out to fail.
        """

    def cut(self) -> None:
        """Compute everything that has been deferred."""

    def at_once(self, function: Callable[..., Any], *args: object) -> Any:
        """``function(*args)``, run eagerly, after everything that has been deferred."""

    def backward(self, tensor: Tensor, gradient: object, retain_graph: bool) -> None:
        """Do the backward pass."""

    def forget_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Set ``.grad`` of all of them to None."""


def is_traced() -> bool:
    """Whether a function is run on abstract arrays, which have no values."""
    tracer = _tracer.get()
    return tracer is not None and not tracer.follows


def following() -> Follower | None:
    """The tracer, if it is a :class:`Follower`."""
    tracer = _tracer.get()
    return tracer if tracer is not None and tracer.follows else None


def settle() -> None:
    """Compute everything that has been deferred, so that the graph is the one that eager code would have recorded."""
    if (tracer := following()) is not None:
        tracer.cut()


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
        def without_recording(*args: object, **kwargs: object) -> Any:
            token = _recording.set(False)  # `with no_grad():` takes 0.6 us more, of 17 for the inference of one image
            try:
                return function(*args, **kwargs)
            finally:
                _recording.reset(token)

        return cast(F, without_recording)


@contextmanager
def recorded() -> Iterator[None]:
    """Record ops inside, even within :func:`no_grad`."""
    token = _recording.set(_recording.get() or True)
    try:
        yield
    finally:
        _recording.reset(token)


@contextmanager
def repeated() -> Iterator[None]:
    """Inside, a function is called again just for its gradients: see :func:`is_repeated`."""
    token = _repeating.set(True)
    try:
        yield
    finally:
        _repeating.reset(token)


def is_repeated() -> bool:
    """Whether this call repeats an earlier one, so that side effects such as running means are left out."""
    return _repeating.get()


# What a tracer has to know


def io_callback(function: Callable[[], Any], example: Callable[[], Any]) -> Any:
    """``function()``, which returns an array and may have side effects; run in each call of a compiled function.

    ``example()`` returns such an array without side effects.
    """
    tracer = _tracer.get()
    return function() if tracer is None else tracer.io_callback(function, example)


def draw_with(rng: np.random.Generator, function: Callable[[np.random.Generator], Any]) -> Any:
    """``function(rng)``, a random array; drawn again in each call of a compiled function."""
    tracer = _tracer.get()
    if tracer is None:
        return function(rng)
    return tracer.io_callback(partial(function, rng), lambda: function(generator_like(rng)))


def generator_like(rng: np.random.Generator) -> np.random.Generator:
    """A copy of a generator; for the usual kind in a fifth of the time of ``copy.deepcopy``."""
    if type(rng) is not np.random.Generator or type(rng.bit_generator) is not np.random.PCG64:
        return copy.deepcopy(rng)
    bits = np.random.PCG64(0)
    bits.state = rng.bit_generator.state
    return np.random.Generator(bits)


def runtime_check(check: Callable[..., None], *arrays: object, now: bool = True) -> None:
    """``check(*arrays)``, which raises if a value is wrong; run in each call of a compiled function.

    ``now=False`` allows it to be deferred, as nothing that follows relies on it.
    """
    tracer = _tracer.get()
    if tracer is not None:
        tracer.check(check, arrays, now)
    else:
        check(*(x._current() if hasattr(x, "_current") else x for x in arrays))


class Replacements:
    """Counts how often attributes of modules and optimisers have been replaced: compiled programs then check again."""

    count = 0

    @classmethod
    def note(cls, owner: object, attribute: str, value: object) -> None:
        """Call this before setting ``owner.attribute``."""
        if vars(owner).get(attribute, cls) is not value:
            cls.count += 1
            if (tracer := _tracer.get()) is not None:
                tracer.refuse_to_keep(owner, attribute, value)


def refuse_while_traced(owner: object, attribute: str) -> None:
    """Raise while a pure function is traced, as a replay would not set ``owner.attribute``."""
    if (tracer := _tracer.get()) is not None:
        tracer.refuse_to_set(owner, attribute)


def guarded(owner: object, attribute: str) -> Any:
    """``owner.attribute``, guarded: a compiled function is retraced when its value changes."""
    value = getattr(owner, attribute)
    tracer = _tracer.get()
    if tracer is not None:
        tracer.guard(owner, attribute, value)
    return value
