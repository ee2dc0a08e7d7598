"""What goes on around the ops: whether they are recorded, by whom they are watched, and who traces them.

While a function is traced, say to be compiled, a :class:`Tracer` lets arrays be stood in for by objects that record
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
from typing import TYPE_CHECKING, Any, Callable, Literal, Protocol, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .node import Node
    from .op import Op
    from .tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])

_recording: ContextVar[bool | Watcher] = ContextVar("recording", default=True)
_capture: ContextVar[Recorder | Follower | None] = ContextVar("capture", default=None)
_repeating: ContextVar[bool] = ContextVar("repeating", default=False)


class Watcher:
    """Is told of everything that is recorded and differentiated while it is the value of ``_recording``."""

    def computed(self, node: Node) -> None:
        """An op was recorded."""

    def differentiated(self, node: Node, position: int, arrived: object, gradient: object) -> None:
        """From the gradient that has arrived at a node's result, a rule has given that for an operand."""

    def beside_others(self) -> Watcher:
        """A watcher that tells this one and whoever watches already."""
        outer = _recording.get()
        return _Both(outer, self) if isinstance(outer, Watcher) else self


class _Both(Watcher):
    """Two watchers, of which the outer one is told first."""

    def __init__(self, outer: Watcher, inner: Watcher) -> None:
        self._outer, self._inner = outer, inner

    def computed(self, node: Node) -> None:
        self._outer.computed(node)
        self._inner.computed(node)

    def differentiated(self, node: Node, position: int, arrived: object, gradient: object) -> None:
        self._outer.differentiated(node, position, arrived, gradient)
        self._inner.differentiated(node, position, arrived, gradient)


class Tracer(Protocol):
    """What is told of everything that a traced function does."""

    def stand_in(self, tensor: Tensor) -> Tensor:
        """The Tensor to read and to change in the place of one that others may see; itself if that is made inside."""

    def reading(self, tensor: Tensor) -> Tensor:
        """The Tensor whose array is to be read, and not written into, in the place of that of one."""

    def original(self, tensor: Tensor) -> Tensor:
        """The Tensor that one stands in for."""

    def made(self, tensor: Tensor) -> Tensor:
        """Told of a Tensor that has been made, and gives it back."""

    def reading_gradient(self, tensor: Tensor) -> Tensor:
        """The Tensor whose ``.grad`` is to be read in the place of that of one."""

    def set_gradient(self, tensor: Tensor, value: object) -> None:
        """Set ``.grad``."""

    def has_gradient(self, tensor: Tensor) -> bool:
        """Whether ``.grad`` is not None."""

    def changing_history(self, tensor: Tensor) -> None:
        """A Tensor is about to get a history by a change in place, or ``.requires_grad`` to be set."""

    def io_callback(self, function: Callable[..., Any], example: Callable[[], Any]) -> Any:
        """What stands for ``function()``, an array from Python such as random numbers; ``example()`` gives one."""

    def check(self, function: Callable[..., None], arrays: Sequence[object], now: bool) -> None:
        """``function(*arrays)`` raises if a value is wrong; called at once if ``now``, else once values are known."""

    def guard(self, owner: object, attribute: str, value: object) -> None:
        """``owner.attribute`` has been read, and is ``value``."""

    def refuse_to_set(self, owner: object, attribute: str) -> None:
        """``owner.attribute`` is about to be set, to a value of Python's."""

    def refuse_to_keep(self, owner: object, attribute: str, value: object) -> None:
        """``owner.attribute`` is about to be replaced."""


class Recorder(Tracer, Protocol):
    """A tracer that gives what stands for arrays, and looks at what NumPy does to them."""

    follows: Literal[False]

    def compute(self, op: Op, arrays: Sequence[object], settings: dict[str, object]) -> Any:
        """What the op's forward function gives."""


class Follower(Tracer, Protocol):
    """A tracer that is asked for the result of each op."""

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

        ``undo()`` takes back what has been done in Python, if it turns out that something before it fails.
        """

    def cut(self) -> None:
        """Do everything that has been deferred."""

    def at_once(self, function: Callable[..., Any], *args: object) -> Any:
        """``function(*args)``, after everything before it has been done, and not followed."""

    def backward(self, tensor: Tensor, gradient: object, retain_graph: bool) -> None:
        """Do the backward pass."""

    def forget_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Set ``.grad`` of all of them to None."""


def is_traced() -> bool:
    """Whether a function runs on what stands for arrays, which have no values."""
    tracer = _capture.get()
    return tracer is not None and not tracer.follows


def following() -> Follower | None:
    """The tracer, if it is one that follows."""
    tracer = _capture.get()
    return tracer if tracer is not None and tracer.follows else None


def settle() -> None:
    """Do everything that has been deferred, so that nodes and their sequence numbers are those of eager code."""
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


# What a tracer is told


def io_callback(function: Callable[[], Any], example: Callable[[], Any]) -> Any:
    """``function()``, an array from Python, with side effects; called again in each call of a compiled function.

    ``example()`` gives such an array without the effects.
    """
    capture = _capture.get()
    return function() if capture is None else capture.io_callback(function, example)


def draw_with(rng: np.random.Generator, function: Callable[[np.random.Generator], Any]) -> Any:
    """``function(rng)``, a random array; drawn again in each call of a compiled function."""
    capture = _capture.get()
    if capture is None:
        return function(rng)
    return capture.io_callback(partial(function, rng), lambda: function(generator_like(rng)))


def generator_like(rng: np.random.Generator) -> np.random.Generator:
    """A generator that draws the same; of the usual kind it is made in a fifth of the time of ``copy.deepcopy``."""
    if type(rng) is not np.random.Generator or type(rng.bit_generator) is not np.random.PCG64:
        return copy.deepcopy(rng)
    bits = np.random.PCG64(0)
    bits.state = rng.bit_generator.state
    return np.random.Generator(bits)


def runtime_check(check: Callable[..., None], *arrays: object, now: bool = True) -> None:
    """``check(*arrays)``, which raises if something is wrong; made in each call of a compiled function.

    ``now=False`` if nothing that follows relies on it: no values are then computed for it while a function is traced.
    """
    capture = _capture.get()
    if capture is not None:
        capture.check(check, arrays, now)
    else:
        check(*(x._current() if hasattr(x, "_current") else x for x in arrays))


class Replacements:
    """How often an attribute of a module or an optimiser has been replaced: programs made before are then compared."""

    count = 0

    @classmethod
    def note(cls, owner: object, attribute: str, value: object) -> None:
        """Called before ``owner.attribute`` is set."""
        if vars(owner).get(attribute, cls) is not value:
            cls.count += 1
            if (capture := _capture.get()) is not None:
                capture.refuse_to_keep(owner, attribute, value)


def refuse_while_traced(owner: object, attribute: str) -> None:
    """Raise if a function is being traced: a replay would not set ``owner.attribute``."""
    if (capture := _capture.get()) is not None:
        capture.refuse_to_set(owner, attribute)


def guarded(owner: object, attribute: str) -> Any:
    """``owner.attribute``; a guard: with another value the function is traced again."""
    value = getattr(owner, attribute)
    capture = _capture.get()
    if capture is not None:
        capture.guard(owner, attribute, value)
    return value
