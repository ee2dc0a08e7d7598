"""The simulator of Allreduce, the cost model of training over ranks, and the page with what they say."""

import doctest
import importlib
import importlib.util
import json
import subprocess

import numpy as np
import pytest

from benchmarks.scaling import __main__ as command
from benchmarks.scaling import batches, measure, model, page, predictions
from benchmarks.scaling.allreduce import ALGORITHMS, Network, cost, quickest, simulate
from benchmarks.scaling.model import Layer, Sending, Workload
from benchmarks.scaling.simulated import SimulatedRank
from tensorgrad.distributed import BUCKET_BYTES, Buckets, current, plan, run_ranks
from tests.support import write_mnist

SLOW = Network("slow", latency=1e-3, bandwidth=1e6, adding=1e7)
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@every_algorithm
@pytest.mark.parametrize("ranks", [*range(2, 18), 24, 31, 32, 33, 48, 63, 64])
def test_all_ranks_have_the_same_sum_to_the_last_bit(algorithm, ranks):
    rng = np.random.default_rng(ranks)
    for count in (0, 1, 2, ranks - 1, ranks, 3 * ranks + 1):
        values = rng.standard_normal((ranks, count)).astype(np.float32)
        total = values.sum(axis=0, dtype=np.float64)
        simulate(algorithm, np.zeros(ranks), SLOW, values[0].nbytes, values)
        np.testing.assert_allclose(values[0], total, atol=1e-5)
        assert (values == values[0]).all()


@every_algorithm
@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 8, 24, 64, 1000, 1024])
def test_a_simulation_takes_what_the_formula_says(algorithm, ranks):
    size = 1024 * ranks  # parts of equal size
    clocks = simulate(algorithm, np.full(ranks, 2.0), SLOW, size)
    np.testing.assert_allclose(clocks.max(), 2 + cost(algorithm, ranks).seconds(size, SLOW), rtol=1e-12)


@every_algorithm
@pytest.mark.parametrize("ranks", [2, 3, 7, 16])
def test_no_rank_has_the_sum_before_the_last_one_has_come(algorithm, ranks):
    for late in range(ranks):
        clocks = np.zeros(ranks)
        clocks[late] = 5.0
        ends = simulate(algorithm, clocks, Network("", 0.0, np.inf), 8)
        assert ends.min() >= 5.0
        assert simulate(algorithm, clocks, SLOW, 800).min() > 5.0


@every_algorithm
@pytest.mark.parametrize("ranks", [2, 3, 6, 13, 32])
def test_a_rank_sends_and_receives_at_most_one_message_at_a_time(algorithm, ranks):
    for sources, targets, starts, stops, _ in ALGORITHMS[algorithm](ranks, 100):
        assert len(set(sources)) == len(sources) == len(set(targets)) == len(targets)
        assert (sources != targets).all() and (starts <= stops).all()


def test_short_messages_go_in_few_rounds_and_long_ones_in_parts():
    assert quickest(64, 8, SLOW) == "recursive doubling"
    assert quickest(48, 10**9, SLOW) == "ring"
    assert cost("tree", 64).seconds(10**6, SLOW) > cost("ring", 64).seconds(10**6, SLOW)


@pytest.mark.parametrize("ranks, algorithm", [(2, "ring"), (5, "tree"), (8, "halving and doubling")])
def test_buckets_are_summed_over_a_simulated_network(ranks, algorithm):
    shapes = [(3, 5), (5,), (), (200,), (4,)]

    def gradients(rank):
        rng = np.random.default_rng(rank)
        found = [rng.standard_normal(shape) for shape in shapes]
        return [*found[:-1], found[-1] if rank == 1 else None]

    def total():
        rank = SimulatedRank(current(), SLOW, algorithm)
        buckets = Buckets(rank, shapes, [np.float64] * len(shapes), limit=64)
        found = [np.array(array) for array in buckets.sum(gradients(rank.rank))]
        return found, rank.clock, rank.calls

    results = run_ranks(ranks, total)
    expected = [sum(gradients(rank)[i] for rank in range(ranks)) for i in range(4)] + [gradients(1)[4]]
    for found, clock, calls in results:
        assert calls == len(plan([8 * int(np.prod(shape)) for shape in shapes], limit=64))
        assert clock > calls * cost(algorithm, ranks).messages * SLOW.latency
        for array, other, first in zip(found, expected, results[0][0]):
            np.testing.assert_allclose(array, other, rtol=1e-12)
            np.testing.assert_array_equal(array, first)


# The cost model

DEEP = Workload("deep", tuple(Layer(40_000, 1.0) for _ in range(10)), 1e-3, per_pass=2e-3, update=1e-3)
FAST = Network("fast", latency=1e-4, bandwidth=100e6, adding=1e9)


@pytest.mark.parametrize("ranks", [2, 3, 8, 64])
@pytest.mark.parametrize(
    "sending",
    [Sending(), Sending(True, 400_000), Sending(True, 1), Sending(True, passes=3), Sending(divides_update=True)],
)
@pytest.mark.parametrize("network", [SLOW, FAST])
def test_the_model_is_what_messages_among_equal_ranks_take(ranks, sending, network):
    computing = [sending.passes * (DEEP.per_pass + 16 * DEEP.per_example)] * ranks
    found, expected = (
        model.simulated_step(DEEP, computing, network, sending),
        model.step(DEEP, ranks, 16, network, sending),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # where parts are not of equal size


def test_buckets_that_overlap_with_the_backward_pass_hide_all_but_the_last():
    afterwards = model.step(DEEP, 8, 64, FAST)
    overlapping = model.step(DEEP, 8, 64, FAST, Sending(overlaps=True, limit=320_000))
    alone = DEEP.per_pass + 64 * DEEP.per_example + DEEP.update
    last = cost(quickest(8, 320_000, FAST), 8).seconds(320_000, FAST)
    assert overlapping.waiting == pytest.approx(last)
    assert overlapping.seconds == pytest.approx(alone + last)
    assert afterwards.seconds > overlapping.seconds > alone


def test_buckets_neither_tiny_nor_huge_are_the_best_plan():
    limits = [160_000, 320_000, 10**9]
    slow_start = Network("", latency=5e-4, bandwidth=100e6)
    tiny, medium, huge = (model.step(DEEP, 8, 48, slow_start, Sending(True, limit)).seconds for limit in limits)
    assert medium < tiny and medium < huge


@pytest.mark.parametrize("network", predictions.NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize("ranks", [8, 64, 1024])
def test_the_limit_of_buckets_is_near_the_best_for_networks_of_several(network, ranks):
    many = Workload("", tuple([Layer(250_000, 1.0)] * 40), 3e-4)
    few = Workload("", model.layers("2352-2048-512-10"), 200e-6)
    for workload in (many, few):
        limits = {2**k: model.step(workload, ranks, 128, network, Sending(True, 2**k)).seconds for k in range(16, 28)}
        assert limits[BUCKET_BYTES] <= 1.05 * min(limits.values())


def test_all_wait_for_a_rank_that_is_late():
    computing = [0.02] * 15 + [0.05]
    late, even = (model.simulated_step(DEEP, times, FAST) for times in (computing, computing[:1] * 16))
    assert late.seconds == pytest.approx(even.seconds + 0.03, abs=1e-3)
    assert late.waiting > 0.03


def test_what_more_ranks_bring():
    network = FAST
    efficiencies = [model.efficiency(DEEP, ranks, 32, network) for ranks in (1, 2, 8, 64)]
    assert efficiencies[0] == 1 and efficiencies == sorted(efficiencies, reverse=True)
    speedups = [model.speedup(DEEP, ranks, 64, network) for ranks in (1, 2, 4, 8, 64, 512)]
    assert speedups[0] == 1 and all(1 < found < ranks for found, ranks in zip(speedups[1:4], (2, 4, 8)))
    assert speedups[5] <= speedups[4]  # one example each: no more to be had


def test_accumulated_and_half_as_long_gradients_cost_less_to_send():
    plain, accumulated, half = (
        model.efficiency(DEEP, 64, 8, FAST, sending) for sending in (Sending(), Sending(passes=4), Sending(itemsize=2))
    )
    assert plain < half < 1 and plain < accumulated


def test_the_layers_of_a_network_have_its_parameters_and_work():
    (_, first), (_, second), (_, third), (_, last) = model.layers("CNN")
    assert (first, second, third, last) == (9 * 16 * 784, 9 * 16 * 32 * 196, 1568 * 64, 640)
    assert model.Workload("", model.layers("784-512-10"), 1.0).values == 785 * 512 + 513 * 10


# What is measured and written

RESULTS = json.loads((command.RESULTS / command.JSON).read_text())


def test_the_figures_follow_from_what_was_measured():
    for name, found in predictions.derived(RESULTS["measured"]).items():
        _assert_equal(found, RESULTS[name])


def _assert_equal(found, expected):
    if isinstance(found, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(found, (list, tuple)):
        assert len(found) == len(expected)
        for each, other in zip(found, expected):
            _assert_equal(each, other)
    else:
        assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_the_page_has_the_tables_of_the_results():
    text = command.PAGE.read_text()
    assert page.rewritten(text, RESULTS) == text
    assert all(f"<!-- {name} -->" in text for name in page.SECTIONS)
    assert (command.RESULTS / command.MARKDOWN).read_text() == page.text(RESULTS)


@pytest.mark.parametrize("name", ["allreduce", "measure", "model", "page", "predictions", "simulated"])
def test_the_examples_run(name):
    found = doctest.testmod(importlib.import_module(f"benchmarks.scaling.{name}"), optionflags=doctest.ELLIPSIS)
    assert found.failed == 0


@pytest.mark.slow
def test_digits_are_trained_with_each_batch(monkeypatch, tmp_path, capsys):
    write_mnist(tmp_path / "mnist")
    monkeypatch.setattr(batches, "TRAININGS", [batches.Training(128), batches.Training(1024, True, True)])
    found = batches.accuracies(tmp_path, epochs=1)
    assert [(row["batch"], row["scales"], row["warms"]) for row in found] == [(128, False, False), (1024, True, True)]
    assert all(0 <= row["accuracy"] <= 1 for row in found)
    assert "Training(batch=128" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_measures_writes_and_writes_again(monkeypatch, capsys, tmp_path):
    asked = []

    def one(setting, seconds, networks):
        asked.append((setting, seconds))
        return RESULTS["measured"]["settings"][str(setting)]

    cores = RESULTS["measured"]["cores"]
    monkeypatch.setattr(measure, "cores", lambda: cores)
    monkeypatch.setattr(measure, "_one", one)
    assert command.main(["--rounds", "2", "--seconds", "0.1", "--out", str(tmp_path / "a")]) == 0
    assert asked == 2 * [((ranks, threads), 0.1) for ranks, threads in [(1, 1), (1, cores), (2, 1), (4, 1)]]
    printed = capsys.readouterr().out
    assert page.weak(RESULTS) in printed
    assert command.main(["--again", str(tmp_path / "a" / "ranks.json"), "--out", str(tmp_path / "b")]) == 0
    for name in ("ranks.json", "ranks.md"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()
    assert (tmp_path / "b" / "ranks.png").stat().st_size > 20_000
    (tmp_path / "page.md").write_text("before <!-- weak -->old<!-- end --> after")
    command.write(RESULTS, tmp_path / "b", tmp_path / "page.md")
    assert page.weak(RESULTS) in (tmp_path / "page.md").read_text()


@pytest.mark.deep
def test_two_ranks_are_measured():
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    found = measure._one(measure.Setting(2, 1), 0.005, ["64-32-10"])
    (size, seconds), *_ = found["messages"]
    assert size == 8 and 0 < seconds < 1
    for batch, step, messages, update in found["steps"]["64-32-10"]:
        assert batch in (128, 256) and 0 < messages < step and 0 < update < 1
    assert 0 < found["fit"]["64-32-10"] < 1


def test_what_is_lacking_is_said_in_one_sentence(monkeypatch, capsys, tmp_path):
    def ends(command, **settings):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nModuleNotFoundError: No module named 'mpi4py'\n")

    monkeypatch.setattr(measure.subprocess, "run", ends)
    with pytest.raises(SystemExit) as caught:
        command.main(["--out", str(tmp_path)])
    said = capsys.readouterr().err.splitlines()[-1]
    assert caught.value.code == 2 and said.startswith("benchmarks.scaling: error: ")
    assert "1 ranks could not be measured" in said and "No module named 'mpi4py'" in said
    monkeypatch.setattr(measure.shutil, "which", lambda name: None)
    monkeypatch.setattr(measure.os.path, "exists", lambda name: False)
    with pytest.raises(measure.UsageError, match="pip install mpi4py mpich"):
        measure._one(measure.Setting(2, 1), 1.0, [])
