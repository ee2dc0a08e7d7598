"""Networks from ONNX files, as modules that run and are trained."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..._optional import require
from ..._paths import open_regular, printable
from ...archive import CheckpointError
from ...core import Tensor, describe
from ...nn import Module
from ...nn.normalisation import BatchNorm
from ...nn.weighted import in_dtype
from ...ops.conversion import as_tensor
from .operators import OPERATORS, Unsupported, dtype_of
from .writing import DESCRIPTION, UNTRAINED

OPSETS = range(13, 22)
"""The versions of ONNX's operators that are read."""

_LARGEST = 2**31


class Norm(BatchNorm):
    """Batch normalisation of images with any number of spatial axes."""

    spatial_axes = (0, 1, 2, 3)


class Node(NamedTuple):
    """One operator of a graph: what it computes, from what, and under which names."""

    operator: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


class Input(NamedTuple):
    """An input of a graph: its name, dtype, and shape, None for lengths that are left open."""

    name: str
    dtype: np.dtype
    shape: list[int | None]


class Network(Module):
    """A network that was read from an ONNX file by :func:`load`.

    Its parameters have the names that they have in the file. It is called with the inputs of the graph, and gives a
    Tensor, or a tuple where the graph has several outputs. In training mode batch normalisation uses the statistics of
    the batch, as elsewhere.

    Attributes
    ----------
    inputs
        Name, dtype and shape of each input; None for a length that is left open.
    output_names
        The names of the outputs.
    description
        The description in the file, as given to :func:`export`.
    """

    _unnamed = "weights"

    def __init__(self, inputs: list[Input], nodes: list[Node], output_names: list[str]) -> None:
        self.inputs, self.nodes, self.output_names = inputs, nodes, output_names
        self.weights: dict[str, Any] = {}
        self.constants: dict[str, Any] = {}
        self.norms: dict[str, str] = {}
        self.description: dict[str, Any] = {}

    def forward(self, *inputs: Any) -> Any:
        """The outputs of the graph for its inputs."""
        if len(inputs) != len(self.inputs):
            names = ", ".join(given.name for given in self.inputs)
            raise TypeError(f"{type(self).__name__}: takes {len(self.inputs)} input(s) ({names}), got {len(inputs)}")
        values: dict[str, Any] = {"": None, **self.constants}
        for name, weight in self.weights.items():
            if isinstance(weight, Tensor):
                values[name] = weight
        for (name, dtype, shape), value in zip(self.inputs, inputs):
            values[name] = _checked(self, name, in_dtype(self, value, dtype), shape)
        for node in self.nodes:
            try:
                values.update(zip(node.outputs, self._results(node, values)))
            except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
                raise ValueError(
                    f"{self!r}: its operator {node.operator} ({node.outputs[0]}) fails: {error}"
                ) from error
        outputs = [as_tensor(values[name]) for name in self.output_names]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _results(self, node: Node, values: dict[str, Any]) -> list[Any]:
        if (norm := self.norms.get(node.outputs[0])) is not None:
            return [self.weights[norm](values[node.inputs[0]])]
        results = OPERATORS[node.operator](*(values[name] for name in node.inputs), **node.attributes)
        return results if isinstance(results, list) else [results]

    def __repr__(self) -> str:
        inputs = ", ".join(f"{x.name}: {x.dtype}{list(x.shape)}" for x in self.inputs)
        return f"Network({inputs}, {len(self.nodes)} operators, {len(self.parameters())} parameters)"


def _checked(network: Module, name: str, value: Any, shape: list[int | None]) -> Any:
    if value.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, value.shape)):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"{network!r}: {name} must have shape ({wanted}), got {value.shape}")
    return value


def load(path: str | Path) -> Network:
    """The network in an ONNX file, in evaluation mode; ``train()`` it further.

    Operators of opsets 13 to 21 that :func:`export` writes, and others that files of other libraries have, are known:
    see ``tensorgrad.interop.onnx.OPERATORS``. Weights of more than one element are parameters, but for the running
    statistics of batch normalisation; in files that :func:`export` wrote, those that were. Dropout, which other
    libraries leave out as well, does nothing.

    A file is checked before its arrays are made, which take no more memory than it is long, and nothing in it is run as
    code; but like any network it may ask for much work when it is called. Weights may also be in another file in the
    same folder, as PyTorch writes them.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or has an operator that is not known: the message names it.

    Examples
    --------
    See :func:`export`.
    """
    library = require("onnx", "Reading an ONNX file")
    where = printable(path)
    try:
        with open_regular(path) as file:
            content = file.read(_LARGEST)
    except FileNotFoundError:
        raise CheckpointError(f"{where}: no such file") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    try:
        model = library.load_model_from_string(content)
        del content
        _refuse_unknown(model)
        taken: Counter[str] = Counter()
        for tensor in _tensors(model):
            if tensor.data_location == library.TensorProto.EXTERNAL:
                _take_in(library, tensor, Path(path).parent, taken)
        library.checker.check_model(model)
        return _Reader(library, model).network()
    except Unsupported as error:
        raise CheckpointError(f"{where}: {error}") from None
    except Exception as error:  # protobuf and ONNX raise nearly anything on crafted files
        reason = " ".join(printable(str(error)[:200]).split())
        raise CheckpointError(f"{where}: not an ONNX file, or damaged ({reason}); use another one") from None


def _refuse_unknown(model: Any) -> None:
    """Raise for what is not read, before anything else is done."""
    versions = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if not model.graph.node or not versions:
        raise Unsupported("not an ONNX file, as it holds no network; use another one")
    if versions[0] not in OPSETS:
        raise Unsupported(
            f"it is of opset {versions[0]}, and {OPSETS[0]} to {OPSETS[-1]} are read; convert it with "
            "onnx.version_converter, or export it with such an opset"
        )
    if model.functions or model.graph.sparse_initializer:
        raise Unsupported("it has functions or sparse weights, which are not read; export the network without them")
    for node in model.graph.node:
        if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
            raise Unsupported(
                f"it has the operator {printable(node.op_type)[:50]!r}, which is not known here; export the network "
                "without it, or run the file with onnxruntime"
            )


def _tensors(model: Any) -> list[Any]:
    attributes = (attribute for node in model.graph.node for attribute in node.attribute)
    return [*model.graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]


def _take_in(library: Any, tensor: Any, folder: Path, taken: Counter[str]) -> None:
    """Put an array that is in another file into the model; only files in the same folder are read.

    ``taken`` counts the bytes that have been taken from each.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    if not name or Path(name).name != name or (folder / name).is_symlink():
        raise Unsupported(
            f"its weights are to be in {printable(name)[:100]!r}, and files of its own folder are read alone"
        )
    size = math.prod(tensor.dims) * dtype_of(tensor.data_type).itemsize
    offset = int(entries.get("offset", 0))
    try:
        with open_regular(folder / name) as file:
            length = file.seek(0, 2)
            taken[name] += size
            if (
                taken[name] > length
                or offset < 0
                or size < 0
                or offset + size > length
                or int(entries.get("length", size)) != size
            ):
                raise Unsupported(f"its weights are cut off in {printable(name)[:100]!r}; use another one")
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise Unsupported(
            f"its weights are in {printable(name)[:100]!r}, which cannot be read ({error.strerror or error}); put both "
            "files into one folder"
        ) from None
    tensor.raw_data = content
    tensor.data_location = library.TensorProto.DEFAULT
    del tensor.external_data[:]


class _Reader:
    """Makes a network of a model that has been checked."""

    def __init__(self, library: Any, model: Any) -> None:
        self.library, self.model, self.graph = library, model, model.graph
        self.arrays = {tensor.name: self._array(tensor) for tensor in self.graph.initializer}
        self.properties = {entry.key: entry.value for entry in model.metadata_props}

    def network(self) -> Network:
        """The network, its weights as Tensors where they are floats."""
        inputs = [self._input(x) for x in self.graph.input if x.name not in self.arrays]
        nodes = [self._node(node) for node in self.graph.node]
        network = Network(inputs, nodes, [x.name for x in self.graph.output])
        if DESCRIPTION in self.properties:
            network.description = dict(json.loads(self.properties[DESCRIPTION]))
        running = {name for node in nodes if node.operator == "BatchNormalization" for name in node.inputs[3:5]}
        mine = UNTRAINED in self.properties
        untrained = set(json.loads(self.properties[UNTRAINED])) if mine else running
        for name, array in self.arrays.items():
            if array.dtype.kind == "f" and (mine or array.size > 1):
                network.weights[name] = Tensor(array, requires_grad=name not in untrained | running)
            else:
                network.constants[name] = array
        for node in nodes:
            if node.operator == "BatchNormalization" and all(name in network.weights for name in node.inputs[1:]):
                _add_norm(network, node)
        network.eval()
        return network

    def _node(self, node: Any) -> Node:
        attributes = {attribute.name: self._attribute(attribute) for attribute in node.attribute}
        if node.op_type == "Split" and len(node.input) == 1:
            attributes.setdefault("num_outputs", len(node.output))
        return Node(node.op_type, list(node.input), list(node.output), attributes)

    def _attribute(self, attribute: Any) -> Any:
        value = self.library.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, self.library.TensorProto):
            return self._array(value)
        return value if isinstance(value, (int, float)) else list(value)

    def _array(self, tensor: Any) -> np.ndarray:
        dtype_of(tensor.data_type)
        array: np.ndarray = self.library.numpy_helper.to_array(tensor)
        return array

    def _input(self, value: Any) -> Input:
        kind = value.type.tensor_type
        lengths = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
        return Input(value.name, dtype_of(kind.elem_type), lengths)


def _add_norm(network: Network, node: Node) -> None:
    """Hold what a batch normalisation uses in a module of its own, under the same names where they end as usual."""
    weight, bias, mean, var = tensors = [network.weights[name] for name in node.inputs[1:]]
    if any(not isinstance(tensor, Tensor) or tensor.shape != weight.shape for tensor in tensors):
        shapes = ", ".join(map(describe, tensors))
        raise Unsupported(f"not an ONNX file, as its batch normalisation has weights of {shapes}; use another one")
    attributes = node.attributes
    norm = Norm(weight.size, 1 - attributes.get("momentum", 0.9), attributes.get("epsilon", 1e-5), dtype=weight.dtype)
    norm.weight, norm.bias, norm.running_mean, norm.running_var = weight, bias, mean, var
    stem = node.inputs[1].rpartition(".")[0]
    usual = [f"{stem}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    name = stem if node.inputs[1:] == usual else node.outputs[0]
    for used in node.inputs[1:]:
        del network.weights[used]
    network.weights[name] = norm
    network.norms[node.outputs[0]] = name
