"""What happened in each epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, SupportsIndex, overload

from .._atomic import replacing
from .._optional import require
from ..hints import similar_name
from .epoch import Epoch, usual
from .metrics import METRICS
from .monitor import Monitor, mode_of

COLUMNS = tuple(f.name for f in fields(Epoch) if f.name != "metrics")


MOST_ROWS = 30
"""Epochs that are shown: of more, the first and the last ones."""


class History(list[Epoch]):
    """The epochs of a training, in a list that shows itself as a table, also in notebooks.

    Examples
    --------
    >>> history = History([Epoch(1, 0.5, 0.8, 0.6, 0.7, 0.1, 2.0), Epoch(2, 0.41, 0.9, 0.5, 0.7, 0.1, 1.9)])
    >>> history
    epoch    loss  accuracy  validation_loss  validation_accuracy  learning_rate  seconds
        1     0.5       0.8              0.6                  0.7            0.1        2
        2    0.41       0.9              0.5                  0.7            0.1      1.9
    >>> [row.loss for row in history], history[1:]
    ([0.5, 0.41], epoch    loss  accuracy  validation_loss  validation_accuracy  learning_rate  seconds
        2    0.41       0.9              0.5                  0.7            0.1      1.9)
    """

    @overload
    def __getitem__(self, index: SupportsIndex) -> Epoch: ...
    @overload
    def __getitem__(self, index: slice) -> History: ...
    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return History(found) if isinstance(index, slice) else found

    def best(self, measure: str | None = None, mode: str | None = None) -> Epoch:
        """The best epoch: whose weights :func:`fit` leaves in the model, if it watched the same.

        Parameters
        ----------
        measure
            A name in :attr:`Epoch.measures`. None: the accuracy if there is one, else the loss; of validation if there
            is one.
        mode
            ``"min"`` or ``"max"``; None: as is known of losses and of metrics that have names.

        Raises
        ------
        ValueError
            If there is no epoch or no such measure, or it is not known in which direction it gets better.

        Examples
        --------
        >>> history = History([Epoch(1, 0.5, 0.8, 0.6, 0.7, 0.1, 2.0), Epoch(2, 0.4, 0.9, 0.7, 0.8, 0.1, 2.0)])
        >>> history.best().epoch, history.best("validation_loss").epoch
        (2, 1)
        """
        known = list(self[-1].measures) if self else []
        if not self or (measure is not None and measure not in known):
            meant = similar_name("monitor", str(measure), known)
            asked = f"; measure must be one of {', '.join(known)}, got {measure!r}{meant}" if self else ""
            raise ValueError(f"History.best: there is no {'such measure' if self else 'epoch'}{asked}")
        measure = usual(known) if measure is None else measure
        return Monitor(measure, mode=mode_of(measure, METRICS) if mode is None else mode).best(self)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with a row for each epoch and a column for each measure."""
        return require("pandas", "History.to_pandas").DataFrame([row.measures for row in self])

    def _table(self) -> list[list[str]]:
        """Names of columns, and the cells of each row."""
        names = list(dict.fromkeys(name for row in self for name in row.measures))
        names.sort(key=lambda name: name in ("learning_rate", "seconds"))
        half = MOST_ROWS // 2
        shown = list(self) if len(self) <= MOST_ROWS else [*self[:half], None, *self[-half:]]
        return [names, *([_cell(row, name) for name in names] for row in shown)]

    def __repr__(self) -> str:
        if not self:
            return "History of no epochs"
        cells = self._table()
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in cells)

    def _repr_html_(self) -> str:
        from html import escape

        head, *rows = ([escape(cell) for cell in row] for row in self._table())
        lines = [f"<tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>"]
        lines += [f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows]
        return f"<table>{''.join(lines)}</table>"


def _cell(row: Epoch | None, name: str) -> str:
    if row is None:
        return "..."
    value = row.measures.get(name)
    return "" if value is None else f"{value:.4g}"


def save_history(history: Sequence[Epoch], path: str | Path) -> None:
    """Write the epochs as CSV, one row each; further metrics are columns on the right."""
    further = dict.fromkeys(name for row in history for name in row.metrics)
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *further], restval="")
        writer.writeheader()
        writer.writerows(row.measures for row in history)
