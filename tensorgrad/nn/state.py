"""The state of a module: its tensors as arrays, saved, loaded and exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, cast

import numpy as np

from .._paths import printable
from ..core import Tensor, describe
from ..ops.conversion import without_history
from .tree import Tree

if TYPE_CHECKING:
    from .module import Module


class State(Tree):
    """How the tensors of a module are read and set; a mixin."""

    def save(self, path: str | Path, description: Mapping[str, Any] | None = None) -> None:
        """Write all tensors to a file, which :meth:`load` reads; the old file stays until the new one is on disk.

        Parameters
        ----------
        path
            Ending in ``.npz``, a file with a checksum, which ``numpy.load`` opens too; or in
            ``.safetensors``, for other libraries (the extra ``safetensors``).
        description
            Metadata for the file, such as the names of classes: anything that JSON can hold.

        Raises
        ------
        ValueError
            If the path ends in something else.
        TypeError
            If a tensor is of a dtype, or the description of a kind, that the file cannot hold.
        CheckpointError
            If the file cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import tensorgrad as tg
        >>> path = Path(tempfile.mkdtemp()) / "dense.npz"
        >>> one, other = tg.nn.Dense(3, 2, rng=0), tg.nn.Dense(3, 2, rng=1)
        >>> one.save(path, {"classes": ["cat", "dog"]})
        >>> other.load(path)
        {'classes': ['cat', 'dog']}
        >>> bool((one.weight.data == other.weight.data).all())
        True
        """
        from .._checkpoint import checked_suffix, save_checkpoint

        save_checkpoint(checked_suffix(path), self.state_dict(copy=False), description or {})

    def load(self, path: str | Path) -> dict[str, Any]:
        """Set all tensors from a file of :meth:`save`, a checkpoint of ``fit`` such as ``best.npz`` included.

        All are set or, on an error, none. Returns the description that was given to :meth:`save`.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or of another network.
        """
        return self._load(path, lambda description: None)

    def _load(self, path: str | Path, accept: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """What :meth:`load` does, if ``accept``, called with the description, does not raise."""
        from .._checkpoint import load_checkpoint

        def check(found: Mapping[str, np.ndarray]) -> None:
            state, tensors = _of_model(found), dict(self.named_tensors())
            _check_names(state, tensors)
            for name, tensor in tensors.items():
                _check_fits(name, state[name], tensor)

        with _of_this_network(path):
            arrays, description = load_checkpoint(path, check)
            accept(description)
            self.load_state_dict(_of_model(arrays))
        return description

    def _load_arrays(self, path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
        """What :meth:`load` does, of arrays that have been read from the file."""
        with _of_this_network(path):
            self.load_state_dict(_of_model(arrays))

    def state_dict(self, copy: bool = True) -> dict[str, np.ndarray]:
        """The arrays of all tensors, by dotted name; copies, unless ``copy`` is False."""
        named = list(self.named_tensors())
        state = {name: (tensor.detach() if copy else tensor).data for name, tensor in named}
        if len(state) != len(named):
            raise ValueError("state_dict: two tensors have the same dotted name; keys of dicts must differ as text")
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set all tensors from ``state``, as returned by :meth:`state_dict`; all or, on an error, none.

        Raises
        ------
        TypeError
            If it is not a mapping from names to arrays.
        KeyError
            If a name is missing or unknown.
        ValueError
            If a shape or the kind of a dtype differs, or what is one tensor here are two in the state.
        """
        if not isinstance(state, Mapping):
            raise TypeError(
                "load_state_dict: takes a mapping of names to arrays, such as np.load(path), got "
                f"{type(state).__name__}"
            )
        tensors = dict(self.named_tensors())
        _check_names(state, tensors)
        arrays = {name: np.asarray(without_history(state[name])) for name in tensors}
        names: dict[int, str] = {}
        for name, array in arrays.items():
            _check_fits(name, array, tensors[name])
            same = names.setdefault(id(tensors[name]), name)
            if same != name and not np.array_equal(array, arrays[same], equal_nan=True):
                raise ValueError(
                    f"load_state_dict: {same} and {name} are one tensor of this network, but differ in the state, "
                    "which is of a network that does not share it"
                )
        for name, array in arrays.items():
            tensors[name].data = array.astype(tensors[name].dtype, copy=False)

    def with_tensors(self, others: Mapping[str, Tensor]) -> Module:
        """A copy in which other tensors, by dotted name, stand in for its own; all the rest is shared.

        Raises
        ------
        KeyError
            If there is no tensor of a name.
        TypeError
            If one is held in a function, say in its closure: functions are not copied.

        Examples
        --------
        >>> import numpy as np, tensorgrad as tg
        >>> layer = tg.nn.Dense(2, 1, bias=False)
        >>> other = layer.with_tensors({"weight": tg.Tensor(np.ones((2, 1), np.float32))})
        >>> other([[2.0, 3.0]]).item()
        5.0
        """
        own = dict(self.named_tensors())
        if unknown := sorted(others.keys() - own.keys()):
            raise KeyError(f"with_tensors: {type(self).__name__} has no tensor {', '.join(unknown)}")
        replaced = {id(own[name]): tensor for name, tensor in others.items()}
        held = (value for module in self.modules() for _, value, _ in module._members())
        twin = deepcopy(self, {id(x): replaced.get(id(x), x) for x in held if not isinstance(x, Tree)})
        for module in twin.modules():
            vars(module)["_stand_ins"] = frozenset(map(id, others.values()))
        for name, tensor in twin.named_tensors():
            if id(tensor) in replaced:
                raise TypeError(
                    f"with_tensors: {name} is held in a function, which is not copied; hold it, or the layer that it "
                    "belongs to, in an attribute of a module"
                )
        return cast("Module", twin)


@contextmanager
def _of_this_network(path: str | Path) -> Iterator[None]:
    """Within, names and arrays that do not fit are a CheckpointError about the file."""
    from .._checkpoint import shortened
    from ..archive import CheckpointError

    try:
        yield
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{printable(path)}: of another network ({shortened(error)})") from None


def _check_names(state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Raise unless a state has an array for each tensor, and no others."""
    missing, unknown = sorted(tensors.keys() - state.keys()), sorted(map(repr, state.keys() - tensors.keys()))
    if missing or unknown:
        raise KeyError(
            f"load_state_dict: the state is of another network; missing: {', '.join(missing) or 'nothing'}, "
            f"unknown: {', '.join(unknown) or 'nothing'}"
        )


def _check_fits(name: str, array: np.ndarray, tensor: Tensor) -> None:
    """Raise unless a tensor can be set from an array."""
    if array.shape != tensor.shape or array.dtype.kind != tensor.dtype.kind:
        raise ValueError(f"load_state_dict: {name} is {describe(array)}, the network needs {describe(tensor)}")


def _of_model(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """The arrays of a network in a file; a checkpoint of ``fit`` also holds others."""
    prefix = "model/"
    inside = {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}
    return inside or arrays
