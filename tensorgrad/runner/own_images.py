"""The experiment with a folder of your own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..data import Augmentation, Dataset, load_image_folders
from ..data.images import RESIZING
from .arguments import as_size, share, size, whole
from .errors import UsageError
from .experiment import Experiment, Recipe
from .networks import cnn, dense
from .options import Options, value


@dataclass(frozen=True)
class ImageOptions(Options):
    """Those of all experiments, and how images are read."""

    size: str | None = value(
        "height and width to which all images are resized, as in 64 or 48x64 (default: those of the first image, at "
        "most 64)",
        type=size,
        metavar="HxW",
    )
    channels: int | None = value(
        "1 for gray, 3 for RGB, 2 and 4 for these with an alpha channel (default: 3 where images are in colour)",
        type=whole(1),
        metavar="N",
    )
    resize: str = value(
        "how images of other proportions are made to fit (default: stretch)", default="stretch", choices=list(RESIZING)
    )
    test: float = value(
        "share of the images that are for testing, where DIR holds no folders train and test (default: 0.2)",
        default=0.2,
        type=share,
        metavar="X",
    )


def _load(options: ImageOptions, say: Callable[[str], Any]) -> Dataset:
    if options.data_dir is None:
        raise UsageError("DIR: which images? Pass the folder that holds a folder of images for each class")
    return load_image_folders(
        options.data_dir,
        options.channels,
        None if options.size is None else as_size(options.size),
        options.strict,
        say=say,
        resize=options.resize,
        test=options.test,
    )


_AUGMENTATION = Augmentation(shift=2, rotation=10, zoom=0.1)

OWN_IMAGES = Experiment(
    name="train",
    module="tensorgrad.train",
    purpose="Train a network on your own images, in a folder for each class.",
    data_help="folder with CLASS/*, or with train/CLASS/* and test/CLASS/*",
    load=_load,
    recipes={
        "dense": Recipe(dense, (512,), 0.2, 1e-4, epochs=30, lr=1e-3, augmentation=_AUGMENTATION),
        "cnn": Recipe(cnn, (32, 64), 0.5, 1e-4, epochs=30, lr=1e-3, augmentation=_AUGMENTATION),
    },
    options=ImageOptions,
)
