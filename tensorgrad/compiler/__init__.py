"""Compiled steps: recorded once as a program of NumPy calls, replayed into buffers that exist already."""

from .function import Compiled, compile, own
from .traced import CaptureError

__all__ = ["CaptureError", "Compiled", "compile", "own"]
