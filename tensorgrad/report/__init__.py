"""Pictures that explain a run."""

from .curves import save_curves

__all__ = ["save_curves"]
