"""What happened in each epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .._atomic import replacing


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training data; losses in nats, no penalties; the rate its last step took."""

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float

    def rank(self, measure: str = "validation_accuracy") -> tuple[float, float]:
        """Larger is better: the measure first, high accuracies and low losses, then a lower validation loss."""
        value = float(getattr(self, measure))
        return (value if measure.endswith("accuracy") else -value), -self.validation_loss

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch:3d}  loss {self.loss:.4f}  accuracy {self.accuracy:.4f}  "
            f"validation loss {self.validation_loss:.4f}  accuracy {self.validation_accuracy:.4f}  {self.seconds:.1f} s"
        )


def save_history(history: Sequence[Epoch], path: str | Path) -> None:
    """Write the epochs as CSV, one row each."""
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)])
        writer.writeheader()
        writer.writerows(asdict(epoch) for epoch in history)
