"""The networks, as tensor expressions."""

from .cnn import cnn
from .mnist import mnist
from .simpsons import simpsons
from .simpsons_rgb import simpsons_rgb

__all__ = ["cnn", "mnist", "simpsons", "simpsons_rgb"]
