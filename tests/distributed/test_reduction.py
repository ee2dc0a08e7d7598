"""Sums over ranks: in memory that they share, and by messages."""

from __future__ import annotations

import os
from contextlib import nullcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.distributed import Buckets, SingleProcess, current, reduction, run_ranks, synchronise
from tensorgrad.distributed.communicator import summed
from tensorgrad.distributed.reduction import Reduction, SharedReduction, bytes_for, mapped, opened, shared_file

SHAPES = st.lists(st.sampled_from([(), (1,), (3, 5), (1025,), (70, 40)]), min_size=1, max_size=5)
DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.complex128])


def by_messages(self, kinds):
    return Reduction(kinds, self.allreduce)


@given(ranks=st.integers(1, 4), shapes=SHAPES, data=st.data())
@pytest.mark.parametrize("shared", [True, False])
def test_sums_are_those_of_numpy_in_the_order_of_the_ranks(shared, ranks, shapes, data):
    dtypes = [data.draw(DTYPES) for _ in shapes]
    missing = data.draw(st.sets(st.tuples(st.integers(0, ranks - 1), st.integers(0, len(shapes) - 1))))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    drawn = [
        [
            [
                rng.standard_normal(s).astype(d) if (rank, i) not in missing else None
                for i, (s, d) in enumerate(zip(shapes, dtypes))
            ]
            for rank in range(ranks)
        ]
        for _ in range(3)
    ]

    def totals():
        here = current()
        buckets = Buckets(here, shapes, dtypes, limit=4096)
        return [[None if x is None else x.copy() for x in buckets.sum(step[here.rank])] for step in drawn]

    with pytest.MonkeyPatch.context() as patch:
        if not shared:
            patch.setattr("tensorgrad.distributed.threads.ThreadCommunicator.reduction", by_messages)
        everywhere = run_ranks(ranks, totals, is_deterministic=True)
    for found in everywhere:
        for step, sums in zip(drawn, found):
            for i, total in enumerate(sums):
                parts = [rank[i] for rank in step if rank[i] is not None]
                if not parts:
                    assert total is None
                else:
                    zeros = [np.zeros_like(parts[0]) if rank[i] is None else rank[i] for rank in step]
                    np.testing.assert_array_equal(total, summed(zeros))


def test_what_ranks_share_can_only_be_read():
    def total():
        [found] = Buckets(current(), [(3,)], [np.float32]).sum([np.ones(3, np.float32)])
        return found.flags.writeable

    assert run_ranks(2, total) == [False, False]


def test_an_array_that_is_in_its_place_is_summed_as_it_is():
    def total():
        buckets = Buckets(current(), [(2, 2), (3,)], [np.float32, np.float32])
        buckets.places[0][...] = current().rank + 1
        return [found.tolist() for found in buckets.sum([buckets.places[0], np.ones(3, np.float32)])]

    assert run_ranks(2, total) == [[[[3.0, 3.0], [3.0, 3.0]], [2.0, 2.0, 2.0]]] * 2


def test_a_gradient_of_another_shape_is_not_broadcast():
    buckets = Buckets(SingleProcess(), [(3, 2)], [np.float32])
    with pytest.raises(ValueError, match=r"array 0 is of shape \(3, 2\), got a gradient of shape \(2,\)"):
        buckets.sum([np.ones(2, np.float32)])


def test_gradients_that_are_read_are_copies():
    """What the ranks share is overwritten in the next step."""

    def train():
        parameter = tg.Tensor([1.0, 2.0], requires_grad=True)
        optimiser = tg.optim.SGD([parameter], lr=0.1)
        synchronise(optimiser)
        seen = []
        for step in range(2):
            optimiser.zero_grad()
            np.sum(parameter * (step + 1.0)).backward()
            optimiser.step()
            parameter.grad *= 10  # as in one process, this is no one else's
            seen.append(parameter.grad)
        return [gradient.tolist() for gradient in seen], parameter.data.tolist()

    assert run_ranks(2, train) == [([[10.0, 10.0], [20.0, 20.0]], [0.7, 1.7])] * 2


def test_memory_is_shared_by_what_map_the_file_and_gone_with_them(tmp_path, monkeypatch):
    monkeypatch.setattr(reduction, "SHARED", tmp_path)
    kinds = [(5, np.dtype(np.float32)), (3, np.dtype(np.float64))]
    count = bytes_for(kinds, 2)
    name = shared_file()
    files = [opened(name) for _ in range(2)]
    os.unlink(name)
    memories = [mapped(file, count) for file in files]
    one, other = (
        SharedReduction(kinds, memory, rank, 2, lambda: None, lambda count: nullcontext())
        for rank, memory in enumerate(memories)
    )
    for i in range(2):
        one.parts[i][...], other.parts[i][...] = 1.0, 2.0
    one.sum(), other.sum()
    for found in (one, other):
        assert [total.tolist() for total in found.totals] == [[3.0] * 5, [3.0] * 3]


def test_where_there_is_not_so_much_memory_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(reduction, "SHARED", tmp_path)
    file = opened(shared_file())
    assert mapped(file, 2**60) is None and file.closed
    assert opened("") is opened(str(tmp_path / "absent")) is None
    monkeypatch.setattr(reduction, "SHARED", tmp_path / "absent")
    assert shared_file() == ""
