"""Training: the loop, its history, checkpoints, evaluation."""

from typing import TYPE_CHECKING

from .._checkpoint import load_checkpoint, save_checkpoint
from ..archive import CheckpointError
from .callbacks import Callback, CSVHistory, EarlyStopping, Run, TensorBoard
from .ema import EMA
from .epoch import Epoch
from .epochs import TrainingError
from .evaluation import evaluate, predict
from .history import History, save_history
from .interruption import Interrupted
from .loop import DivergenceWarning, fit
from .monitor import Monitor
from .rates import RateSearch, find_learning_rate
from .session import BEST, LAST, load_weights
from .step import training_step
from .streams import RandomStreams

__all__ = [
    "BEST",
    "EMA",
    "LAST",
    "CSVHistory",
    "Callback",
    "CheckpointError",
    "DivergenceWarning",
    "EarlyStopping",
    "Epoch",
    "History",
    "Interrupted",
    "Monitor",
    "RandomStreams",
    "RateSearch",
    "Run",
    "TensorBoard",
    "TrainingError",
    "evaluate",
    "find_learning_rate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "predict",
    "save_checkpoint",
    "save_history",
    "training_step",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
