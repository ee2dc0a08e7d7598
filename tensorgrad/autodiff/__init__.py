"""Derivatives as values, built on the backward pass: gradients, transforms of functions, gradient checkpointing."""

from .gradients import gradients
from .rematerialisation import checkpoint
from .transforms import elementwise_grad, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

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
