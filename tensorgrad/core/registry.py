"""The registry: every op by name, and for each NumPy function its implementation on Tensors."""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Callable, TypeVar, cast

import numpy as np

from .arrays import describe

if TYPE_CHECKING:
    from .op import Op

F = TypeVar("F", bound=Callable[..., Any])

OPS: dict[str, Op] = {}
"""Every op by name. The property tests go through this table, so that every op is tested."""

NUMPY: dict[Callable[..., Any], Callable[..., Any]] = {}
"""For each NumPy function what is called instead when an argument is a Tensor: an op, or a composition of ops."""

_NOT_DIFFERENTIABLE: set[Callable[..., Any]] = set()
"""The functions in that table through which no gradient flows."""

_REMEDIES: dict[Callable[..., Any], str] = {}
"""What to do instead of calling an unsupported NumPy function, where the usual advice does not fit."""

_LATER: dict[str, str] = {}
"""By the name of another library the module that declares ops for its functions, as long as that is not imported."""

_UFUNC_DEFAULTS = {"where": True, "casting": "same_kind", "order": "K", "subok": True}
"""Default values of the keyword arguments of ufuncs; passing them explicitly changes nothing."""


def registered(op: Op) -> Op:
    """Add the op to the tables, by its name and by the NumPy function that it implements; returns it."""
    if op.name in OPS:
        raise ValueError(
            f"declare: an op named {op.name!r} exists already; choose another name, "
            f"or first del tensorgrad.OPS[{op.name!r}]"
        )
    OPS[op.name] = op
    if isinstance(op.numpy, np.ufunc):
        NUMPY[op.numpy] = op
    elif op.numpy is not None:
        NUMPY[op.numpy] = _numpy_call(op, op.numpy)
    return op


def _numpy_call(op: Op, function: Callable[..., Any]) -> Callable[..., Any]:
    """The op with the parameters of the NumPy function; arguments that the op does not handle raise."""
    parameters = list(inspect.signature(function).parameters.values())
    names = [p.name for p in parameters]
    defaults = {p.name: p.default for p in parameters}

    def call(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args), **kwargs)
        operands = [given.pop(name) for name in names[: op.arity]]
        for name in [name for name in given if name not in op.settings]:
            value = given.pop(name)
            refuse(f"np.{op.name}", **{name: None if value is defaults[name] else value})
        return op(*operands, **given)

    call.op = op  # type: ignore[attr-defined]
    return call


def implements(function: Callable[..., Any], differentiable: bool = True, on_complex: bool = False) -> Callable[[F], F]:
    """Decorate: register a composition of ops, with NumPy's parameters, as what ``function`` does to Tensors.

    ``differentiable=False``: no gradient flows through it, as for shapes and booleans. ``on_complex=True``: it is
    right for complex arguments, too, which otherwise raise.
    """

    def register(composition: F) -> F:
        NUMPY[function] = composition if on_complex or not differentiable else _real_only(function, composition)
        (_NOT_DIFFERENTIABLE.discard if differentiable else _NOT_DIFFERENTIABLE.add)(function)
        return composition

    return register


def _real_only(function: Callable[..., Any], composition: F) -> F:
    """The composition, with an error for complex arguments."""

    @wraps(composition)
    def real_only(*args: object, **keywords: object) -> Any:
        refuse_complex(numpy_name(function), (*args, *keywords.values()))
        return composition(*args, **keywords)

    real_only.real_only = composition  # type: ignore[attr-defined]
    return cast(F, real_only)


def refuse_complex(name: str, values: Any) -> None:
    """Raise if there are complex numbers among ``values``, or in lists and tuples among them."""
    for value in values:
        if type(value) is np.ndarray and value.dtype.kind != "c":  # first, for speed: each op comes here
            continue
        if isinstance(value, (list, tuple)):
            refuse_complex(name, value)
        elif getattr(getattr(value, "dtype", None), "kind", "") == "c" or type(value) is complex:
            raise TypeError(
                f"{name} is differentiated for real numbers only, got {describe(value)}; "
                "compute with the parts, .real and .imag"
            )


def declared_by(library: str, module: str) -> None:
    """Have ``module`` imported, which declares ops for functions of ``library``, when one of them may be missing."""
    _LATER[library] = module


def found_later(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """What stands in for a function that is not in the table, once all that may declare it is imported; or None."""
    for library, module in list(_LATER.items()):
        if sys.modules.get(library) is not None:
            importlib.import_module(module)
            _LATER.pop(library, None)
    return NUMPY.get(function)


def refuses(function: Callable[..., Any], remedy: str) -> None:
    """Set what the error message for an unsupported ``function`` advises: a clause that ends its sentence."""
    _REMEDIES[function] = remedy


def status(function: Callable[..., Any]) -> str:
    """Support for a NumPy function: ``differentiable`` (``complex too``), ``no derivative`` or ``refused``.

    >>> import numpy as np, tensorgrad
    >>> status(np.exp), status(np.hypot), status(np.argmax), status(np.roots)
    ('differentiable, complex too', 'differentiable', 'no derivative', 'refused')
    """
    found = NUMPY.get(function)
    if found is None:
        return "refused"
    op: Any = getattr(found, "op", found)
    is_op = op in OPS.values()
    flows = op.differentiable if is_op else function not in _NOT_DIFFERENTIABLE
    if not flows:
        return "no derivative"
    of_complex = op.on_complex is not None if is_op else not hasattr(found, "real_only")
    return "differentiable, complex too" if of_complex else "differentiable"


def refuse(function: str, **arguments: object) -> None:
    """Raise a TypeError that names the first of these arguments that was passed, as ``function`` does not handle it."""
    for name, value in arguments.items():
        if value is not None and value is not np._NoValue:
            raise TypeError(
                f"{function}: {name}= is not differentiated by tensorgrad; "
                f"leave it out, or call {function} on tensor.numpy() if no gradient is needed"
            )


def is_default(keyword: str, value: object) -> bool:
    default = _UFUNC_DEFAULTS.get(keyword)
    return type(value) is type(default) and bool(value == default)


def numpy_name(function: Callable[..., Any]) -> str:
    """The name for messages, such as ``np.linalg.norm``; for a ufunc of another library just its name."""
    if isinstance(function, np.ufunc) and getattr(np, function.__name__, None) is not function:
        return str(function.__name__).lstrip("_")
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    return f"{module}.{function.__name__}"


def no_rule(name: str, function: Callable[..., Any]) -> TypeError:
    remedy = _REMEDIES.get(
        function,
        "declare it with tensorgrad.declare, compose it from functions that have one, or call it on tensor.numpy() "
        "if no gradient is needed",
    )
    return TypeError(f"{name} has no gradient rule in tensorgrad; {remedy}")
