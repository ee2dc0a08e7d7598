"""Derivatives as values, built on the backward pass: gradients, transforms of functions, gradient checkpointing.

Transforms (:func:`grad`, :func:`vjp`, :func:`jacobian` and the like) turn a function of arrays, and of nested
containers of them (dicts, lists, tuples, namedtuples, dataclasses), into one that gives its derivatives. What that
returns follows from what it is given:

- arrays in, arrays out (a 0-d result is a NumPy scalar, as NumPy's own reductions are);
- Tensors where an argument is a Tensor;
- Tensors with their history where the result depends on a Tensor from outside that requires gradients, be it an
  argument, a closure (the parameters of a network) or the variable of a transform around this one: it can be
  differentiated in turn. Under :class:`~tensorgrad.no_grad` no result has a history.

Gradients have the dtype of what they belong to. A Python float has that of the floating arrays among the arguments, as
in NumPy's own arithmetic, and float64 where there are none. Leaves that are not floating are passed on to the function;
in derivatives None stands in their place.

A network (:class:`tensorgrad.nn.Module`) stands for a dict of its parameters by dotted name, and so are its
derivatives. The function gets a copy with other parameters; other tensors, such as running means, and generators are
those of the network itself.
"""

from .gradients import gradients
from .linear_maps import hvp, jvp, vjp
from .matrices import hessian, jacobian
from .rematerialisation import checkpoint
from .reverse import elementwise_grad, grad, value_and_grad

__all__ = [
    "checkpoint",
    "elementwise_grad",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "value_and_grad",
    "vjp",
]
