"""In-place changes, ``x[i] = v`` and ``x += y``, and views, which see the changes of their base.

A change never writes into an array that a node refers to. It computes the new value with an op, and gives the *Tensor*
a new array and a new node: what was recorded before keeps its values and gradients.

A view (``x[0]``, ``x.T``) knows its base and the op that made it. Changing a view assigns to that part of the base;
when the base has changed, the view is computed again the next time it is used. ``x[0] += 1`` is three calls::

    row = x.__getitem__(0)     # the op getitem: a view of x
    row = row.__iadd__(1)      # _change_base: x becomes setitem(x, row + 1, index=0), and row is a view of that
    x.__setitem__(0, row)      # nothing to do: row is x[0] already (_is_item)
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index as as_integer
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import numpy as np
from numpy import ndarray

from .arrays import SHARED, Array, is_view
from .context import _recording, _tracer, no_grad, recorded
from .node import sequence_nrs
from .registry import OPS

if TYPE_CHECKING:
    from .op import Op
    from .tensor import Tensor


class View(NamedTuple):
    """That a Tensor is a view of another one, its base, which may itself be a view."""

    base: Tensor
    op: Op
    settings: dict[str, Any]
    root: Tensor
    """The base of the base and so on, up to the Tensor that is not a view."""
    root_array: Array
    """The root's array when the view was computed; with another one the view is outdated."""
    is_recorded: bool
    """Whether gradients flow through it; not if it was made inside ``no_grad`` of a base that requires gradients."""


def view_of(
    op: Op, operands: Sequence[Any], arrays: list[object], settings: dict[str, object], data: Array
) -> View | None:
    """The :class:`View` if ``data``, an op's result, is a view of its operand."""
    if len(operands) != 1 or data is arrays[0] or (type(data) is ndarray and not is_view(data, arrays[0])):
        return None  # an abstract array may be returned as it is where arrays are copied
    base = operands[0]
    root = base if base._view is None else base._view.root
    return View(base, op, settings, root, root._array, bool(_recording.get()) or not base._requires_grad)


class InPlace:
    """In-place operators and methods, as a mixin of Tensor."""

    __slots__ = ()
    _view: View | None

    def __setitem__(self: Any, index: Any, value: Any) -> None:
        index = plain_index(index)
        if getattr(value, "_view", None) is not None and _is_item(value, self, index):
            return  # the last call of x[i] += y: the item is a view, and the base has been changed
        kind = self._array.dtype.kind
        if hasattr(value, "_requires_grad") and value._requires_grad and kind not in "fc":
            raise TypeError(
                f"assignment: a tensor of {self._array.dtype} would lose the gradient of the value; convert it with "
                "astype first"
            )
        if kind != "c" == getattr(getattr(value, "dtype", None), "kind", ""):
            raise TypeError(
                f"assignment: a tensor of {self._array.dtype} would lose the imaginary part of the value; convert it "
                "with astype first, or assign the value's .real"
            )
        self._change(lambda x, value: OPS["setitem"](x, value, index=index), value, "assignment")

    def sort(self: Any, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> None:
        """``np.sort`` in place, recorded."""
        self._reorder("sort", lambda x: np.sort(x, axis, kind, order, stable=stable), axis)

    def partition(self: Any, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
        """``np.partition`` in place, recorded."""
        self._reorder("partition", lambda x: np.partition(x, kth, axis, kind, order), axis)

    def _reorder(self: Any, name: str, function: Callable[[Tensor], Tensor], axis: int | None) -> None:
        if axis is None:
            raise TypeError(f"{name}: takes an axis, got None; np.{name} flattens")
        self._change(lambda x, _: function(x), None, name)

    def _change(self: Any, change: Callable[[Tensor, Any], Tensor], other: object, name: str) -> Any:
        """Become ``change(self, other)``; the base and its views see it."""
        if (tracer := _tracer.get()) is not None:
            if tracer.follows:
                return tracer.at_once(self._change, change, other, name)
            if (stand_in := tracer.stand_in(self)) is not self:
                stand_in._change(change, other, name)
                return self
        if self._view is not None:
            return self._change_base(change, other, name)
        recording = _recording.get()
        if recording and self._requires_grad and self._node.op is None:
            raise TypeError(
                f"{name}: a leaf that requires gradients would lose its .grad; change a copy (x = x + 0), or, if no "
                "gradient is meant, as in an update of parameters, change it inside tensorgrad.no_grad()"
            )
        before = self._before_change()
        after = change(before, before if other is self else other)
        if not recording and self._requires_grad:
            if self._node.op is not None:
                raise RuntimeError(
                    f"{name}: the result of recorded ops cannot be changed inside no_grad, as its history would not "
                    "know; change it outside, or a copy (x = x.detach())"
                )
            if tracer is not None:
                self.data = after.data
            elif self._memory is SHARED:
                self._array[...] = after._array
                self._node.sequence_nr = next(sequence_nrs)
            else:
                array = _laid_out_like(self._array, after._array)
                self._set_array(array if getattr(array, "base", None) is None else array.copy(order="K"))
        elif after._requires_grad or before._requires_grad:
            if tracer is not None:
                tracer.changing_history(self)
            self._array, self._memory = _laid_out_like(self._array, after._array), after._memory
            self._node, self._requires_grad = after._node, after._requires_grad
        elif self._memory is SHARED and tracer is None:
            self._array[...] = after._array
        else:
            self._array, self._memory = _laid_out_like(self._array, after._array), after._memory
        return self

    def _before_change(self: Any) -> Tensor:
        """The value before a change, as another Tensor."""
        before: Tensor = object.__new__(type(self))
        before._array = self._array
        before._node, before._requires_grad, before._memory = self._node, self._requires_grad, self._memory
        before._grad = before._view = None
        return before

    def _change_base(self: Any, change: Callable[[Tensor, Any], Tensor], other: object, name: str) -> Any:
        """Change a view: assign the new value to its part of the base."""
        self._update_view()
        base, op, settings, _, _, is_recorded = self._view
        if base._requires_grad and _recording.get():
            if base._node.op is None:
                raise TypeError(
                    f"{name}: this tensor is a view of a leaf that requires gradients, which would lose its .grad; "
                    "change a copy (y = x[i] + 0), or, if no gradient is meant, change it inside tensorgrad.no_grad()"
                )
            if not is_recorded:
                raise RuntimeError(
                    f"{name}: this tensor is a view that was made inside no_grad, so that a change of it would cut off "
                    "the gradients of what it is a view of; make the view outside, or change a copy (x + 0)"
                )
        before = self._before_change()
        after = change(before, before if other is self else other)
        if op.name == "getitem":
            base[settings["index"]] = after
        else:
            positions = _positions(op, settings, base, self.dtype, name)
            base._change(
                lambda x, value: OPS["setitem"](x.reshape(-1), value.reshape(-1), index=positions).reshape(x.shape),
                after,
                name,
            )
        self._update_view()
        return self

    def _update_view(self: Any) -> None:
        """Compute a view again, if its base has changed."""
        root = self._view.root
        if root._array is self._view.root_array and not (
            self._requires_grad and root._node.sequence_nr > self._node.sequence_nr
        ):
            return
        outdated = [self]
        while (base := outdated[-1]._view.base)._view is not None:
            outdated.append(base)
        for view in reversed(outdated):  # not by recursion: loops may make chains of thousands of views
            view._recompute(base)

    def _recompute(self: Any, root: Tensor) -> None:
        """Apply the op that made this view to its base again."""
        base, op, settings, _, _, is_recorded = self._view
        with recorded() if is_recorded else no_grad():
            again = op(base, **settings)
        self._array, self._node, self._requires_grad = again._array, again._node, again._requires_grad
        self._memory = again._memory
        self._view = View(base, op, settings, root, root._array, is_recorded)


def _is_item(value: Any, base: Tensor, index: object) -> bool:
    """Whether ``value`` is the view ``base[index]``, and up to date."""
    view = value._view
    if view.base is not base or view.op.name != "getitem" or view.root._array is not view.root_array:
        return False
    return value._requires_grad == base._requires_grad and _is_same_index(view.settings["index"], index)


def _is_same_index(one: Any, other: Any) -> bool:
    """Whether two indices are equal; arrays count as different."""
    if type(one) is not type(other) or isinstance(one, ndarray):
        return False
    if type(one) is tuple:
        return len(one) == len(other) and all(map(_is_same_index, one, other))
    return bool(one == other)


def _laid_out_like(pattern: Array, array: Array) -> Array:
    """The array in the memory layout of ``pattern``, on which it depends whether ``reshape`` gives a view or a copy."""
    if type(array) is not ndarray or array.ndim < 2 or array.strides == pattern.strides:
        return array
    result = np.empty_like(pattern)
    result[...] = array
    return result


def _positions(op: Op, settings: dict[str, object], base: Tensor, dtype: np.dtype, name: str) -> ndarray:
    """For each element of a view its position in the flattened base."""
    places: ndarray = op.forward(np.arange(base.size).reshape(base.shape), **settings)
    if base.dtype != dtype:
        raise TypeError(
            f"{name}: {op.name} gives a view of {dtype} on {base.dtype}; change a copy of it (x + 0), or the base"
        )
    if not places.flags.writeable:
        raise ValueError(f"{name}: {op.name} gives a view that is read-only, as in NumPy; change a copy of it (x + 0)")
    flat: ndarray = places.reshape(-1)
    return flat


def plain_index(index: object) -> Any:
    """An index for the node to keep: Tensors, arrays and lists in it as arrays that nothing else refers to."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, slice):
        parts = (index.start, index.stop, index.step)
        return slice(*(as_integer(part) if hasattr(part, "dtype") else part for part in parts))
    if hasattr(index, "_without_gradient"):
        return index._without_gradient("index").copy()
    if isinstance(index, list):
        index = np.array(index)
        return index if index.size else index.astype(np.intp)  # NumPy's meaning of an empty list
    return index.copy() if isinstance(index, ndarray) else index


def _in_place(name: str) -> Callable[[Tensor, object], Tensor]:
    """``x += y`` and so on: the result has the shape and dtype of ``x``, or there is an error, as in NumPy."""

    def result(x: Tensor, other: object) -> Tensor:
        out = OPS[name](x, other)
        if out.shape != x.shape:
            raise ValueError(
                f"{name} in place: the result has shape {out.shape}, the tensor {x.shape}; write x = {name}(x, y)"
            )
        if not np.can_cast(out.dtype, x.dtype, "same_kind"):
            raise TypeError(
                f"{name} in place: the result is {out.dtype}, the tensor {x.dtype}; convert it with astype first"
            )
        return out if out.dtype == x.dtype else out.astype(x.dtype)

    def operator(self: Tensor, other: object) -> Tensor:
        changed: Tensor = self._change(result, other, f"{name} in place")
        return changed

    return operator


for _name, _op in {
    "iadd": "add",
    "isub": "subtract",
    "imul": "multiply",
    "itruediv": "divide",
    "ifloordiv": "floor_divide",
    "imod": "remainder",
    "ipow": "power",
    "imatmul": "matmul",
    "ilshift": "left_shift",
    "irshift": "right_shift",
    "iand": "bitwise_and",
    "ior": "bitwise_or",
    "ixor": "bitwise_xor",
}.items():
    setattr(InPlace, f"__{_name}__", _in_place(_op))
