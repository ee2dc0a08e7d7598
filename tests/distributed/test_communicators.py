"""What ranks send each other: the thread stand-in, buckets, and how failures are named."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.mnist import EXPERIMENT
from tensorgrad import distributed
from tensorgrad.distributed import Buckets, RankError, SingleProcess, current, plan, run_ranks
from tensorgrad.runner.command import main


def test_each_thread_is_a_rank_and_outside_there_is_one_process():
    assert run_ranks(3, lambda: (current().rank, current().size)) == [(0, 3), (1, 3), (2, 3)]
    assert (current().rank, current().size, current().is_first) == (0, 1, True)


def test_messages():
    def talk():
        rank = current()
        total, first = np.full(3, rank.rank + 1.0), np.full(2, rank.rank)
        rank.allreduce(total)
        rank.broadcast(first)
        rank.barrier()
        return total.tolist(), first.tolist(), rank.allgather({"rank": rank.rank}), rank.share(rank.rank), rank.calls

    values = [{"rank": i} for i in range(4)]
    assert run_ranks(4, talk) == [([10.0] * 3, [0, 0], values, 0, 5)] * 4


def test_sums_are_added_in_the_order_of_the_ranks():
    parts = np.random.default_rng(0).standard_normal((4, 1000)).astype(np.float32)

    def total():
        mine = parts[current().rank].copy()
        current().allreduce(mine)
        return mine

    expected = ((parts[0] + parts[1]) + parts[2]) + parts[3]
    for found in run_ranks(4, total, is_deterministic=True):
        np.testing.assert_array_equal(found, expected)


def test_a_rank_that_raises_ends_all_and_is_named():
    def work():
        if current().rank == 1:
            raise ValueError("no such file")
        current().barrier()

    with pytest.raises(RankError, match=r"rank 1 of 3: ValueError: no such file") as caught:
        run_ranks(3, work)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_rank_that_aborts_ends_all_and_is_named():
    with pytest.raises(RankError, match="rank 2 of 3: out of paper"):
        run_ranks(3, lambda: current().abort("out of paper") if current().rank == 2 else current().barrier())


def test_a_rank_that_hangs_is_named():
    released = threading.Event()
    try:
        with pytest.raises(RankError, match=r"rank 1 of 2: has not answered for 0.2 s"):
            run_ranks(2, lambda: released.wait(9) if current().rank else current().barrier(), patience=0.2)
    finally:
        released.set()


def test_one_process_alone_sends_nothing():
    alone, values = SingleProcess(), np.arange(3.0)
    alone.allreduce(values)
    alone.broadcast(values)
    assert values.tolist() == [0, 1, 2] and alone.allgather(5) == [5] and alone.share("x") == "x"


@pytest.fixture
def new_world():
    """Who the launcher has started is asked for again, in the test and after it."""
    distributed.world.world.cache_clear()
    yield
    distributed.world.world.cache_clear()


@pytest.mark.usefixtures("new_world")
def test_several_processes_without_mpi4py_say_what_is_missing(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(ImportError, match=r"several processes.* needs mpi4py .* pip install mpi4py"):
        current()


@pytest.mark.usefixtures("new_world")
def test_an_experiment_without_mpi4py_ends_with_that_sentence(monkeypatch, capsys):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    assert main(EXPERIMENT, ["--fast-dev-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("experiments.mnist: error: ") and "pip install mpi4py" in error and error.count("\n") == 1


@pytest.mark.usefixtures("new_world")
def test_processes_that_mpi_does_not_see_are_not_taken_for_one(monkeypatch):
    class Alone:
        COMM_WORLD = property(lambda self: self)

        def Get_size(self):
            return 1

        def Get_library_version(self):
            return "Open MPI v4.1\n"

    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", Alone())
    with pytest.raises(RuntimeError, match=r"started 2 processes, but mpi4py sees 1: .* such as that of Open MPI"):
        current()


def test_a_launch_of_one_process_needs_no_mpi4py(monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    assert current().size == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.sampled_from("fd"))), st.integers(1, 60))
def test_a_plan_holds_each_array_once_in_buckets_of_one_kind_within_the_limit(arrays, limit):
    sizes, kinds = [size for size, _ in arrays], [kind for _, kind in arrays]
    groups = plan(sizes, kinds, limit)
    assert sorted(i for group in groups for i in group) == list(range(len(arrays)))
    for group in groups:
        assert len({kinds[i] for i in group}) == 1 and group == sorted(group, reverse=True)
        assert len(group) == 1 or sum(sizes[i] for i in group) <= limit


@pytest.mark.parametrize("limit", [1, 100, 2**20])
def test_buckets_sum_arrays_of_several_kinds_and_those_that_only_some_ranks_have(limit):
    shapes, dtypes = [(2, 3), (), (4,), (1, 2)], [np.float32, np.float64, np.float32, np.float16]

    def total():
        mine = [np.full(shape, current().rank + 1, dtype) for shape, dtype in zip(shapes, dtypes)]
        given = [mine[0], mine[1] if current().rank == 0 else None, None, mine[3]]
        return Buckets(current(), shapes, dtypes, limit).sum(given)

    for first, second, third, fourth in run_ranks(3, total):
        np.testing.assert_array_equal(first, np.full((2, 3), 6, np.float32))
        assert second == 1.0 and second.dtype == np.float64 and second.shape == ()
        assert third is None
        np.testing.assert_array_equal(fourth, np.full((1, 2), 6, np.float16))
        assert fourth.dtype == np.float16
