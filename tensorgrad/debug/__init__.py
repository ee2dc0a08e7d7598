"""Debugging: anomaly detection."""

from .anomaly import AnomalyError, detect_anomaly

__all__ = ["AnomalyError", "detect_anomaly"]
