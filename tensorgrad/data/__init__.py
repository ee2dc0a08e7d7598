"""Datasets, file formats, batches, augmentation.

Every array of images, from a loader to a network, has the layout (N, C, H, W): examples, channels, rows, columns; gray
images have one channel. It is that of ``tensorgrad.nn.Conv2d``.
"""

from typing import TYPE_CHECKING

from .augment import Augmentation
from .batches import batches, index_batches
from .cartoons import draw_faces
from .dataset import DataError, Dataset, Standardisation, stratified_split
from .folders import ImageFolder, load_image_folders
from .idx import read_idx, write_idx
from .images import read_image
from .loader import Loader, Source
from .mnist import load_mnist
from .simpsons import load_simpsons

__all__ = [
    "Augmentation",
    "DataError",
    "Dataset",
    "ImageFolder",
    "Loader",
    "Source",
    "Standardisation",
    "batches",
    "draw_faces",
    "index_batches",
    "load_image_folders",
    "load_mnist",
    "load_simpsons",
    "read_idx",
    "read_image",
    "stratified_split",
    "write_idx",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
