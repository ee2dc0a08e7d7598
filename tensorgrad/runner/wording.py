"""Settings and surroundings of a run as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    "model": "network",
    "hidden": "hidden layers",
    "l2": "L2 penalty",
    "lr": "learning rate",
    "momentum": "momentum",
    "decay": "decay of the rate",
    "warm_up": "warm-up steps",
    "clip": "largest gradient norm",
    "monitor": "best epoch chosen by",
    "patience": "epochs without improvement",
    "augment": "augmentation",
    "flip": "mirrored at random",
    "shift": "shifted by up to",
    "rotation": "rotated by up to",
    "zoom": "zoomed by up to",
    "cutout": "side of the square cut out",
    "validation": "share for validation",
    "seed": "random seed",
    "fast_dev_run": "dry run",
    "data": "checksum of the data",
    "mean": "mean of the pixels",
    "deviation": "standard deviation of the pixels",
}
"""Of settings whose own names do not say it."""

CHANGES = ("flip", "shift", "rotation", "zoom", "cutout")
"""How training images are changed, if they are."""

UNITS = {"shift": "pixel", "rotation": "degree", "cutout": "pixel"}

HIDDEN = ("image_ranges", "classes", "overfit_batch", "experiment")
"""Settings that are for programs, or shown elsewhere."""

ENVIRONMENT = {"python": "Python", "numpy": "NumPy", "cpus": "processors", "machine": "kind of processor"}
PHASES = {"loading": "loading the data", "training": "training", "testing": "testing", "report": "this report"}


def settings_in_words(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of those settings that say something.

    >>> settings_in_words({"lr": 0.0030000001, "l2": 0, "flip": False, "batch_size": 128, "clip": None, "shift": 2})
    [('learning rate', '0.003'), ('batch size', '128'), ('shifted by up to', '2 pixels')]
    """
    unused = set(HIDDEN)
    if settings.get("schedule") != "inverse":
        unused.add("decay")
    if not settings.get("augment", True):
        unused.update(CHANGES)
    return [
        (NAMES.get(name, name.replace("_", " ")), _value(name, value))
        for name, value in settings.items()
        if name not in unused and value is not None and value is not False and (value != 0 or name == "seed")
    ]


def environment_in_words(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions and the machine.

    >>> environment_in_words({"python": "3.12.1", "cpus": 2})
    [('Python', '3.12.1'), ('processors', '2')]
    """
    return [(ENVIRONMENT.get(name, name), str(value)) for name, value in environment.items()]


def phases_in_words(seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """How long the parts of a run took.

    >>> phases_in_words({"loading": 0.644, "training": 83.2})
    [('loading the data', '0.6 s'), ('training', '1 min 23 s')]
    """
    return [(PHASES.get(name, name), duration(value)) for name, value in seconds.items()]


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(7.37), duration(119.9), duration(7322)
    ('7.4 s', '2 min 0 s', '2 h 2 min')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _value(name: str, value: Any) -> str:
    if name == "data":
        return str(value)[:12]
    if name == "image_shape":
        return image_shape(value)
    if name == "hidden":
        return str(value).replace(",", ", ")
    if name == "monitor":
        return str(value).replace("_", " ")
    unit = f" {UNITS[name]}{'s' if value != 1 else ''}" if name in UNITS else ""
    return _shown(value) + unit


def image_shape(shape: Sequence[int]) -> str:
    """The shape of images, of (channels, height, width).

    >>> image_shape((1, 28, 30)), image_shape((3, 64, 64)), image_shape((7, 8, 8))
    ('30 × 28 pixels, gray', '64 × 64 pixels, RGB', '8 × 8 pixels, 7 channels')
    """
    channels, height, width = shape
    kinds = {1: "gray", 2: "gray with opacity", 3: "RGB", 4: "RGB with opacity"}
    return f"{width} \N{MULTIPLICATION SIGN} {height} pixels, {kinds.get(channels, f'{channels} channels')}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
