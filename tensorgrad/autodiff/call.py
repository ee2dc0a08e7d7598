"""One call of a function that is differentiated, which all transforms share.

A transform calls ``f`` with Tensors of its own, its *variables*, in place of the floating leaves of some arguments,
and its backward pass leads from what ``f`` returns to exactly these. A transform inside another has other variables, so
the two cannot be confused (Siskind & Pearlmutter 2005, "Perturbation confusion and referential transparency"), and
there is no state outside the call: transforms nest to any order, in any number of threads.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from functools import partial, wraps
from typing import Any, Callable

import numpy as np
from numpy import ndarray

from .._pytree import LEAF, tree_flatten, tree_leaves, tree_map, tree_unflatten
from ..core import OPS, Tensor, describe
from ..core.context import _recording, recorded, settle
from ..core.conversions import ConversionError
from ..core.node import sequence_nrs
from .batched import batched_gradients, blocks_of, can_batch, packed
from .gradients import gradients_of
from .networks import with_networks, with_parameters

Function = Callable[..., Any]


class Call:
    """One call of ``f``, recorded, with variables in place of the floating leaves of some arguments."""

    def __init__(
        self,
        name: str,
        f: Function,
        args: Sequence[object],
        keywords: dict[str, object],
        argnums: int | Sequence[int] | None = None,
        has_aux: bool = False,
    ) -> None:
        if not callable(f):
            raise TypeError(f"{name}: takes a function, got {type(f).__name__}")
        self.name = name
        self.positions, self._alone = _positions(name, argnums, len(args))
        full = list(args)
        for position in self.positions:
            full[position] = with_parameters(args[position])
        self._arguments = [tree_flatten(full[position]) for position in self.positions]
        given = tree_leaves((full, keywords))
        self.with_tensors = any(isinstance(leaf, Tensor) for leaf in given)
        dtypes = [leaf.dtype for leaf in given if is_floating(leaf) and type(leaf) is not float]
        self._dtype = np.result_type(*dtypes) if dtypes else np.dtype(np.float64)
        settle()
        since = next(sequence_nrs)
        self.variables: list[Tensor] = []
        for position, (found, structure) in zip(self.positions, self._arguments):
            variables = tree_unflatten(structure, self._with_variables(position, found, argnums is not None))
            has_networks = full[position] is not args[position]
            full[position] = with_networks(args[position], variables) if has_networks else variables
        if self.positions and not self.variables:
            self._refuse("the arguments hold", [leaf for found, _ in self._arguments for leaf in found])
        self.value, self.aux = self._called(f, full, keywords, has_aux)
        self._leaves, self._structure = tree_flatten(self.value)
        self.outputs = self._outputs()
        roots = [leaf for leaf in (*self._leaves, *tree_leaves(self.aux)) if isinstance(leaf, Tensor)]
        self.live = bool(_recording.get()) and next(outer_tensors(roots, since), None) is not None

    def _with_variables(self, position: int, found: Sequence[Any], required: bool) -> list[Any]:
        """The leaves of an argument, the floating ones replaced by variables."""
        for leaf in found:
            if _dtype_kind(leaf) == "c":
                raise TypeError(
                    f"{self.name}: argument {position} holds {type_of(leaf)}, and transforms differentiate with "
                    "respect to real numbers; pass the parts, as in f(x + 1j * y), or call backward on the loss, which "
                    "gives a complex Tensor dL/dx + i dL/dy"
                )
        if required and not any(map(is_floating, found)):
            self._refuse(f"argument {position} holds", found)
        return [self._variable(leaf) if is_floating(leaf) else leaf for leaf in found]

    def _refuse(self, what: str, found: Sequence[object]) -> None:
        kinds = ", ".join(dict.fromkeys(map(type_of, found)))
        if kinds:
            raise TypeError(
                f"{self.name}: {what} no real floats to differentiate, but {kinds}; pass floats, as in x.astype(float)"
            )

    def _variable(self, leaf: Any) -> Tensor:
        if isinstance(leaf, Tensor) and leaf.requires_grad and _recording.get():
            variable: Tensor = OPS["positive"](leaf)  # another Tensor, through which gradients flow to the argument
        else:
            data = leaf.data if isinstance(leaf, Tensor) else leaf
            variable = Tensor(np.asarray(data, self._dtype) if type(data) is float else data, requires_grad=True)
        self.variables.append(variable)
        return variable

    def _called(self, f: Function, args: Sequence[Any], keywords: dict[str, object], has_aux: bool) -> tuple[Any, Any]:
        """What ``f`` returns, and its auxiliary output."""
        settle()
        called = next(sequence_nrs)
        try:
            with recorded():
                returned = f(*args, **keywords)
        except ValueError as error:
            if isinstance(error.__cause__, ConversionError):  # NumPy would hide its remedy
                raise error.__cause__ from None
            raise
        check_unchanged(self.name, self.variables, called)
        if not has_aux:
            return returned, None
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(f"{self.name}: with has_aux=True f must return (value, aux), got {type_of(returned)}")
        return returned

    def _outputs(self) -> list[Tensor]:
        """The floating leaves of the value, as Tensors."""
        found = self._leaves
        complexes = [leaf for leaf in found if _dtype_kind(leaf) == "c"]
        if complexes or (found and not any(map(is_output, found))):
            raise TypeError(f"{self.name}: f must return floats, got {type_of((complexes or found)[0])}")
        plain = [leaf for leaf in found if is_floating(leaf)]
        if plain and self.variables and not any(isinstance(leaf, Tensor) for leaf in found):
            warnings.warn(
                f"{self.name}: f returned {type_of(plain[0])}, not a Tensor, so its derivatives are zero; use "
                "Tensors to the end, as .item(), .numpy() and .data cut the graph",
                stacklevel=4,
            )
        outputs = [float(leaf) if type(leaf) is int else leaf for leaf in found if is_output(leaf)]
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
        if self._structure != LEAF:
            hint = "; for (value, aux) pass has_aux=True" if self.name in ("grad", "value_and_grad") else ""
            raise TypeError(f"{self.name}: f must return one array, got {type_of(self.value)}{hint}")
        return self.outputs[0]

    def pull_back(self, cotangents: Sequence[object], create_graph: bool, retain_graph: bool) -> list[Tensor]:
        """The gradients of the variables, given those of the outputs."""
        return pull_back(self.outputs, self.variables, cotangents, create_graph, retain_graph)

    # Results as they are returned

    def returned(self, tree: object, live: bool | None = None, with_tensors: bool | None = None) -> Any:
        """Tensors in a container as they are returned: as arrays, Tensors, or Tensors with a history."""
        if self.live if live is None else live:
            return tree
        show = Tensor.detach if (self.with_tensors if with_tensors is None else with_tensors) else _plain
        return tree_map(lambda leaf: show(leaf) if isinstance(leaf, Tensor) else leaf, tree)

    def returning(self, vectors: Sequence[Any]) -> tuple[bool, Function]:
        """How results that also depend on ``vectors`` are returned, and whether they can be differentiated in turn."""
        tensors = [vector for vector in vectors if isinstance(vector, Tensor)]
        live = bool(_recording.get()) and (self.live or any(tensor.requires_grad for tensor in tensors))
        return live, partial(self.returned, live=live, with_tensors=self.with_tensors or bool(tensors))

    def like_arguments(self, results: Sequence[object], show: Function) -> Any:
        """One result for each variable, in containers like the chosen arguments; None for other leaves."""
        rest = iter(results)

        def result_for(leaf: object) -> Any:
            if not is_floating(leaf):
                return None
            result = show(next(rest))
            return np.asarray(result) if isinstance(result, np.generic) and isinstance(leaf, ndarray) else result

        trees = tuple(tree_unflatten(structure, map(result_for, found)) for found, structure in self._arguments)
        return trees[0] if self._alone else trees

    def like_value(self, results: Sequence[Any]) -> Any:
        """One result for each output, in containers like the value; None for other leaves."""
        rest = iter(results)
        return tree_unflatten(self._structure, (next(rest) if is_output(leaf) else None for leaf in self._leaves))

    def gradient(self, cotangent: object) -> Any:
        """The gradient of the only output, as it is returned."""
        return self.like_arguments(self.pull_back([cotangent], self.live, self.live), self.returned)


def named(transform: str, f: Function) -> Callable[[Function], Function]:
    """Decorate: give the transformed function the name and documentation of ``f``."""
    if not callable(f):
        raise TypeError(f"{transform}: takes a function, got {type(f).__name__}")
    return wraps(f, updated=())


def _positions(name: str, argnums: int | Sequence[int] | None, count: int) -> tuple[list[int], bool]:
    """The positions of the arguments to differentiate, as nonnegative numbers, and whether it is a single one."""
    if argnums is None:
        return list(range(count)), False
    alone = not isinstance(argnums, (tuple, list))
    given: Any = [argnums] if alone else argnums
    positions = []
    for argnum in given:
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


def _dtype_kind(leaf: object) -> str:
    dtype = np.dtype(type(leaf)) if type(leaf) in (float, complex) else getattr(leaf, "dtype", None)
    kind: str = getattr(dtype, "kind", "")
    return kind


def is_floating(leaf: object) -> bool:
    return _dtype_kind(leaf) == "f"


def is_output(leaf: object) -> bool:
    """Whether a leaf that ``f`` returned has a derivative; Python integers are constants."""
    return type(leaf) is int or is_floating(leaf)


def type_of(value: object) -> str:
    return describe(value) if hasattr(value, "shape") and hasattr(value, "dtype") else type(value).__name__


def _plain(tensor: Tensor) -> Any:
    data = tensor.data
    return data[()] if type(data) is ndarray and data.ndim == 0 else data


def outer_tensors(roots: Sequence[Tensor], since: int) -> Iterator[Tensor]:
    """The Tensors older than ``since`` that require gradients and that ``roots`` were computed from."""
    settle()
    visited: set[Any] = set()
    stack = list(roots)
    while stack:
        tensor = stack.pop()
        node = tensor._node
        if not tensor.requires_grad or node is None or node in visited:
            continue
        visited.add(node)
        if node.sequence_nr < since:
            yield tensor
        elif tensor.creator is not None:
            stack.extend(operand for operand in tensor.creator[1] if isinstance(operand, Tensor))


def check_unchanged(name: str, arguments: Sequence[Any], since: int) -> None:
    """Raise if ``f`` has changed a Tensor that it was given: gradients would be with respect to the new value."""
    settle()
    nodes = (argument._node for argument in arguments if isinstance(argument, Tensor))
    if any(node is not None and node.sequence_nr > since for node in nodes):
        raise TypeError(f"{name}: f changes an argument in place; let it change a copy (x = x + 0) instead")


def pull_back(
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
    if create_graph or not can_batch(output) or np.all(seed.data if isinstance(seed, Tensor) else seed):
        return gradients_of(output, variables, seed, create_graph, retain_graph)
    found = gradients_of(output, variables, seed, create_graph, retain_graph=True)
    if any(np.isnan(tensor.data).any() for tensor in found):  # perhaps 0 times NaN, which a BatchedArray keeps at 0
        row = batched_gradients(output, variables, np.expand_dims(seed.data if isinstance(seed, Tensor) else seed, 0))
        blocks = next(blocks_of(row, [Tensor(np.zeros(1))], variables))
        return [block.reshape(variable.shape) for block, variable in zip(blocks, variables)]
    return found
