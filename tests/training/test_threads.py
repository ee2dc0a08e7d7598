"""Batches that are shared out to threads: the same training as in one thread."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.distributed.blas import CHOSEN
from tensorgrad.training import Callback, TrainingError, fit
from tensorgrad.training.objective import objective
from tensorgrad.training.threads import ThreadedStep, threads_for
from tests.support import noisy_cnn

pytest.importorskip("threadpoolctl")
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.standard_normal((170, 2, 6, 6)), RNG.integers(0, 3, 170)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small batches, and programs done by NumPy: to compile kernels for them takes longer than all else."""
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    monkeypatch.setattr("tensorgrad.training.threads.LEAST", 10)


def trained(threads, epochs=3, dtype=np.float64, **given):
    model = noisy_cnn(dtype, seed=1, weight_l2=0.01)
    adam = tg.optim.Adam(model.parameters(), lr=0.01)
    data = (IMAGES[:150].astype(dtype), LABELS[:150])
    settings = {"epochs": epochs, "batch_size": 64, "rng": np.random.default_rng(2), "quiet": True, **given}
    history = fit(model, data, (IMAGES[150:].astype(dtype), LABELS[150:]), adam, threads=threads, **settings)
    states = [rng.bit_generator.state for _, rng in model.named_generators()]
    return history, {name: tensor.data.copy() for name, tensor in model.named_tensors()}, states


def assert_same(found, expected, tolerance):
    for row, other in zip(found[0], expected[0]):
        assert row.loss == pytest.approx(other.loss, rel=tolerance) and row.accuracy == other.accuracy
    for name, values in expected[1].items():
        np.testing.assert_allclose(found[1][name], values, rtol=0, atol=tolerance, err_msg=name)
    assert found[2] == expected[2]


class Changes(Callback):
    """Changes the network in the middle of a training, in each of the ways that a callback can."""

    def on_step_end(self, run, loss):
        layers = run.model.layers
        if run.step == 2:
            layers[3].rate = 0.6
        if run.step == 3:
            layers[1].eval()
        if run.step == 4:
            layers[0].weight.requires_grad = False
        if run.step == 5:
            run.model.layers = (*layers[:2], np.tanh, *layers[3:])
        if run.step == 6:
            layers[5].weight.data *= 0.5


@pytest.mark.parametrize("given", [{}, {"max_norm": 0.1}, {"callbacks": [Changes()]}, {"accumulate": 2}])
@pytest.mark.parametrize("threads", [2, 3])
def test_a_training_is_that_of_one_thread(threads, given):
    assert_same(trained(threads, **given), trained(1, **given), 1e-9)


@pytest.mark.parametrize("weights", [[], [np.linspace(0.5, 2.0, 150)]])
def test_examples_that_count_differently_count_as_in_one_thread(weights):
    loss = partial(tg.softmax_cross_entropy, ignore_index=1)
    model, other = noisy_cnn(), noisy_cnn()
    for each, threads in ((model, 2), (other, 1)):
        sgd = tg.optim.SGD(each.parameters(), lr=0.1)
        given = {"epochs": 2, "batch_size": 64, "rng": np.random.default_rng(2), "quiet": True, "loss": loss}
        fit(each, (IMAGES[:150], LABELS[:150], *weights), None, sgd, threads=threads, **given)
    for one, another in zip(model.parameters(), other.parameters()):
        np.testing.assert_allclose(one.data, another.data, rtol=0, atol=1e-10)


def test_the_same_seed_gives_the_same_numbers_also_where_it_is_resumed(tmp_path):
    expected = trained(2, epochs=4, dtype=np.float32)
    trained(2, epochs=2, dtype=np.float32, folder=tmp_path / "run")
    resumed = trained(2, epochs=4, dtype=np.float32, folder=tmp_path / "run", resume=True)
    for name, values in expected[1].items():
        np.testing.assert_array_equal(resumed[1][name], values)


def test_a_loss_that_is_not_finite_and_an_error_in_a_thread_end_it():
    bad = IMAGES.copy()
    bad[40] = np.inf
    model = noisy_cnn()
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TrainingError), np.errstate(all="ignore"):
        fit(model, (bad, LABELS), None, sgd, epochs=2, batch_size=170, threads=2, quiet=True)


def test_threads_are_for_code_of_this_library():
    class Own(tg.nn.Module):
        def __init__(self):
            self.inner = tg.nn.Dense(3, 3, rng=0)

        def forward(self, x):
            return self.inner(x)

    model = Own()
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="fit: threads=2 is for networks, losses and optimisers all of whose code is"):
        fit(model, (np.zeros((4, 3)), np.zeros(4, int)), None, sgd, threads=2)
    fit(model, (np.zeros((4, 3)), np.zeros(4, int)), None, sgd, epochs=1, quiet=True)  # left out


def test_how_many_threads_there_are_by_default(monkeypatch):
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tensorgrad.training.threads.cores", lambda: {0, 1, 2, 3})
    loss = objective("fit", "softmax_cross_entropy")

    def count(model, batch_size):
        return threads_for(model, tg.optim.SGD(model.parameters(), lr=0.1), loss, batch_size, None)[0]

    assert [count(noisy_cnn(), size) for size in (19, 20, 30, 39, 40, 1000)] == [1, 2, 3, 3, 4, 4]
    assert count(tg.nn.Sequential(tg.nn.Dense(3, 3, rng=0)), 128) == 1
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert count(noisy_cnn(), 128) == 1


def test_batches_too_small_for_all_threads_have_one():
    model = noisy_cnn()
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    given = {"loss": objective("fit", "softmax_cross_entropy"), "max_value": None}
    count, controller = threads_for(model, sgd, given["loss"], 64, 2)
    step = ThreadedStep(model, sgd, None, None, **given, count=count, controller=controller)
    step(IMAGES[:19], LABELS[:19])
    assert not step._replicas
    step(IMAGES[:20], LABELS[:20])
    assert len(step._replicas) == 2
