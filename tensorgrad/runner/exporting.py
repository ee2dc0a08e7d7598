"""The network of a run as a file for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..interop import onnx
from ..training import load_checkpoint
from .errors import UsageError
from .experiment import Experiment
from .prediction import FILES, file_of, load_network


def export(run: Path, target: Path, experiments: Mapping[str, Experiment]) -> None:
    """Write the best network of a run to an ONNX file, or its weights to a ``.safetensors`` or ``.npz`` file.

    What the run says of itself, such as the classes, goes with it: ``predict`` takes such a file in place of the run.

    Raises
    ------
    UsageError
        If the target ends in something else, or is the run itself.
    CheckpointError
        If the run is damaged, or the target cannot be written.
    """
    source, suffix = file_of(run), target.suffix.lower()
    if suffix not in FILES:
        raise UsageError(f"{target}: must end in {', '.join(FILES[:-1])} or {FILES[-1]}")
    if source.suffix.lower() == ".onnx" or source.resolve() == target.resolve():
        raise UsageError(f"{source}: cannot be exported to {target}; choose the folder of a run, and another file")
    network = load_network(source, experiments)
    description = {"settings": load_checkpoint(source)[1]["settings"]}
    if suffix == ".onnx":
        onnx.export(network.model, target, np.zeros((1, *network.image_shape), np.float32), description=description)
    else:
        network.model.save(target, description)
