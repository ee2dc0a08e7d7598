"""tensorgrad: NumPy with gradients. A Tensor remembers how it was computed; everything else is an expression on top."""

from . import nn, optim, samples
from .anomaly import AnomalyError, detect_anomaly
from .autodiff import gradients
from .compile import CaptureError, Compiled, compile
from .gradcheck import GradientError, gradcheck
from .ops.joining import array
from .ops.neural import dropout, log_softmax, relu, softmax, softmax_cross_entropy
from .recompute import checkpoint
from .tensor import OPS, Op, Tensor, declare, implements, no_grad
from .transforms import elementwise_grad, grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp

__version__ = "0.1.0"

__all__ = [
    "OPS",
    "AnomalyError",
    "CaptureError",
    "Compiled",
    "GradientError",
    "Op",
    "Tensor",
    "array",
    "checkpoint",
    "compile",
    "declare",
    "detect_anomaly",
    "dropout",
    "elementwise_grad",
    "grad",
    "gradcheck",
    "gradients",
    "hessian",
    "hvp",
    "implements",
    "jacobian",
    "jvp",
    "log_softmax",
    "nn",
    "no_grad",
    "optim",
    "relu",
    "samples",
    "softmax",
    "softmax_cross_entropy",
    "value_and_grad",
    "vjp",
]
