"""Fusion for ONNX: several recorded ops that are one operator there."""

from __future__ import annotations

from typing import Any

from .recording import Program, Step, Value

Pattern = Any
"""The name of an op with the patterns of its operands, or a name for whatever is there."""

_PER_CHANNEL_SCALE = ("divide", ("reshape", "weight"), ("sqrt", ("add", ("reshape", "var"), "eps")))

PATTERNS: dict[str, Pattern] = {
    "batch_norm": (
        "add",
        ("multiply", ("subtract", "x", ("reshape", "mean")), _PER_CHANNEL_SCALE),
        ("reshape", "bias"),
    ),
    "layer_norm": ("add", ("multiply", ("standardise", "x"), "weight"), "bias"),
    "dense": ("add", ("matmul", "x", "weight"), "bias"),
    "biased_conv": ("add", ("conv", "x", "weight"), ("reshape", "bias")),
    "biased_conv_transpose": ("add", ("conv_transpose", "x", "weight"), ("reshape", "bias")),
}


def fused(program: Program) -> list[Step]:
    """The steps that the outputs need, in order, those that are one operator as one step of a name in PATTERNS."""
    needed = {id(value) for value in program.outputs}
    steps: list[Step] = []
    for step in reversed(program.steps):
        if id(step.result) in needed:
            step = _as_one(step)
            steps.append(step)
            needed.update(id(value) for value in [*step.operands, *step.settings.values()] if isinstance(value, Value))
            needed.update(id(value) for value in _in_index(step.settings.get("index")) if isinstance(value, Value))
    return steps[::-1]


def _in_index(index: object) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _as_one(step: Step) -> Step:
    for name, pattern in PATTERNS.items():
        found: dict[str, Any] = {}
        if step.op == pattern[0] and _matches(pattern, step, found) and _fits(name, found, step.result):
            more = {key: found[key] for key in ("eps", "axis") if key in found}
            settings = {**step.operands[0].step.settings, **more}
            names = ("x", "weight", "bias", "mean", "var")
            return Step(name, [found[key] for key in names if key in found], settings, step.result)
    return step


def _matches(pattern: Pattern, step: Step, found: dict[str, Any]) -> bool:
    op, *parts = pattern
    if step.op != op or len(step.operands) != len(parts):
        return False
    for part, operand in zip(parts, step.operands):
        if isinstance(part, str):
            found[part] = operand
        elif not isinstance(operand, Value) or operand.step is None or not _matches(part, operand.step, found):
            return False
    if op == "reshape":  # of (channels,) to what broadcasts along the second axis of images
        found.setdefault("ranks", set()).add(len(step.result.shape))
        return step.operands[0].shape == step.result.shape[:1] and all(n == 1 for n in step.result.shape[1:])
    if op == "standardise":
        found.update(step.settings)
    return True


def _fits(name: str, found: dict[str, Any], result: Value) -> bool:
    """Whether shapes and dtypes are those that the operator takes."""
    values = [found[key] for key in ("x", "weight", "bias", "mean", "var") if key in found]
    if not all(isinstance(value, Value) and value.dtype == result.dtype for value in values):
        return False
    x, weight, bias = found["x"], found["weight"], found["bias"]
    if name == "dense":
        return len(x.shape) == len(weight.shape) == 2 and bias.shape == weight.shape[1:]
    if name == "layer_norm":
        axis, ndim = found["axis"], len(x.shape)
        axes = sorted(a % ndim for a in (axis if isinstance(axis, tuple) else (axis,)))
        lengths = x.shape[axes[0] :]
        return axes == list(range(axes[0], ndim)) and weight.shape == lengths == bias.shape
    per_channel = [found[key] for key in ("weight", "bias", "mean", "var") if key in found]
    per_channel = per_channel[1:] if name != "batch_norm" else per_channel
    if found["ranks"] != {len(result.shape) - 1} or any(v.shape != (result.shape[1],) for v in per_channel):
        return False
    return name != "batch_norm" or (isinstance(found["eps"], float) and x.shape == result.shape)
