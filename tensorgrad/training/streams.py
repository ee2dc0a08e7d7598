"""Random streams: a generator for each use of randomness, so that a change of one leaves the others alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..nn.initialisers import generator


@dataclass(frozen=True)
class RandomStreams:
    """Generators that share a seed and nothing else, one for each thing that a training draws.

    With one generator for everything, the numbers that one part draws shift those of all others: without augmentation
    the examples would come in another order. From streams, each draws the same whatever the others do.

    Attributes
    ----------
    split
        Which examples are held out for validation; for :func:`tensorgrad.data.stratified_split`.
    weights
        The initial weights; for layers such as ``Dense``.
    dropout
        Masks and noise of layers; for ``Dropout`` and ``GaussianNoise``.
    order
        The order of the examples in each epoch; for :func:`fit`.
    augmentation
        Changes of training inputs; for :func:`fit`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> streams = RandomStreams.from_seed(0)
    >>> layers = tg.nn.Dense(2, 8, streams.weights), tg.nn.Dropout(0.1, streams.dropout)
    >>> model = tg.nn.Sequential(*layers, tg.nn.Dense(8, 2, streams.weights))
    >>> points = np.eye(2, dtype=np.float32)
    >>> examples, adam = (points, np.array([0, 1])), tg.optim.Adam(model.parameters())
    >>> from tensorgrad.training import fit
    >>> len(fit(model, examples, examples, adam, epochs=2, batch_size=2, rng=streams))
    2
    """

    split: np.random.Generator
    weights: np.random.Generator
    dropout: np.random.Generator
    order: np.random.Generator
    augmentation: np.random.Generator

    def __post_init__(self) -> None:
        for name, rng in vars(self).items():
            if not isinstance(rng, np.random.Generator):
                raise TypeError(
                    f"RandomStreams: {name} must be a NumPy generator, such as np.random.default_rng(0), got {rng!r}; "
                    "RandomStreams.from_seed(0) makes all of them"
                )

    @classmethod
    def from_seed(cls, seed: int | None) -> RandomStreams:
        """Streams spawned from ``np.random.SeedSequence(seed)``, in the order of the attributes.

        Parameters
        ----------
        seed
            A whole number, not negative; the same one gives the same streams. None: others each time.

        Raises
        ------
        TypeError, ValueError
            If the seed is of another kind.
        """
        if isinstance(seed, bool) or not (seed is None or isinstance(seed, (int, np.integer))):
            raise TypeError(f"RandomStreams: seed must be an integer or None, got {seed!r}")
        if seed is not None and seed < 0:
            raise ValueError(f"RandomStreams: seed must not be negative, got {seed}")
        names = cls.__dataclass_fields__
        children = np.random.SeedSequence(seed).spawn(len(names))
        return cls(**{name: np.random.default_rng(child) for name, child in zip(names, children)})


def streams_of(rng: object) -> dict[str, np.random.Generator]:
    """The generators that a training draws from and saves, by name, with ``order`` and ``augmentation`` among them.

    Of one generator, or one seeded with an integer or None, these two are spawned, so that neither depends on what the
    other or anybody else draws.

    Raises
    ------
    TypeError
        If ``rng`` is neither a generator, an integer nor streams, or a generator that cannot spawn others.
    """
    if isinstance(rng, RandomStreams):
        return dict(vars(rng))
    try:
        made = generator(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"fit: {error}; or RandomStreams.from_seed(0)") from None
    try:
        order, augmentation = made.spawn(2)
    except TypeError:
        raise TypeError(
            "fit: rng must be a generator that can spawn others, such as np.random.default_rng(0); the seed of "
            f"{rng!r} cannot"
        ) from None
    return {"rng": made, "order": order, "augmentation": augmentation}
