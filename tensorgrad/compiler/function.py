"""tg.compile: record a function once, replay it from then on."""

from __future__ import annotations

import copy
import os
import threading
import time
import warnings
from collections.abc import Iterator
from functools import cached_property, update_wrapper
from typing import Any, Callable

import numpy as np

from .._optional import MissingExtra
from ..core import Tensor, as_data
from ..core.context import Replacements, Watcher, _capture, _recording
from .capture import Capture
from .emit import Executable
from .kernels import numba
from .outside import outside
from .program import Program, Value
from .report import explained
from .traced import CaptureError

MOST_PROGRAMS = 64
"""Programs that are kept; after that each new one takes the place of the oldest."""

OFTEN = 16
"""Recorded so many times, something changes in each call that should be an array, and the user is told."""

MOST_OF_OWN = 8
"""Programs that an optimiser keeps: as a rule the same parameters have gradients in each step."""

SWITCH = "TENSORGRAD_FAST"


def compile(function: Callable[..., Any], *, fast: bool | None = None) -> Compiled:
    """A function that does the same as ``function``, faster: recorded when first called, replayed from then on.

    A replay calls NumPy on buffers that exist already; nothing is recorded, allocated or decided in Python. Arguments
    of another shape, dtype or training mode are recorded anew. Parameters, optimisers, ``.grad`` and random generators
    are in the same state afterwards as after the plain call.

    Parameters
    ----------
    function
        Of arrays, Tensors and containers of them; other arguments must be hashable, and each value is recorded anew.
        What it computes must not depend on values that Python reads (``if tensor > 0``, ``.item()``), and what it does
        besides NumPy (printing) happens while it is recorded only. Numbers and objects that its code names (variables
        outside, attributes of objects, classes and modules, containers and arrays of up to 64 elements, the lengths of
        others) may change between calls: it is recorded anew for each value. Not followed are the elements of larger
        arrays where Python reads them, and what belongs to installed libraries. Tensors that require gradients are
        told apart by identity.
    fast
        Whether elementwise runs become kernels compiled by numba (the extra ``fast``), kept on disk for later
        processes; else they are done by NumPy, block by block. Default: where numba is installed, unless the
        environment variable ``TENSORGRAD_FAST`` is 0. Kernels give no floating-point warnings.

    Returns
    -------
    Compiled
        Called as ``function`` is; ``explain()`` shows the programs. Arrays that it returns, and those that ``.data``
        and ``.grad`` give afterwards, are the caller's: the next call leaves them as they are.

    Raises
    ------
    CaptureError
        When called: if the function does what a program cannot do, with the remedy; at the second call, when the step
        is recorded again to be compared, also if something that Python computed has changed.

    Warns
    -----
    RuntimeWarning
        When it is recorded for the 16th time, with the reason. The latest 64 programs are kept.

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
    if not callable(function):
        raise TypeError(f"compile: takes a function, got {type(function).__name__}")
    return Compiled(function, fast)


class Compiled:
    """What :func:`compile` returns.

    Attributes
    ----------
    is_own
        Whether it is part of this library: it keeps fewer programs, and nobody is told how often it is recorded.
    """

    is_own = False

    def __init__(self, function: Callable[..., Any], fast: bool | None = None) -> None:
        update_wrapper(self, function)
        self.function, self.fast = function, fast
        self.name = getattr(function, "__name__", type(function).__name__)
        self._programs: dict[Any, list[_Variant]] = {}
        self._recordings = 0
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **settings: Any) -> Any:
        if _capture.get() is not None or isinstance(_recording.get(), Watcher):
            # part of another compiled function's program, or to be watched op by op
            return self.function(*args, **settings)
        arguments = _Arguments(args, settings) if args or settings else _NONE
        with self._lock:
            return self._variant(arguments)(arguments)

    def explain(self, *args: Any, **settings: Any) -> str:
        """The programs recorded so far as text: steps, shapes, buffers, bytes, and what recording them cost.

        With arguments the function is called with them once, with all its effects, and the time of each step is shown.
        """
        timed = None
        if args or settings:
            self(*args, **settings)
            arguments = _Arguments(args, settings)
            with self._lock:
                timed = self._variant(arguments)
                timed(arguments, timed=True)
        variants = [variant for found in self._programs.values() for variant in found]
        if not variants:
            return f"{self.name}: nothing recorded yet; call it first"
        chosen = variants if timed is None else [timed]
        return "\n\n".join(explained(variant.executable, timed is not None) for variant in chosen)

    def __reduce__(self) -> Any:
        return Compiled, (self.function, self.fast)

    def __deepcopy__(self, memo: Any) -> Any:
        return Compiled(copy.deepcopy(self.function, memo), self.fast)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        raise TypeError("compile: decorates functions; of a method, compile the bound one: tg.compile(instance.method)")

    def _variant(self, arguments: _Arguments) -> _Variant:
        """The program for these arguments and the present state; recorded if there is none."""
        key = arguments.key()
        found = self._programs.get(key, [])
        for position, variant in enumerate(found):
            if variant.fits():
                if variant.replacements != Replacements.count:
                    self._note_recording("an attribute of a network or an optimiser has been replaced")
                    found[position] = self._renewed(variant, arguments)
                elif not variant.verified:
                    self._verify(variant, arguments)
                return found[position]
        changed = next((name.name for variant in found for name in variant.program.outside if not name.is_known()), "")
        self._note_recording(f"{changed} has changed" if changed else "of other shapes, dtypes or numbers as arguments")
        program = self._record(arguments)
        for variant in found:
            if variant.executable.fits() and variant.program.difference(program) is None:
                for name in variant.program.outside:
                    name.learn()
                return variant
        self._make_room()
        self._programs.setdefault(key, []).append(_Variant(program, arguments, self._uses_kernels))
        return self._programs[key][-1]

    def _make_room(self) -> None:
        """Forget the oldest program where there are too many."""
        if sum(map(len, self._programs.values())) >= (MOST_OF_OWN if self.is_own else MOST_PROGRAMS):
            oldest = next(iter(self._programs))
            self._programs[oldest].pop(0)
            if not self._programs[oldest]:
                del self._programs[oldest]

    def _note_recording(self, reason: str) -> None:
        self._recordings += 1
        if self._recordings == OFTEN and not self.is_own:
            warnings.warn(
                f"{self.name}: recorded for the {OFTEN}th time, now because {reason}; that takes as long as many calls "
                "of it, so pass what changes as arguments, numbers as 0-d arrays, and pad arrays to a few shapes",
                RuntimeWarning,
                stacklevel=4,
            )

    def _uses_kernels(self) -> bool:
        if self.fast and numba() is None:
            raise MissingExtra("fast kernels need numba: pip install 'tensorgrad-numpy[fast]', or leave out fast=True")
        if self.fast is None:
            return os.environ.get(SWITCH) != "0" and numba() is not None
        return self.fast

    def _record(self, arguments: _Arguments) -> Program:
        started = time.perf_counter()
        capture, (names, states) = Capture(), outside(self.function, arguments.objects())
        args, settings = arguments.traced(capture)
        program = capture.record(self.function, args, settings)
        changed = [name.name for name in (*names, *states) if not name.is_known()]
        if changed:
            raise CaptureError(
                f"{self.name}: changes {changed[0]}, which a replay would not do; keep what changes in Tensors, draw "
                "random numbers with ops that take rng, such as tg.random.normal, tg.random.uniform and tg.dropout, or "
                "change it outside of the compiled function"
            )
        program.outside, program.recorded_in = names, time.perf_counter() - started
        return program

    def _renewed(self, variant: _Variant, arguments: _Arguments) -> _Variant:
        """The variant, if it is what the function does now that an attribute somewhere was replaced, or another."""
        again = _Variant(self._record(arguments), arguments, self._uses_kernels)
        if variant.program.difference(again.program) is not None:
            return again
        variant.verified, variant.replacements = True, again.replacements
        return variant

    def _verify(self, variant: _Variant, arguments: _Arguments) -> None:
        """Record again and compare: what Python computes must not have changed."""
        different = variant.program.difference(self._record(arguments))
        if different is not None:
            raise CaptureError(
                f"{self.name}: recorded again it is another program ({different} is different), so it depends on "
                "something that Python computes anew in each call: draw random numbers with ops that take rng, such as "
                "tg.random.normal, tg.random.uniform and tg.dropout, keep changing state in Tensors, pass what varies "
                "as arguments"
            )
        variant.verified = True


class _Variant:
    """A program for one kind of arguments, and when it may be used."""

    def __init__(self, program: Program, arguments: _Arguments, fast: Callable[[], bool]) -> None:
        self.program, self.verified, self.replacements = program, False, Replacements.count
        self._arguments, self._fast = arguments.values, fast

    @cached_property
    def executable(self) -> Executable:
        """Made when first needed."""
        return Executable(self.program, self._arguments, self._fast())

    def fits(self) -> bool:
        """Whether the program may be used in the present state of the world outside."""
        return self.executable.fits() and all(name.is_known() for name in self.program.outside)

    def __call__(self, arguments: _Arguments, timed: bool = False) -> Any:
        return self.executable(arguments.arrays, timed)


class _Arguments:
    """The arguments of a call: arrays, which may be others in each call, and the rest, for which a program is made."""

    def __init__(self, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.arrays: list[np.ndarray] = []
        self.values: list[Value] = []
        self._tree = self._take((args, settings))

    def _take(self, x: Any) -> Any:
        kind = type(x)
        if kind is np.ndarray:
            return self._array(x, "array")
        if kind is Tensor:
            if x._requires_grad:
                return ("plain", Tensor, x)
            return self._array(x._array, "tensor")
        if kind in (tuple, list):
            return (kind, *map(self._take, x))
        if kind is dict:
            return (dict, *((name, self._take(item)) for name, item in x.items()))
        if isinstance(x, np.generic):
            return self._array(np.asarray(x), "array")
        return ("plain", kind, x.hex() if kind is float else x)

    def _array(self, array: Any, kind: str) -> Any:
        array = as_data(array)
        if not isinstance(array, np.ndarray):
            raise CaptureError(f"compile: takes NumPy arrays, got {type(array).__name__}")
        self.arrays.append(array if array.flags.c_contiguous else array.copy())
        return (kind, len(self.arrays) - 1, array.shape, array.dtype)

    def objects(self) -> Iterator[Any]:
        """Those arguments that are not arrays."""

        def leaves(tree: Any) -> Iterator[Any]:
            if tree[0] == "plain":
                yield tree[2]
            elif tree[0] is dict:
                yield from (leaf for _, item in tree[1:] for leaf in leaves(item))
            elif tree[0] in (tuple, list):
                yield from (leaf for item in tree[1:] for leaf in leaves(item))

        return leaves(self._tree)

    def key(self) -> Any:
        key = (self._tree, _recording.get())
        try:
            hash(key)
        except TypeError as error:
            raise CaptureError(
                f"compile: an argument is neither an array nor hashable ({error}); pass arrays (of a table its "
                ".to_numpy()), Tensors, containers of them, numbers or text"
            ) from None
        return key

    def traced(self, capture: Capture) -> tuple[Any, Any]:
        """The arguments with traced arrays in the place of arrays."""
        self.values = [Value("argument", a.shape, a.dtype, index) for index, a in enumerate(self.arrays)]
        traced = [capture.contiguous(value, array) for value, array in zip(self.values, self.arrays)]

        def rebuilt(tree: Any) -> Any:
            kind = tree[0]
            if kind == "array":
                return traced[tree[1]]
            if kind == "tensor":
                return capture.wrapped(traced[tree[1]])
            if kind == "plain":
                return float.fromhex(tree[2]) if tree[1] is float else tree[2]
            if kind is dict:
                return {name: rebuilt(item) for name, item in tree[1:]}
            return kind(map(rebuilt, tree[1:]))

        args, settings = self._tree[1:]
        return rebuilt(args), rebuilt(settings)


_NONE = _Arguments((), {})
