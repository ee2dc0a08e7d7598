"""Recurrent networks over whole sequences: one op for all steps, so that a step costs no node of its own.

Each is computed from ``projected``, the inputs of all steps times their weights, plus bias, and from what the states
add to that in each step, ``output @ weight + bias``. The states are the outputs and, of an LSTM, its cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from .. import samples
from ..core import AnyArray, Op, Tensor, declare
from .activations import relu

__all__ = ["RECURRENT"]

Arrays = Sequence[Any]


class _Kind(NamedTuple):
    """What tells one recurrent network from another.

    Attributes
    ----------
    gates
        How many arrays of the size of a state there are in ``projected``.
    states
        How many states there are; the first is the output.
    activations
        ``activations(projected, recurrent)``: what is computed from these two, of one step or of all.
    step
        ``step(activations, before)``: the states after a step.
    slopes
        ``slopes(activations, before, after)``: what the backward pass multiplies with, computed for all steps at once.
    back
        ``back(slopes, d)``: from the gradients ``d`` of the states after a step those of ``projected`` and of
        ``recurrent``, and those of the states before it, except through ``recurrent``.
    are_added
        Whether only the sum of ``projected`` and ``recurrent`` matters, so that their gradients are the same.
    """

    gates: int
    states: int
    activations: Callable[[Any, Any], Arrays]
    step: Callable[[Arrays, Arrays], Arrays]
    slopes: Callable[[Arrays, Arrays, Arrays], Arrays]
    back: Callable[[Arrays, Arrays], tuple[Any, Any, Arrays]]
    are_added: bool = True


def _parts(x: Any, count: int) -> list[Any]:
    """Equal parts of the last axis."""
    size = x.shape[-1] // count
    return [x[..., i * size : (i + 1) * size] for i in range(count)]


def _sigmoid(x: Any) -> Any:
    """By a hyperbolic tangent, in half the time; the absolute error, which alone matters in gates, is as small."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


# A plain one: h' = tanh(p + a), or relu


def _plain_step(activations: Arrays, before: Arrays) -> Arrays:
    return activations


def _tanh_slopes(activations: Arrays, before: Arrays, after: Arrays) -> Arrays:
    return (1 - after[0] * after[0],)


def _relu_slopes(activations: Arrays, before: Arrays, after: Arrays) -> Arrays:
    return (after[0] > 0,)


def _plain_back(slopes: Arrays, d: Arrays) -> tuple[Any, Any, Arrays]:
    through = d[0] * slopes[0]
    return through, through, (0.0,)


# Long short-term memory (Hochreiter & Schmidhuber 1997; Gers et al. 2000), gates in the order i, f, g, o:
# c' = f c + i g, h' = o tanh(c')


def _lstm_activations(projected: Any, recurrent: Any) -> Arrays:
    gates = projected + recurrent
    i, f, _, o = _parts(_sigmoid(gates), 4)
    return i, f, np.tanh(_parts(gates, 4)[2]), o


def _lstm_step(activations: Arrays, before: Arrays) -> Arrays:
    i, f, g, o = activations
    c = f * before[1] + i * g
    return o * np.tanh(c), c


def _lstm_slopes(activations: Arrays, before: Arrays, after: Arrays) -> Arrays:
    (i, f, g, o), tanh_c = activations, np.tanh(after[1])
    by_cells = (g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g))
    return (o * (1 - tanh_c * tanh_c), *by_cells, tanh_c * o * (1 - o), f)


def _lstm_back(slopes: Arrays, d: Arrays) -> tuple[Any, Any, Arrays]:
    of_c, of_i, of_f, of_g, of_o, f = slopes
    dc = d[1] + d[0] * of_c
    through = np.concatenate([dc * of_i, dc * of_f, dc * of_g, d[0] * of_o], axis=-1)
    return through, through, (0.0, dc * f)


# Gated recurrent unit (Cho et al. 2014; with the reset after the product, as cuDNN has it), gates in the order r, z, n:
# n = tanh(p_n + r a_n), h' = (1 - z) n + z h


def _gru_activations(projected: object, recurrent: object) -> Arrays:
    (p_r, p_z, p_n), (a_r, a_z, a_n) = _parts(projected, 3), _parts(recurrent, 3)
    r, z = _sigmoid(p_r + a_r), _sigmoid(p_z + a_z)
    return r, z, np.tanh(p_n + r * a_n), a_n


def _gru_step(activations: Arrays, before: Arrays) -> Arrays:
    _, z, n, _ = activations
    return ((1 - z) * n + z * before[0],)


def _gru_slopes(activations: Arrays, before: Arrays, after: Arrays) -> Arrays:
    r, z, n, a_n = activations
    return (1 - z) * (1 - n * n), (before[0] - n) * z * (1 - z), a_n * r * (1 - r), r, z


def _gru_back(slopes: Arrays, d: Arrays) -> tuple[Any, Any, Arrays]:
    of_n, of_z, of_r, r, z = slopes
    through_n, through_z = d[0] * of_n, d[0] * of_z
    through_r = through_n * of_r
    of_projected = np.concatenate([through_r, through_z, through_n], axis=-1)
    return of_projected, np.concatenate([through_r, through_z, through_n * r], axis=-1), (d[0] * z,)


_KINDS = {
    "rnn_tanh": _Kind(1, 1, lambda p, a: (np.tanh(p + a),), _plain_step, _tanh_slopes, _plain_back),
    "rnn_relu": _Kind(1, 1, lambda p, a: (relu(p + a),), _plain_step, _relu_slopes, _plain_back),
    "lstm": _Kind(4, 2, _lstm_activations, _lstm_step, _lstm_slopes, _lstm_back),
    "gru": _Kind(3, 1, _gru_activations, _gru_step, _gru_slopes, _gru_back, are_added=False),
}


# All steps


def _only_some(mask: object) -> bool:
    """Whether there may be steps that some sequences leave out."""
    return type(mask) is not np.ndarray or not mask.all()


def _forward(kind: _Kind, projected: Any, weight: Any, bias: Any, mask: Any, states: Arrays) -> Any:
    """The states after each step, of shape (states, steps, examples, features); left out, they stay as they are."""
    found: list[list[Any]] = [[] for _ in states]
    only_some = _only_some(mask)
    for t in range(projected.shape[0]):
        after = kind.step(kind.activations(projected[t], states[0] @ weight + bias), states)
        if only_some:
            after = [np.where(mask[t, :, None], new, old) for new, old in zip(after, states)]
        states = after
        for each, state in zip(found, states):
            each.append(state)
    steps = [state for each in found for state in each]
    return np.stack(steps).reshape(len(states), projected.shape[0], *steps[0].shape)


def _before(after: Any, first: Any) -> Any:
    """A state before each step."""
    return np.concatenate([first[None], after[:-1]])


def _backward(kind: _Kind, g: Any, out: Any, projected: Any, weight: Any, bias: Any, mask: Any, states: Arrays) -> Any:
    """The gradients of ``projected``, of ``output @ weight + bias`` and of the first states, one after the other.

    The second ones are left out where they are the first.
    """
    before = [_before(out[k], state) for k, state in enumerate(states)]
    recurrent = before[0].reshape(-1, weight.shape[0]) @ weight + bias
    activations = kind.activations(projected, recurrent.reshape(projected.shape))
    slopes = kind.slopes(activations, before, [out[k] for k in range(kind.states)])
    transposed, only_some = weight.swapaxes(0, 1), _only_some(mask)
    d: list[Any] = [0.0] * kind.states
    kept: list[Any] = [0.0] * kind.states
    through: list[tuple[Any, Any]] = []
    for t in range(projected.shape[0] - 1, -1, -1):
        d = [g[k, t] + d[k] for k in range(kind.states)]
        if only_some:
            inside = mask[t, :, None]
            kept, d = [np.where(inside, 0, x) for x in d], [np.where(inside, x, 0) for x in d]
        of_projected, of_recurrent, direct = kind.back([x[t] for x in slopes], d)
        through.append((of_projected, of_recurrent))
        d = [direct[0] + of_recurrent @ transposed, *direct[1:]]
        d = [x + y for x, y in zip(d, kept)] if only_some else d
    found = [both[i] for i in range(1 if kind.are_added else 2) for both in reversed(through)]
    return np.concatenate([x.reshape(-1) for x in (*found, *d)])


def _declared(name: str, kind: _Kind) -> Op:
    def forward(*operands: Any) -> Any:
        projected, weight, bias, mask, *states = operands
        return _forward(kind, projected, weight, bias, mask, states)

    def backward(*operands: Any) -> Any:
        g, out, projected, weight, bias, mask, *states = operands
        return _backward(kind, g, out, projected, weight, bias, mask, states)

    def rule(g: AnyArray, out: AnyArray, *operands: Any) -> list[Any]:
        projected, weight, _, _, *states = operands
        is_recorded = any(isinstance(x, Tensor) for x in (g, out, *operands))
        flat = (backward if is_recorded else gradient)(g, out, *operands)
        parts, start = [], 0
        for like in (*[projected] * (1 if kind.are_added else 2), *states):
            parts.append(flat[start : start + like.size].reshape(like.shape))
            start += like.size
        of_projected, of_recurrent, *of_states = [parts[0], *parts] if kind.are_added else parts
        before = _before(out[0], states[0]).reshape(-1, weight.shape[0])
        of_weight = before.swapaxes(0, 1) @ of_recurrent.reshape(-1, weight.shape[1])
        return [of_projected, of_weight, of_recurrent.sum(axis=(0, 1)), None, *of_states]

    def sample(draw: samples.Draw) -> samples.Operands:
        steps, count, features = samples.choice(draw, [(2, 1, 1), (2, 2, 1), (1, 1, 2)])
        width = kind.gates * features
        away = 1.0 if name == "rnn_relu" else 0.0  # from the kink
        projected = samples.reals(draw, (steps, count, width), -1, 1)
        weight, bias = samples.reals(draw, (features, width), -0.3, 0.3), samples.reals(draw, (width,), -0.1, 0.1)
        states = [samples.reals(draw, (count, features), -0.5, 0.5) for _ in range(kind.states)]
        mask = np.array([[draw.integer(0, 3) < 3 for _ in range(count)] for _ in range(steps)])
        return (projected + np.sign(projected) * away, weight, bias, mask, *states), {}

    def sample_of_gradient(draw: samples.Draw) -> samples.Operands:
        operands, _ = sample(draw)
        out = forward(*operands)
        return (samples.reals(draw, out.shape), out, *operands), {}

    expects = "projected (steps, examples, gates * features), weight, bias, mask (steps, examples), first states"
    gradient = declare(
        f"{name}_gradient", backward, None, sample=sample_of_gradient, expects=f"g, out, {expects}", opaque=True
    )
    return declare(name, forward, rule, sample=sample, expects=expects, opaque=True)


RECURRENT = {name: _declared(name, kind) for name, kind in _KINDS.items()}
"""By name: ``op(projected, weight, bias, mask, *states)`` of shape (states, steps, examples, features)."""
