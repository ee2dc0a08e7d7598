"""Data for the experiments: datasets, batches, file formats."""

from .batches import batches
from .dataset import DataError, Dataset, as_inputs, stratified_split
from .idx import read_idx, write_idx
from .mnist import load_mnist

__all__ = [
    "DataError",
    "Dataset",
    "as_inputs",
    "batches",
    "load_mnist",
    "read_idx",
    "stratified_split",
    "write_idx",
]
