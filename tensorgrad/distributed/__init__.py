"""Training over several processes, the ranks of MPI: what they send each other, and what stands in for it in tests."""

from .buckets import BUCKET_BYTES, Buckets, GradientSums, plan
from .communicator import Communicator, RankError, SingleProcess
from .current import current, using
from .share import Share, global_batch, share_of, shared, sharing
from .synchronised import average_gradients, synchronise
from .threads import ThreadCommunicator, run_ranks, thread_ranks

__all__ = [
    "BUCKET_BYTES",
    "Buckets",
    "Communicator",
    "GradientSums",
    "RankError",
    "Share",
    "SingleProcess",
    "ThreadCommunicator",
    "average_gradients",
    "current",
    "global_batch",
    "plan",
    "run_ranks",
    "share_of",
    "shared",
    "sharing",
    "synchronise",
    "thread_ranks",
    "using",
]
