"""fit over ranks: the same command, and the same model as of one process."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.data import Loader
from tensorgrad.distributed import RankError, current, run_ranks
from tensorgrad.training import EMA, Callback, CSVHistory, RandomStreams, TrainingError, fit, load_weights


@pytest.fixture(autouse=True)
def without_kernels(monkeypatch):
    """Programs done by NumPy: to compile kernels for these small shapes takes longer than all else."""
    monkeypatch.setenv("TENSORGRAD_FAST", "0")


DRAWN = np.random.default_rng(0)
LABELS = DRAWN.integers(0, 3, 52)
IMAGES = DRAWN.standard_normal((52, 1, 5, 5)) + LABELS.reshape(-1, 1, 1, 1)
LIGHT, HEAVY = (IMAGES[:41], LABELS[:41]), (IMAGES[:41], LABELS[:41], np.linspace(0.1, 2, 41))
HELD_OUT = (IMAGES[41:], LABELS[41:])


def network(streams, dtype):
    rng = streams.weights
    return tg.nn.Sequential(
        tg.nn.Conv2d(1, 3, 3, rng=rng, dtype=dtype),
        tg.nn.BatchNorm2d(3, dtype=dtype),
        tg.relu,
        tg.nn.Dropout(0.3, streams.dropout),
        tg.nn.Flatten(),
        tg.nn.Dense(27, 6, rng=rng, dtype=dtype, weight_l2=0.01),
        tg.nn.BatchNorm1d(6, dtype=dtype),
        np.tanh,
        tg.nn.Dense(6, 3, rng=rng, dtype=dtype),
    )


def train(dtype=np.float64, examples=LIGHT, validation=HELD_OUT, make=tg.optim.SGD, lr=0.05, **options):
    streams = RandomStreams.from_seed(current().rank)  # what rank 0 has counts
    model = network(streams, dtype)
    optimiser = make(model.parameters(), lr=lr)
    examples, validation = (given and (given[0].astype(dtype), *given[1:]) for given in (examples, validation))
    options = {"epochs": 3, "batch_size": 12, "rng": streams, "quiet": True, **options}
    history = fit(model, examples, validation, optimiser, **options)
    return history, {name: tensor.data.copy() for name, tensor in model.named_tensors()}


def assert_alike(found, expected, tolerance):
    (history, state), (other_history, other_state) = found, expected
    assert len(history) == len(other_history)
    for row, other in zip(history, other_history):
        measures, others = ({k: v for k, v in each.measures.items() if k != "seconds"} for each in (row, other))
        assert measures == pytest.approx(others, rel=0, abs=tolerance)
    for name, values in other_state.items():
        np.testing.assert_allclose(state[name], values, rtol=0, atol=tolerance, err_msg=name)


OPTIONS = {
    "plain": {},
    "eager": {"compiled": False},
    "weights": {"examples": HEAVY},
    "accumulated": {"accumulate": 2},
    "clipped": {"max_norm": 0.1, "max_value": 0.05},
    "without validation": {"validation": None},
    "metrics": {"metrics": {"accuracy": "accuracy", "size": lambda outputs, labels: np.abs(outputs).sum(axis=1)}},
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "size"), zip(OPTIONS.values(), [2, 4, 3, 3, 2, 4, 3]), ids=OPTIONS)
def test_the_learning_curve_and_the_model_are_those_of_one_process(options, size):
    expected = train(**options)
    for found in run_ranks(size, lambda: train(**options)):
        assert_alike(found, expected, 1e-12)


POINTS = DRAWN.standard_normal((41, 4))
MANY_LABELS = np.where(DRAWN.random((41, 5)) < 0.4, -1, DRAWN.integers(0, 4, (41, 5)))


class TwoOutputs(tg.nn.Module):
    """Of a hidden layer."""

    def __init__(self):
        settings = {"rng": np.random.default_rng(0), "dtype": np.float64}
        self.hidden = tg.nn.Dense(4, 8, **settings)
        self.height, self.kind = tg.nn.Dense(8, 1, **settings), tg.nn.Dense(8, 2, **settings)

    def forward(self, x):
        hidden = np.tanh(self.hidden(x))
        return {"height": self.height(hidden), "class": self.kind(hidden)}


def several_outputs():
    targets = {"height": POINTS.sum(axis=1), "class": (POINTS[:, 0] > 0).astype(int)}
    loss = {"height": (0.5, "mse"), "class": "softmax_cross_entropy"}
    return TwoOutputs(), POINTS, targets, {"loss": loss}


def ignored_labels():
    reshaped = tg.nn.Sequential(tg.nn.Dense(4, 20, 0, dtype=np.float64), lambda x: x.reshape(x.shape[0], 5, 4))
    return reshaped, POINTS, MANY_LABELS, {"loss": partial(tg.softmax_cross_entropy, ignore_index=-1)}


def own_loss():
    model = tg.nn.Sequential(tg.nn.Dense(4, 1, 0, dtype=np.float64), tg.nn.GaussianNoise(0.1, 0))
    return model, POINTS, POINTS[:, 0], {"loss": lambda outputs, y: np.square(outputs[:, 0] - y).mean()}


def recurrent():
    lstm = tg.nn.LSTM(2, 4, num_layers=2, dropout=0.3, rng=0, return_sequences=False, dtype=np.float64)
    model = tg.nn.Sequential(lstm, tg.nn.Dense(4, 2, 0, dtype=np.float64))
    return model, POINTS.reshape(41, 2, 2), (POINTS[:, 0] > 0).astype(int), {}


class FunctionalNorm(tg.nn.Module):
    """With the function in place of the layer."""

    def __init__(self):
        self.hidden, self.last = tg.nn.Dense(4, 6, 0, dtype=np.float64), tg.nn.Dense(6, 2, 1, dtype=np.float64)

    def forward(self, x):
        return self.last(np.tanh(tg.batch_norm(self.hidden(x))))


def functional_norm():
    return FunctionalNorm(), POINTS, (POINTS[:, 0] > 0).astype(int), {}


@pytest.mark.parametrize("make", [several_outputs, ignored_labels, own_loss, recurrent, functional_norm])
def test_other_losses_and_networks_are_those_of_one_process_too(make):
    def work():
        model, inputs, targets, options = make()
        sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        history = fit(model, (inputs, targets), None, sgd, epochs=2, batch_size=12, rng=1, quiet=True, **options)
        return history, {name: tensor.data.copy() for name, tensor in model.named_tensors()}

    expected = work()
    for found in run_ranks(3, work):
        assert_alike(found, expected, 1e-12)


@pytest.mark.slow
def test_momentum_plateau_early_stopping_and_averages_agree():
    def work():
        plateau = tg.optim.Plateau(0.2, patience=1)
        options = {"lr": plateau, "patience": 2, "epochs": 10, "callbacks": [EMA(0.9)], "monitor": "validation_loss"}
        return train(make=lambda p, lr: tg.optim.SGD(p, lr, momentum=0.9), **options)

    expected = work()
    assert len(expected[0]) < 10 and expected[0][-1].learning_rate < 0.2
    for found in run_ranks(2, work):
        assert_alike(found, expected, 1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("make", [tg.optim.SGD, tg.optim.Adam])
def test_deterministic_runs_are_equal_to_the_last_bit_on_all_ranks(make):
    options = {"make": make, "epochs": 2, "deterministic": True}
    runs = [run_ranks(3, lambda: train(np.float32, **options)) for _ in range(2)]
    (_, first), *others = [found for run in runs for found in run]
    for _, state in others:
        assert all(np.array_equal(state[name], values) for name, values in first.items())


def test_single_precision_stays_close_to_one_process():
    """100 steps without what chaos amplifies: 1e-6."""

    def work():
        rng = np.random.default_rng(0)
        model = tg.nn.Sequential(tg.nn.Dense(25, 16, rng), np.tanh, tg.nn.Dense(16, 3, rng))
        sgd, examples = tg.optim.SGD(model.parameters(), lr=0.05), (IMAGES.reshape(52, 25).astype(np.float32), LABELS)
        fit(model, examples, None, sgd, epochs=25, batch_size=13, rng=0, quiet=True)
        return sgd.steps, [parameter.data for parameter in model.parameters()]

    steps, expected = work()
    assert steps == 100
    for _, found in run_ranks(4, work):
        for mine, one in zip(found, expected):
            np.testing.assert_allclose(mine, one, rtol=0, atol=1e-6)


def test_half_precision_with_batch_norm_stays_close_to_one_process():
    def work():
        dtype = np.float16
        model = tg.nn.Sequential(
            tg.nn.Dense(4, 6, 0, dtype=dtype),
            tg.nn.BatchNorm1d(6, dtype=dtype),
            np.tanh,
            tg.nn.Dense(6, 2, 1, dtype=dtype),
        )
        sgd, examples = tg.optim.SGD(model.parameters(), lr=0.1), (POINTS.astype(dtype), (POINTS[:, 0] > 0).astype(int))
        fit(model, examples, None, sgd, epochs=2, batch_size=12, rng=0, quiet=True)
        return {name: tensor.data for name, tensor in model.named_tensors()}

    expected = work()
    for found in run_ranks(3, work):
        for name, values in expected.items():
            assert found[name].dtype == np.float16
            np.testing.assert_allclose(found[name], values, rtol=0, atol=5e-3, err_msg=name)


def test_each_rank_reads_only_its_share():
    class Counted:
        labels = LABELS[:48]

        def __init__(self):
            self.read = []

        def __len__(self):
            return 48

        def __getitem__(self, index):
            self.read.append(index)
            return IMAGES[index], LABELS[index]

    def work():
        source, streams = Counted(), RandomStreams.from_seed(0)
        loader = Loader(source, workers=1)
        model = network(streams, np.float64)
        fit(model, loader, None, tg.optim.SGD(model.parameters(), 0.1), epochs=1, batch_size=8, rng=streams, quiet=True)
        return source.read

    found = run_ranks(4, work)
    assert sorted(index for read in found for index in read) == list(range(48))
    assert all(len(read) == 12 for read in found)


def test_augmentation_is_reproducible_and_differs_between_ranks():
    def work():
        drawn = []

        def augment(inputs, rng):
            drawn.append(rng.random())
            return inputs

        train(augment=augment, epochs=1)
        return drawn

    first, second = run_ranks(2, work)
    assert [first, second] == run_ranks(2, work) and not set(first) & set(second)


class Stopped(Exception):
    pass


class StopAfter(Callback):
    def __init__(self, steps):
        self.steps = steps

    def on_step_end(self, run, loss):
        run.session.save()
        if run.step == self.steps:
            raise Stopped


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(2, 1), (1, 3), (4, 2)])
def test_a_training_is_resumed_with_any_number_of_ranks(sizes, tmp_path):
    def work(**options):
        return train(make=lambda p, lr: tg.optim.SGD(p, lr, momentum=0.9), **options)

    expected = work()

    def interrupted():
        with pytest.raises(Stopped):
            work(folder=tmp_path, callbacks=[StopAfter(6)])

    run_ranks(sizes[0], interrupted)
    for found in run_ranks(sizes[1], lambda: work(folder=tmp_path, resume=True)):
        assert_alike(found, expected, 1e-11)
    model = network(RandomStreams.from_seed(9), np.float64)
    load_weights(model, tmp_path / "best.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.npz", "last.npz"]


def test_parameters_that_differ_are_found_at_checkpoints(tmp_path):
    class Drift(Callback):
        def on_epoch_end(self, run, row):
            if current().rank == 1:
                run.model[5].weight.data = run.model[5].weight.data + 1e-6

    with pytest.raises(RankError, match=r"after step 8 rank 1 has another 5.weight than rank 0; let all ranks do"):
        run_ranks(2, lambda: train(folder=tmp_path, epochs=2, callbacks=[Drift()]))


def test_a_callback_that_stops_one_rank_stops_all():
    class Stop(Callback):
        def on_step_end(self, run, loss):
            return current().rank == 1 and run.step == 5

    assert [len(history) for history, _ in run_ranks(2, lambda: train(callbacks=[Stop()]))] == [1, 1]


def test_an_error_of_one_rank_names_it():
    def prepare(inputs):
        if current().rank == 1:
            raise OSError("cannot read 7.png")
        return inputs

    with pytest.raises(RankError, match=r"rank 1 of 2: OSError: cannot read 7\.png"):
        run_ranks(2, lambda: train(prepare=prepare))


def test_a_loss_that_is_not_finite_names_the_rank_with_the_example():
    def work():
        images = IMAGES[:12].copy()
        images[7] = np.nan
        with pytest.raises(TrainingError) as caught:
            train(examples=(images, LABELS[:12]), validation=HELD_OUT)
        return str(caught.value)

    first, second = run_ranks(2, work)
    assert first == second
    assert "the loss became nan in step 1 (epoch 1/3): on rank " in first and "example 7" in first


def test_batches_smaller_than_the_ranks_are_refused_with_remedies_that_work():
    with pytest.raises(RankError, match="a batch of 1 examples cannot be shared by 2 ranks; take larger batches"):
        run_ranks(2, lambda: train_dense(batch_size=10, drop_last=False))
    with pytest.raises(RankError, match="a batch of 1 examples cannot be shared by 2 ranks; take larger batches"):
        run_ranks(2, lambda: train_dense(batch_size=1))
    run_ranks(2, lambda: train_dense(batch_size=10))
    run_ranks(2, lambda: train_dense(batch_size=13, drop_last=False))


def train_dense(**options):
    model = tg.nn.Dense(25, 3, rng=0)
    return fit(model, (IMAGES[:41].reshape(41, 25).astype(np.float32), LABELS[:41]), epochs=1, rng=0, **options)


def test_an_optimiser_that_is_synchronised_already_is_refused():
    def work():
        model = tg.nn.Dense(25, 3, rng=0)
        sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        tg.distributed.synchronise(sgd)
        fit(model, (IMAGES.reshape(52, 25), LABELS), None, sgd, epochs=1, batch_size=13, rng=0)

    with pytest.raises(RankError, match=r"fit: adds up the gradients .* itself; leave out .*synchronise"):
        run_ranks(2, work)


def test_only_the_first_rank_writes_and_warns(tmp_path, recwarn):
    def work():
        return train(folder=tmp_path, callbacks=[CSVHistory(tmp_path / "history.csv")])

    run_ranks(2, work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.npz", "history.csv", "last.npz"]
    assert len(recwarn) == 0
