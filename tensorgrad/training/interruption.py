"""Ctrl-C and SIGTERM as a polite request first and an order second."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

from .epoch import Epoch
from .history import History


class Interrupted(KeyboardInterrupt):
    """Training that stopped because a signal asked for it; where there is a folder, everything is saved.

    Attributes
    ----------
    exit_code
        By custom 128 plus the number of the signal: 130 for Ctrl-C, 143 for SIGTERM.
    history
        The epochs that were finished.
    """

    def __init__(self, number: int, history: Sequence[Epoch]) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number
        self.history = History(history)


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While active, the first SIGINT or SIGTERM is only noted in ``signal``; a second one ends the process at once.

    Outside the main thread, where Python delivers no signals, it does nothing. It says so unless ``is_quiet``.
    """

    is_quiet = False

    def __init__(self, saves: bool = True) -> None:
        self.signal: int | None = None
        self._does = "finishing this step and saving" if saves else "finishing this step"
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            heeded = [n for n in SIGNALS if signal.getsignal(n) != signal.SIG_IGN]
            self._earlier = {n: signal.signal(n, self._note) for n in heeded}
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        for each in self._earlier:
            signal.signal(each, signal.SIG_DFL)
        if self.is_quiet:
            return
        with suppress(OSError):  # not print: in a signal handler it may meet another print half way
            os.write(2, f"\nstopping: {self._does} (once more to stop at once)\n".encode())

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
