"""The networks, as tensor expressions."""

from .mnist import mnist
from .simpsons import simpsons
from .simpsons_rgb import simpsons_rgb

__all__ = ["mnist", "simpsons", "simpsons_rgb"]
