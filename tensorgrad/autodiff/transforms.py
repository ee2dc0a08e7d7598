"""Transforms: functions that turn a function of arrays into one that gives its derivatives.

A transform calls ``f`` with Tensors of its own, its *variables*, in the place of the floating leaves of some arguments,
and sweeps back from what ``f`` returns to exactly these. A transform inside another has other variables, so the two
cannot be confused (Siskind & Pearlmutter 2005, "Perturbation confusion and referential transparency"), and there is no
state outside the call: transforms nest to any order, in any number of threads.

What they return follows from what they are given:

- arrays in, arrays out (a 0-d result is a NumPy scalar, as NumPy's own reductions are);
- Tensors where an argument is a Tensor;
- Tensors with their history where the result depends on a Tensor from outside that requires gradients, be it an
  argument, a closure (the parameters of a network) or the variable of a transform around this one: it can be
  differentiated in turn. Under :class:`~tensorgrad.no_grad` no result has a history.

Gradients have the dtype of what they belong to. A Python float has that of the floating arrays among the arguments, as
in NumPy's own arithmetic, and float64 where there are none. Leaves that are not floating are passed on to ``f``; in
derivatives None stands in their place.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from functools import partial, wraps
from typing import Any, Callable

import numpy as np
from numpy import ndarray

from .._pytree import leaves, mapped
from ..core import OPS, Tensor, backward_pass, beside, describe
from ..core.context import Watcher, _recording, recorded
from ..core.conversions import ConversionError
from ..core.node import clock
from ..core.tensor import history
from .batched import BatchedArray
from .gradients import swept

Function = Callable[..., Any]

ROWS_AT_ONCE = 128
"""Rows of a Jacobian in one backward pass, which takes the memory of as many gradients."""

# ------------------------------------------------------------------------------------------- one call of f


class _Call:
    """One call of ``f``, recorded, with variables in the place of the floating leaves of some arguments."""

    def __init__(
        self,
        name: str,
        f: Function,
        args: Sequence[Any],
        keywords: dict[str, Any],
        argnums: Any = None,
        has_aux: bool = False,
    ) -> None:
        if not callable(f):
            raise TypeError(f"{name}: takes a function, got {type(f).__name__}")
        self.name, self.args = name, args
        self.positions, self._alone = _positions(name, argnums, len(args))
        given = leaves((list(args), keywords))
        self.with_tensors = any(isinstance(leaf, Tensor) for leaf in given)
        dtypes = [leaf.dtype for leaf in given if _is_floating(leaf) and type(leaf) is not float]
        self._dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
        since = next(clock)
        self.variables: list[Tensor] = []
        full = list(args)
        for position in self.positions:
            full[position] = self._with_variables(position, required=argnums is not None)
        if self.positions and not self.variables:
            self._refuse("the arguments hold", [self.args[position] for position in self.positions])
        called = next(clock)
        try:
            with recorded():
                returned = f(*full, **keywords)
        except ValueError as error:
            if isinstance(error.__cause__, ConversionError):  # whose remedy NumPy's own words would hide
                raise error.__cause__ from None
            raise
        refuse_changed(name, self.variables, called)
        self.aux = None
        if has_aux:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise TypeError(f"{name}: with has_aux=True f must return (value, aux), got {_kind(returned)}")
            returned, self.aux = returned
        self.value = returned
        self.outputs = self._outputs()
        roots = [leaf for leaf in leaves((self.value, self.aux)) if isinstance(leaf, Tensor)]
        self.live = bool(_recording.get()) and next(from_outside(roots, since), None) is not None

    def _with_variables(self, position: int, required: bool) -> Any:
        argument = self.args[position]
        found = leaves(argument)
        for leaf in found:
            if _dtype_kind(leaf) == "c":
                raise TypeError(
                    f"{self.name}: argument {position} holds {_kind(leaf)}, and transforms differentiate with respect "
                    "to real numbers; pass the parts, as in f(x + 1j * y), or call backward on the loss, which gives "
                    "a complex Tensor dL/dx + i dL/dy"
                )
        if required and not any(map(_is_floating, found)):
            self._refuse(f"argument {position} holds", argument)
        return mapped(lambda leaf: self._variable(leaf) if _is_floating(leaf) else leaf, argument)

    def _refuse(self, what: str, argument: Any) -> None:
        kinds = ", ".join(dict.fromkeys(map(_kind, leaves(argument))))
        if kinds:
            raise TypeError(
                f"{self.name}: {what} no real floats to differentiate, but {kinds}; pass floats, as in x.astype(float)"
            )

    def _variable(self, leaf: Any) -> Tensor:
        if isinstance(leaf, Tensor) and leaf.requires_grad and _recording.get():
            variable: Tensor = OPS["positive"](leaf)  # of its own, and it leads to what is outside
        else:
            data = leaf.data if isinstance(leaf, Tensor) else leaf
            variable = Tensor(np.asarray(data, self._dtype) if type(data) is float else data, requires_grad=True)
        self.variables.append(variable)
        return variable

    def _outputs(self) -> list[Tensor]:
        """The floating leaves of the value, as Tensors."""
        found = leaves(self.value)
        complexes = [leaf for leaf in found if _dtype_kind(leaf) == "c"]
        if complexes or (found and not any(map(_is_output, found))):
            raise TypeError(f"{self.name}: f must return floats, got {_kind((complexes or found)[0])}")
        plain = [leaf for leaf in found if _is_floating(leaf)]
        if plain and self.variables and not any(isinstance(leaf, Tensor) for leaf in found):
            warnings.warn(
                f"{self.name}: f returned {_kind(plain[0])}, no Tensor, so its derivatives are zero; compute with "
                "Tensors to the end, as .item(), .numpy() and .data leave the record",
                stacklevel=4,
            )
        outputs = [float(leaf) if type(leaf) is int else leaf for leaf in found if _is_output(leaf)]
        return [output if isinstance(output, Tensor) else Tensor(output) for output in outputs]

    def scalar(self) -> Tensor:
        """The only output, of one element, or an error."""
        output = self.only()
        if output.size != 1:
            raise ValueError(
                f"{self.name}: f must return one number, got shape {output.shape}; reduce it with .sum() or .mean(), "
                "or use jacobian or elementwise_grad"
            )
        return output

    def only(self) -> Tensor:
        """The only output, or an error."""
        if isinstance(self.value, (dict, list, tuple)):
            hint = "; for (value, aux) say has_aux=True" if self.name in ("grad", "value_and_grad") else ""
            raise TypeError(f"{self.name}: f must return one array, got {_kind(self.value)}{hint}")
        return self.outputs[0]

    def pull(self, cotangents: Sequence[Any], create_graph: bool, retain_graph: bool) -> list[Tensor]:
        """The gradients of the variables, given those of the outputs."""
        return _pulled(self.outputs, self.variables, cotangents, create_graph, retain_graph)

    # What the caller gets

    def shown(self, tree: Any, live: bool | None = None, with_tensors: bool | None = None) -> Any:
        """Tensors in a container as the caller gets them: arrays, Tensors, or Tensors with their history."""
        if self.live if live is None else live:
            return tree
        show = Tensor.detach if (self.with_tensors if with_tensors is None else with_tensors) else _plain
        return mapped(lambda leaf: show(leaf) if isinstance(leaf, Tensor) else leaf, tree)

    def showing(self, vectors: Sequence[Any]) -> tuple[bool, Function]:
        """Whether results that depend on ``vectors`` too can be differentiated in turn, and how they are shown."""
        tensors = [vector for vector in vectors if isinstance(vector, Tensor)]
        live = bool(_recording.get()) and (self.live or any(tensor.requires_grad for tensor in tensors))
        return live, partial(self.shown, live=live, with_tensors=self.with_tensors or bool(tensors))

    def like_arguments(self, results: Sequence[Any], show: Function) -> Any:
        """One result for each variable, in containers like the arguments asked for."""
        rest = iter(results)

        def result_for(leaf: Any) -> Any:
            if not _is_floating(leaf):
                return None
            result = show(next(rest))
            return np.asarray(result) if isinstance(result, np.generic) and isinstance(leaf, ndarray) else result

        found = tuple(mapped(result_for, self.args[position]) for position in self.positions)
        return found[0] if self._alone else found

    def like_value(self, results: Sequence[Any]) -> Any:
        """One result for each output, in containers like the value."""
        rest = iter(results)
        return mapped(lambda leaf: next(rest) if _is_output(leaf) else None, self.value)

    def gradient(self, cotangent: Any) -> Any:
        """The gradient of the only output, as the caller gets it."""
        return self.like_arguments(self.pull([cotangent], self.live, self.live), self.shown)


def named(transform: str, f: Function) -> Callable[[Function], Function]:
    """Decorate: the name and documentation of ``f`` for what a transform makes of it."""
    if not callable(f):
        raise TypeError(f"{transform}: takes a function, got {type(f).__name__}")
    return wraps(f, updated=())


def _positions(name: str, argnums: Any, count: int) -> tuple[list[int], bool]:
    """The arguments to differentiate, counted from the front, and whether it is a single one."""
    if argnums is None:
        return list(range(count)), False
    alone = not isinstance(argnums, (tuple, list))
    positions = []
    for argnum in [argnums] if alone else argnums:
        if isinstance(argnum, bool) or not hasattr(argnum, "__index__"):
            raise TypeError(f"{name}: argnums must be an integer or a tuple of integers, got {argnums!r}")
        position = operator.index(argnum)
        if not -count <= position < count:
            raise ValueError(
                f"{name}: argnums={argnums!r} is out of range for {count} positional argument(s); keyword arguments "
                "are not differentiated"
            )
        positions.append(position % count)
    if len(set(positions)) != len(positions):
        raise ValueError(f"{name}: argnums={argnums!r} names an argument twice")
    return positions, alone


def _dtype_kind(leaf: Any) -> str:
    dtype = np.dtype(type(leaf)) if type(leaf) in (float, complex) else getattr(leaf, "dtype", None)
    kind: str = getattr(dtype, "kind", "")
    return kind


def _is_floating(leaf: Any) -> bool:
    return _dtype_kind(leaf) == "f"


def _is_output(leaf: Any) -> bool:
    """Whether something that f returned has a derivative; a Python integer is a constant."""
    return type(leaf) is int or _is_floating(leaf)


def _kind(value: Any) -> str:
    return describe(value) if hasattr(value, "shape") and hasattr(value, "dtype") else type(value).__name__


def _plain(tensor: Tensor) -> Any:
    data = tensor.data
    return data[()] if type(data) is ndarray and data.ndim == 0 else data


def from_outside(roots: Sequence[Tensor], since: int) -> Iterator[Tensor]:
    """The Tensors older than ``since`` that require gradients and that ``roots`` were computed from."""
    met: set[Any] = set()
    stack = list(roots)
    while stack:
        tensor = stack.pop()
        node = tensor._node
        if not tensor.requires_grad or node is None or node in met:
            continue
        met.add(node)
        if node.order < since:
            yield tensor
        elif tensor.creator is not None:
            stack.extend(operand for operand in tensor.creator[1] if isinstance(operand, Tensor))


def refuse_changed(name: str, arguments: Sequence[Any], since: int) -> None:
    """Raise if ``f`` has changed a Tensor that it was given: gradients would be with respect to the new value."""
    nodes = (argument._node for argument in arguments if isinstance(argument, Tensor))
    if any(node is not None and node.order > since for node in nodes):
        raise TypeError(f"{name}: f changes an argument in place; let it change a copy (x = x + 0) instead")


def _unshared(leaf: Any) -> Any:
    """An array or a Tensor as one of its own: the caller may write into the other one."""
    if isinstance(leaf, Tensor):
        return +leaf if leaf.requires_grad else leaf.detach()
    return leaf.copy() if isinstance(leaf, ndarray) else leaf


def _pulled(
    outputs: Sequence[Tensor],
    variables: Sequence[Tensor],
    cotangents: Sequence[Any],
    create_graph: bool,
    retain_graph: bool,
) -> list[Tensor]:
    """The gradients of ``variables``, given those of ``outputs``; zeros where nothing depends on one."""
    pairs = [(output, cotangent) for output, cotangent in zip(outputs, cotangents) if output.requires_grad]
    if not pairs or not variables:
        return [Tensor(np.zeros_like(variable.data)) for variable in variables]
    if len(pairs) == 1:
        ((output, seed),) = pairs
    else:
        with recorded():
            output, seed = (packed(parts) for parts in zip(*pairs))
    if create_graph or not _goes_by_rows(output) or np.all(seed.data if isinstance(seed, Tensor) else seed):
        return swept(output, variables, seed, create_graph, retain_graph)
    found = swept(output, variables, seed, create_graph, retain_graph=True)
    if any(np.isnan(tensor.data).any() for tensor in found):  # perhaps 0 times NaN, which a BatchedArray keeps at 0
        row = _stack(output, variables, np.expand_dims(seed.data if isinstance(seed, Tensor) else seed, 0))
        blocks = next(_blocks(row, [Tensor(np.zeros(1))], variables))
        return [block.reshape(variable.shape) for block, variable in zip(blocks, variables)]
    return found


def _goes_by_rows(output: Tensor) -> bool:
    """Whether rules can be called with a stack of gradients: of NumPy's arrays, and while nobody watches."""
    return type(output.data) is ndarray and not isinstance(_recording.get(), Watcher)


def packed(parts: Sequence[Any]) -> Any:
    """Arrays of any shapes, one after the other along one axis."""
    flat = [part.reshape(-1) for part in parts]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def _fitting(name: str, kind: str, given: Any, expected: Tensor) -> Any:
    """A tangent or cotangent, checked: of the shape and dtype of what it belongs to."""
    if type(given) in (int, float) and expected.shape == ():
        return np.full_like(expected.data, given)
    if not hasattr(given, "shape") or not hasattr(given, "dtype"):
        raise TypeError(f"{name}: a {kind} must be {describe(expected)}, got {_kind(given)}")
    if given.shape != expected.shape or given.dtype != expected.dtype:
        error = ValueError if given.shape != expected.shape else TypeError
        raise error(f"{name}: a {kind} must be {describe(expected)}, got {describe(given)}")
    return given


def _all_fitting(
    name: str, kind: str, tree: Any, given: Any, has_one: Function, expected: Sequence[Tensor]
) -> list[Any]:
    """The tangents or cotangents for the leaves of ``tree`` that have one; None stands at the others."""
    pairs: list[tuple[Any, Any]] = []
    try:
        mapped(lambda leaf, part: pairs.append((leaf, part)), tree, given)
    except ValueError as error:
        raise ValueError(f"{name}: {kind}s: {error}") from None
    for leaf, part in pairs:
        if part is not None and not has_one(leaf):
            raise TypeError(f"{name}: a {kind} must be None where there is {_kind(leaf)}, got {_kind(part)}")
    parts = [part for leaf, part in pairs if has_one(leaf)]
    return [_fitting(name, kind, part, like) for part, like in zip(parts, expected)]


def _arguments(args: Any) -> tuple[Sequence[Any], bool]:
    """Arguments as a sequence, and whether a single one stood for itself."""
    return (args, False) if isinstance(args, (tuple, list)) else ((args,), True)


# --------------------------------------------------------------------------------------- reverse and forward


def grad(f: Function, argnums: Any = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of ``f``, which returns one number.

    Parameters
    ----------
    f
        Function of arrays and nested containers of them (dict, list, tuple, namedtuple), written in NumPy.
    argnums
        Which positional argument to differentiate: an integer, negative from the end, or a tuple of them. Keyword
        arguments are passed on.
    has_aux
        Whether ``f`` returns ``(value, aux)``, of which only the value is differentiated.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns the gradient, like the argument in structure, shape and dtype, a tuple of
        gradients if ``argnums`` is one, and ``(gradient, aux)`` with ``has_aux``. Zeros where ``f`` does not depend on
        an argument. Arrays or Tensors as said at the top of :mod:`tensorgrad.autodiff.transforms`.

    Raises
    ------
    ValueError
        When called, if ``f`` does not return one number or ``argnums`` is out of range.
    TypeError
        When called, if an argument asked for holds no floats, or ``f`` does not return an array or a number.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> loss = lambda line, x: np.sum((line["slope"] * x + line["offset"]) ** 2)
    >>> tg.grad(loss)({"slope": 2.0, "offset": -1.0}, np.array([0.0, 1.0]))
    {'slope': np.float64(2.0), 'offset': np.float64(0.0)}
    >>> tg.grad(tg.grad(lambda x: x**4))(1.0)
    np.float64(12.0)
    """

    @named("grad", f)
    def gradient(*args: Any, **keywords: Any) -> Any:
        call = _Call("grad", f, args, keywords, argnums, has_aux)
        output = call.scalar()
        found = call.gradient(np.ones_like(output.data))
        return (found, call.shown(call.aux)) if has_aux else found

    return gradient


def value_and_grad(f: Function, argnums: Any = 0, has_aux: bool = False) -> Function:
    """The function that gives ``(value, gradient)`` of ``f``, as :func:`grad` does, from one call.

    With ``has_aux`` it gives ``((value, aux), gradient)``.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.value_and_grad(np.sum)(np.array([1.0, 2.0]))
    (np.float64(3.0), array([1., 1.]))
    """

    @named("value_and_grad", f)
    def value_and_gradient(*args: Any, **keywords: Any) -> Any:
        call = _Call("value_and_grad", f, args, keywords, argnums, has_aux)
        output = call.scalar()
        found = call.gradient(np.ones_like(output.data))
        value = call.shown(call.value)
        return ((value, call.shown(call.aux)), found) if has_aux else (value, found)

    return value_and_gradient


def elementwise_grad(f: Function, argnums: Any = 0) -> Function:
    """The function that gives the derivative of each element of ``f(x)`` with respect to the same element of x.

    It is the gradient of the sum of all outputs, in other words the sum of the Jacobian over its output axes: the
    derivative element by element if ``f`` works so, and only then.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = np.linspace(-1, 1, 5)
    >>> np.allclose(tg.elementwise_grad(np.tanh)(x), 1 - np.tanh(x) ** 2)
    True
    """

    @named("elementwise_grad", f)
    def derivative(*args: Any, **keywords: Any) -> Any:
        call = _Call("elementwise_grad", f, args, keywords, argnums)
        return call.gradient(np.ones_like(call.only().data))

    return derivative


def vjp(f: Function, *args: Any, **keywords: Any) -> tuple[Any, Function]:
    """The value of ``f(*args)`` and its pullback, the vector-Jacobian product.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    args, keywords
        Its arguments; the positional ones are differentiated.

    Returns
    -------
    value
        What ``f`` returned.
    pullback
        ``pullback(cotangent)`` gives the tuple of u^T J for each argument. The cotangent u has the structure, shapes
        and dtypes of the value. It can be called any number of times, even after arguments or value were changed.

    Raises
    ------
    ValueError, TypeError
        If structure and shapes, or dtypes, do not agree.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> value, pullback = tg.vjp(np.multiply, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    >>> value
    array([3., 8.])
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 3., 40.]), array([ 1., 20.]))
    """
    call = _Call("vjp", f, mapped(_unshared, args), keywords)

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        cotangents = _all_fitting("vjp", "cotangent", call.value, cotangent, _is_output, call.outputs)
        live, show = call.showing(cotangents)
        found: tuple[Any, ...] = call.like_arguments(call.pull(cotangents, create_graph=live, retain_graph=True), show)
        return found

    return mapped(_unshared, call.shown(call.value)), pullback


def jvp(f: Function, args: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of ``f(*args)`` and its derivative along ``tangents``, the Jacobian-vector product J t.

    Forward mode through reverse mode twice: the pullback u -> J^T u is linear in u, and its own pullback, at any u, is
    t -> J t (J. Townsend, "A new trick for calculating Jacobian vector products", 2017). It costs about three
    evaluations of ``f``, and memory as a gradient does.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    args, tangents
        Tuples of the same structure, shapes and dtypes; None as the tangent of what is not floating. Anything else than
        a tuple or a list is the only argument.

    Returns
    -------
    value, tangent
        Of the same structure.

    Raises
    ------
    ValueError, TypeError
        If structure and shapes, or dtypes, do not agree.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> value, tangent = tg.jvp(np.square, (np.array([1.0, 3.0]),), (np.array([1.0, -1.0]),))
    >>> tangent
    array([ 2., -6.])
    """
    args, _ = _arguments(args)
    call = _Call("jvp", f, args, {})
    vectors = _all_fitting("jvp", "tangent", args, _arguments(tangents)[0], _is_floating, call.variables)
    live, show = call.showing(vectors)
    dummies = [_dummy(output) for output in call.outputs]
    pulled = call.pull(dummies, create_graph=True, retain_graph=True)
    parts = _pulled(pulled, dummies, vectors, create_graph=live, retain_graph=live)
    return show(call.value), show(call.like_value(parts))


def hvp(f: Function, args: Any, vectors: Any) -> Any:
    """The product of the Hessian of ``f`` and a vector, without the Hessian: the gradient of <gradient of f, vector>.

    Parameters
    ----------
    f
        Function that returns one number.
    args, vectors
        As ``args`` and ``tangents`` of :func:`jvp`.

    Returns
    -------
    Like ``args``: a tuple, or the product for the only argument if that stood for itself.

    Raises
    ------
    ValueError, TypeError
        As for :func:`grad` and :func:`jvp`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> tg.hvp(lambda x: x[0] ** 2 * x[1], x, v)
    array([4., 2.])

    The source is B. Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    args, alone = _arguments(args)
    call = _Call("hvp", f, args, {})
    output = call.scalar()
    parts = _all_fitting("hvp", "vector", args, _arguments(vectors)[0], _is_floating, call.variables)
    live, show = call.showing(parts)
    first = call.pull([np.ones_like(output.data)], create_graph=True, retain_graph=True)
    second = _pulled(first, call.variables, parts, create_graph=live, retain_graph=live)
    products = call.like_arguments(second, show)
    return products[0] if alone else products


# ---------------------------------------------------------------------------------------------- matrices


def jacobian(f: Function, argnums: Any = 0) -> Function:
    """The function that gives the Jacobian of ``f``, all its first derivatives.

    One sweep gives many rows or, as in :func:`jvp`, columns, whatever there are fewer of: the rules are called with a
    stack of gradients. A Jacobian that is differentiated in turn, compiled, or of other libraries' arrays goes row by
    row.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    argnums
        As for :func:`grad`.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns an array of shape ``value.shape + x.shape`` and the dtype of ``x``. Where
        value or argument are containers, it is one like the value, of ones like the argument.

    Raises
    ------
    ValueError, TypeError
        As for :func:`grad`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.jacobian(lambda x: x[:, None] * x)(np.array([1.0, 2.0])).shape
    (2, 2, 2)
    >>> tg.jacobian(lambda x: x * x[0])(np.array([1.0, 2.0]))
    array([[2., 0.],
           [2., 1.]])
    """

    @named("jacobian", f)
    def derivatives(*args: Any, **keywords: Any) -> Any:
        return _jacobian("jacobian", f, args, keywords, argnums)

    return derivatives


def hessian(f: Function, argnums: Any = 0) -> Function:
    """The function that gives the Hessian of ``f``, which returns one number: the Jacobian of the gradient.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns an array of shape ``x.shape + x.shape``, for a container (or a tuple of
        ``argnums``) one like it, of ones like it.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """

    @named("hessian", f)
    def derivatives(*args: Any, **keywords: Any) -> Any:
        return _jacobian("hessian", grad(f, argnums), args, keywords, argnums)

    return derivatives


def _jacobian(name: str, f: Function, args: Any, keywords: Any, argnums: Any) -> Any:
    call = _Call(name, f, args, keywords, argnums)
    with recorded():
        matrix = _matrix(call.outputs, call.variables, call.live)
        blocks = list(_blocks(matrix, call.outputs, call.variables))
    return call.like_value([call.like_arguments(row, call.shown) for row in blocks])


def _matrix(outputs: Sequence[Tensor], variables: Sequence[Tensor], live: bool) -> Any:
    """The derivatives of all elements of ``outputs``, by row, with respect to all elements of ``variables``."""
    rows, columns = (sum(tensor.size for tensor in tensors) for tensors in (outputs, variables))
    if not rows or not columns or not any(output.requires_grad for output in outputs):
        tensors = [*outputs, *variables]
        dtype = np.result_type(*(tensor.dtype for tensor in tensors)) if tensors else np.float64
        zeros = np.zeros((rows, columns), dtype)
        return beside(zeros, tensors[0]) if tensors else zeros
    output = packed(outputs)
    if rows <= columns:
        return _gradients_by_row(output, variables, live)
    dummy = _dummy(output)
    pulled = packed(swept(output, variables, dummy, create_graph=True, retain_graph=True))
    if not pulled.requires_grad:
        return beside(np.zeros((rows, columns), pulled.dtype), output)
    return _gradients_by_row(pulled, [dummy], live).T


def _dummy(output: Tensor) -> Tensor:
    """A gradient to differentiate the pullback at: any, but for zeros and symmetries, of which some rules make use."""
    values = np.sqrt(np.arange(1.0, output.size + 1)).reshape(output.shape).astype(output.dtype)
    return Tensor(beside(values, output), requires_grad=True)


def _gradients_by_row(output: Tensor, wanted: Sequence[Tensor], live: bool) -> Any:
    """A row of gradients of ``wanted`` for each element of ``output``, which has one axis."""
    seeds = np.eye(output.size, dtype=output.dtype)
    if live or not _goes_by_rows(output):
        rows = [swept(output, wanted, beside(seed, output), create_graph=live, retain_graph=True) for seed in seeds]
        matrix = np.stack([packed(row) for row in rows])
        return matrix if live else matrix.data
    return np.concatenate(
        [_stack(output, wanted, seeds[i : i + ROWS_AT_ONCE]) for i in range(0, output.size, ROWS_AT_ONCE)]
    )


def _stack(output: Tensor, wanted: Sequence[Tensor], seeds: ndarray) -> ndarray:
    """Several rows of gradients from one backward pass."""
    nodes = [history(tensor) for tensor in wanted]
    found = dict(backward_pass(history(output), BatchedArray(seeds), set(nodes), retain_graph=True))
    parts = []
    for tensor, node in zip(wanted, nodes):
        part = found.get(node)
        stack = part.stack if isinstance(part, BatchedArray) else np.zeros((len(seeds), tensor.size), tensor.dtype)
        parts.append(stack.reshape(len(seeds), tensor.size))
    return np.concatenate(parts, axis=1)


def _blocks(matrix: Any, outputs: Sequence[Tensor], variables: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """For each output its blocks of the matrix, one for each variable, in their shapes."""
    row = 0
    for output in outputs:
        column, blocks = 0, []
        for variable in variables:
            block = matrix[row : row + output.size, column : column + variable.size]
            block = block.reshape(output.shape + variable.shape).astype(variable.dtype)
            blocks.append(block if isinstance(block, Tensor) else Tensor(block))
            column += variable.size
        yield blocks
        row += output.size
