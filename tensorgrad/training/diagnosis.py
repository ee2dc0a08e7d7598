"""Where a calculation stopped being finite."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..nn import Module
from ..recording import no_grad
from ..tensor import Tensor

_REMEDY = "lower the learning rate or clip the gradients"


@no_grad()
def diagnose(model: Module, inputs: Any) -> str:
    """In words, the first thing that is not finite (inputs, a parameter, the output of a layer) and what to do.

    >>> import numpy as np, tensorgrad as tg
    >>> network = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.ReLU())
    >>> diagnose(network, np.array([[1.0, np.nan]], np.float32))
    'the inputs are not finite; clean the data'
    """
    if not np.isfinite(inputs).all():
        return "the inputs are not finite; clean the data"
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            return f"the parameter {name} is no longer finite; {_REMEDY}"
    found: list[str] = []
    watched = {id(m): (name, m) for name, m in model.named_modules() if not list(m.named_children())}.values()
    for name, module in watched:
        _watch(module, f"layer {name} {module!r}", found)
    try:
        with np.errstate(all="ignore"):
            model(inputs)
    finally:
        for _, module in watched:
            module.__dict__.pop("forward", None)
    return f"{found[0] if found else 'the loss alone'} is not finite; {_REMEDY}"


def _watch(module: Module, title: str, found: list[str]) -> None:
    """Until ``forward`` is deleted from the instance again, note the module when its output is not finite."""
    forward = module.forward

    def watched(*args: Any, **kwargs: Any) -> Any:
        if not all(map(_is_finite, args)):
            found.append(f"the input of {title}, from the function before it,")
        out = forward(*args, **kwargs)
        if not _is_finite(out):
            found.append(f"the output of {title}")
        return out

    module.forward = watched  # type: ignore[method-assign]


def _is_finite(x: Any) -> bool:
    return bool(np.isfinite(x.numpy() if isinstance(x, Tensor) else x).all())
