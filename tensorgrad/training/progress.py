"""What is shown of a training while it runs: a bar where a person is watching, and lines in the log."""

from __future__ import annotations

import sys
import warnings
from contextlib import nullcontext
from typing import Any


def progress_bar(title: str, total: int, done: int, quiet: bool) -> Any:
    """A context with a bar of examples; with nothing where nobody is watching, or without tqdm."""
    is_notebook = _is_notebook()
    if quiet or not (is_notebook or sys.stderr.isatty()):
        return nullcontext()
    try:
        if is_notebook:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # without widgets it is a line of text
                from tqdm.auto import tqdm
        else:
            from tqdm import tqdm
    except ImportError:
        return nullcontext()
    return tqdm(total=total, initial=done, desc=title, unit=" examples", leave=False)


def _is_notebook() -> bool:
    """Whether this is a kernel of Jupyter."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def log(message: str, *values: Any) -> None:
    """A line for who asked for them, with ``logging.basicConfig(level="INFO")``."""
    import logging  # which NumPy does not import

    logging.getLogger("tensorgrad.training").info(message, *values)
