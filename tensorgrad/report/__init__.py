"""Pictures and pages that explain a run."""

from .classes import class_scores, confusion_matrix, save_confusion
from .curves import save_comparison, save_curves
from .diagram import save_network
from .galleries import most_confident_mistakes, save_augmentation, save_mistakes, save_weights
from .page import note, picture, preformatted, save_page, side_by_side, table
from .rates import save_rates
from .text import printable

__all__ = [
    "class_scores",
    "confusion_matrix",
    "most_confident_mistakes",
    "note",
    "picture",
    "preformatted",
    "printable",
    "save_augmentation",
    "save_comparison",
    "save_confusion",
    "save_curves",
    "save_mistakes",
    "save_network",
    "save_page",
    "save_rates",
    "save_weights",
    "side_by_side",
    "table",
]
