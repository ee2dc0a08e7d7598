"""tensorgrad: NumPy with gradients. A Tensor remembers how it was computed; everything else is an expression on top."""

from . import nn, optim, samples
from .anomaly import AnomalyError, detect_anomaly
from .autodiff import gradients
from .compile import CaptureError, Compiled, compile
from .gradcheck import GradientError, gradcheck
from .ops.neural import dropout, log_softmax, relu, softmax, softmax_cross_entropy
from .tensor import OPS, Op, Tensor, declare, implements, no_grad

__version__ = "0.1.0"

__all__ = [
    "OPS",
    "AnomalyError",
    "CaptureError",
    "Compiled",
    "GradientError",
    "Op",
    "Tensor",
    "compile",
    "declare",
    "detect_anomaly",
    "dropout",
    "gradcheck",
    "gradients",
    "implements",
    "log_softmax",
    "nn",
    "no_grad",
    "optim",
    "relu",
    "samples",
    "softmax",
    "softmax_cross_entropy",
]
