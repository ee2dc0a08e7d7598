"""Training: the loop, its history, checkpoints, evaluation."""

from .._checkpoint import load_checkpoint, save_checkpoint
from ..archive import CheckpointError
from .callbacks import Callback, CSVHistory, EarlyStopping, Run
from .epochs import TrainingError
from .evaluation import evaluate, predict
from .history import Epoch, save_history
from .interruption import Interrupted
from .loop import DivergenceWarning, fit
from .rates import RateSearch, find_learning_rate
from .session import BEST, LAST, load_weights
from .step import training_step
from .streams import RandomStreams

__all__ = [
    "BEST",
    "LAST",
    "CSVHistory",
    "Callback",
    "CheckpointError",
    "DivergenceWarning",
    "EarlyStopping",
    "Epoch",
    "Interrupted",
    "RandomStreams",
    "RateSearch",
    "Run",
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
