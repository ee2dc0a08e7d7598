"""Layers: Dense, Embedding, Dropout, GaussianNoise, Flatten; Sequential, which chains them, and Residual."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any, Callable

import numpy as np

from .._pytree import attributes
from ..core import Tensor, describe
from ..core.context import guarded
from ..ops.dropout import dropout
from ..ops.embedding import embedding
from ..ops.flatten import flatten
from ..ops.linalg import affine
from ..ops.random import normal
from .initialisers import Initialiser, generator, parameter
from .module import Module, is_trained
from .tree import in_a_line, inside
from .weighted import Weighted, check_sizes, in_dtype


class Dense(Weighted):
    """``x @ weight + bias``.

    Weights start from He's normal distribution (for ReLU), biases from 0.

    Parameters
    ----------
    in_features, out_features
        Lengths of the last axis of the input and of the output.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    bias
        Whether to add a bias.
    weight_init, bias_init
        Initial values: a name out of ``tensorgrad.nn.INITIALISERS``, or a function such as
        ``lambda shape, rng: rng.normal(0, 0.02, shape)``.
    weight_l1, weight_l2, bias_l1, bias_l2
        Strengths of the penalties that :meth:`penalty` adds up.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(3, 2, rng=np.random.default_rng(0))
    >>> layer
    Dense(3 -> 2)
    >>> layer(np.ones((4, 3), np.float32)).shape
    (4, 2)
    >>> tg.nn.Dense(3, 2, rng=0, bias=False, weight_init="orthogonal")
    Dense(3 -> 2, bias=False)
    """

    bias: Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | int | None = None,
        *,
        bias: bool = True,
        weight_init: Initialiser = "he_normal",
        bias_init: Initialiser = "zeros",
        weight_l1: float = 0.0,
        weight_l2: float = 0.0,
        bias_l1: float = 0.0,
        bias_l2: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes("Dense", in_features=in_features, out_features=out_features)
        sizes, rng = (in_features, out_features), generator(rng)
        self.weight = parameter("Dense", "weight_init", weight_init, sizes, rng, dtype, sizes)
        self.bias = parameter("Dense", "bias_init", bias_init, sizes[1:], rng, dtype, sizes) if bias else None
        self._set_strengths(weight_l1=weight_l1, weight_l2=weight_l2, bias_l1=bias_l1, bias_l2=bias_l2)

    def forward(self, x: Tensor) -> Tensor:
        """``x @ weight + bias`` for ``x`` of shape (..., in_features)."""
        x = in_dtype(self, x, self.weight.dtype)
        if x.shape[-1:] != self.weight.shape[:1]:
            raise ValueError(f"{self!r}: the input must have shape (..., {self.weight.shape[0]}), got {x.shape}")
        return x @ self.weight if self.bias is None else affine(x, self.weight, self.bias)

    def __repr__(self) -> str:
        bias = ", bias=False" * (self.bias is None)
        return f"Dense({self.weight.shape[0]} -> {self.weight.shape[1]}{bias}{self._penalties()})"


class Embedding(Weighted):
    """A row of ``weight`` for each index; see :func:`tensorgrad.embedding`.

    The rows start from the standard normal distribution. Input: integers of any shape; output of shape
    (*indices, embedding_dim).

    Parameters
    ----------
    num_embeddings
        Number of rows: indices are 0 to num_embeddings - 1.
    embedding_dim
        Length of each row.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    weight_init
        Initial values, as for :class:`Dense`.
    weight_l1, weight_l2
        Strengths of the penalties that :meth:`penalty` adds up.
    dtype
        Dtype of the weight.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Embedding(10, 4, rng=np.random.default_rng(0))
    >>> layer
    Embedding(10 -> 4)
    >>> layer(np.array([[1, 2, 3], [1, 0, 9]])).shape
    (2, 3, 4)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rng: np.random.Generator | int | None = None,
        *,
        weight_init: Initialiser = "normal",
        weight_l1: float = 0.0,
        weight_l2: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        sizes = (num_embeddings, embedding_dim)
        self.weight = parameter("Embedding", "weight_init", weight_init, sizes, generator(rng), dtype, sizes)
        self._set_strengths(weight_l1=weight_l1, weight_l2=weight_l2)

    def forward(self, indices: Any) -> Tensor:
        """The rows at ``indices``."""
        return embedding(indices, self.weight)

    def __repr__(self) -> str:
        return f"Embedding({self.weight.shape[0]} -> {self.weight.shape[1]}{self._penalties()})"


class Flatten(Module):
    """Flatten all axes but the first: from images to rows of features.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.Flatten()(np.zeros((5, 2, 3, 3))).shape
    (5, 18)
    """

    def __init__(self) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape (examples, ...) as (examples, features)."""
        return flatten(x)


class Dropout(Module):
    """In training, zero each element with probability ``rate`` and scale the others by 1 / (1 - rate).

    Parameters
    ----------
    rate
        Probability of dropping, 0 <= rate < 1.
    rng
        NumPy random generator that draws the masks, or an integer to seed one; None: one with an unpredictable seed.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dropout(0.5, rng=np.random.default_rng(3))
    >>> layer(tg.Tensor(np.ones(6)))
    Tensor([0., 0., 2., 2., 0., 2.])
    >>> layer.eval()(tg.Tensor(np.ones(6)))
    Tensor([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, rate: float, rng: np.random.Generator | int | None = None) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate must satisfy 0 <= rate < 1, got {rate}")
        self.rate = rate
        self.rng = generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with elements dropped in training mode; ``x`` itself in evaluation mode."""
        rate = guarded(self, "rate")
        rng = guarded(self, "rng")
        return dropout(x, rate, rng) if self.training and rate else x

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class GaussianNoise(Module):
    """In training, add normal random numbers of mean 0; see :func:`tensorgrad.random.normal`.

    Parameters
    ----------
    scale
        Standard deviation: a number, or an array or Tensor that broadcasts against the input.
    rng
        NumPy random generator that draws the noise, or an integer to seed one; None: one with an unpredictable seed.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.GaussianNoise(0.5, rng=0)
    >>> layer(tg.Tensor(np.ones(3)))
    Tensor([1.06286511, 0.93394757, 1.32021133])
    >>> layer.eval()(tg.Tensor(np.ones(3)))
    Tensor([1., 1., 1.])
    """

    def __init__(self, scale: Any = 1.0, rng: np.random.Generator | int | None = None) -> None:
        self.scale = scale if isinstance(scale, Tensor) else Tensor(scale) if np.ndim(scale) else float(scale)
        if not np.all(np.greater_equal(self.scale, 0)):
            raise ValueError(f"GaussianNoise: scale must not be negative, got {scale}")
        self.rng = generator(rng)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` plus noise of its shape and dtype in training mode; ``x`` itself in evaluation mode."""
        if np.dtype(x.dtype).kind != "f":
            raise TypeError(f"{self!r}: takes floats, got {x.dtype}; use x.astype(np.float32)")
        scale = self.scale if isinstance(self.scale, Tensor) else guarded(self, "scale")
        rng = guarded(self, "rng")
        return normal(x, scale, x.shape, rng=rng, dtype=x.dtype) if self.training else x

    def __repr__(self) -> str:
        return f"GaussianNoise({describe(self.scale) if isinstance(self.scale, Tensor) else f'{self.scale:g}'})"


class Sequential(Module):
    """Modules, or any functions of Tensors such as ``np.tanh``, applied in order.

    Layers that a function finds in its variables, as in ``lambda x: x + layer(x)``, are trained with the others; but
    ``copy.deepcopy`` copies no functions, so that a copy shares them: for one of its own, write a Module.

    >>> import numpy as np, tensorgrad as tg
    >>> network = tg.nn.Sequential(tg.nn.Dense(4, 3), tg.nn.ReLU(), tg.nn.Dense(3, 2))
    >>> network
    Sequential(
      (0): Dense(4 -> 3)
      (1): ReLU()
      (2): Dense(3 -> 2)
    )
    >>> network(np.ones((5, 4), np.float32)).shape
    (5, 2)
    >>> len(network), network[-1], network[:2](np.ones((5, 4), np.float32)).shape
    (3, Dense(3 -> 2), (5, 3))
    """

    _unnamed = "layers"

    def __init__(self, *layers: Callable[[Tensor], Tensor]) -> None:
        for i, layer in enumerate(layers):
            if not callable(layer) or isinstance(layer, type):
                kind = f"the class {layer.__name__}" if isinstance(layer, type) else f"a {type(layer).__name__}"
                raise TypeError(
                    f"Sequential: layer {i} is {kind}, not a module or function; pass the layers one by one, as in "
                    "Sequential(Dense(2, 3), ReLU())"
                )
            owner = layer.__self__ if isinstance(layer, MethodType) else layer
            hidden = [] if inside(owner) else [x for _, x, _ in inside(dict(attributes(owner))) if is_trained(x)]
            if hidden:
                kind = type(owner).__name__
                raise TypeError(
                    f"Sequential: layer {i} is of the class {kind}, which is not a Module, and holds "
                    f"{in_a_line(hidden[0])}, whose parameters would not be found; derive {kind} from "
                    "tensorgrad.nn.Module"
                )
        self.layers = layers

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Callable[[Tensor], Tensor]]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        """A layer, or for a slice a network of those layers, which has the same parameters."""
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def _parts(self) -> Iterator[tuple[str, str]]:
        return ((str(i), getattr(layer, "__name__", repr(layer))) for i, layer in enumerate(self.layers))

    def forward(self, x: Tensor) -> Tensor:
        """The last module applied to the result of the one before it, and so on."""
        for layer in self.layers:
            x = layer(x)
        return x


class Residual(Sequential):
    """Residual block (He et al. 2016): ``x + layers(x)``.

    Parameters
    ----------
    layers
        As for :class:`Sequential`; the last gives the shape of the input.
    shortcut
        Layer of the shortcut, such as a ``Conv2d`` of kernel size 1 if the layers change the shape; None: the
        identity.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> from tensorgrad.nn import Conv2d, Dense, LayerNorm, ReLU, Residual
    >>> block = Residual(LayerNorm(8), Dense(8, 32), ReLU(), Dense(32, 8))
    >>> block(np.ones((5, 8), np.float32)).shape
    (5, 8)
    >>> halves = Residual(Conv2d(3, 8, 3, stride=2, padding=1), ReLU(), shortcut=Conv2d(3, 8, 1, stride=2))
    >>> halves(np.ones((5, 3, 6, 6), np.float32)).shape
    (5, 8, 3, 3)
    """

    def __init__(self, *layers: Callable[[Tensor], Tensor], shortcut: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__(*layers)
        if shortcut is not None:
            Sequential(shortcut)  # which raises if it is not a layer
        self.shortcut = shortcut

    def _parts(self) -> Iterator[tuple[str, str]]:
        yield from super()._parts()
        if self.shortcut is not None:
            yield "shortcut", getattr(self.shortcut, "__name__", repr(self.shortcut))

    def forward(self, x: Tensor) -> Tensor:
        """The result of the layers plus ``x``, or ``shortcut(x)``."""
        inner = super().forward(x)
        around = in_dtype(self, x, inner.dtype) if self.shortcut is None else self.shortcut(x)
        if inner.shape != around.shape:
            raise ValueError(
                f"Residual: the layers give shape {inner.shape}, and {around.shape} goes around them; they must agree: "
                "choose sizes that do, or a shortcut= that gives the same shape"
            )
        return around + inner
