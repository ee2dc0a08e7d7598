"""Whether a server can be reached, decided quickly."""

from __future__ import annotations

import threading
import urllib.request


def reachable(url: str, seconds: float) -> bool:
    """Whether ``url`` answers within ``seconds``.

    Tried in a thread: name look-ups and stalled connections obey no timeout that could be set here.
    """
    answered, finished = threading.Event(), threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as response:
                response.read(1)
            answered.set()
        except Exception:  # refused, timed out, not HTTP, not a certificate: all mean no
            pass
        finally:
            finished.set()

    threading.Thread(target=ask, daemon=True).start()
    finished.wait(seconds)
    return answered.is_set()
