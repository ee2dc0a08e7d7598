"""Inspecting a computation: its graph as a picture, its backward pass step by step."""

from .drawing import Drawing, draw
from .explain import explain
from .printing import print_ops
from .steps import BackwardStep, backward_steps

__all__ = ["BackwardStep", "Drawing", "backward_steps", "draw", "explain", "print_ops"]
