"""Tensor: an array that remembers how it was computed.

A real loss may depend on complex numbers. Its gradient with respect to a complex z is dL/dRe(z) + i dL/dIm(z), the
direction of steepest ascent; ops whose rules do not hold for complex numbers raise.
"""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

import numpy as np
from numpy import ndarray

from .arrays import PRIVATE, READ_ONLY, SHARED, AnyArray, Array, as_data, describe
from .attributes import Attributes
from .backward import backward_pass
from .context import _recording, _tracer, is_repeated, is_traced, no_grad
from .conversions import Conversions
from .dispatch import Dispatch
from .inplace import InPlace, View, plain_index
from .node import LeafNode, Node, sequence_nrs
from .operators import Operators
from .registry import OPS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike

    from .op import Op

_grad_lock = threading.Lock()
_tensors_by_node: WeakKeyDictionary[Node, ref[Tensor]] = WeakKeyDictionary()
_retained_results: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""The results, by ``id``, on which :meth:`Tensor.retain_grad` was called."""


class Tensor(Dispatch, Operators, InPlace, Conversions, Attributes):
    """An array that remembers how it was computed.

    It has the operators, methods and attributes of an array, such as ``@``, ``sum``, ``reshape`` and ``T``, and NumPy's
    functions accept it.

    Parameters
    ----------
    data
        Array, scalar or nested sequence of numbers; an array is copied. Arrays that are combined with Tensors may be
        written into afterwards: the recorded graph keeps copies, except of read-only arrays.
    requires_grad
        Whether :meth:`backward` accumulates a gradient in ``.grad``; floating and complex dtypes only.
    dtype
        Converts the data first; default: NumPy's choice.

    Raises
    ------
    TypeError
        If the data is not numeric, or integer with ``requires_grad=True``.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = np.sum(x * x)
    >>> y.backward()
    >>> x.grad
    array([2., 4., 6.])
    """

    __slots__ = ("__weakref__", "_array", "_grad", "_grad_is_lent", "_memory", "_node", "_requires_grad", "_view")
    __hash__ = object.__hash__

    def __init_subclass__(cls) -> None:
        raise TypeError("Tensor is final; hold one in a class of your own (see tensorgrad.nn.Module) instead")

    _array: Array
    _grad: Array | None
    _grad_is_lent: bool  # the gradient lies in a buffer that is overwritten later: see lending
    _memory: str
    _node: Node | None
    _requires_grad: bool
    _view: View | None

    def __init__(self, data: ArrayLike, requires_grad: bool = False, dtype: DTypeLike | None = None) -> None:
        if isinstance(data, Tensor):
            raise TypeError(
                "Tensor: the data is a Tensor already; use it as it is, or tensor.detach() for a copy without history"
            )
        array = as_data(data)
        array = array if dtype is None else array.astype(dtype, copy=False)
        self._array = array if isinstance(data, (list, tuple, int, float, complex)) else array.copy()
        self._memory = PRIVATE
        self._view = self._grad = None
        self._requires_grad = False
        self._node = LeafNode()
        if (tracer := _tracer.get()) is not None:
            tracer.made(self)
        if requires_grad:
            self.requires_grad = requires_grad

    # Data, gradient and history

    @property
    def data(self) -> Array:
        """The array itself; nothing done to it is recorded. Of a result of recorded ops it is read-only.

        Writing into it changes the tensor, but not the gradients of what was computed before, as the graph keeps the
        values that were used. Assigning an array copies it; ``t.data -= step`` counts as a change, too.
        """
        if (tracer := _tracer.get()) is not None:
            self = tracer.stand_in(self)
        if self._view is not None:
            self._update_view()
        array = self._array
        if type(array) is not ndarray:
            return array
        if self._is_in_use():
            view: Array = array.view()
            view.flags.writeable = False
            return view
        if self._memory is not SHARED:
            self._share_array()
        return self._array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if (tracer := _tracer.get()) is not None:
            self = tracer.stand_in(self)
        if not self.is_leaf:
            raise RuntimeError(
                "Tensor.data: a result of recorded ops cannot be changed; use tensor.detach() for a copy"
            )
        if isinstance(value, Tensor):
            raise TypeError("Tensor.data: takes an array, got a Tensor; assign its data, as in t.data = other.data")
        array = as_data(value)
        if array.shape != self._array.shape or array.dtype != self._array.dtype:
            raise ValueError(
                f"Tensor.data: expected {describe(self._array)}, got {describe(array)}; "
                "make a new Tensor for other data"
            )
        if array is not self._array and self._view is not None:
            with no_grad():
                self._change(lambda x, _: Tensor(array), None, "Tensor.data")
        elif array is not self._array:
            self._set_array(array.copy())
        elif self._node is not None:
            self._node.sequence_nr = next(sequence_nrs)

    def _current(self) -> Array:
        """The array, for reading only; a view is brought up to date first."""
        if (tracer := _tracer.get()) is not None:
            self = tracer.reading(self)
        if self._view is not None:
            self._update_view()
        return self._array

    def _is_in_use(self) -> bool:
        """Whether it is a result of recorded ops, or a view of one: gradient rules may need the values."""
        while True:
            if self._node is not None and self._node.arrays is not None:
                return True
            if self._view is None:
                return False
            self = self._view.base

    def _share_array(self) -> None:
        """Make the array one that the user may write into: a copy, as nodes may refer to the present one."""
        owner = self if self._view is None else self._view.root
        owner._array, owner._memory = owner._array.copy(order="K"), SHARED
        self._current()

    def _detach_from_base(self) -> None:
        """Stop being a view: copy the data."""
        if self._view is not None:
            array, root = self._current().copy(), self._view.root
            self._view, self._array, self._memory = None, array, PRIVATE
            root._array = root._array.view()  # so that views of this tensor notice that their root has changed

    def _set_array(self, array: Array) -> None:
        """Make a new array, to which nothing else refers, the data."""
        self._array, self._memory = array, PRIVATE
        if self._node is None:
            self._node = LeafNode()
        self._node.sequence_nr = next(sequence_nrs)

    @property
    def grad(self) -> Array | Any:  # Any stands for None: after a backward pass there is an array
        """The gradient accumulated by :meth:`backward`, an array of the tensor's shape and dtype, or None.

        Leaves with ``requires_grad=True`` have one, and results on which :meth:`retain_grad` was called.
        """
        if (tracer := _tracer.get()) is not None:
            self = tracer.reading_gradient(self)
        if self._grad is None and not self.is_leaf and id(self) not in _retained_results:
            warnings.warn(
                "Tensor.grad: this is a result, and gradients are accumulated in leaves; call tensor.retain_grad() "
                "before the backward pass, or tensorgrad.gradients(loss, tensor) in its place",
                stacklevel=2,
            )
        if self._grad is not None and getattr(self, "_grad_is_lent", False):
            self._grad, self._grad_is_lent = self._grad.copy(), False
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if (tracer := _tracer.get()) is not None:
            tracer.set_gradient(self, value)
        else:
            self._grad, self._grad_is_lent = value, False

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this tensor. Setting it on a view copies the data, as the view becomes a leaf."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if (tracer := _tracer.get()) is not None:
            tracer.changing_history(self)
        if value and self._array.dtype.kind not in "fc":
            raise TypeError(
                f"Tensor: only floating and complex tensors can require gradients, got {self._array.dtype}; "
                "pass floats, or dtype=np.float32"
            )
        if not value and not self.is_leaf:
            raise RuntimeError(
                "Tensor: the result of recorded ops requires gradients; use tensor.detach() to cut it off"
            )
        if value and self.is_leaf:
            self._detach_from_base()
            self._node = LeafNode(ref(self))  # a new node, so that no gradient comes from what was computed before
        elif isinstance(self._node, LeafNode):
            self._node.requires_grad = bool(value)
        self._requires_grad = bool(value)

    @property
    def is_leaf(self) -> bool:
        """Whether it was created from data, or computed without recording; False for results of recorded ops."""
        return self._node is None or self._node.op is None

    @property
    def creator(self) -> tuple[Op, tuple[Any, ...]] | None:
        """The op and the operands that it was computed from; None for a leaf, and after the graph has been freed."""
        if (tracer := _tracer.get()) is not None:
            tracer.stand_in(self)
        node = self._node
        if node is None or node.op is None or node.is_freed:
            return None
        operands = tuple(
            array if parent is None else tensor_of(parent, array) for parent, array in zip(node.parents, node.arrays)
        )
        if (tracer := _tracer.get()) is not None:
            operands = tuple(tracer.original(x) if type(x) is Tensor else x for x in operands)
        return node.op, operands

    def detach(self) -> Tensor:
        """A copy of the data without history: gradients stop here."""
        if (tracer := _tracer.get()) is not None and tracer.follows:
            detached: Tensor = tracer.follow(_detached, (self,), {})
            return detached
        return Tensor(self._current())

    def numpy(self) -> Array:
        """The array itself, which shares memory with the tensor; nothing done to it is recorded. See :attr:`data`."""
        return self.data

    def retain_grad(self) -> None:
        """Have each later :meth:`backward` accumulate the gradient of this result in ``.grad``, as that of a leaf.

        After an in-place change it is the gradient of the new value. Inside ``no_grad``, where nothing is recorded, and
        on leaves it does nothing. Functions that return gradients, such as :func:`tensorgrad.gradients`, do not set
        ``.grad``.

        Raises
        ------
        RuntimeError
            If no gradient flows to it, or in the backward pass of :func:`tensorgrad.checkpoint`, which computes it
            again.

        Examples
        --------
        >>> import numpy as np, tensorgrad as tg
        >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
        >>> hidden = np.exp(x)
        >>> hidden.retain_grad()
        >>> (hidden * 3).sum().backward()
        >>> hidden.grad
        array([3., 3.])
        """
        if is_repeated():
            raise RuntimeError(
                "retain_grad: inside tensorgrad.checkpoint this tensor is computed again in the backward pass, and its "
                "gradient is not kept; call retain_grad on what the function returns, or leave checkpoint out"
            )
        if not _recording.get():
            return
        if (tracer := _tracer.get()) is not None:
            self = tracer.stand_in(self)
        if not self._requires_grad:
            raise RuntimeError(
                "retain_grad: no gradient flows to this tensor; make an input with requires_grad=True, outside of "
                "no_grad"
            )
        if not self.is_leaf:
            _retained_results[id(self)] = self

    def zero_grad(self) -> None:
        """Set ``grad`` to None."""
        self.grad = None

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            raise TypeError("copy: a tensor with history cannot be copied or pickled; use tensor.detach() first")
        return _rebuilt, (self._current(), self._requires_grad, self._grad)

    # The backward pass

    def backward(self, gradient: ArrayLike | Tensor | None = None, retain_graph: bool = False) -> None:
        """Accumulate the gradients of this tensor in ``.grad`` of every leaf that it was computed from.

        Parameters
        ----------
        gradient
            Gradient of the loss with respect to this tensor, of its shape. Default: 1, for a tensor of one element.
        retain_graph
            Keep the graph for another backward; by default it is freed.

        Raises
        ------
        RuntimeError
            If nothing was recorded, the graph has been freed, or data has been changed since it was used.
        ValueError
            If ``gradient`` is missing for a tensor of several elements, or of another shape.
        TypeError
            If it is missing for a complex tensor, or complex for a real one.
        """
        tracer = _tracer.get()
        if tracer is not None and tracer.follows:
            tracer.backward(self, gradient, retain_graph)
            return
        start = seed_for(self, gradient)
        seed = start.data if isinstance(start, Tensor) else start
        retained = _retained_nodes() if _retained_results else None
        found = backward_pass(history(self), seed, retain_graph=retain_graph, retained=retained)
        with _grad_lock:
            for node, collected in found:
                leaf = node.leaf() if node.leaf is not None else None if retained is None else retained.get(node)
                if leaf is None:
                    continue
                so_far = leaf._grad if tracer is None else tracer.reading_gradient(leaf)._grad
                total = collected if so_far is None else so_far + collected
                if tracer is None:
                    leaf._grad, leaf._grad_is_lent = total, False
                else:
                    tracer.set_gradient(leaf, total)

    def __getitem__(self, index: object) -> Tensor:
        return OPS["getitem"](self, index=plain_index(index))


def history(tensor: Tensor) -> Node:
    """The node of a tensor; an error if it does not require gradients."""
    if (tracer := _tracer.get()) is not None:
        tensor = tracer.stand_in(tensor)
    if tensor._view is not None:
        tensor._update_view()
    if not tensor._requires_grad or tensor._node is None:
        raise RuntimeError(
            "backward: nothing was recorded for this tensor; make an input with requires_grad=True, outside of no_grad"
        )
    return tensor._node


def _retained_nodes() -> dict[Node, Tensor]:
    """The results on which ``retain_grad`` was called, by their nodes."""
    tensors = [tensor for each in _retained_results.valuerefs() if (tensor := each()) is not None]
    return {tensor._node: tensor for tensor in tensors if tensor._node is not None}


def tensor_of(node: Node, array: object) -> Tensor:
    """The Tensor of a node, whose value was ``array`` when it was used: the same one as long as it is referred to.

    For a leaf it is the leaf itself.
    """
    known = _tensors_by_node.get(node, node.leaf)
    tensor = known() if known is not None else None
    if tensor is None:
        tensor = _with_node(node, array)
        _tensors_by_node[node] = ref(tensor)
    return tensor


def as_used(node: Node, array: object) -> Tensor:
    """A Tensor of a node that has the value ``array``, even if the leaf has been changed since."""
    tensor = tensor_of(node, array)
    return tensor if tensor._array is array else _with_node(node, array)


def _with_node(node: Node, array: Any) -> Tensor:
    tensor = Tensor.__new__(Tensor)
    tensor._array, tensor._node, tensor._requires_grad = array, node, node.requires_grad
    tensor._grad = tensor._view = None
    tensor._memory = READ_ONLY
    return tensor


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach()


def _rebuilt(data: Array, requires_grad: bool, grad: Array | None) -> Tensor:
    """A copied or unpickled tensor, with a node of its own."""
    tensor = Tensor(data, requires_grad)
    tensor.grad = grad
    return tensor


def asarray_like(array: AnyArray, x: AnyArray) -> AnyArray:
    """A new NumPy array, converted to the array type of ``x``."""
    like = x.data if isinstance(x, Tensor) else x
    return array if isinstance(like, ndarray) else np.asarray(array, like=like)


def seed_for(output: Tensor, gradient: ArrayLike | Tensor | None) -> AnyArray:
    """The gradient to start from: ``gradient``, checked; by default 1, for an output of one element."""
    if gradient is None:
        if output._array.dtype.kind == "c":
            raise TypeError(
                f"backward: a loss is a real number, got {describe(output)}; take its .real, .imag or np.abs first"
            )
        if output._array.size != 1:
            raise ValueError(
                f"backward: an output of shape {output.shape} needs gradient= of that shape, or .sum() first"
            )
        array = output._array
        if array.ndim == 0 and (type(array) is ndarray or is_traced()):
            one: Array = array.dtype.type(1)  # cheaper than an array, and a constant to a tracer
            return one
        return np.ones_like(array)
    seed = gradient if isinstance(gradient, Tensor) else as_data(gradient)
    if seed.shape != output.shape:
        raise ValueError(f"backward: gradient= has shape {seed.shape}, the output {output.shape}; they must agree")
    if seed.dtype.kind == "c" != output.dtype.kind:
        raise TypeError(f"backward: gradient= is {seed.dtype}, the output {output.dtype}; pass a real gradient")
    return seed if seed.dtype == output.dtype else seed.astype(output.dtype)
