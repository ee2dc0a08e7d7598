"""Finding what goes wrong in a computation."""

from .anomaly import AnomalyError, detect_anomaly

__all__ = ["AnomalyError", "detect_anomaly"]
