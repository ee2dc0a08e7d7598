"""Runs as one loop each, compiled by numba where it is installed (the extra ``fast``)."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import pickle
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Callable

import numpy as np

from .._atomic import replacing
from .._paths import cache_folder
from .program import Instruction, Value, loop_dtypes, name_of, typed
from .schedule import Step

LEAST_INSTRUCTIONS = 2
"""A single instruction is as quick in NumPy."""

BINARY = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
}
FORMULAS = {
    **{name: f"{{0}} {sign} {{1}}" for name, sign in BINARY.items()},
    "negative": "-{0}",
    "positive": "{0}",
    "square": "{0} * {0}",
    "sqrt": "np.sqrt({0})",
    "absolute": "abs({0})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} < {1} or {0} != {0} else {1}",
    "logical_and": "{0} and {1}",
    "logical_or": "{0} or {1}",
    "logical_not": "not {0}",
    "isfinite": "np.isfinite({0})",
    "sign": "1 if {0} > 0 else -1 if {0} < 0 else 0 if {0} == 0 else {0}",
}
"""Ufuncs as expressions in their operands, each giving what NumPy's gives, to the last bit and NaN included.

Not exp, log and the like: compiled one by one they are slower than NumPy's, and rounded differently.
"""

PLUS = (
    "from numba import njit",
    "",
    "",
    "@njit(fastmath={'reassoc'})  # only this sum may be done in another order: several elements at once",
    "def plus(total, x):",
    "    return total + x",
    "",
)

DTYPES = frozenset(map(np.dtype, ("f4", "f8", "?", "u1", "u2", "u4", "u8", "i4", "i8")))


@cache
def numba() -> Any:
    """The library, or None."""
    if importlib.util.find_spec("numba") is None:
        return None
    try:
        import numba as library
    except ImportError:  # installed, but not for this NumPy
        return None
    return library


class Kernel:
    """The text of one loop, and which values it takes.

    Attributes
    ----------
    source
        A function ``kernel(*arrays)``.
    arrays
        For each parameter the value, and the shape that it takes in the loop.
    """

    def __init__(self, step: Step, escapes: Callable[[Value], bool], same: Callable[[Value], Any]) -> None:
        self._step, self._same = step, same
        self._variables: dict[Value, str] = {}
        self._parameters: dict[Any, str] = {}
        self._lengths: dict[int, str] = {}
        self.arrays: list[tuple[Value, tuple[int, ...]]] = []
        self._groups = _merged_axes(step)
        self._before: list[str] = []
        self._body: list[str] = []
        self._after: list[str] = []
        self._constants: list[str] = []
        for position, instruction in enumerate(step.instructions):
            self._add(position, instruction, escapes(instruction.out))
        self.source = self._text()

    def _add(self, position: int, instruction: Instruction, escapes: bool) -> None:
        name = f"t{position}"
        if instruction.is_total:
            operand = self._read(instruction.operands[0])
            self._before.append(f"{name} = 0.0")
            self._body.append(f"{name} = plus({name}, np.float64({operand}))")
            total = self._parameter(instruction.out, ())
            self._after.append(f"{total}[()] = {name}")
            return
        if instruction.kind == "cast":
            dtypes: Sequence[Any] = (instruction.out.dtype,)
            operands, formula = instruction.operands[:1], "{0}"
        elif instruction.kind == "select":
            dtypes = (np.dtype(bool), instruction.out.dtype, instruction.out.dtype)
            operands, formula = instruction.operands, "{1} if {0} else {2}"
        else:
            dtypes = loop_dtypes(instruction)
            operands, formula = instruction.operands, FORMULAS[instruction.function.__name__]
        terms = [self._term(instruction, x, dtype) for x, dtype in zip(operands, dtypes)]
        self._body.append(f"{name} = np.{_scalar(instruction.out.dtype)}({formula.format(*terms)})")
        self._variables[instruction.out] = name
        if escapes:
            self._body.append(f"{self._place(instruction.out)} = {name}")

    def _term(self, instruction: Instruction, operand: object, dtype: np.dtype) -> str:
        if isinstance(operand, Value):
            name = self._read(operand)
            return name if operand.dtype == dtype else f"np.{_scalar(dtype)}({name})"
        number = np.asarray(typed(instruction, operand)).astype(dtype)[()]
        self._constants.append(f"c{len(self._constants)} = np.{_scalar(dtype)}({_literal(number)})")
        return f"c{len(self._constants) - 1}"

    def _read(self, value: Value) -> str:
        """The variable that holds an element; read from its array when first used."""
        name = self._variables.get(value)
        if name is None:
            name = self._variables[value] = f"v{len(self._variables)}"
            if value.size == 1:
                self._before.append(f"{name} = {self._parameter(value, ())}[()]")
            else:
                self._body.append(f"{name} = {self._place(value)}")
        return name

    def _place(self, value: Value) -> str:
        lengths = (1,) * (len(self._step.shape) - len(value.shape)) + value.shape
        axes = [n for n, group in enumerate(self._groups) if any(lengths[axis] > 1 for axis in group)]
        full = tuple(prod(lengths[axis] for axis in self._groups[n]) for n in axes)
        array = self._parameter(value, full)
        for position, n in enumerate(axes):  # so that equal runs of other sizes are the same kernel
            self._lengths.setdefault(n, f"{array}.shape[{position}]")
        return f"{array}[{', '.join(f'i{n}' for n in axes)}]"

    def _parameter(self, value: Value, shape: tuple[int, ...]) -> str:
        key = (self._same(value), shape)
        if key not in self._parameters:
            self._parameters[key] = f"a{len(self._parameters)}"
            self.arrays.append((value, shape))
        return self._parameters[key]

    def _text(self) -> str:
        names = list(self._parameters.values())
        lines = ["import numpy as np", *(PLUS if self._after else ()), "", *self._constants, "", ""]
        lines.append(f"def kernel({', '.join(names)}):")
        lines += [f"    {line}" for line in self._before]
        indent = "    "
        for number in range(len(self._groups)):
            lines.append(f"{indent}for i{number} in range({self._lengths[number]}):")
            indent += "    "
        lines += [f"{indent}{line}" for line in self._body]
        lines += [f"    {line}" for line in self._after]
        return "\n".join(lines) + "\n"


def fusable(instruction: Instruction) -> bool:
    """Whether an instruction can be part of a kernel."""
    for value in (*instruction.values, instruction.out):
        if not value.contiguous or value.dtype not in DTYPES:
            return False
    for x in instruction.operands:
        if type(x) is not float and not isinstance(x, (Value, np.dtype)) and not instruction.is_total:
            constant = typed(instruction, x)
            if np.ndim(constant) or not hasattr(constant, "dtype"):
                return False
    if instruction.kind == "cast":
        return instruction.operands[0].dtype.kind != "f" or instruction.out.dtype.kind == "f"
    if instruction.kind != "ufunc":
        return True
    name, dtypes = instruction.function.__name__, loop_dtypes(instruction)
    if name not in FORMULAS or not DTYPES.issuperset(dtypes):
        return False
    return dtypes[0].kind == "f" or name not in ("divide", "negative", "absolute", "sign", "sqrt")


def supported(step: Step) -> bool:
    """Whether a run of fusable instructions is worth a kernel."""
    values = [*step.values(), *(instruction.out for instruction in step.instructions)]
    whole = any(value.shape == step.shape for value in values)
    return whole and step.size > 1 and len(step.instructions) >= LEAST_INSTRUCTIONS


def _merged_axes(step: Step) -> list[list[int]]:
    """The axes of a run, those together along which every operand is either whole or repeated."""
    rank = len(step.shape)
    values = [v for v in (*step.values(), *(i.out for i in step.instructions if not i.is_total)) if v.size > 1]
    patterns = []
    for axis in range(rank):
        patterns.append(
            tuple(axis - rank + len(v.shape) >= 0 and v.shape[axis - rank + len(v.shape)] > 1 for v in values)
        )
    groups: list[list[int]] = []
    for axis in range(rank):
        if step.shape[axis] == 1:
            continue
        if groups and patterns[groups[-1][-1]] == patterns[axis]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _scalar(dtype: np.dtype) -> str:
    return "bool_" if dtype.kind == "b" else name_of(dtype)


def _literal(number: Any) -> str:
    """Python text for exactly that number."""
    if isinstance(number, np.bool_):
        return str(bool(number))
    if isinstance(number, np.integer):
        return str(int(number))
    return f"float.fromhex('{float(number).hex()}')" if np.isfinite(number) else f"float('{float(number)}')"


# Compiling, once for each text, and keeping the result on disk as far as the disk allows it

FORMAT = 2
"""Of what is kept on disk: files of another one are not looked at."""

MOST_KEPT = 1000
"""Kernels on disk, of some 30 kB each; the oldest make way."""

_functions: dict[str, Callable[..., None]] = {}
_dispatchers: dict[Callable[..., None], Any] = {}


def compiled(source: str, arrays: Sequence[tuple[np.dtype, int]]) -> Callable[..., None]:
    """The kernel of that text, compiled for arrays of these dtypes and ranks."""
    if source not in _functions:
        _functions[source] = _function(source)
    return jitted(_functions[source], arrays)


def jitted(function: Callable[..., None], arrays: Sequence[tuple[np.dtype, int]]) -> Callable[..., None]:
    """``function`` compiled for arrays of these dtypes and ranks; from disk where an earlier process has done it."""
    library = numba()
    if function not in _dispatchers:
        _dispatchers[function] = library.njit(error_model="numpy", nogil=True)(function)
        try:
            _dispatchers[function]._cache = _cache_class()(function)
        except (OSError, RuntimeError) as error:  # there is no file, or numba finds no folder that it could write to
            _warn_of(function.__code__.co_filename, error)
    dispatcher: Any = _dispatchers[function]
    known = vars(dispatcher).setdefault("compiled_for", set())  # which numba is slow to tell
    if tuple(arrays) not in known:
        dispatcher.compile(tuple(library.types.Array(library.from_dtype(dtype), rank, "C") for dtype, rank in arrays))
        known.add(tuple(arrays))
    return dispatcher  # type: ignore[no-any-return]


@cache
def _cache_class() -> Any:
    """numba's cache of machine code, without its errors: what cannot be read is compiled, what cannot be saved is not.

    With a digest, as a processor would run whatever a damaged file holds.
    """
    caching: Any = importlib.import_module("numba.core.caching")

    class WithDigest(caching.CompileResultCacheImpl):  # type: ignore[misc]
        def reduce(self, result: Any) -> tuple[bytes, bytes]:
            content = pickle.dumps(super().reduce(result))
            return hashlib.sha256(content).digest(), content

        def rebuild(self, target: Any, data: tuple[bytes, bytes]) -> Any:
            digest, content = data
            if hashlib.sha256(content).digest() != digest:
                raise ValueError("the file is damaged")
            return super().rebuild(target, pickle.loads(content))

    class Cache(caching.FunctionCache):  # type: ignore[misc]
        _impl_class = WithDigest

        def load_overload(self, signature: Any, target: Any) -> Any:
            try:
                return super().load_overload(signature, target)
            except Exception as error:  # unpickling damaged files raises anything
                files = sorted(Path(self.cache_path).glob(f"{self._impl.filename_base}.*"))
                _warn_of(getattr(error, "filename", None) or (files or [self.cache_path])[0], error)
                for file in files:  # so that they are written again
                    with suppress(OSError):
                        file.unlink()

        def save_overload(self, signature: Any, result: Any) -> None:
            try:
                super().save_overload(signature, result)
            except Exception as error:  # also of reading what is there already
                _warn_of(getattr(error, "filename", None) or self.cache_path, error)

    return Cache


def _function(source: str) -> Callable[..., None]:
    """The Python function; its text is beside the machine code, as numba wants it to be."""
    text = f"{FORMAT} {numba().__version__} {sys.version_info[:2]} {np.__version__}\n{source}"
    module = ModuleType(f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:16]}")
    path = _folder() / f"{module.__name__}.py"
    try:
        _write(path, source.encode())
    except OSError as error:
        _warn_of(path, error)
    exec(compile(source, path, "exec"), vars(module))
    sys.modules[module.__name__] = module  # where numba looks for it when it loads machine code
    function: Callable[..., None] = module.kernel
    return function


def _write(path: Path, source: bytes) -> None:
    """Write the file unless it is there already."""
    if path.exists():
        if path.read_bytes() == source:
            return
        _warn_of(path, ValueError("the file is damaged"))
    else:
        if not path.is_absolute():  # of a user without a home: ~ stays as it is
            raise FileNotFoundError("not an absolute path")
        path.parent.mkdir(parents=True, exist_ok=True)
        _announce()
        _make_room(path.parent)
    with replacing(path) as temporary:
        temporary.write_bytes(source)


def _make_room(folder: Path) -> None:
    """Remove the oldest kernels where there are too many."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(".py")]
    if len(names) < MOST_KEPT:
        return
    ages = {}
    for name in names:
        with suppress(OSError):  # another process has removed it
            ages[folder / name] = (folder / name).stat().st_mtime
    for path in sorted(ages, key=ages.__getitem__)[: len(ages) + 1 - MOST_KEPT]:
        for file in (path, *folder.rglob(f"{path.stem}.*.nb?")):
            with suppress(OSError):
                file.unlink()


_warned: list[Any] = []
"""What has been warned of."""


def _warn_of(path: object, error: Exception) -> None:
    """Say once in a process that the cache does not work."""
    if not _warned:
        _warned.append(path)
        warnings.warn(
            f"compile: the cache of kernels fails at {path} ({error or type(error).__name__}); kernels that cannot be "
            "kept are compiled in each process, which takes seconds: make room for the file or remove it, or set "
            "XDG_CACHE_HOME to a folder that can be written",
            RuntimeWarning,
            stacklevel=2,
        )


@cache
def _announce() -> None:
    """Say why the first start takes seconds, where a person is watching."""
    import logging  # which NumPy does not import

    level = logging.WARNING if sys.stderr.isatty() else logging.INFO  # a warning is seen where nothing is configured
    message = "tensorgrad: compiling kernels, once; they are kept in %s"
    logging.getLogger("tensorgrad.compiler").log(level, message, _folder())


def _folder() -> Path:
    """Where kernels are kept: the user's cache."""
    return cache_folder() / "kernels"
