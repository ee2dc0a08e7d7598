"""Errors that a user can fix: a script ends with exit code 2 and one sentence instead of a traceback."""

from __future__ import annotations

import sys

from .._optional import MissingExtra
from ..data import DataError
from ..distributed import current
from ..training import CheckpointError, TrainingError
from .console import say


class UsageError(ValueError):
    """An invalid option or argument; the message is one sentence with the remedy."""


class reported_errors:
    """Ends the script with code 2 and one sentence for every error that a user can fix."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, (UsageError, DataError, MissingExtra, CheckpointError, TrainingError)):
            sentence = str(error)
        elif isinstance(error, OSError):
            sentence = f"{error.filename or 'input/output'}: {error.strerror or error}"
        else:
            return
        current().fail(error)
        say(f"{self.program}: error: {sentence}", sys.stderr)
        raise SystemExit(2) from None
