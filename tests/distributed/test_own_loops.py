"""Loops of one's own over ranks: one line, and the steps are those of one process."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.distributed import RankError, average_gradients, current, global_batch, run_ranks, synchronise
from tests.support import noisy_cnn


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch):
    """Programs done by NumPy: to compile kernels for these small shapes takes longer than all else."""
    monkeypatch.setenv("TENSORGRAD_FAST", "0")


DRAWN = np.random.default_rng(0)
IMAGES, LABELS = DRAWN.standard_normal((37, 2, 6, 6)), DRAWN.integers(0, 3, 37)


def train(compiled=False, steps=5, dtype=np.float64, make=tg.optim.SGD, counts=(12, 7)):
    model = noisy_cnn(dtype, seed=current().rank)  # the weights of rank 0 count
    optimiser = make(model.parameters(), lr=0.05)
    synchronise(optimiser)

    def step(images, labels):
        optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()

    step = tg.compile(step) if compiled else step
    order = np.random.default_rng(1)
    for i in range(steps):
        chosen = order.permutation(len(IMAGES))[: counts[i % len(counts)]]
        with global_batch(len(chosen)) as mine:
            step(IMAGES[chosen[mine]].astype(dtype), LABELS[chosen[mine]])
    state = {name: tensor.data.copy() for name, tensor in model.named_tensors()}
    return state, {name: rng.bit_generator.state for name, rng in model.named_generators()}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [2, 4])
def test_steps_are_those_of_one_process(size, compiled):
    expected, generators = train()
    for state, drawn in run_ranks(size, train, compiled):
        for name, values in expected.items():
            np.testing.assert_allclose(state[name], values, rtol=0, atol=1e-12, err_msg=name)
        assert drawn == generators


@pytest.mark.parametrize("compiled", [False, True])
def test_all_ranks_have_the_same_parameters_to_the_last_bit(compiled):
    first, *others = [state for state, _ in run_ranks(3, train, compiled, 4, np.float32, is_deterministic=True)]
    again, _ = run_ranks(3, train, compiled, 4, np.float32, is_deterministic=True)[0]
    for state in (*others, again):
        assert all(np.array_equal(state[name], values) for name, values in first.items())


def test_compiled_steps_of_shares_that_change_send_the_same_messages():
    """A share of the same shape in a batch of another size: programs are made on one rank and not on the other."""
    counts = (13, 12, 14, 12, 13)
    expected, _ = train(steps=10, counts=counts)
    for state, _ in run_ranks(2, train, True, 10, np.float64, tg.optim.SGD, counts):
        for name, values in expected.items():
            np.testing.assert_allclose(state[name], values, rtol=0, atol=1e-12, err_msg=name)


def test_without_a_global_batch_gradients_are_averaged():
    def train(x):
        weight = tg.Tensor(np.full(2, 1.0 + current().rank), requires_grad=True)
        unused = tg.Tensor(np.ones(2), requires_grad=True)
        sgd = tg.optim.SGD([weight, unused], lr=1.0)
        synchronise(sgd)
        (weight * x[current().rank]).sum().backward()
        sgd.step()
        return weight.data.tolist(), unused.grad

    assert run_ranks(2, train, np.array([[1.0, 2.0], [3.0, 6.0]])) == [([-1.0, -3.0], None)] * 2


def test_gradients_are_averaged_before_they_are_clipped():
    def work():
        weight = tg.Tensor(np.zeros(2), requires_grad=True)
        sgd = tg.optim.SGD([weight], lr=1.0)
        synchronise(sgd)
        for _ in range(2):
            sgd.zero_grad()
            (weight * [[6.0, 0.0], [0.0, 8.0]][current().rank]).sum().backward()
            average_gradients(sgd)
            tg.optim.clip_gradients([weight], 2.5)  # from (3, 4)
            sgd.step()
        return weight.data.round(9).tolist()

    assert run_ranks(2, work) == [[-3.0, -4.0]] * 2


def test_a_step_compiled_as_pure_says_that_it_cannot_wait():
    def train():
        weight = tg.Tensor(np.ones(2), requires_grad=True)
        sgd = tg.optim.SGD([weight], lr=0.1)
        synchronise(sgd)

        @tg.compile(pure=True)
        def step():
            (weight * 2).sum().backward()
            sgd.step()

        step()

    with pytest.raises(RankError, match=r"SGD: .* pure=True .*; leave out"):
        run_ranks(2, train)


@pytest.mark.parametrize(
    "gradient", [[1.0, 2.0], 2.0, tg.Tensor([1.0, 2.0]), np.ones(1), np.array([1j, 2]), np.array([1, 2], object)]
)
def test_what_is_no_gradient_is_refused_as_in_one_process(gradient):
    def work(gradient):
        weight = tg.Tensor(np.zeros(2, np.float32), requires_grad=True)
        sgd = tg.optim.SGD([weight], lr=1.0)
        synchronise(sgd)
        weight.grad = gradient
        sgd.step()
        return weight.data.tolist()

    with pytest.raises((ValueError, TypeError)) as alone:
        work(gradient)
    with pytest.raises(RankError) as over_ranks:
        run_ranks(2, work, gradient)
    assert f"{alone.type.__name__}: {alone.value}" in str(over_ranks.value)
    if "set .grad to an array such as gradient.real.astype(float32)" in str(alone.value):
        assert run_ranks(2, work, np.array([1j, 2]).real.astype(np.float32)) == [[0.0, -2.0]] * 2


def test_a_batch_smaller_than_the_ranks_is_refused():
    def work():
        with global_batch(1):
            pass

    with pytest.raises(RankError, match="a batch of 1 examples cannot be shared by 2 ranks; take larger"):
        run_ranks(2, work)


def test_random_numbers_that_are_no_examples_are_refused():
    def draw(shape):
        with global_batch(6):
            return tg.dropout(tg.Tensor(np.ones(shape)), 0.5, np.random.default_rng(0)).numpy()

    with pytest.raises(RankError, match=r"first axis, got shape \(5, 3\) with 3 examples on this rank; bring"):
        run_ranks(2, draw, (5, 3))
    whole = tg.dropout(np.ones((12, 3)), 0.5, np.random.default_rng(0))
    np.testing.assert_array_equal(np.concatenate(run_ranks(2, draw, (6, 3))), whole)


def test_one_process_needs_no_change():
    sgd = tg.optim.SGD([tg.Tensor([1.0], requires_grad=True)], lr=0.1)
    synchronise(sgd)
    assert sgd.before_step is None
