"""The layout of image arrays, the same from file to convolution: (N, C, H, W), examples, channels, rows, columns.

One image is (C, H, W): (1, H, W) in gray, (3, H, W) in RGB. It is the layout of ``tensorgrad.nn.Conv2d``, so a loaded
dataset needs no reshape; networks that take rows of numbers begin with ``tensorgrad.nn.Flatten``.
"""

from __future__ import annotations

import numpy as np

LAYOUT = "(examples, channels, height, width)"

MOST_CHANNELS = 4
"""Of images with the channels last, by which these are told from images of many channels."""


def channels_first(pixels: np.ndarray) -> np.ndarray:
    """One image of shape (height, width) or (height, width, channels), as Pillow has it, as (channels, height, width).

    >>> import numpy as np
    >>> channels_first(np.zeros((5, 4))).shape, channels_first(np.zeros((5, 4, 3))).shape
    ((1, 5, 4), (3, 5, 4))
    """
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def wrong_layout(shape: tuple[int, ...]) -> str:
    """What is wrong with the shape of an array of images, with the remedy; empty where it is as it should be.

    >>> wrong_layout((60, 1, 28, 28))
    ''
    >>> wrong_layout((60, 28, 28, 3)).partition("; ")[2]
    'for channels that come last take np.moveaxis(images, -1, 1)'
    """
    if len(shape) == 4 and not (shape[1] > MOST_CHANNELS and shape[3] in (1, 3, MOST_CHANNELS)):
        return ""
    remedy = {
        2: "of one gray image take image[None, None]",
        3: "of gray images take images[:, None], of one image with channels image[None]",
        4: "for channels that come last take np.moveaxis(images, -1, 1)",
    }.get(len(shape), "reshape them")
    return f"expected images of shape {LAYOUT}, got {shape}; {remedy}"
