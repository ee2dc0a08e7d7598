"""Ranks that were given different things are told so, by name, before or soon after they train apart."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.distributed import RankError, current, run_ranks
from tensorgrad.training import TrainingError, fit

RNG = np.random.default_rng(0)
LABELS = np.arange(120) % 4
INPUTS = (RNG.standard_normal((4, 6))[LABELS] + RNG.standard_normal((120, 6))).astype(np.float32)


def train(rank_1):
    """Train on two ranks, of which rank 1 has other settings."""

    def on_rank():
        given = {"count": 120, "lr": 0.1, "epochs": 3, "batch_size": 32, "inputs": INPUTS}
        given.update(rank_1 if current().rank else {})
        count, lr, inputs = given.pop("count"), given.pop("lr"), given.pop("inputs")
        model = tg.nn.Sequential(tg.nn.Dense(6, 8, 0), tg.nn.BatchNorm1d(8), tg.nn.Dense(8, 4, 1))
        optimiser = tg.optim.SGD(model.parameters(), lr=lr)
        fit(model, (inputs[:count], LABELS[:count]), None, optimiser, rng=0, quiet=True, **given)

    run_ranks(2, on_rank, patience=3.0)


@pytest.mark.parametrize(
    "rank_1, named",
    [({"count": 88}, "examples"), ({"epochs": 4}, "epochs"), ({"batch_size": 64}, "batch"), ({"lr": 0.2}, "rank 1")],
)
def test_ranks_with_different_settings_are_told(rank_1, named):
    with pytest.raises((RankError, ValueError)) as caught:
        train(rank_1)
    assert named in str(caught.value) and "has not answered" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy; kernels give none
@pytest.mark.parametrize("seed", range(4))
def test_an_example_that_is_not_finite_is_found_on_whichever_rank_it_is(seed):
    inputs = INPUTS.copy()
    inputs[7, 2] = np.inf

    def on_rank():
        model = tg.nn.Sequential(tg.nn.Dense(6, 8, 0), tg.nn.BatchNorm1d(8), tg.nn.Dense(8, 4, 1))
        optimiser = tg.optim.SGD(model.parameters(), lr=0.1)
        fit(model, (inputs, LABELS), None, optimiser, rng=seed, epochs=1, batch_size=32, quiet=True)

    with np.errstate(invalid="ignore"), pytest.raises((RankError, TrainingError), match="training example 7 holds inf"):
        run_ranks(2, on_rank)
