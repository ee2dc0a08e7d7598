"""Where a calculation stopped being finite."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from .._pytree import tree_leaves
from ..core.context import no_grad
from ..nn import Module
from .evaluation import EVALUATION_BATCH
from .examples import count_of, not_finite, part_of

_REMEDY = "lower the learning rate or clip the gradients"


@no_grad()
def diagnose(model: Module, inputs: object) -> str:
    """In words, the first thing that is not finite (inputs, a parameter, the output of a layer) and what to do.

    >>> import numpy as np, tensorgrad as tg
    >>> network = tg.nn.Sequential(tg.nn.Dense(2, 3), tg.nn.ReLU())
    >>> diagnose(network, np.array([[1.0, np.nan]], np.float32))
    'the inputs are not finite; clean the data'
    """
    if not_finite(inputs) is not None:
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


def not_finite_inputs(kind: str, inputs: object, indices: np.ndarray, prepared: object) -> str:
    """In words, which example of a batch is not finite, after ``prepare``, and where; nothing if all are."""
    found = not_finite(prepared)
    if found is None or np.shape(tree_leaves(prepared)[0])[:1] != indices.shape:  # no longer an entry for each example
        return ""
    (row, *position), value = found
    example = indices[row]
    at = f" at position {position[0] if len(position) == 1 else tuple(position)}" if position else ""
    given = [np.asarray(array[example]) for array in tree_leaves(inputs)]
    if any(array.dtype.kind in "fc" and not np.isfinite(array).all() for array in given):
        return f"the inputs are not finite: {kind} example {example} holds {value}{at}; clean the data"
    return f"the inputs are not finite: augment= or prepare= makes {value}{at} of {kind} example {example}; correct it"


def diagnose_validation(model: Module, inputs: object, prepare: Callable[[Any], Any]) -> str:
    """In words, why the loss of validation examples is not finite, and what to do; leaves evaluation mode on."""
    model.eval()
    prepared = None
    for start in range(0, count_of(inputs), EVALUATION_BATCH):
        prepared = prepare(part_of(inputs, start, EVALUATION_BATCH))
        indices = np.arange(start, min(start + EVALUATION_BATCH, count_of(inputs)))
        if found := not_finite_inputs("validation", inputs, indices, prepared):
            return found
        if "the loss alone" not in (found := diagnose(model, prepared)):
            return found
    return diagnose(model, prepared)


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


def _is_finite(x: object) -> bool:
    return not_finite(x) is None
