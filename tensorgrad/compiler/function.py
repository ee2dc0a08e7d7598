"""tg.compile: a function that is followed, or recorded once, and computed by programs that are made of what it does."""

from __future__ import annotations

import copy
import os
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial, update_wrapper
from typing import Any, Callable, overload

import numpy as np

from .._optional import MissingExtra
from .._pytree import tree_flatten, tree_unflatten
from ..core import Tensor, as_data
from ..core.context import Hook, _recording, _tracer
from . import events
from .capture import Capture
from .emit import Executable
from .events import Event
from .following import Following
from .kernels import numba
from .memory import Workspace
from .program import Value
from .report import as_html, explained
from .segments import CheckFailed, Segment
from .traced import CaptureError

MOST_PROGRAMS = 64
"""Programs that are kept; after that each new one takes the place of the oldest."""

MOST_EVENTS = 50_000
"""Events that are kept of what a function has done; then it starts over."""

MOST_RUNS = 8
"""Programs of one segment, for different results that are needed."""

MOST_NAMED = 20
"""Events that are named where they are done one by one."""

OFTEN = 16
"""Programs after which the user is told that something changes in each call that should be an array."""

MOST_OF_OWN = 8
"""Programs that an optimiser keeps: as a rule the same parameters have gradients in each step."""

SWITCH = "TENSORGRAD_FAST"

_kernels: ContextVar[bool] = ContextVar("kernels", default=True)

_QUIET = frozenset(("ignore", "warn"))
"""What floating-point errors lead to, see ``np.errstate``, where a function is compiled."""


@overload
def compile(function: Callable[..., Any], *, fast: bool | None = None, pure: bool = False) -> Compiled: ...
@overload
def compile(
    function: None = None, *, fast: bool | None = None, pure: bool = False
) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile(function: Callable[..., Any] | None = None, *, fast: bool | None = None, pure: bool = False) -> Any:
    """A function that does the same as ``function``, faster.

    ``function`` runs as Python in each call, but the operations on Tensors that it asks for are deferred and then done
    together, by a program that was made when the same were first asked for: elementwise ones in one pass, into memory
    that exists already, parameters in place. Everything else means what it means in Python: counters, ``print``,
    exceptions, what is changed outside between calls. The first call on a path computes as without compiling.

    Compiled are operations on Tensors, ``backward``, and steps of the optimisers. Arrays are computed with at once, as
    always. Reading a value (``loss.item()``, ``if loss > 1``) computes what has been asked for so far. Where a result
    leaves the function with its history, and in functions of :mod:`tensorgrad.autodiff`, that is done operation by
    operation.

    Parameters
    ----------
    function
        Any function. Without it, a decorator is returned: ``@tg.compile(pure=True)``.
    fast
        Whether elementwise runs become kernels compiled by numba (the extra ``fast``), kept on disk for later
        processes; else they are done by NumPy, block by block. Default: where numba is installed, unless the
        environment variable ``TENSORGRAD_FAST`` is 0. Kernels give no floating-point warnings.
    pure
        The promise that ``function`` depends on its arguments and on the values of Tensors alone, and changes nothing
        but those, as for ``jax.jit``: it then runs once for each kind of arguments (shapes and dtypes, the values of
        what is no array), on objects that stand in for arrays, so that NumPy's functions of arrays are compiled too.
        Values cannot be read inside, and what Python computes stays as it was in that run.

    Returns
    -------
    Compiled
        Called as ``function`` is; ``explain()`` shows the programs. Arrays that it returns, and those that ``.data``
        and ``.grad`` give afterwards, are the caller's: the next call leaves them as they are.

    Raises
    ------
    CaptureError
        With ``pure=True``, when called: if the function does what a program cannot do, with the remedy.

    Warns
    -----
    RuntimeWarning
        When the 16th program is made, with the reason. The latest 64 programs are kept.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> weight = tg.Tensor(np.zeros(3), requires_grad=True)
    >>> optimiser = tg.optim.SGD([weight], lr=0.1)
    >>> @tg.compile
    ... def step(x, y):
    ...     optimiser.zero_grad()
    ...     loss = np.square(x @ weight - y).mean()
    ...     loss.backward()
    ...     optimiser.step()
    ...     return loss
    >>> losses = [step(np.eye(3), np.ones(3)).item() for _ in range(3)]
    >>> [round(loss, 4) for loss in losses]
    [1.0, 0.8711, 0.7588]
    """
    if function is None:
        return partial(compile, fast=fast, pure=pure)
    if not callable(function):
        raise TypeError(f"compile: takes a function, got {type(function).__name__}")
    return (Pure if pure else Compiled)(function, fast)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Inside, programs are made without numba: for small ones, to import it takes longer than it saves."""
    token = _kernels.set(False)
    try:
        yield
    finally:
        _kernels.reset(token)


def own(function: Callable[..., Any], state: Callable[[], Any], uncompiled: int = 0) -> Pure:
    """A pure function of this library, compiled, which depends on its arguments and on ``state()``.

    The first ``uncompiled`` calls run it as it is; it must then give the same to the last bit, and compute elementwise.
    """
    compiled = Pure(function)
    compiled.is_own, compiled.state, compiled.uncompiled = True, state, uncompiled
    return compiled


class Compiled:
    """What :func:`compile` returns.

    Attributes
    ----------
    is_own
        Whether it is part of this library: then it keeps fewer programs, and nobody is told how many have been made.
    sums_as_numpy
        Whether sums over whole arrays are added up in NumPy's order, so that a call on a course that is new, which is
        not compiled, gives the same to the last bit.
    """

    is_own = False
    sums_as_numpy = False

    def __init__(self, function: Callable[..., Any], fast: bool | None = None) -> None:
        update_wrapper(self, function)
        self.function, self.fast = function, fast
        self.name = getattr(function, "__name__", type(function).__name__)
        self._made = self._made_in = self._calls = 0
        self._lock, self._workspace = threading.RLock(), Workspace()
        self._root, self._events = Event(events.cut, None), 0
        self._segments: list[tuple[Event, Any, Segment]] = []
        self._one_by_one: deque[str] = deque(maxlen=MOST_OF_OWN)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        has_hook = isinstance(_recording.get(), Hook) or not _QUIET.issuperset(np.geterr().values())
        if has_hook or _tracer.get() is not None:
            return self.function(*args, **settings)  # op by op, or as a part of what is traced
        self._calls += 1
        tracer = Following(self._root, self._compute)
        token = _tracer.set(tracer)
        try:
            try:
                return self.function(*args, **settings)
            finally:
                tracer.cut()
        finally:
            _tracer.reset(token)
            self._events += tracer.new_events
            if self._events > MOST_EVENTS:
                self._root, self._events, self._segments = Event(events.cut, None), 0, []

    def put_gradients(self, places: Iterable[tuple[Tensor, np.ndarray]]) -> None:
        """Compute gradients of leaves right into these C-contiguous arrays, where they stay until the next call.

        This holds for programs made from now on, and not for gradients that are added to what is there, or laid side
        by side with others.
        """
        for leaf, place in places:
            self._workspace.keep_gradients([leaf], place.reshape(-1).view(np.uint8))

    def _compute(
        self, last: Event, alive: tuple[int, ...], leaves: Sequence[Tensor], inputs: Sequence[Any], effects: bool = True
    ) -> Any:
        """Arrays and nodes for those results of a segment that are needed; None if it has to be done event by event."""
        key = alive if effects else (*alive, "alone")
        with self._lock:
            if key not in last.runs and len(last.runs) < MOST_RUNS:
                last.runs[key] = self._segment(last, key, (alive, leaves, inputs), effects)
            segment = last.runs.get(key)
            if segment is None:
                return None
            try:
                return segment(leaves, inputs)
            except CheckFailed:
                return None

    def _segment(self, last: Event, key: Any, needed: Any, effects: bool) -> Segment | None:
        fast, (alive, leaves, inputs) = self._uses_kernels(), needed
        started = time.perf_counter()
        try:
            segment = Segment(last, alive, leaves, inputs, fast, self._workspace, effects, self.sums_as_numpy)
        except Exception as error:  # what no program can do, and errors, which come again event by event
            names = [event.name for event in last.segment()]
            listed = " ".join(names[:MOST_NAMED]) + (" ..." if len(names) > MOST_NAMED else "")
            self._one_by_one.append(f"{len(names)} events done one by one, as {error}: {listed}")
            return None
        segment.executable.program.recorded_in = time.perf_counter() - started
        if self._made_in != self._calls:
            self._made_in = self._calls
            self._note_program("it takes another path, or shapes or numbers are others")
        if len(self._segments) >= MOST_PROGRAMS:
            event, oldest, _ = self._segments.pop(0)
            del event.runs[oldest]
        self._segments.append((last, key, segment))
        return segment

    def explain(self, *args: Any, **settings: Any) -> str:
        """The programs made so far as text: steps, shapes, buffers, bytes, what making them cost; and what has none.

        With arguments that of a call with them, as one program, with the time of each step. Neither Tensors nor random
        generators nor optimisers are changed, but the function's Python code runs once.
        """
        if args or settings:
            arguments = _Arguments(args, settings)
            capture = Capture(draws=False)
            program = capture.record(self.function, *arguments.traced(capture))
            program.leaves[:] = map(_copied, program.leaves)
            executable = Executable(program, arguments.values, self._uses_kernels(), None, self.sums_as_numpy)
            executable(arguments.arrays, timed=True)
            return explained(executable, True)
        made = [explained(executable, False) for executable in self._executables()] + list(self._one_by_one)
        return "\n\n".join(made) or f"{self.name}: nothing compiled yet; call it first, twice in the same way"

    def _repr_html_(self) -> str:
        return as_html(self.name, self._executables(), self._one_by_one)

    def _executables(self) -> list[Executable]:
        return [segment.executable for _, _, segment in self._segments]

    def __reduce__(self) -> Any:
        return type(self), (self.function, self.fast)

    def __deepcopy__(self, memo: Any) -> Any:
        return type(self)(copy.deepcopy(self.function, memo), self.fast)

    def __get__(self, instance: object, owner: object = None) -> Any:
        raise TypeError("compile: decorates functions; of a method, compile the bound one: tg.compile(instance.method)")

    def _note_program(self, reason: str) -> None:
        self._made += 1
        if self._made == OFTEN and not self.is_own:
            warnings.warn(
                f"{self.name}: compiled for the {OFTEN}th time, now because {reason}; that takes as long as many calls "
                "of it, so pass what changes as arguments, numbers as 0-d arrays, and pad arrays to a few shapes",
                RuntimeWarning,
                stacklevel=5,
            )

    def _uses_kernels(self) -> bool:
        if self.fast and numba() is None:
            raise MissingExtra("fast kernels need numba: pip install 'tensorgrad-numpy[fast]', or leave out fast=True")
        if self.fast is None:
            return _kernels.get() and os.environ.get(SWITCH) != "0" and numba() is not None
        return self.fast


class Pure(Compiled):
    """What :func:`compile` returns for a pure function: recorded when first called, replayed from then on.

    Attributes
    ----------
    state
        What it depends on besides its arguments is ``state()``, if that is not None.
    uncompiled
        How many calls more are not compiled.
    """

    uncompiled = 0

    def __init__(self, function: Callable[..., Any], fast: bool | None = None) -> None:
        super().__init__(function, fast)
        self._programs: dict[Any, list[Executable]] = {}
        self.state: Callable[[], Any] | None = None

    def __call__(self, *args: Any, **settings: Any) -> Any:
        tracer = _tracer.get()
        if tracer is not None and tracer.follows:
            return tracer.at_once(partial(self, **settings), *args)
        if tracer is not None or isinstance(_recording.get(), Hook):
            return self.function(*args, **settings)  # part of another program, or run op by op for a hook
        if self.uncompiled:
            self.uncompiled -= 1
            return self.function(*args, **settings)
        arguments = _Arguments(args, settings) if args or settings else _NONE
        with self._lock:
            return self._program(arguments)(arguments.arrays)

    def _executables(self) -> list[Executable]:
        return [executable for found in self._programs.values() for executable in found]

    def _program(self, arguments: _Arguments) -> Executable:
        """The program for these arguments and the present state; recorded if there is none."""
        key = arguments.key() if self.state is None else (arguments.key(), self.state())
        for executable in self._programs.get(key, ()):
            if executable.fits():
                return executable
        self._note_program("of other shapes, dtypes or numbers as arguments")
        started, capture = time.perf_counter(), Capture()
        args, settings = arguments.traced(capture)
        before = tree_flatten((args, settings))
        program = capture.record(self.function, args, settings)
        if not _is_same_tree(before, tree_flatten((args, settings))):
            raise CaptureError(
                f"{self.name}: changes a container that is an argument, which a replay would not do; let it change a "
                "copy and return what is new, or leave out pure=True"
            )
        program.recorded_in = time.perf_counter() - started
        made = Executable(program, arguments.values, self._uses_kernels(), self._workspace)
        if sum(map(len, self._programs.values())) >= (MOST_OF_OWN if self.is_own else MOST_PROGRAMS):
            oldest = next(iter(self._programs))
            self._programs[oldest].pop(0)
            if not self._programs[oldest]:
                del self._programs[oldest]
        self._programs.setdefault(key, []).append(made)
        return made


def _copied(tensor: Tensor) -> Tensor:
    """A Tensor with the same data and gradient."""
    same = Tensor(tensor._current(), tensor._requires_grad)
    same._grad = copy.copy(tensor._grad)
    return same


class _Arguments:
    """The arguments of a call: arrays, which may be others in each call, and the rest, for which a program is made."""

    def __init__(self, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.arrays: list[np.ndarray] = []
        self.values: list[Value] = []
        leaves, self._structure = tree_flatten((args, settings))
        self._kinds = tuple([self._kind(leaf) for leaf in leaves])

    def _kind(self, x: Any) -> Any:
        """A leaf without its numbers if it is an array, else what tells it from others."""
        kind = type(x)
        if kind is np.ndarray:
            return self._array(x, "array")
        if kind is Tensor:
            if x._requires_grad:
                return ("plain", Tensor, x)
            return self._array(x._array, "tensor")
        if isinstance(x, np.generic):
            return self._array(np.asarray(x), "array")
        return ("plain", kind, x.hex() if kind is float else x)

    def _array(self, array: object, kind: str) -> Any:
        array = as_data(array)
        if not isinstance(array, np.ndarray):
            raise CaptureError(f"compile: takes NumPy arrays, got {type(array).__name__}")
        self.arrays.append(array if array.flags.c_contiguous else array.copy())
        return (kind, len(self.arrays) - 1, array.shape, array.dtype)

    def key(self) -> Any:
        key = (self._structure, self._kinds, _recording.get())
        try:
            hash(key)
        except TypeError as error:
            raise CaptureError(
                f"compile: an argument is neither an array nor hashable ({error}); pass arrays (of a table its "
                ".to_numpy()), Tensors, containers of them, numbers or text"
            ) from None
        return key

    def traced(self, capture: Capture) -> Any:
        """The arguments with traced arrays in the place of arrays."""
        self.values = [Value("argument", a.shape, a.dtype, index) for index, a in enumerate(self.arrays)]
        traced = [capture.contiguous(value, array) for value, array in zip(self.values, self.arrays)]

        def stand_in(kind: Any) -> Any:
            if kind[0] == "array":
                return traced[kind[1]]
            if kind[0] == "tensor":
                return capture.wrapped(traced[kind[1]])
            return float.fromhex(kind[2]) if kind[1] is float else kind[2]

        return tree_unflatten(self._structure, map(stand_in, self._kinds))


def _is_same_tree(one: Any, two: Any) -> bool:
    """Whether flattened containers are equal and hold the very same leaves."""
    return bool(one[1] == two[1] and all(x is y for x, y in zip(one[0], two[0])))


_NONE = _Arguments((), {})
