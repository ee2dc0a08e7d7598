"""Recurrent layers and cells: RNN, LSTM and GRU."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..core import Tensor
from ..distributed.share import examples_along
from ..ops.linalg import affine
from ..ops.recurrent import RECURRENT
from .initialisers import Initialiser, generator, parameter
from .layers import Dropout
from .module import Module
from .weighted import check_sizes, in_dtype

NONLINEARITIES = ("tanh", "relu")


class Cell(Module):
    """One step of a recurrent network, the same for all kinds."""

    kind: str
    gates: int
    states: int
    forget_gate: int | None = None
    bias_ih: Tensor | None
    bias_hh: Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rng: np.random.Generator | int | None = None,
        *,
        bias: bool = True,
        weight_init: Initialiser = "xavier_uniform",
        recurrent_init: Initialiser = "orthogonal",
        bias_init: Initialiser | None = None,
        dtype: Any = np.float32,
    ) -> None:
        name, rng = type(self).__name__, generator(rng)
        check_sizes(name, input_size=input_size, hidden_size=hidden_size)

        def of_all_gates(argument: str, initialiser: Initialiser, *shape: int) -> Tensor:
            fans = (shape[0], hidden_size)
            parts = [parameter(name, argument, initialiser, shape, rng, dtype, fans).data for _ in range(self.gates)]
            return Tensor(np.concatenate(parts, axis=-1), requires_grad=True)

        self.weight_ih = of_all_gates("weight_init", weight_init, input_size, hidden_size)
        self.weight_hh = of_all_gates("recurrent_init", recurrent_init, hidden_size, hidden_size)
        self.bias_ih = of_all_gates("bias_init", bias_init or "zeros", hidden_size) if bias else None
        self.bias_hh = of_all_gates("bias_init", bias_init or "zeros", hidden_size) if bias else None
        if self.bias_ih is not None and bias_init is None and self.forget_gate is not None:
            gate = np.arange(self.gates * hidden_size) // hidden_size
            self.bias_ih.data = (gate == self.forget_gate).astype(dtype)

    @property
    def input_size(self) -> int:
        """Length of the last axis of the input."""
        return self.weight_ih.shape[0]

    @property
    def hidden_size(self) -> int:
        """Length of the last axis of the states."""
        return self.weight_hh.shape[0]

    def _run(self, sequence: Any, mask: Any, states: tuple[Any, ...]) -> Tensor:
        """The states after each step of a sequence (steps, examples, input_size); (states, steps, examples, hidden)."""
        steps, examples, features = sequence.shape
        rows = sequence.reshape(steps * examples, features)
        projected = rows @ self.weight_ih if self.bias_ih is None else affine(rows, self.weight_ih, self.bias_ih)
        bias = np.zeros(self.weight_hh.shape[1], self.weight_hh.dtype) if self.bias_hh is None else self.bias_hh
        projected = projected.reshape(steps, examples, self.weight_hh.shape[1])
        result: Tensor = RECURRENT[self.kind](projected, self.weight_hh, bias, mask, *states)
        return result

    def forward(self, x: Any, state: Any = None) -> Any:
        """The state after ``x`` of shape (examples, input_size), from the one before, by default zeros."""
        x = in_dtype(self, x, self.weight_ih.dtype)
        if x.ndim != 2 or x.shape[1] != self.input_size:
            raise ValueError(f"{self!r}: the input must have shape (examples, {self.input_size}), got {x.shape}")
        states = _states(self, self, state, (x.shape[0], self.hidden_size))
        found = self._run(x.reshape(1, *x.shape), np.ones((1, x.shape[0]), bool), states)
        return found[0, 0] if self.states == 1 else tuple(found[k, 0] for k in range(self.states))

    def __repr__(self) -> str:
        bias = ", bias=False" * (self.bias_ih is None)
        return f"{type(self).__name__}({self.input_size} -> {self.hidden_size}{bias})"


def _states(layer: Module, cell: Cell, state: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The states that a layer was given, or zeros for None, in a tuple."""
    dtype = cell.weight_hh.dtype
    if state is None:
        return (np.zeros(shape, dtype),) * cell.states
    given = state if cell.states > 1 else (state,)
    came: Any = [np.shape(x) for x in given] if isinstance(given, (tuple, list)) else type(given).__name__
    if came != [shape] * cell.states:
        kind = "a pair (h, c) of arrays" if cell.states > 1 else "an array"
        raise ValueError(f"{layer!r}: the state must be {kind} of shape {shape}, got {came}")
    return tuple(in_dtype(layer, x, dtype) for x in given)


class RNNCell(Cell):
    """``h' = tanh(x @ weight_ih + bias_ih + h @ weight_hh + bias_hh)``, a step of :class:`RNN`.

    Parameters
    ----------
    input_size, hidden_size
        Lengths of the last axis of the input and of the state.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    nonlinearity
        ``"tanh"`` or ``"relu"``.
    bias
        Whether there are ``bias_ih`` and ``bias_hh``.
    weight_init, recurrent_init, bias_init
        Initial values of ``weight_ih``, ``weight_hh`` and the biases, as for :class:`Dense`; None: zeros.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> cell = tg.nn.RNNCell(3, 4, rng=0)
    >>> h = cell(np.ones((2, 3)))
    >>> cell(np.zeros((2, 3)), h).shape
    (2, 4)
    """

    gates, states = 1, 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        rng: np.random.Generator | int | None = None,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        weight_init: Initialiser = "xavier_uniform",
        recurrent_init: Initialiser = "orthogonal",
        bias_init: Initialiser | None = None,
        dtype: Any = np.float32,
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(f"{type(self).__name__}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity, self.kind = nonlinearity, f"rnn_{nonlinearity}"
        inits: dict[str, Any] = {"weight_init": weight_init, "recurrent_init": recurrent_init, "bias_init": bias_init}
        super().__init__(input_size, hidden_size, rng, bias=bias, dtype=dtype, **inits)


class LSTMCell(Cell):
    """A step of an :class:`LSTM`: of input, output h and cells c the next output and cells.

    ``i, f, g, o`` are the parts of ``x @ weight_ih + bias_ih + h @ weight_hh + bias_hh``, along the last axis, and
    ``c' = sigmoid(f) c + sigmoid(i) tanh(g)``, ``h' = sigmoid(o) tanh(c')``.

    Parameters
    ----------
    input_size, hidden_size
        Lengths of the last axis of the input and of the state.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    bias
        Whether there are ``bias_ih`` and ``bias_hh``.
    weight_init, recurrent_init, bias_init
        Initial values of ``weight_ih``, ``weight_hh`` and the biases, gate by gate, as for :class:`Dense`; None: zeros,
        and 1 for ``f`` in ``bias_ih``, so that it remembers at first (Jozefowicz et al. 2015).
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> cell = tg.nn.LSTMCell(3, 4, rng=0)
    >>> h, c = cell(np.ones((2, 3)))
    >>> h, c = cell(np.zeros((2, 3)), (h, c))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    kind, gates, states = "lstm", 4, 2
    forget_gate = 1


class GRUCell(Cell):
    """A step of a :class:`GRU`.

    ``r, z, n`` are the parts, along the last axis, of ``x @ weight_ih + bias_ih`` (p) and ``h @ weight_hh + bias_hh``
    (a): ``r = sigmoid(p_r + a_r)``, ``z = sigmoid(p_z + a_z)``, ``n = tanh(p_n + r a_n)``, ``h' = (1 - z) n + z h``.

    Parameters
    ----------
    input_size, hidden_size
        Lengths of the last axis of the input and of the state.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    bias
        Whether there are ``bias_ih`` and ``bias_hh``.
    weight_init, recurrent_init, bias_init
        Initial values of ``weight_ih``, ``weight_hh`` and the biases, gate by gate, as for :class:`Dense`; None: zeros.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.GRUCell(3, 4, rng=0)(np.ones((2, 3))).shape
    (2, 4)
    """

    kind, gates, states = "gru", 3, 1


class Recurrent(Module):
    """A recurrent network over sequences, the same for all kinds."""

    _new_cell: Callable[..., Cell]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        rng: np.random.Generator | int | None = None,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        dropout_rng: np.random.Generator | int | None = None,
        return_sequences: bool = True,
        bias: bool = True,
        weight_init: Initialiser = "xavier_uniform",
        recurrent_init: Initialiser = "orthogonal",
        bias_init: Initialiser | None = None,
        dtype: Any = np.float32,
    ) -> None:
        name, rng = type(self).__name__, generator(rng)
        check_sizes(name, num_layers=num_layers)
        if dropout and num_layers == 1:
            raise ValueError(
                f"{name}: dropout acts between layers, and there is one; add a Dropout layer after it, or more layers"
            )
        inits: dict[str, Any] = {"weight_init": weight_init, "recurrent_init": recurrent_init, "bias_init": bias_init}
        directions = 1 + bool(bidirectional)
        sizes = [input_size, *[hidden_size * directions] * (num_layers - 1)]
        self.cells: list[Cell] = []
        self.reverse_cells: list[Cell] = []
        for size in sizes:
            for cells in (self.cells, self.reverse_cells)[:directions]:
                cells.append(self._new_cell(size, hidden_size, rng, bias=bias, dtype=dtype, **inits))
        self.dropout = Dropout(dropout, rng if dropout_rng is None else dropout_rng) if dropout else None
        self.return_sequences = return_sequences

    def forward(self, x: Any, state: Any = None, *, mask: Any = None, return_state: bool = False) -> Any:
        """The outputs of the last layer, and with ``return_state`` also the last states of all.

        Parameters
        ----------
        x
            Of shape (examples, steps, input_size).
        state
            Where to start, of shape (layers * directions, examples, hidden_size), the layers in order and of each the
            backward direction last; of an LSTM a pair of such. None: zeros.
        mask
            Booleans of shape (examples, steps), False for steps that are left out, such as padding: states stay
            as they are, and the output is 0. From lengths: ``np.arange(steps) < lengths[:, None]``. None: all count.
        return_state
            Whether to return the last states as well, in the form of ``state``.
        """
        first = self.cells[0]
        x = in_dtype(self, x, first.weight_ih.dtype)
        if x.ndim != 3 or x.shape[2] != first.input_size or x.shape[1] < 1:
            raise ValueError(
                f"{self!r}: the input must have shape (examples, steps, {first.input_size}), at least one step, got "
                f"{x.shape}"
            )
        examples, steps = x.shape[:2]
        count = len(self.cells) + len(self.reverse_cells)
        given = _states(self, first, state, (count, examples, first.hidden_size))
        initial = [tuple(states[i] for states in given) for i in range(count)]
        inside = self._inside(mask, examples, steps)
        sequence = x.swapaxes(0, 1)
        if mask is not None:
            sequence = np.where(inside[:, :, None], sequence, 0)  # whatever is there, such as NaN
        last: list[Any] = []  # the states of each network at the end, in an array
        for layer in range(len(self.cells)):
            if layer and self.dropout is not None:
                with examples_along(1):
                    sequence = self.dropout(sequence)
            found = self._layer(layer, sequence, inside, initial)
            last += [states[:, -1] for states in found]
            outputs = [found[0][0], *(states[0, ::-1] for states in found[1:])]
            sequence = outputs[0] if len(outputs) == 1 else np.concatenate(outputs, axis=-1)
            if mask is not None:
                sequence = np.where(inside[:, :, None], sequence, 0)
        if self.return_sequences:
            output = sequence.swapaxes(0, 1)
        else:
            ends = [states[0] for states in last[-len(found) :]]
            output = ends[0] if len(ends) == 1 else np.concatenate(ends, axis=-1)
        if not return_state:
            return output
        stacked = [np.stack([states[k] for states in last]) for k in range(first.states)]
        return output, stacked[0] if first.states == 1 else tuple(stacked)

    def _layer(self, layer: int, sequence: Any, inside: Any, initial: list[tuple[Any, ...]]) -> list[Tensor]:
        """The states after each step, for each direction in its order, of a sequence (steps, examples, features)."""
        if not self.reverse_cells:
            return [self.cells[layer]._run(sequence, inside, initial[layer])]
        return [
            self.cells[layer]._run(sequence, inside, initial[2 * layer]),
            self.reverse_cells[layer]._run(sequence[::-1], inside[::-1], initial[2 * layer + 1]),
        ]

    def _inside(self, mask: Any, examples: int, steps: int) -> Any:
        """Which steps of which examples count, of shape (steps, examples)."""
        if mask is None:
            return np.ones((steps, examples), bool)
        mask = mask if hasattr(mask, "__array_function__") else np.asarray(mask)
        if mask.dtype != bool or mask.shape != (examples, steps):
            raise ValueError(
                f"{self!r}: mask must be boolean and of shape {(examples, steps)}, got {mask.dtype} and "
                f"{mask.shape}; from lengths it is np.arange(steps) < lengths[:, None]"
            )
        return mask.swapaxes(0, 1)

    def __repr__(self) -> str:
        first = self.cells[0]
        text = f"{first.input_size} -> {first.hidden_size}"
        text += f", num_layers={len(self.cells)}" * (len(self.cells) > 1) + ", bidirectional" * bool(self.reverse_cells)
        text += f", dropout={self.dropout.rate:g}" if self.dropout is not None else ""
        text += ", return_sequences=False" * (not self.return_sequences) + ", bias=False" * (first.bias_ih is None)
        return f"{type(self).__name__}({text})"


class RNN(Recurrent):
    """A plain recurrent network (Elman 1990) over sequences; see :class:`LSTM`, and :class:`RNNCell` for a step.

    It has one more parameter, ``nonlinearity``: ``"tanh"`` or ``"relu"``.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.RNN(3, 4, nonlinearity="relu")(np.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        rng: np.random.Generator | int | None = None,
        *,
        nonlinearity: str = "tanh",
        **settings: Any,
    ) -> None:
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, num_layers, rng, **settings)

    def _new_cell(self, *args: Any, **settings: Any) -> Cell:
        return RNNCell(*args, nonlinearity=self.nonlinearity, **settings)


class LSTM(Recurrent):
    """Long short-term memory over sequences of shape (examples, steps, input_size); see :class:`LSTMCell` for a step.

    The output has shape (examples, steps, hidden_size), twice as many features if it is bidirectional. With the same
    weights it is PyTorch's with ``batch_first=True``; the weights of layer i are ``cells[i].weight_ih`` and so on, and
    for the direction from the end ``reverse_cells[i]``, transposed as in :class:`Dense`.

    Parameters
    ----------
    input_size, hidden_size
        Lengths of the last axis of the input and of the output of one direction.
    num_layers
        Number of layers, each taking the outputs of the one before.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    bidirectional
        Whether each layer also runs from the last step to the first, whose output is concatenated.
    dropout
        Rate of dropout between layers in training.
    dropout_rng
        Generator that draws the masks; None: ``rng``.
    return_sequences
        Whether to return the outputs of all steps. If not, that of the last unmasked step, of shape (examples,
        hidden_size), to predict one label per sequence.
    bias, weight_init, recurrent_init, bias_init, dtype
        As for :class:`LSTMCell`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.LSTM(3, 4, num_layers=2, rng=0)
    >>> layer
    LSTM(3 -> 4, num_layers=2)
    >>> sequences, lengths = np.ones((2, 5, 3)), np.array([5, 2])
    >>> output, (h, c) = layer(sequences, mask=np.arange(5) < lengths[:, None], return_state=True)
    >>> output.shape, h.shape, c.shape
    ((2, 5, 4), (2, 2, 4), (2, 2, 4))
    >>> classifier = tg.nn.Sequential(tg.nn.LSTM(3, 4, rng=0, return_sequences=False), tg.nn.Dense(4, 10, rng=0))
    >>> classifier(sequences).shape
    (2, 10)
    """

    _new_cell = LSTMCell


class GRU(Recurrent):
    """A network of gated recurrent units over sequences; see :class:`LSTM`, and :class:`GRUCell` for a step.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.GRU(3, 4, bidirectional=True)(np.ones((2, 5, 3))).shape
    (2, 5, 8)
    """

    _new_cell = GRUCell
