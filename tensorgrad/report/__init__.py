"""Pictures and pages that explain a run."""

from .calibration import Calibration, calibration
from .classes import class_scores, class_words, confusion_matrix, confusions, save_confusion
from .curves import save_comparison, save_curves
from .galleries import most_confident_mistakes, save_augmentation, save_weights
from .layers import layer_statistics
from .page import markup, save_page
from .rates import save_rates
from .text import printable

__all__ = [
    "Calibration",
    "calibration",
    "class_scores",
    "class_words",
    "confusion_matrix",
    "confusions",
    "layer_statistics",
    "markup",
    "most_confident_mistakes",
    "printable",
    "save_augmentation",
    "save_comparison",
    "save_confusion",
    "save_curves",
    "save_page",
    "save_rates",
    "save_weights",
]
