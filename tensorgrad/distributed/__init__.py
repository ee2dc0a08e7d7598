"""Training over several processes, the ranks of MPI: what they send each other, and what stands in for it in tests."""

from .buckets import BUCKET_BYTES, Buckets, plan
from .communicator import Communicator, RankError, SingleProcess
from .current import current, using
from .threads import ThreadCommunicator, run_ranks

__all__ = [
    "BUCKET_BYTES",
    "Buckets",
    "Communicator",
    "RankError",
    "SingleProcess",
    "ThreadCommunicator",
    "current",
    "plan",
    "run_ranks",
    "using",
]
