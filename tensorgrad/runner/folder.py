"""The folder of a run: its files, and how it is prepared without overwriting an earlier run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from .._atomic import remove_partial, replacing
from ..training import BEST, LAST, load_checkpoint
from ..training.session import folders_like
from .errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not told apart there
    fcntl = None  # type: ignore[assignment]

SETTINGS, METRICS, HISTORY = "settings.json", "metrics.json", "history.csv"
REPORT = "report.html"


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """Make the folder, try it out now rather than after the training, and keep other runs out of it meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"--out {folder}: is a file, not a folder; choose another name") from None
    with _locked(folder):
        if any(folder.iterdir()) and not _holds_run(folder):
            raise UsageError(f"--out {folder}: holds files that are not a run's; choose an empty or a new folder")
        with replacing(folder / ".writable") as temporary:
            temporary.write_text("")
        (folder / ".writable").unlink()
        remove_partial(folder)
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The system's lock of a folder: it leaves no file behind, and ends with the process, however that ends."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = not os.path.samestat(os.fstat(descriptor), os.stat(folder))  # renamed by another run just now
        except BlockingIOError:
            taken = True
        except OSError:  # a file system without locks
            taken = False
        if taken:
            raise UsageError(f"--out {folder}: another run is using it; choose another folder, or wait until it ends")
        yield
    finally:
        os.close(descriptor)


def move_aside(folder: Path) -> Path | None:
    """Give the run that ``folder`` holds the next free name, such as ``runs/mnist-1``; None if it holds none.

    A dry run (``--fast-dev-run``) is not worth keeping: its checkpoints are removed, the rest is written over.
    """
    if not any((folder / name).exists() for name in (LAST, BEST, METRICS)):
        return None
    if _is_dry(folder):
        with _locked(folder):
            for name in (LAST, BEST):
                (folder / name).unlink(missing_ok=True)
        return None
    full = folder.resolve()
    if full in (here := Path.cwd().resolve(), *here.parents):
        raise UsageError(
            f"--out {folder}: is the folder that you are in, or one above it, and holds an earlier run, which cannot "
            "be moved aside; choose another folder"
        )
    named = folder if folder.name not in ("", "..") else full
    with _locked(folder):
        target = next(path for n in count(1) if not (path := named.with_name(f"{named.name}-{n}")).exists())
        try:
            os.rename(named, target)
        except OSError as error:
            raise UsageError(
                f"--out {folder}: holds an earlier run that cannot be moved aside ({error.strerror}); "
                "choose another folder"
            ) from None
    return target


def check_resumable(folder: Path) -> None:
    """Raise ``UsageError`` unless the folder holds a run."""
    if any((folder / name).exists() for name in (LAST, SETTINGS)):
        return
    like = " or ".join(map(str, folders_like(folder)))
    raise UsageError(
        f"--resume: {folder} holds no run{f'; did you mean {like}?' if like else ''}; check --out, or start one there "
        "with --resume auto"
    )


def read_settings(folder: Path) -> dict[str, Any]:
    """The options of the run that a folder holds, as they are in its ``settings.json``; empty without one."""
    try:
        content = json.loads((folder / SETTINGS).read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def epochs_done(folder: Path) -> int:
    """How many epochs the run in a folder has finished, by its checkpoint."""
    if not (folder / LAST).exists():
        return 0
    progress = load_checkpoint(folder / LAST)[1].get("progress")
    return len(progress.get("history", ())) if isinstance(progress, dict) else 0


def _holds_run(folder: Path) -> bool:
    return any((folder / name).exists() for name in (SETTINGS, LAST, METRICS))


def _is_dry(folder: Path) -> bool:
    return bool(read_settings(folder).get("fast_dev_run"))


def is_complete(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the run in a folder is one of these settings and went to its end."""
    try:
        metrics = json.loads((folder / METRICS).read_text())
        return metrics["stopped"] is None and metrics["settings"] == json.loads(json.dumps(settings))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
