"""Activations as modules, for Sequential."""

from __future__ import annotations

from ..core import OPS, Tensor
from ..ops.activations import elu, gelu, leaky_relu, relu, selu, sigmoid, silu, softmax, softplus, softsign
from .module import Module


class ReLU(Module):
    """``max(x, 0)``, elementwise; the gradient at 0 is 0.

    >>> import tensorgrad as tg
    >>> tg.nn.ReLU()(tg.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def __init__(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """``max(x, 0)``."""
        return relu(x)


class LeakyReLU(Module):
    """``x`` where it is positive, ``negative_slope * x`` elsewhere; see :func:`tensorgrad.leaky_relu`.

    >>> import tensorgrad as tg
    >>> tg.nn.LeakyReLU(0.1)(tg.Tensor([-1.0, 2.0]))
    Tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """``x`` where it is positive, ``negative_slope * x`` elsewhere."""
        return leaky_relu(x, self.negative_slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.negative_slope:g})"


class ELU(Module):
    """``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere; see :func:`tensorgrad.elu`.

    >>> import tensorgrad as tg
    >>> tg.nn.ELU()(tg.Tensor([0.0, 2.0]))
    Tensor([0., 2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere."""
        return elu(x, self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha:g})"


class SELU(Module):
    """The scaled ELU that normalises itself; see :func:`tensorgrad.selu`.

    >>> import tensorgrad as tg
    >>> tg.nn.SELU()(tg.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``scale * elu(x, alpha)``."""
        return selu(x)


class GELU(Module):
    """``x`` times the normal distribution function; see :func:`tensorgrad.gelu` for ``approximate``.

    >>> import tensorgrad as tg
    >>> tg.nn.GELU()(tg.Tensor([0.0]))
    Tensor([0.])
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU: approximate must be 'none' or 'tanh', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """``x`` times the normal distribution function at ``x``."""
        return gelu(x, self.approximate)

    def __repr__(self) -> str:
        return "GELU()" if self.approximate == "none" else f"GELU({self.approximate!r})"


class SiLU(Module):
    """``x * sigmoid(x)``, also called swish.

    >>> import tensorgrad as tg
    >>> tg.nn.SiLU()(tg.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x * sigmoid(x)``."""
        return silu(x)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``.

    >>> import tensorgrad as tg
    >>> tg.nn.Sigmoid()(tg.Tensor([0.0]))
    Tensor([0.5])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``1 / (1 + exp(-x))``."""
        return sigmoid(x)


class Softplus(Module):
    """``log(1 + exp(x))``.

    >>> import tensorgrad as tg
    >>> tg.nn.Softplus()(tg.Tensor([0.0]))
    Tensor([0.69314718])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``log(1 + exp(x))``."""
        return softplus(x)


class Softsign(Module):
    """``x / (1 + abs(x))``.

    >>> import tensorgrad as tg
    >>> tg.nn.Softsign()(tg.Tensor([1.0]))
    Tensor([0.5])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x / (1 + abs(x))``."""
        return softsign(x)


class Tanh(Module):
    """``np.tanh``.

    >>> import tensorgrad as tg
    >>> tg.nn.Tanh()(tg.Tensor([0.0]))
    Tensor([0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """``np.tanh(x)``."""
        return OPS["tanh"](x)


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` over an axis, by default the last.

    >>> import tensorgrad as tg
    >>> tg.nn.Softmax()(tg.Tensor([0.0, 0.0]))
    Tensor([0.5, 0.5])
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities over the axis."""
        return softmax(x, axis=self.axis)

    def __repr__(self) -> str:
        return "Softmax()" if self.axis == -1 else f"Softmax(axis={self.axis})"
