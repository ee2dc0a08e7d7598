"""One training step, and what is looked at in the first one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Callable

import numpy as np

from .._pytree import tree_leaves
from ..compiler import compile, own
from ..core import Op, Tensor
from ..core.context import Replacements, runtime_check
from ..distributed import sharing
from ..nn import BatchNorm1d, Module, Sequential, Sigmoid, Softmax
from ..optim import Optimiser, clip_gradient_values, clip_gradients
from .objective import Loss, Objective, Task, check_loss, objective
from .ranks import Ranks
from .several import Several

Step = Callable[..., "tuple[Tensor, Any]"]
"""A function of inputs and targets, and shares, that updates parameters and returns the loss and the outputs."""

_SHOWN = 3


class LossNotFinite(ArithmeticError):
    """Raised by a training step whose loss is infinite or NaN; nothing has been updated."""

    def __init__(self, loss: float, is_of_this_rank: bool = True) -> None:
        super().__init__(f"the loss became {loss}")
        self.loss, self.is_of_this_rank = loss, is_of_this_rank


def training_step(
    model: Module,
    optimiser: Optimiser,
    max_norm: float | None = None,
    first: FirstStep | None = None,
    *,
    loss: Loss | Task = "softmax_cross_entropy",
    max_value: float | None = None,
) -> Step:
    """The function that does one update and returns the loss of the batch, without penalties, and the outputs.

    It can be compiled: ``tensorgrad.compile(training_step(model, optimiser))``. ``first`` is shown what the first call
    computes, before anything is updated. ``loss`` is as for :func:`fit`. The function also takes ``shares``, which the
    losses of the examples are multiplied by before they are added up; without, they are averaged. For an update from
    several batches, it takes the ``part`` that each has in the loss of all, and whether it ``begins`` or ``ends`` them.

    Raises
    ------
    LossNotFinite
        By the function, before anything is updated.
    """
    chosen = loss if isinstance(loss, (Objective, Several)) else objective("training_step", loss)
    gradients = gradients_of(model, optimiser.zero_grad, first, chosen)
    update = updating(optimiser, max_norm, max_value)

    def step(*given: Any, begins: bool = True, ends: bool = True) -> tuple[Tensor, Any]:
        loss, outputs = gradients(*given, begins=begins)
        if ends:
            update()
        return loss, outputs

    return step


def gradients_of(
    model: Module,
    forget: Callable[[], None],
    first: FirstStep | None,
    chosen: Task,
    is_alone: bool = True,
    is_penalised: bool = True,
) -> Step:
    """The first half of a step: loss, outputs and gradients, of several ranks those of this one.

    ``forget`` sets gradients to None, ``is_penalised`` says whether those of penalties are added: once for all ranks.
    """

    def gradients(
        inputs: object, targets: object, shares: object = None, part: object = None, *, begins: bool = True
    ) -> tuple[Tensor, Any]:
        if begins:
            forget()
        outputs = model(inputs)
        if first is not None:
            first.see_outputs(outputs)
        loss: Tensor = chosen(outputs, targets, shares, part)
        check_loss("fit", loss)
        if is_alone:
            runtime_check(_check_finite, loss, now=False)
        total = loss + model.penalty() if begins and is_penalised else loss
        if first is not None:
            first.see_loss(total)
        total.backward()
        return loss, outputs

    return gradients


def updating(optimiser: Optimiser, max_norm: float | None, max_value: float | None) -> Callable[[], None]:
    """The second half of a step: the parameters change."""

    def update() -> None:
        if max_value is not None:
            clip_gradient_values(optimiser.parameters, max_value)
        if max_norm is not None:
            clip_gradients(optimiser.parameters, max_norm)
        optimiser.step()

    return update


def compiled_step(model: Module, optimiser: Optimiser, *args: Any, loss: Task, max_value: float | None = None) -> Step:
    """:func:`training_step`, compiled."""
    step: Step = _compiled(
        training_step(model, optimiser, *args, loss=loss, max_value=max_value), model, optimiser, loss
    )
    return step


def _compiled(function: Any, model: Module, optimiser: Optimiser, loss: Task) -> Any:
    """A function, replayed if it is known to depend on its model and optimiser alone; else Python runs in each call."""
    if loss.is_pure and is_from_library(model, optimiser):
        return replayed(function)
    compiled: Any = compile(function)
    compiled.sums_as_numpy = True  # so that what is resumed, in a first call, goes on to the last bit
    return compiled


def replayed(function: Callable[..., Any]) -> Any:
    """A function that depends on a model and an optimiser of this library alone, compiled."""
    return own(function, lambda: Replacements.count)


def step_over_ranks(
    model: Module,
    optimiser: Optimiser,
    max_norm: float | None,
    first: FirstStep,
    *,
    loss: Task,
    max_value: float | None,
    ranks: Ranks,
    compiled: bool,
) -> Step:
    """A step of which each rank does its part of the batch: between its halves, gradients and losses are added up.

    The loss that it returns is that of all ranks, with the last batch of a step; 0 with those before.
    """
    is_alone, is_penalised = ranks.size == 1, ranks.is_first
    gradients: Any = gradients_of(model, optimiser.zero_grad, first, loss, is_alone, is_penalised)
    update = updating(optimiser, max_norm, max_value)
    gradient_sums = ranks.gradient_sums(optimiser)
    if compiled:
        gradients, update = (_compiled(half, model, optimiser, loss) for half in (gradients, update))
        gradients.put_gradients(gradient_sums.places)
    own_loss = 0.0

    def step(*given: Any, begins: bool = True, ends: bool = True) -> tuple[Tensor, Any]:
        nonlocal own_loss
        loss, outputs = gradients(*given, begins=begins)
        own_loss = loss.item() if begins else own_loss + loss.item()
        if not ends:
            return Tensor(0.0), outputs
        [total] = gradient_sums(own_loss)
        if not math.isfinite(total):
            raise LossNotFinite(total, not math.isfinite(own_loss))
        with sharing(None):
            update()
        return Tensor(total), outputs

    return step


def _check_finite(loss: np.ndarray) -> None:
    if not math.isfinite(loss):
        raise LossNotFinite(float(loss))


class FirstStep:
    """Checks the first step of a training: that targets fit the outputs, and that what is computed with is optimised.

    Attributes
    ----------
    warning
        What is wrong with the parameters, in a sentence; empty where nothing is.
    """

    def __init__(self, model: Module, optimiser: Optimiser, objective: Task, targets: Mapping[str, Any]) -> None:
        self.warning = ""
        self._model, self._optimiser, self._objective, self._targets = model, optimiser, objective, targets
        self._outputs: Any = None
        self._done = False

    def see_outputs(self, outputs: Any) -> None:
        """Raise if the targets do not fit."""
        if self._done:
            return
        if any(isinstance(leaf, np.ndarray) for leaf in tree_leaves(outputs)):
            kind = "logits" if self._objective.is_own else "outputs"
            raise TypeError(
                f"fit: the network gives {kind} without a history, as an array; let it compute with Tensors"
            )
        for name, targets in self._targets.items():
            self._objective.check_fit("fit", name, outputs, targets)
        self._outputs = outputs

    def see_loss(self, loss: Tensor) -> None:
        """Raise if no parameter takes part in it; note those that are not optimised."""
        if self._done:
            return
        self._done = True
        met = _history(loss)
        used = [tensor for tensor in met if tensor.creator is None]
        optimised = {id(parameter) for parameter in self._optimiser.parameters}
        if not any(id(leaf) in optimised for leaf in used):
            raise ValueError(
                "fit: the loss depends on none of the optimiser's parameters, so there is nothing to train; compute "
                "the output of the network with them, as Tensors"
            )
        left_out = [leaf for leaf in used if id(leaf) not in optimised]
        warnings = [_of_left_out(self._model, left_out) if left_out else "", _of_all_pairs(met, self._outputs)]
        self.warning = "; ".join(filter(None, [*warnings, _of_probabilities(self._model, self._objective)]))
        self._outputs = None


def _history(loss: Tensor) -> list[Tensor]:
    """The Tensors with gradients that a loss was computed from, itself included."""
    met: dict[int, Tensor] = {}  # keeps them, so that no identity is taken twice
    stack = [loss]
    while stack:
        tensor = stack.pop()
        if tensor.requires_grad and id(tensor) not in met:
            met[id(tensor)] = tensor
            operands = tensor.creator[1] if tensor.creator is not None else ()
            stack.extend(operand for operand in operands if isinstance(operand, Tensor))
    return list(met.values())


def _of_all_pairs(met: Iterable[Tensor], outputs: Any) -> str:
    """In a sentence, that outputs of shape (n, 1) and n targets were broadcast against each other; or nothing."""
    count = outputs.shape[0] if isinstance(outputs, Tensor) and outputs.ndim == 2 and outputs.shape[1] == 1 else 0
    for tensor in met if count > 1 else ():
        if tensor.shape != (count, count) or tensor.creator is None:
            continue
        kinds = {(operand.shape, getattr(operand, "requires_grad", False)) for operand in tensor.creator[1]}
        if {((count, 1), True), ((count,), False)} <= kinds:
            return (
                f"fit: the loss compares each output with each target, as outputs are of shape {outputs.shape} and "
                f"targets of shape ({count},); take outputs[:, 0] in the function"
            )
    return ""


_OF_LOGITS = {"softmax_cross_entropy": Softmax, "binary_cross_entropy_with_logits": Sigmoid}


def _of_probabilities(model: Module, task: Task) -> str:
    """In a sentence, that a loss of logits is given probabilities; or nothing."""
    layers = model.layers if isinstance(model, Sequential) else [None]
    function = getattr(task, "function", None)
    name = getattr(getattr(function, "func", function), "__name__", "")
    if not task.is_own or not isinstance(layers[-1], _OF_LOGITS.get(name, ())):
        return ""
    return (
        f"fit: the network ends with {layers[-1]!r}, but {name} takes logits and computes the probabilities itself; "
        "leave that layer out"
    )


def _of_left_out(model: Module, parameters: list[Tensor]) -> str:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    known = [names[id(parameter)] for parameter in parameters if id(parameter) in names]
    if known:
        return (
            f"fit: not among the optimiser's parameters, so not trained, though part of the loss: {_listed(known)}; "
            "make the optimiser of model.parameters(), or freeze what is to stay with requires_grad = False"
        )
    shapes = _listed(str(parameter.shape) for parameter in parameters)
    return (
        f"fit: not found by model.parameters(), so not trained, though part of the loss: tensors of shape {shapes}; "
        "hold them, or the layers they belong to, in attributes of a Module, or freeze them with requires_grad = False"
    )


def warning_of_unused(model: Module, optimiser: Optimiser) -> str:
    """In a sentence, which parameters have never been updated, because the loss does not depend on them; or nothing."""
    counts = list(zip(optimiser.parameters, optimiser.updates))
    unused = {id(parameter) for parameter, count in counts if not count and parameter.requires_grad}
    if not unused or len(unused) == len(counts):  # all: an optimiser of another kind, which does not count
        return ""
    names = _listed(name for name, parameter in model.named_parameters() if id(parameter) in unused)
    return (
        f"fit: no gradient in a whole epoch, as the loss does not depend on it: {names}; use it in forward, or leave "
        "it out of the model"
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


# What kind of network it is


def takes_no_single_example(model: Module) -> bool:
    """Whether a batch of one example is too small for it: one value for each channel has no variance."""
    return any(isinstance(module, BatchNorm1d) for module in model.modules())


def is_from_library(model: Module, optimiser: Optimiser) -> bool:
    """Whether all code that a step runs is of this library, or a ufunc: nothing counts, or asks for types, in Python.

    >>> import numpy as np, tensorgrad as tg
    >>> network = tg.nn.Sequential(tg.nn.Dense(2, 3), np.tanh)
    >>> is_from_library(network, tg.optim.SGD(network.parameters()))
    True
    """
    held = list(vars(optimiser).values())  # without the rates of its groups, which are called in each step as they are
    for module in model.modules():
        held += vars(module).values()
    parts = (optimiser, *model.modules())
    return all(_is_own(type(part)) for part in parts) and all(map(_is_known, tree_leaves(held, is_leaf=callable)))


def _is_known(value: object) -> bool:
    """Whether something that a network or an optimiser holds is no function of the user's."""
    if isinstance(value, Op):
        return _is_known(value.forward)
    if isinstance(value, (Module, np.ufunc)) or not callable(value):
        return True
    return _is_own(value)


def _is_own(definition: object) -> bool:
    """Whether a class or function is of this library."""
    return str(getattr(definition, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]
