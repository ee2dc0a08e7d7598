"""Recurrent layers: beside plain loops, beside PyTorch, compiled, trained."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import evaluate, fit

STEPS, EXAMPLES, FEATURES, HIDDEN = 5, 3, 2, 4
LENGTHS = np.array([5, 2, 3])
MASK = np.arange(STEPS) < LENGTHS[:, None]
KINDS = {
    "RNN": lambda *args, **settings: nn.RNN(*args, **settings),
    "RNN, relu": lambda *args, **settings: nn.RNN(*args, nonlinearity="relu", **settings),
    "LSTM": lambda *args, **settings: nn.LSTM(*args, **settings),
    "GRU": lambda *args, **settings: nn.GRU(*args, **settings),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def plain_step(kind, cell, x, states):
    """A step of one example, written as the textbooks have it."""
    p = x @ cell.weight_ih.data + (0 if cell.bias_ih is None else cell.bias_ih.data)
    a = states[0] @ cell.weight_hh.data + (0 if cell.bias_hh is None else cell.bias_hh.data)
    if kind == "LSTM":
        i, f, g, o = np.split(p + a, 4)
        c = sigmoid(f) * states[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    if kind == "GRU":
        (p_r, p_z, p_n), (a_r, a_z, a_n) = np.split(p, 3), np.split(a, 3)
        z = sigmoid(p_z + a_z)
        return [(1 - z) * np.tanh(p_n + sigmoid(p_r + a_r) * a_n) + z * states[0]]
    return [np.maximum(p + a, 0) if kind == "RNN, relu" else np.tanh(p + a)]


def plain(kind, layer, x, states, mask):
    """Outputs and last states, by loops over layers, directions, examples and steps."""
    last = [state.copy() for state in states]
    position = 0
    for forth, back in zip(layer.cells, layer.reverse_cells or [None] * len(layer.cells)):
        sides = []
        for cell, order in ((forth, range(x.shape[1])), (back, reversed(range(x.shape[1])))):
            if cell is None:
                continue
            side, order = np.zeros((*x.shape[:2], cell.hidden_size)), list(order)
            for n in range(len(x)):
                now = [state[position, n] for state in states]
                for t in order:
                    if mask[n, t]:
                        now = plain_step(kind, cell, x[n, t], now)
                        side[n, t] = now[0]
                for state, value in zip(last, now):
                    state[position, n] = value
            sides.append(side)
            position += 1
        x = np.concatenate(sides, axis=-1)
    return x, last


def make(kind, seed=0, num_layers=1, **settings):
    """A layer in float64 whose biases are not 0, sequences, and first states."""
    rng = np.random.default_rng(seed)
    settings.setdefault("bias_init", lambda shape, rng: rng.normal(0, 0.3, shape))
    layer = KINDS[kind](FEATURES, HIDDEN, num_layers, rng, dtype=np.float64, **settings)
    count = len(layer.cells) + len(layer.reverse_cells)
    states = [rng.standard_normal((count, EXAMPLES, HIDDEN)) for _ in range(layer.cells[0].states)]
    return layer, rng.standard_normal((EXAMPLES, STEPS, FEATURES)), states


def as_given(states):
    return states[0] if len(states) == 1 else tuple(states)


def as_list(state):
    return list(state) if isinstance(state, tuple) else [state]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_sequences_are_those_of_plain_loops(kind, num_layers, bidirectional):
    layer, x, states = make(kind, num_layers=num_layers, bidirectional=bidirectional)
    every = np.ones_like(MASK)
    for mask, given in ((None, None), (None, states), (MASK, None), (MASK, states)):
        output, last = layer(x, None if given is None else as_given(given), mask=mask, return_state=True)
        zeros = [np.zeros_like(state) for state in states]
        expected, ends = plain(kind, layer, x, given or zeros, every if mask is None else mask)
        np.testing.assert_allclose(output.data, expected, rtol=1e-12, atol=1e-14)
        for one, other in zip(as_list(last), ends):
            np.testing.assert_allclose(one.data, other, rtol=1e-12, atol=1e-14)
        layer.return_sequences = False
        found = layer(x, None if given is None else as_given(given), mask=mask)
        directions = 1 + bidirectional
        np.testing.assert_allclose(found.data, np.concatenate(list(ends[0][-directions:]), axis=-1), rtol=1e-12)
        layer.return_sequences = True


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_the_steps_of_its_cell(kind):
    layer, x, states = make(kind, bias=False)
    state = as_given([state[0] for state in states])
    output, last = layer(x, as_given(states), return_state=True)
    for t in range(STEPS):
        state = layer.cells[0](x[:, t], state)
        np.testing.assert_allclose(output[:, t].data, as_list(state)[0].data, rtol=1e-12)
    for one, other in zip(as_list(last), as_list(state)):
        np.testing.assert_allclose(one.data[0], other.data, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_all_that_goes_in(kind):
    layer, x, states = make(
        kind, num_layers=2, bidirectional=True, bias_init=lambda shape, rng: rng.normal(1, 0.1, shape)
    )
    names = [name for name, _ in layer.named_parameters()]
    seed = np.random.default_rng(1).standard_normal((EXAMPLES, STEPS, 2 * HIDDEN))

    def loss(direction):
        """Along one direction of everything at once."""
        moved = {
            name: tensor.data + direction * 0.1 * (i + 1) for i, (name, tensor) in enumerate(layer.named_tensors())
        }
        twin = KINDS[kind](FEATURES, HIDDEN, 2, 0, dtype=np.float64, bidirectional=True)
        for name, _ in twin.named_tensors():
            owner, _, attribute = name.rpartition(".")
            cells, index = owner.split(".")
            setattr(getattr(twin, cells)[int(index)], attribute, moved[name])
        given = as_given([state + direction for state in states])
        output, last = twin(x + direction, given, mask=MASK, return_state=True)
        return (output * seed).sum() + sum((state * state).sum() for state in as_list(last))

    assert len(names) == 16
    tg.gradcheck(loss, [np.float64(0.01)])


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_agreement_with_pytorch(kind, bidirectional):
    torch = pytest.importorskip("torch")
    layer, x, states = make(kind, num_layers=2, bidirectional=bidirectional)
    name, settings = kind.partition(",")[0], {"nonlinearity": "relu"} if "relu" in kind else {}
    other = getattr(torch.nn, name)(
        FEATURES, HIDDEN, 2, batch_first=True, bidirectional=bidirectional, dtype=torch.float64, **settings
    )
    pairs = []
    for suffix, cells in (("", layer.cells), ("_reverse", layer.reverse_cells)):
        for i, cell in enumerate(cells):
            pairs += [(tensor, getattr(other, f"{own}_l{i}{suffix}")) for own, tensor in cell.named_parameters()]
    assert len(pairs) == len(list(other.parameters()))
    for tensor, parameter in pairs:
        parameter.data = torch.tensor(tensor.data.T.copy())
    ours, theirs = tg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    initial = as_given([torch.tensor(state) for state in states])
    seed = np.random.default_rng(2).standard_normal((EXAMPLES, STEPS, HIDDEN * (1 + bidirectional)))
    for mask in (None, MASK):
        output, last = layer(ours, as_given(states), mask=mask, return_state=True)
        if mask is None:
            expected, ends = other(theirs, initial)
        else:
            rnn = torch.nn.utils.rnn
            packed = rnn.pack_padded_sequence(theirs, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
            expected, ends = other(packed, initial)
            expected, _ = rnn.pad_packed_sequence(expected, batch_first=True)
        close(output.data, expected)
        for one, end in zip(as_list(last), as_list(ends)):
            close(one.data, end)
        for tensor in (theirs, *other.parameters()):
            tensor.grad = None
        loss = (output * seed).sum() + sum((state * state).sum() for state in as_list(last))
        ((expected * torch.tensor(seed)).sum() + sum((end * end).sum() for end in as_list(ends))).backward()
        found = tg.gradients(loss, [ours, *(tensor for tensor, _ in pairs)])
        for one, parameter in zip(found, [theirs, *(parameter for _, parameter in pairs)]):
            close(one.data.T if parameter is not theirs else one.data, parameter.grad)


def close(found, expected):
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_masked_steps_count_for_nothing(kind):
    """Neither their values nor gradients, wherever they are."""
    layer, x, _ = make(kind, bidirectional=True)
    gaps = np.array([[1, 1, 0, 1, 1], [0, 0, 1, 1, 1], [1, 0, 1, 0, 0]], bool)
    found = layer(np.where(gaps[:, :, None], x, 0), mask=gaps)
    assert not found.data[~gaps].any()
    expected = tg.gradients(found.sum(), layer)
    for filling in (np.inf, np.nan):
        spoiled = tg.Tensor(np.where(gaps[:, :, None], x, filling), requires_grad=True)
        output = layer(spoiled, mask=gaps)
        assert np.array_equal(output.data, found.data)
        of_input, gradients = tg.gradients(output.sum(), (spoiled, layer))
        assert not of_input.data[~gaps].any() and of_input.data[gaps].any()
        assert all(np.array_equal(gradient.data, expected[name].data) for name, gradient in gradients.items())
    short = layer(x[:1, [0, 1, 3, 4]])
    np.testing.assert_allclose(found.data[:1, gaps[0]], short.data, rtol=1e-12)


def waves(count, steps=12, seed=0):
    """Pieces of sine curves, and what comes next."""
    rng = np.random.default_rng(seed)
    times = rng.uniform(0, 6, (count, 1)) + 0.5 * np.arange(steps + 1)
    values = np.sin(times).astype(np.float32)
    return values[:, :-1, None], values[:, -1:]


@pytest.mark.slow
@pytest.mark.parametrize("make", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_compiled_step_is_the_same(make):
    def run(compiled):
        rng = np.random.default_rng(0)
        model = nn.Sequential(
            make(1, 8, 2, rng, bidirectional=True, dropout=0.2, return_sequences=False), nn.Dense(16, 1, rng)
        )
        adam = tg.optim.Adam(model.parameters(), lr=1e-2)

        def step(x, y, mask):
            loss = nn.mse(model[1](model[0](x, mask=mask)), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss.detach()

        step, losses = tg.compile(step) if compiled else step, []
        x, y = waves(20)
        for i in range(5):
            mask = np.arange(12) < np.random.default_rng(i).integers(1, 13, 20)[:, None]
            losses.append(step(x, y, mask).item())
        return losses, model.state_dict()

    (losses, state), (compiled, other) = run(False), run(True)
    assert losses == pytest.approx(compiled, rel=1e-6)  # means may be added up in another order
    assert all(np.array_equal(array, other[name]) for name, array in state.items())


@pytest.mark.slow
@pytest.mark.parametrize("make", [nn.RNN, nn.LSTM, nn.GRU])
def test_sine_curves_are_continued(make):
    rng = np.random.default_rng(0)
    model = nn.Sequential(make(1, 16, 1, rng, return_sequences=False), nn.Dense(16, 1, rng))
    adam = tg.optim.Adam(model.parameters(), lr=2e-2)
    fit(model, waves(200), waves(50, seed=1), adam, loss="mse", epochs=12, batch_size=20, rng=rng, quiet=True)
    assert evaluate(model, waves(50, seed=1), loss="mse").loss < 0.01


@pytest.mark.slow
def test_a_network_with_dropout_in_its_layers_resumes_bit_for_bit(tmp_path):
    def run(epochs, folder=None, resume=False):
        rng = np.random.default_rng(0)
        recurrent = nn.GRU(1, 4, 2, rng, dropout=0.5, dropout_rng=1)
        attention = nn.MultiHeadAttention(4, 2, rng, dropout=0.5, dropout_rng=2)
        model = nn.Sequential(recurrent, nn.Residual(attention), lambda x: x.mean(axis=1), nn.Dense(4, 1, rng))
        adam, settings = tg.optim.Adam(model.parameters()), {"folder": folder, "resume": resume, "quiet": True}
        fit(model, waves(30), waves(10, seed=1), adam, loss="mse", epochs=epochs, batch_size=10, rng=3, **settings)
        return model.state_dict()

    run(1, tmp_path)
    resumed, straight = run(3, tmp_path, resume=True), run(3)
    assert all(np.array_equal(array, straight[name]) for name, array in resumed.items())


def test_initial_values():
    layer = nn.LSTM(3, 4, 2, 5)
    again = nn.LSTM(3, 4, 2, np.random.default_rng(5))
    assert all(np.array_equal(array, again.state_dict()[name]) for name, array in layer.state_dict().items())
    assert layer.cells[0].bias_ih.data.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    for recurrent in np.split(layer.cells[1].weight_hh.data, 4, axis=1):
        np.testing.assert_allclose(recurrent.T @ recurrent, np.eye(4), atol=1e-6)
    other = nn.GRU(
        3, 4, rng=0, weight_init="ones", recurrent_init=lambda shape, rng: np.full(shape, 2), bias_init="ones"
    )
    assert [set(array.reshape(-1).tolist()) for array in other.state_dict().values()] == [{1}, {2}, {1}, {1}]
    assert [name for name, _ in nn.GRU(3, 4, bias=False).named_parameters()] == [
        "cells.0.weight_ih",
        "cells.0.weight_hh",
    ]


@pytest.mark.parametrize(
    "f, message",
    [
        (lambda: nn.LSTM(3, 4, np.random.default_rng(0)), "LSTM: num_layers must be a positive integer, got Generator"),
        (
            lambda: nn.LSTM(3, 4, dropout=0.5),
            "LSTM: dropout acts between layers, and there is one; add a Dropout layer",
        ),
        (lambda: nn.LSTM(3, 0), "LSTMCell: hidden_size must be a positive integer, got 0"),
        (lambda: nn.RNN(3, 4, nonlinearity="sigmoid"), "RNNCell: nonlinearity must be 'tanh' or 'relu', got 'sigmoid'"),
        (lambda: nn.GRU(3, 4)(np.ones((5, 3))), r"GRU\(3 -> 4\): the input must have shape \(examples, steps, 3\)"),
        (lambda: nn.GRU(3, 4)(np.ones((5, 0, 3))), r"at least one step, got \(5, 0, 3\)"),
        (lambda: nn.GRUCell(3, 4)(np.ones((5, 2, 3))), r"GRUCell\(3 -> 4\): the input must have shape \(examples, 3\)"),
        (
            lambda: nn.LSTM(3, 4)(np.ones((5, 2, 3)), np.zeros((1, 5, 4))),
            r"the state must be a pair \(h, c\) of arrays of shape \(1, 5, 4\), got ndarray",
        ),
        (
            lambda: nn.GRU(3, 4, 2)(np.ones((5, 2, 3)), np.zeros((1, 5, 4))),
            r"num_layers=2\): the state must be an array of shape \(2, 5, 4\), got \[\(1, 5, 4\)\]",
        ),
        (
            lambda: nn.GRU(3, 4)(np.ones((5, 2, 3)), mask=[2, 1, 2, 1, 1]),
            r"mask must be boolean and of shape \(5, 2\), got int64 and \(5,\); from lengths it is np\.arange",
        ),
    ],
)
def test_recurrent_layers_refuse(f, message):
    with pytest.raises(ValueError, match=message):
        f()


def test_settings_that_do_not_exist_and_classes_of_ones_own():
    for layer in (nn.LSTM, nn.GRU, nn.RNN):
        with pytest.raises(TypeError, match="unexpected keyword argument 'batch_first'"):
            layer(3, 4, batch_first=True)

    class Remembering(nn.LSTMCell):
        pass

    x = np.ones((2, 3))
    assert all(np.array_equal(a.data, b.data) for a, b in zip(Remembering(3, 4, 0)(x), nn.LSTMCell(3, 4, 0)(x)))


def test_reprs_of_recurrent_layers():
    assert (
        repr(nn.LSTM(3, 4, 2, bidirectional=True, dropout=0.5))
        == "LSTM(3 -> 4, num_layers=2, bidirectional, dropout=0.5)"
    )
    assert repr(nn.GRU(3, 4, return_sequences=False, bias=False)) == "GRU(3 -> 4, return_sequences=False, bias=False)"
    assert repr(nn.RNNCell(3, 4)) == "RNNCell(3 -> 4)"
