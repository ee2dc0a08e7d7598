"""Other runs in the folder in which a run is, for links from its report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..data import DataError
from .folder import METRICS, REPORT
from .records import Record, read_record

MOST_READ, MOST_SHOWN = 200, 12


@dataclass(frozen=True)
class Neighbour:
    """Another run: its name, the address of its report from that of this one, and its figures."""

    name: str
    address: str
    record: Record


def runs_beside(folder: Path, fingerprint: str) -> list[Neighbour]:
    """Runs on the same data in the folders beside one, the newest first; damaged ones are passed over."""
    found = []
    own = os.path.realpath(folder)
    for path in _newest(Path(os.path.abspath(folder)).parent)[:MOST_READ]:
        if os.path.realpath(path) != own and os.path.lexists(path / REPORT):
            try:
                record = read_record(path)
            except (DataError, OSError):
                continue
            if record.fingerprint == fingerprint:
                address = f"../{quote(os.fsencode(path.name))}/{REPORT}"
                found.append(Neighbour(path.name, address, record))
    found.sort(key=lambda each: each.record.date, reverse=True)
    return found[:MOST_SHOWN]


def _newest(parent: Path) -> list[Path]:
    """The folders in one that hold runs, the last changed first."""
    times = {}
    try:
        for path in parent.iterdir():
            try:
                times[path] = (path / METRICS).stat().st_mtime
            except OSError:
                continue
    except OSError:  # a folder that may be entered and not listed
        return []
    return sorted(times, key=lambda path: times[path], reverse=True)
