"""A network as an ONNX file."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ..._atomic import replacing
from ..._optional import require
from ..._paths import printable
from ...archive import CheckpointError
from ...core import Tensor, describe
from ...nn import Module
from .fusion import fused
from .recording import Batch, ExportError, Length, Program, Step, Value, record
from .rules import RULES

OPSET = 18
"""The version of ONNX's operators in the files that are written."""

IR_VERSION = 8
"""The version of the file format that belongs to it, which readers from 2022 on know."""

DESCRIPTION = "tensorgrad"
"""The name in a file's metadata of the description that :func:`export` was given."""

UNTRAINED = "tensorgrad.untrained"
"""The name in a file's metadata of a list of the tensors that require no gradients, such as running means."""

_LARGEST = 2**31 - 2**20
_DTYPES = "?bhilBHILefd"


def export(
    model: Module | Callable[..., Any],
    path: str | Path,
    *examples: Any,
    description: Mapping[str, Any] | None = None,
) -> None:
    """Write a network to an ONNX file, for other libraries and servers to run.

    The forward pass is run in evaluation mode with the examples, and with one example more, and what it computes is
    written: so any ``forward`` of ops and NumPy functions can be exported, as long as it does the same for every input.
    The size of the batch is left open in the file; all other lengths are those of the examples. Parameters keep their
    names, such as ``0.weight``. Operators are those of opset 18; the file is checked by ONNX's own checker.

    Parameters
    ----------
    model
        The network; or a function of Tensors that returns Tensors; or a fitted estimator of
        :mod:`tensorgrad.interop.sklearn`, of which ``as_module()`` is written.
    path
        The file, which ends in ``.onnx``. The old one stays until the new one is whole and on disk.
    examples
        An input for each parameter of ``forward``: arrays, whose first axis is the batch.
    description
        Metadata for the file, such as the names of classes: anything that JSON can hold.

    Raises
    ------
    ExportError
        If an op has no counterpart in ONNX, or the forward pass depends on the batch or on values in a way that cannot
        be exported; the message names the op.
    TypeError
        If an example is missing, or no array of numbers with a batch; or if the model is nothing to be called.
    ValueError
        If the path ends in something else.
    CheckpointError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, tensorgrad as tg
    >>> from tensorgrad.interop import onnx
    >>> network = tg.nn.Sequential(tg.nn.Dense(4, 3, rng=0), np.tanh, tg.nn.Dense(3, 2, rng=1))
    >>> path = Path(tempfile.mkdtemp()) / "network.onnx"
    >>> onnx.export(network, path, np.zeros((1, 4), np.float32))
    >>> onnx.load(path)(np.ones((5, 4), np.float32)).shape
    (5, 2)
    """
    library = require("onnx", "Exporting to ONNX")
    if Path(path).suffix.lower() != ".onnx":
        raise ValueError(f"export: the path must end in .onnx, got {printable(path)!r}")
    if hasattr(model, "as_module"):
        model = model.as_module()
    if not callable(model):
        raise TypeError(
            "export: model must be a Module, a function of Tensors, or a fitted estimator of tensorgrad.interop.sklearn"
            f", got {type(model).__name__}; of a pipeline take its last step, pipeline[-1]"
        )
    names = _names_of_inputs(model, len(examples))
    arrays = [_as_example(model, name, example) for name, example in zip(names, examples)]
    try:
        text = json.dumps(dict(description or {}))
    except (TypeError, ValueError) as error:
        raise TypeError(f"export: the description must be what JSON can hold ({error})") from None
    content = _Writer(library, record(model, arrays, names)).content(text)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CheckpointError(
            f"{printable(path)}: cannot be saved ({error.strerror or error}); the earlier one is intact"
        ) from None


def _names_of_inputs(model: Any, count: int) -> list[str]:
    """Those of the parameters of the forward function."""
    function = model.forward if isinstance(model, Module) else model
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # of ufuncs, say
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in parameters if p.name in names)
    if count < max(least, 1):
        wanted = ", ".join(names) or "at least one input"
        raise TypeError(f"export: takes an example for each input ({wanted}), got {count} example(s)")
    return [*names[:count], *(f"input_{i}" for i in range(len(names), count))]


def _as_example(model: object, name: str, example: object) -> np.ndarray:
    """An example as an array; floats in the dtype of the parameters."""
    array = np.array(example.numpy() if isinstance(example, Tensor) else example)
    if array.dtype.kind not in "fiub" or array.ndim == 0 or array.shape[0] == 0:
        raise TypeError(
            f"export: the example for {name} must be an array of numbers whose first axis is a batch of at least one, "
            f"got {describe(array)}"
        )
    if array.dtype.kind == "f" and isinstance(model, Module):
        for parameter in model.parameters():
            return array.astype(parameter.dtype, copy=False)
    return array


class _Writer:
    """Turns a program into the nodes of a graph."""

    def __init__(self, library: Any, program: Program) -> None:
        self.helper, self.numpy_helper = library.helper, library.numpy_helper
        self.library, self.program = library, program
        self.nodes: list[Any] = []
        self.parameters: dict[str, Any] = {}
        self.untrained: list[str] = []
        self._names: dict[int, str] = {}
        self._dtypes: dict[str, np.dtype] = {}
        self._taken: set[str] = {value.name for value in program.inputs}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._batch = ""
        self._size = 0

    def content(self, description: str) -> bytes:
        """The bytes of the file, checked."""
        for value in self.program.inputs:
            self._names[id(value)] = value.name
        for step in fused(self.program):
            if step.op not in RULES:
                raise ExportError(
                    f"export: the op {step.op!r} cannot be exported to ONNX; compute it from others, or leave it out "
                    "of forward and do it on the result"
                )
            self._names[id(step.result)] = self.cast(RULES[step.op](_Call(self, step)), step.result.dtype)
        given = [self.value(value) for value in self.program.outputs]
        outputs = [self._output(i, name) for i, name in enumerate(given)]
        _rename_results(self.nodes, len(outputs))
        inputs = [self._described(value.name, value) for value in self.program.inputs]
        graph = self.helper.make_graph(self.nodes, "network", inputs, outputs, list(self.parameters.values()))
        opset = [self.helper.make_opsetid("", OPSET)]
        model = self.helper.make_model(
            graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="tensorgrad", functions=[]
        )
        self.helper.set_model_props(model, {DESCRIPTION: description, UNTRAINED: json.dumps(self.untrained)})
        try:
            self.library.checker.check_model(model, full_check=True)
        except Exception as error:  # of two libraries, in C++
            reason = " ".join(str(error).split())[:300]
            raise ExportError(
                f"export: ONNX has no such operator for these dtypes ({reason}); convert with astype"
            ) from None
        content: bytes = model.SerializeToString()
        return content

    def _output(self, i: int, given: str) -> Any:
        """An output under a name of its own, and what it is."""
        name = self._fresh("output" if len(self.program.outputs) == 1 else f"output_{i}")
        self.nodes.append(self.helper.make_node("Identity", [given], [name]))
        return self._described(name, self.program.outputs[i])

    def _described(self, name: str, value: Value) -> Any:
        lengths = [("batch" if n.times == 1 else None) if isinstance(n, Batch) else n for n in value.shape]
        return self.helper.make_tensor_value_info(name, self._element_type(value.dtype), lengths)

    def _element_type(self, dtype: Any) -> int:
        if np.dtype(dtype).char not in _DTYPES:
            raise ExportError(f"export: {np.dtype(dtype)} has no counterpart in ONNX; convert it with astype")
        kind: int = self.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return kind

    # What rules use

    def value(self, value: Value) -> str:
        """The name of a value; of parameters and constants, which are written when they are first used, as well."""
        if id(value) not in self._names:
            if value.kind == "parameter":
                self._names[id(value)] = self._parameter(value)
            else:
                constant = self.constant(value.array, value.dtype)
                repeated = value.array.shape != value.shape
                self._names[id(value)] = self._repeated(constant, value) if repeated else constant
        name = self._names[id(value)]
        self._dtypes[name] = value.dtype
        return name

    def _parameter(self, value: Value) -> str:
        """A tensor of the network, under its own name where it is free."""
        array = np.array(value.array, order="C")
        self._element_type(array.dtype)
        self._size += array.nbytes
        if self._size > _LARGEST:
            raise ExportError(
                f"export: the weights have more than {_LARGEST / 2**30:.1f} GiB, which is what an ONNX file holds; "
                "save them with model.save instead"
            )
        if value.name in self._taken:
            name = self._fresh(value.name)
        else:
            name = value.name
            self._taken.add(name)
        if not value.trained:
            self.untrained.append(name)
        self.parameters[name] = self.numpy_helper.from_array(array, name)
        return name

    def _repeated(self, constant: str, value: Value) -> str:
        return self.node("Expand", constant, self.shape(value.shape), dtype=value.dtype)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """The name of a constant; those that are alike are one."""
        array = np.array(value, dtype, order="C")
        key = array.shape, array.dtype.str, array.tobytes()
        if key not in self._constants:
            name = self._fresh("constant")
            self._element_type(array.dtype)
            tensor = self.numpy_helper.from_array(array, name)
            self.nodes.append(self.helper.make_node("Constant", [], [name], value=tensor))
            self._constants[key], self._dtypes[name] = name, array.dtype
        return self._constants[key]

    def node(self, operator: str, *inputs: str, dtype: Any = None, **attributes: Any) -> str:
        """The name of what an operator gives."""
        name = self._fresh(operator.lower())
        self.nodes.append(self.helper.make_node(operator, inputs, [name], name=name, **attributes))
        given = dtype if dtype is not None else _dtype_of(operator, [self._dtypes[x] for x in inputs])
        self._dtypes[name] = np.dtype(given)
        return name

    def cast(self, name: str, dtype: Any) -> str:
        """The name of a value in another dtype."""
        dtype = np.dtype(dtype)
        if self._dtypes[name] == dtype:
            return name
        return self.node("Cast", name, dtype=dtype, to=self._element_type(dtype))

    def shape(self, lengths: Sequence[Length]) -> str:
        """The name of a shape; lengths of the batch are computed from that of the first input that has it."""
        if not any(isinstance(length, Batch) for length in lengths):
            return self.constant(lengths)
        parts = [self._length(length) for length in lengths]
        return parts[0] if len(parts) == 1 else self.node("Concat", *parts, axis=0)

    def _length(self, length: Length) -> str:
        if not isinstance(length, Batch):
            return self.constant([length])
        if not self._batch:
            whole = self.node("Shape", self.program.inputs[0].name, dtype=np.int64)
            self._batch = self.node("Gather", whole, self.constant([0]), axis=0)
        if length.times is None:
            raise ExportError(
                f"export: an axis has {length.first} elements for one batch and {length.second} for one of an example "
                "more, which is not a multiple of the batch; leave such a shape out of reshape and broadcast_to"
            )
        return self._batch if length.times == 1 else self.node("Mul", self._batch, self.constant([length.times]))

    def _fresh(self, name: str) -> str:
        """A name that nothing has yet."""
        number, found = 0, name
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found


class _Call:
    """A step that is being written, as rules see it."""

    def __init__(self, writer: _Writer, step: Step) -> None:
        self._writer, self.step = writer, step
        self.node, self.constant, self.cast = writer.node, writer.constant, writer.cast
        self.shape, self.value = writer.shape, writer.value

    def operand(self, i: int, dtype: Any = None) -> str:
        """The name of an operand, in a dtype or its own."""
        operand = self.step.operands[i]
        if isinstance(operand, Value):
            name = self._writer.value(operand)
            return name if dtype is None else self._writer.cast(name, dtype)
        return self._writer.constant(operand, self.step.result.dtype if dtype is None else dtype)


def _rename_results(nodes: list[Any], count: int) -> None:
    """Where the last ``count`` nodes, identities, hand on what a node gives, let that have the output's name."""
    identities = nodes[-count:]
    finished = {node.output[0] for node in identities}
    for identity in identities:
        given, name = identity.input[0], identity.output[0]
        is_given = any(given in node.output and node.op_type != "Constant" for node in nodes)
        if is_given and given not in finished:
            nodes.remove(identity)
            for node in nodes:
                for names in (node.input, node.output):
                    names[:] = [name if used == given else used for used in names]


_TRUTHS = frozenset(
    ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor", "Not", "IsNaN", "IsInf")
)


def _dtype_of(operator: str, inputs: Sequence[np.dtype]) -> np.dtype:
    """The dtype of what an operator gives."""
    if operator in _TRUTHS:
        return np.dtype(bool)
    if operator in ("ArgMax", "ArgMin"):
        return np.dtype(np.int64)
    return inputs[1 if operator == "Where" else 0]
