"""Weights to and from PyTorch: the names and axes of a ``state_dict``, as arrays or in files.

PyTorch itself is needed for ``.pt`` files alone: dicts of arrays and ``.safetensors`` files do without. Both networks
have to be built alike, with the same names for their layers: what is converted is what a layer holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._atomic import replacing
from .._optional import require
from .._paths import check_regular, printable
from ..archive import CheckpointError
from ..core import Tensor, describe
from ..nn import Dense, Module, MultiHeadAttention
from ..nn.normalisation import BatchNorm
from ..nn.recurrent import Cell, Recurrent
from . import safetensors

__all__ = ["load", "load_state_dict", "save", "state_dict"]

_COUNTS = "num_batches_tracked"
"""An entry of PyTorch's batch normalisation that is not used here: how many batches it has seen."""

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Where the weights are in files that also hold other things."""

_PURPOSE = "A PyTorch file"


def state_dict(model: Module) -> dict[str, np.ndarray]:
    """The weights of a network with the names and axes that PyTorch gives them: ``(out, in)`` for ``Dense``, say.

    Returns
    -------
    dict
        Arrays in C order by name, for ``torch_model.load_state_dict({name: torch.from_numpy(array) for ...})``.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> from tensorgrad.interop import pytorch
    >>> model = tg.nn.Sequential(tg.nn.Dense(4, 3), tg.nn.ReLU(), tg.nn.Dense(3, 2))
    >>> {name: array.shape for name, array in pytorch.state_dict(model).items()}
    {'0.weight': (3, 4), '0.bias': (3,), '2.weight': (2, 3), '2.bias': (2,)}
    """
    ours = model.state_dict(copy=False)
    return {entry.theirs: entry.joined(ours) for entry in _entries(model)}


def load_state_dict(model: Module, state: Mapping[str, Any]) -> None:
    """Set the weights of a network from a ``state_dict`` of PyTorch; all or, on an error, none.

    Parameters
    ----------
    model
        The network.
    state
        Arrays by name, or PyTorch's tensors; how many batches a batch normalisation has seen is left out.

    Raises
    ------
    KeyError
        If a name is missing or unknown.
    ValueError
        If a shape or the kind of a dtype differs.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(3, 2)
    >>> load_state_dict(layer, {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(2)})
    >>> layer(np.array([0.0, 0.0, 1.0]))
    Tensor([2., 5.], dtype=float32, requires_grad=True)
    """
    _set(model, {name: _as_array(value) for name, value in state.items()})


def save(model: Module, path: str | Path) -> None:
    """Write the weights for PyTorch: a ``.safetensors`` file, or with any other ending what ``torch.save`` writes.

    Raises
    ------
    CheckpointError
        If the file cannot be written.
    """
    state = state_dict(model)
    if Path(path).suffix.lower() == ".safetensors":
        safetensors.save(path, state, {"format": "pt"})
        return
    torch = require("torch", _PURPOSE)
    try:
        with replacing(path) as temporary:
            torch.save({name: torch.from_numpy(array) for name, array in state.items()}, temporary)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)}: cannot be saved ({error.strerror or error}); the earlier one is intact"
        ) from None


def load(model: Module, path: str | Path) -> None:
    """Set the weights of a network from a file of PyTorch's: ``.safetensors``, or what ``torch.save`` wrote.

    Of the latter nothing but tensors and plain containers is read (``weights_only=True``), so that no code in it runs.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, holds other things than weights, or those of another network.
    """
    where = printable(path)
    if Path(path).suffix.lower() == ".safetensors":
        state: Any = safetensors.load(path)[0]
    else:
        state = _unpickled(where, path)
    try:
        load_state_dict(model, state)
    except (KeyError, ValueError, TypeError) as error:
        reason = printable(str(error.args[0] if error.args else error))
        raise CheckpointError(f"{where}: of another network ({reason[:300]})") from None


def _unpickled(where: str, path: str | Path) -> dict[str, Any]:
    """The weights in a file that ``torch.save`` wrote."""
    torch = require("torch", _PURPOSE)
    try:
        check_regular(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except Exception as error:  # PyTorch raises nearly anything on files that it did not write
        reason = " ".join(printable(str(error).partition("\n")[0][:200]).split())
        raise CheckpointError(
            f"{where}: not a file of weights that PyTorch reads with weights_only=True ({reason}); save the state_dict "
            "alone, with torch.save(model.state_dict(), path)"
        ) from None
    for name in _INSIDE:
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise CheckpointError(
            f"{where}: holds no state_dict but a {type(state).__name__}; save it with torch.save(model.state_dict(), "
            "path)"
        )
    return state


class _Entry(NamedTuple):
    """A tensor of PyTorch's, and the names of ours of which it consists, one after the other along its first axis."""

    theirs: str
    ours: tuple[str, ...]
    is_transposed: bool = False

    def joined(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """The tensor as PyTorch has it; a count of batches is 0."""
        parts = [state[name].T if self.is_transposed else state[name] for name in self.ours] or [np.array(0)]
        return np.array(np.concatenate(parts) if len(parts) > 1 else parts[0], order="C")

    def parts(self, array: np.ndarray) -> dict[str, np.ndarray]:
        """Ours, by name."""
        parts = np.split(array, len(self.ours)) if len(self.ours) > 1 else [array] * len(self.ours)
        return {name: part.T if self.is_transposed else part for name, part in zip(self.ours, parts)}


def _entries(model: Module) -> Iterator[_Entry]:
    """What PyTorch has of a network, in the order of our tensors."""
    names = [name for name, _ in model.named_tensors()]
    special: dict[str, _Entry | None] = {}
    for path, module in model.named_modules():
        for entry in _of_layer(module):
            ours = tuple(_joined(path, name) for name in entry.ours)
            if ours[0] in names and ours[0] not in special:  # a layer that holds others comes before them
                special.update(dict.fromkeys(ours[1:]))
                special[ours[0]] = entry._replace(ours=ours, theirs=_joined(path, entry.theirs))
    counted = {_joined(path, "running_var"): path for path, x in model.named_modules() if isinstance(x, BatchNorm)}
    for name in names:
        found = special.get(name, _Entry(name, (name,)))
        if found is not None:
            yield found
        if name in counted:
            yield _Entry(_joined(counted[name], _COUNTS), ())


def _of_layer(module: Module) -> Iterator[_Entry]:
    """The tensors of a layer that PyTorch names or arranges otherwise."""
    if isinstance(module, Dense):
        yield _Entry("weight", ("weight",), is_transposed=True)
    elif isinstance(module, Cell):
        yield from (_Entry(name, (name,), is_transposed=True) for name in ("weight_ih", "weight_hh"))
    elif isinstance(module, Recurrent):
        for ending, cells in (("", "cells"), ("_reverse", "reverse_cells")):
            for i in range(len(getattr(module, cells))):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    yield _Entry(f"{name}_l{i}{ending}", (f"{cells}.{i}.{name}",), name.startswith("weight"))
    elif isinstance(module, MultiHeadAttention):
        parts = ("query", "key", "value")
        if module.query.weight.shape == module.key.weight.shape == module.value.weight.shape:
            yield _Entry("in_proj_weight", tuple(f"{part}.weight" for part in parts), is_transposed=True)
        else:
            yield from (_Entry(f"{part[0]}_proj_weight", (f"{part}.weight",), is_transposed=True) for part in parts)
        yield _Entry("in_proj_bias", tuple(f"{part}.bias" for part in parts))
        yield _Entry("out_proj.weight", ("output.weight",), is_transposed=True)
        yield _Entry("out_proj.bias", ("output.bias",))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _set(model: Module, state: dict[str, np.ndarray]) -> None:
    entries = {entry.theirs: entry for entry in _entries(model)}
    needed = {name for name, entry in entries.items() if entry.ours}
    missing, unknown = sorted(needed - state.keys()), sorted(map(repr, state.keys() - entries.keys()))
    if missing or unknown:
        raise KeyError(
            f"pytorch: the state is of another network; missing: {', '.join(missing) or 'nothing'}, "
            f"unknown: {', '.join(unknown) or 'nothing'}"
        )
    ours, converted = model.state_dict(copy=False), {}
    for name in needed:
        wanted = entries[name].joined(ours)
        if state[name].shape != wanted.shape or state[name].dtype.kind != wanted.dtype.kind:
            raise ValueError(f"pytorch: {name} is {describe(state[name])}, the network needs {describe(wanted)}")
        converted.update(entries[name].parts(state[name]))
    model.load_state_dict(converted)


def _as_array(value: Any) -> np.ndarray:
    """An array of ours, or of a tensor of PyTorch's; its bfloat16, which NumPy does not have, as float32."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if isinstance(value, Tensor):
        return value.numpy()
    if not hasattr(value, "detach"):
        raise TypeError(f"pytorch: a state_dict holds arrays or tensors, got {type(value).__name__}")
    value = value.detach().cpu()
    array: np.ndarray = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    return array
