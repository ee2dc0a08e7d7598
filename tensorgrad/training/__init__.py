"""Training: the loop, its history, checkpoints, evaluation."""

from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .history import Epoch, save_history
from .interruption import Interrupted
from .loop import TrainingError, evaluate, fit, predict, training_step
from .session import BEST, LAST, load_weights

__all__ = [
    "BEST",
    "LAST",
    "CheckpointError",
    "Epoch",
    "Interrupted",
    "TrainingError",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "predict",
    "save_checkpoint",
    "save_history",
    "training_step",
]
