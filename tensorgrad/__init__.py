"""tensorgrad: NumPy with gradients. A Tensor remembers how it was computed; everything else is an expression on top."""

from typing import TYPE_CHECKING

from . import distributed, nn, optim, samples
from .autodiff import (
    checkpoint,
    elementwise_grad,
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from .compiler import CaptureError, Compiled, compile
from .core import OPS, Op, Tensor, declare, implements
from .core.context import no_grad
from .core.registry import declared_by
from .debug import AnomalyError, detect_anomaly
from .ops import random
from .ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    selu,
    sigmoid,
    silu,
    softmax,
    softplus,
    softsign,
)
from .ops.attention import scaled_dot_product_attention
from .ops.concatenation import array
from .ops.convolution import conv, conv_transpose
from .ops.dropout import dropout
from .ops.embedding import embedding
from .ops.flatten import flatten
from .ops.losses import softmax_cross_entropy
from .ops.normalisation import batch_norm, group_norm, layer_norm, rms_norm
from .ops.pooling import avg_pool, max_pool
from .ops.reductions import logsumexp
from .testing import GradientError, gradcheck

__version__ = "0.1.0"

tensor = Tensor  # as PyTorch writes it

declared_by("scipy.special", "tensorgrad.interop.scipy.special")

__all__ = [
    "OPS",
    "AnomalyError",
    "CaptureError",
    "Compiled",
    "GradientError",
    "Op",
    "Tensor",
    "array",
    "avg_pool",
    "backward_steps",
    "batch_norm",
    "checkpoint",
    "compile",
    "conv",
    "conv_transpose",
    "declare",
    "detect_anomaly",
    "distributed",
    "draw",
    "dropout",
    "elementwise_grad",
    "elu",
    "embedding",
    "explain",
    "flatten",
    "gelu",
    "grad",
    "gradcheck",
    "gradients",
    "group_norm",
    "hessian",
    "hvp",
    "implements",
    "jacobian",
    "jvp",
    "layer_norm",
    "leaky_relu",
    "log_softmax",
    "logsumexp",
    "max_pool",
    "nn",
    "no_grad",
    "optim",
    "print_ops",
    "random",
    "relu",
    "rms_norm",
    "samples",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softplus",
    "softsign",
    "value_and_grad",
    "vjp",
]

if TYPE_CHECKING:
    from .inspection import backward_steps, draw, explain, print_ops
else:
    from .hints import answer_attributes, answer_constructors, answer_imports

    for _kind in (Tensor, nn.Module, optim.Optimiser):
        answer_attributes(_kind)
    answer_constructors(nn)
    answer_constructors(optim)
    answer_imports()

    _ON_DEMAND = ("backward_steps", "draw", "explain", "print_ops")

    def __dir__():
        return sorted({*globals(), *_ON_DEMAND})

    def __getattr__(name):
        if name in _ON_DEMAND:
            from . import inspection

            globals()[name] = getattr(inspection, name)
            return globals()[name]
        from .hints import missing  # to a type checker a name that is missing is missing

        raise missing(__name__, name)
