"""Training: the loop, its history, evaluation."""

from .fit import TrainingError, evaluate, fit, predict, train_step
from .history import Epoch, save_history

__all__ = ["Epoch", "TrainingError", "evaluate", "fit", "predict", "save_history", "train_step"]
