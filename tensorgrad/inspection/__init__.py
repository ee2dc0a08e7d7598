"""Looking at a computation: its graph as a picture, its backward pass step by step."""

from .drawing import Drawing, draw

__all__ = ["Drawing", "draw"]
