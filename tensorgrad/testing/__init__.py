"""Numeric checks of derivatives; those of whole ops, your own included, need Hypothesis (the extra ``test``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._optional import require
from .call_checks import check_call
from .gradcheck import GradientError, gradcheck

if TYPE_CHECKING:
    from .op_checks import check_case, check_op
    from .strategies import cases, complex_cases

__all__ = ["GradientError", "cases", "check_call", "check_case", "check_op", "complex_cases", "gradcheck"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("hypothesis", "tensorgrad.testing")
    from . import op_checks  # not before it is needed, as it takes long to import Hypothesis

    return getattr(op_checks, name)
