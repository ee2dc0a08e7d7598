"""Small pictures for the page, each with its caption. Images are arrays of shape (channels, height, width)."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._optional import require
from .galleries import most_confident_mistakes

MOST_MISTAKES, MOST_UNITS, FEW_UNITS = 24, 32, 8
"""How many are shown; of units that are all alike noise only a few."""

LARGEST = 1e38
"""What stands for infinite weights."""

LEAST_SIDE, LEAST_LIKENESS = 6, 0.3
"""Of weights as images: smaller ones are never called noise, and larger ones whose neighbours are less alike are."""

NEGATIVE, ZERO, POSITIVE = (33, 102, 172), (247, 247, 247), (178, 24, 43)
"""The colours of weights."""

RAMP = ", ".join(f"rgb{colour}" for colour in (NEGATIVE, ZERO, POSITIVE))
"""Likewise as a style sheet has them."""


@dataclass(frozen=True)
class Tile:
    """A picture as a ``data:`` address, in words, and what stands below it."""

    source: str
    description: str
    caption: str = ""
    note: str = ""


def mistakes(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, names: Sequence[str]) -> list[Tile]:
    """The most confident mistakes; images of shape (N, channels, H, W) with values 0..255."""
    tiles = []
    for i in most_confident_mistakes(probabilities, labels, MOST_MISTAKES):
        said = int(probabilities[i].argmax())
        text = f"said {names[said]}, is {names[labels[i]]}"
        tiles.append(Tile(pixels(images[i]), text, text, f"{probabilities[i, said]:.0%} sure"))
    return tiles


def examples(
    images: np.ndarray, labels: np.ndarray, names: Sequence[str], count: int
) -> list[tuple[str, int, list[Tile]]]:
    """Of each class its name, how many images it has, and the first few of them."""
    rows = []
    for label, name in enumerate(names):
        of_class = np.flatnonzero(labels == label)
        tiles = [Tile(pixels(images[i]), f"an image of {name}") for i in of_class[:count]]
        rows.append((name, len(of_class), tiles))
    return rows


def augmented(images: np.ndarray, variants: Sequence[np.ndarray]) -> list[tuple[Tile, list[Tile]]]:
    """Each image, and as the augmentation changes it."""
    return [
        (Tile(pixels(image), "as it is"), [Tile(pixels(variant[i]), "changed at random") for variant in variants])
        for i, image in enumerate(images)
    ]


def units(weights: np.ndarray, word: str = "unit") -> tuple[list[Tile], int]:
    """The incoming weights of the strongest units as pictures, those of the strongest first; and how many are noise.

    ``weights`` have the shape (units, channels, height, width). Units whose neighbouring weights are hardly alike are
    noise and left out, unless all are: then there are a few of them.
    """
    weights = np.nan_to_num(weights.astype(np.float64), nan=0, posinf=LARGEST, neginf=-LARGEST)
    norms = np.sqrt(np.square(weights).sum(axis=(1, 2, 3)))
    strongest = np.argsort(-norms, kind="stable")
    has_shape = [unit for unit in strongest if not is_noise(weights[unit])]
    chosen = has_shape[:MOST_UNITS] if has_shape else strongest[:FEW_UNITS]
    tiles = [Tile(_coloured(weights[i]), f"weights of {word} {i}", f"{word} {i}") for i in chosen]
    return tiles, len(strongest) - len(has_shape)


def is_noise(image: np.ndarray) -> bool:
    """Whether neighbouring weights are hardly alike: their mean correlation is low.

    >>> import numpy as np
    >>> is_noise(np.random.default_rng(0).standard_normal((1, 20, 20)))
    True
    >>> is_noise(np.ones((1, 20, 20)).cumsum(axis=2))
    False
    """
    if min(image.shape[1:]) < LEAST_SIDE:
        return False
    centred = image - image.mean(axis=(1, 2), keepdims=True)
    across = (centred[:, :, 1:] * centred[:, :, :-1]).mean()
    down = (centred[:, 1:] * centred[:, :-1]).mean()
    return bool((across + down) / 2 <= LEAST_LIKENESS * (centred**2).mean())


def pixels(image: np.ndarray) -> str:
    """The address of an image of values 0..255."""
    return _encoded(image.clip(0, 255).astype(np.uint8))


def _coloured(image: np.ndarray) -> str:
    """Negative weights blue and positive ones red, or with three channels as colours around gray, each on its scale."""
    share = image / max(float(np.abs(image).max()), 1e-12)
    if len(image) != 1:
        return _encoded((127.5 + 127.5 * share).astype(np.uint8))
    end = np.where(share >= 0, np.reshape(POSITIVE, (3, 1, 1)), np.reshape(NEGATIVE, (3, 1, 1)))
    zero = np.reshape(ZERO, (3, 1, 1))
    return _encoded((zero + (end - zero) * np.abs(share)).astype(np.uint8))


def _encoded(image: np.ndarray) -> str:
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(f"images must have the shape (channels, height, width), 1 or 3 of them, got {image.shape}")
    shown = image[0] if len(image) == 1 else np.ascontiguousarray(np.moveaxis(image, 0, -1))
    file = io.BytesIO()
    require("PIL.Image", "the report").fromarray(shown).save(file, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
