"""Multi-head attention."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..ops.attention import attention_weights
from .initialisers import Initialiser, generator
from .layers import Dense, Dropout
from .module import Module
from .weighted import check_sizes


class MultiHeadAttention(Module):
    """Attention of targets to sources, by several heads side by side (Vaswani et al. 2017, section 3.2.2).

    ``query``, ``key`` and ``value`` are projected, divided into heads, of which each is
    :func:`tensorgrad.scaled_dot_product_attention`, put together again and projected by ``output``. With the same
    weights it is PyTorch's with ``batch_first=True``; masks are True where to attend.

    Parameters
    ----------
    embed_dim
        Features of queries and of the output.
    num_heads
        Number of heads, among which the features are divided.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    causal
        Whether a target attends to sources up to its own position only.
    dropout
        Rate at which attention weights are dropped in training.
    dropout_rng
        Generator that draws the masks; None: ``rng``.
    kdim, vdim
        Features of keys and of values; None: ``embed_dim``.
    bias
        Whether the projections have a bias.
    weight_init, bias_init, dtype
        Initial values and dtype of the projections, as for :class:`Dense`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.MultiHeadAttention(8, 2, rng=0, causal=True)
    >>> layer
    MultiHeadAttention(8, num_heads=2, causal)
    >>> words = np.ones((3, 5, 8))
    >>> layer(words).shape
    (3, 5, 8)
    >>> output, weights = layer(words, return_weights=True)
    >>> weights.shape
    (3, 2, 5, 5)
    >>> image = np.ones((3, 9, 4))
    >>> tg.nn.MultiHeadAttention(8, 2, kdim=4, vdim=4)(words, image).shape
    (3, 5, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        rng: np.random.Generator | int | None = None,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        dropout_rng: np.random.Generator | int | None = None,
        kdim: int | None = None,
        vdim: int | None = None,
        bias: bool = True,
        weight_init: Initialiser = "xavier_uniform",
        bias_init: Initialiser = "zeros",
        dtype: Any = np.float32,
    ) -> None:
        check_sizes("MultiHeadAttention", embed_dim=embed_dim, num_heads=num_heads)
        if embed_dim % num_heads:
            raise ValueError(f"MultiHeadAttention: {embed_dim} features cannot be divided into {num_heads} heads")
        rng = generator(rng)
        settings: dict[str, Any] = {"bias": bias, "weight_init": weight_init, "bias_init": bias_init, "dtype": dtype}
        self.query = Dense(embed_dim, embed_dim, rng, **settings)
        self.key = Dense(embed_dim if kdim is None else kdim, embed_dim, rng, **settings)
        self.value = Dense(embed_dim if vdim is None else vdim, embed_dim, rng, **settings)
        self.output = Dense(embed_dim, embed_dim, rng, **settings)
        self.num_heads, self.causal = num_heads, bool(causal)
        self.dropout = Dropout(dropout, rng if dropout_rng is None else dropout_rng) if dropout else None

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        mask: Any = None,
        key_mask: Any = None,
        return_weights: bool = False,
    ) -> Any:
        """The output, of shape (examples, targets, embed_dim), with ``return_weights`` also the attention weights.

        Parameters
        ----------
        query, key, value
            Of shapes (examples, targets, embed_dim), (examples, sources, kdim) and (examples, sources, vdim). ``key``
            None: that is ``query`` (self-attention); ``value`` None: that is ``key``.
        mask
            Of shape (targets, sources), (examples, targets, sources) or (examples, heads, targets, sources): truth
            values, where a target may attend to a source, or numbers that are added to the scores. A target that may
            attend to none gets zeros before the last projection.
        key_mask
            Booleans of shape (examples, sources), False for sources that are left out, such as padding: whatever
            they hold, NaN too, changes neither outputs nor gradients. In self-attention they are targets still, with 0
            for what is not finite there.
        return_weights
            Whether to return the attention weights, of shape (examples, heads, targets, sources), as well.
        """
        key = query if key is None else key
        value = key if value is None else value
        shapes = [np.shape(x) for x in (query, key, value)]
        if any(len(shape) != 3 for shape in shapes) or shapes[1][:2] != shapes[2][:2] or shapes[0][0] != shapes[1][0]:
            raise ValueError(
                f"{self!r}: query, key and value must have shapes (examples, targets or sources, features), with as "
                f"many examples, and of key and value as many sources, got {', '.join(map(str, shapes))}"
            )
        (examples, targets, _), sources = shapes[0], shapes[1][1]
        masks = self._masks(mask, key_mask, examples, targets, sources)
        if key_mask is not None:  # 0 times NaN would spread what padding holds to outputs and gradients
            inside = masks[-1].reshape(examples, sources, 1)
            is_own = key is query
            key, value = (np.where(inside, x, 0) for x in (key, value))
            if is_own:
                query = np.where(inside | np.isfinite(query), query, 0)
        queries, keys = self._heads(self.query(query)), self._heads(self.key(key))
        weights = attention_weights(queries, keys, masks, self.causal)
        used = weights if self.dropout is None else self.dropout(weights)
        heads = (used @ self._heads(self.value(value))).swapaxes(1, 2)
        result = self.output(heads.reshape(examples, targets, self.query.weight.shape[1]))
        return (result, weights) if return_weights else result

    def _heads(self, x: Tensor) -> Any:
        """Features (examples, positions, embed_dim) as (examples, heads, positions, features of a head)."""
        examples, positions, features = x.shape
        return x.reshape(examples, positions, self.num_heads, features // self.num_heads).swapaxes(1, 2)

    def _masks(self, mask: Any, key_mask: Any, examples: int, targets: int, sources: int) -> list[Any]:
        """The masks that were given, checked, such that they broadcast to the scores of all heads."""
        found = []
        if mask is not None:
            mask = mask if hasattr(mask, "__array_function__") else np.asarray(mask)
            whole = (examples, self.num_heads, targets, sources)
            if mask.shape not in (whole, (examples, targets, sources), (targets, sources)):
                raise ValueError(
                    f"{self!r}: mask must have shape {(targets, sources)}, {(examples, targets, sources)} or {whole}, "
                    f"got {mask.shape}; for padding of the sources there is key_mask="
                )
            found.append(mask.reshape(examples, 1, targets, sources) if mask.ndim == 3 else mask)
        if key_mask is not None:
            key_mask = key_mask if hasattr(key_mask, "__array_function__") else np.asarray(key_mask)
            if key_mask.shape != (examples, sources) or key_mask.dtype != bool:
                raise ValueError(
                    f"{self!r}: key_mask must be boolean and of shape {(examples, sources)}, got "
                    f"{key_mask.dtype} and {key_mask.shape}"
                )
            found.append(key_mask.reshape(examples, 1, 1, sources))
        return found

    def __repr__(self) -> str:
        text = f"{self.query.weight.shape[0]}, num_heads={self.num_heads}" + ", causal" * self.causal
        text += f", dropout={self.dropout.rate:g}" if self.dropout is not None else ""
        return f"MultiHeadAttention({text}{', bias=False' * (self.query.bias is None)})"
