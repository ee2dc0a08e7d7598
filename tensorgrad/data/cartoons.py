"""Synthetic images: cartoon faces, so that the image experiments run without any download."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._optional import require
from .dataset import Dataset
from .layout import channels_first

NAME = "synthetic cartoon faces (MADE by a program, not the Simpsons)"
SCALE = 4
"""Faces are drawn this much larger and reduced, which smooths their edges."""

# Skin, hair colour, hair style, mouth: ten characters that differ in several features at once.
CHARACTERS: dict[str, tuple[str, str, str, str]] = {
    "spiky": ("#ffd90f", "#e0b000", "spikes", "smile"),
    "beehive": ("#ffd90f", "#2f64d6", "tower", "smile"),
    "bald": ("#ffd90f", "#ffd90f", "none", "open"),
    "clown": ("#f4f4f4", "#22a045", "sides", "red"),
    "star": ("#ffd90f", "#f0c000", "star", "flat"),
    "glasses": ("#ffd90f", "#3b7dd8", "flat", "smile"),
    "old": ("#f3e08a", "#9a9a9a", "sides", "flat"),
    "bartender": ("#d9b98a", "#555555", "flat", "open"),
    "moustache": ("#f6cf8e", "#5a3a1a", "flat", "moustache"),
    "principal": ("#f0c878", "#777777", "parting", "flat"),
}


def draw_faces(channels: int, seed: int = 0, per_class: int = 120, size: int = 28) -> Dataset:
    """Draw a dataset of ten cartoon characters, varied in place, size, light and background.

    Parameters
    ----------
    channels
        1 for gray, 3 for RGB.
    seed
        The same seed draws the same pictures.
    per_class
        Pictures of each character; a quarter of them are for testing.
    size
        Height and width.

    Returns
    -------
    Dataset
        Images of shape (N, channels, size, size), bytes.

    Raises
    ------
    MissingExtra
        If Pillow is not installed.
    """
    rng = np.random.default_rng(seed)
    images = [_face(rng, features, channels, size) for features in CHARACTERS.values() for _ in range(per_class)]
    labels = np.repeat(np.arange(len(CHARACTERS)), per_class)
    test = np.arange(len(labels)) % 4 == 3
    stacked = np.stack(images)
    return Dataset(NAME, tuple(CHARACTERS), stacked[~test], labels[~test], stacked[test], labels[test])


def _face(rng: np.random.Generator, features: tuple[str, str, str, str], channels: int, size: int) -> np.ndarray:
    image_module = require("PIL.Image", "drawing faces")
    skin, hair, style, mouth = features
    side = size * SCALE
    background = tuple(int(v) for v in rng.integers(40, 230, 3))
    image = image_module.new("RGB", (side, side), background)
    pen = require("PIL.ImageDraw", "drawing faces").Draw(image)
    unit = side / 28 * rng.uniform(0.75, 1.1)
    centre = (side / 2 + side * rng.uniform(-0.12, 0.12), side * 0.56 + side * rng.uniform(-0.1, 0.1))

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        (x, y), scale = centre, unit
        return [x + left * scale, y + top * scale, x + right * scale, y + bottom * scale]

    def points(*pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(centre[0] + x * unit, centre[1] + y * unit) for x, y in pairs]

    _draw_hair(pen, style, hair, box, points)
    pen.rounded_rectangle(box(-6, -7, 6, 9), radius=4 * unit, fill=skin)
    _draw_eyes(pen, box, glasses=style == "flat" and hair == "#3b7dd8", look=rng.uniform(-0.8, 0.8))
    _draw_mouth(pen, mouth, box)
    reduced = image.resize((size, size), image_module.Resampling.LANCZOS).convert("L" if channels == 1 else "RGB")
    light = np.asarray(reduced, np.float32) * rng.uniform(0.7, 1.15) + rng.normal(0, 6, np.asarray(reduced).shape)
    return channels_first(light.clip(0, 255).astype(np.uint8))


def _draw_hair(pen: Any, style: str, colour: str, box: Any, points: Any) -> None:
    if style == "spikes":
        pen.polygon(
            points((-6, -5), (-6, -11), (-4, -8), (-2, -12), (0, -8), (2, -12), (4, -8), (6, -11), (6, -5)), colour
        )
    elif style == "tower":
        pen.rounded_rectangle(box(-5, -20, 5, -4), radius=10, fill=colour)
    elif style == "sides":
        pen.ellipse(box(-10, -6, -4, 2), fill=colour)
        pen.ellipse(box(4, -6, 10, 2), fill=colour)
    elif style == "star":
        pen.polygon(
            points((0, -14), (3, -9), (9, -10), (7, -4), (10, 1), (0, 0), (-10, 1), (-7, -4), (-9, -10), (-3, -9)),
            colour,
        )
    elif style == "flat":
        pen.rectangle(box(-6, -9, 6, -4), fill=colour)
    elif style == "parting":
        pen.pieslice(box(-6.5, -11, 6.5, -1), 180, 360, fill=colour)


def _draw_eyes(pen: Any, box: Any, glasses: bool, look: float) -> None:
    for x in (-2.6, 2.6):
        pen.ellipse(box(x - 2.3, -4, x + 2.3, 0.6), fill="white", outline="black", width=4 if glasses else 1)
        pen.ellipse(box(x - 0.6 + look, -2.3, x + 0.6 + look, -1.1), fill="black")
    pen.ellipse(box(-1, 0, 1, 2.2), fill="#e8b020")


def _draw_mouth(pen: Any, mouth: str, box: Any) -> None:
    if mouth == "smile":
        pen.arc(box(-3.5, 1.5, 3.5, 6), 10, 170, fill="black", width=3)
    elif mouth == "open":
        pen.ellipse(box(-3.5, 2.8, 3.5, 7.5), fill="#c9a46a", outline="black", width=2)
    elif mouth == "red":
        pen.ellipse(box(-4, 2.6, 4, 7), fill="#d02020")
        pen.ellipse(box(-1.5, -0.3, 1.5, 2.5), fill="#d02020")
    elif mouth == "flat":
        pen.line(box(-3, 5, 3, 5), fill="black", width=3)
    elif mouth == "moustache":
        pen.rounded_rectangle(box(-4, 2.5, 4, 4.4), radius=4, fill="#5a3a1a")
        pen.line(box(-2.5, 6, 2.5, 6), fill="black", width=2)
