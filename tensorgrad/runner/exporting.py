"""The network of a run as a file for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..interop import onnx
from .arguments import Parser
from .console import say
from .errors import UsageError, reported_errors
from .experiment import Experiment
from .prediction import FILES, file_of, load_network


def main(program: str, experiments: Mapping[str, Experiment], arguments: list[str] | None = None) -> int:
    """Write the file and say so; the exit code is 2 if that cannot be.

    ``program`` is the script's name, ``experiments`` those, by their names, of one of which the run must be.
    """
    parser = Parser(prog=f"python -m {program}", description="Write the network of a run to a file for other programs.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, such as runs/mnist")
    help_of_file = "what to write: a network (.onnx), or weights (.safetensors, .npz); predict takes it like the run"
    parser.add_argument("file", type=Path, metavar="FILE", help=help_of_file)
    options = parser.parse_args(arguments)
    with reported_errors(program):
        export(options.run, options.file, experiments)
        say(f"{options.file}: written")
    return 0


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
    description = {"settings": network.settings}
    if suffix == ".onnx":
        onnx.export(network.model, target, np.zeros((1, *network.image_shape), np.float32), description=description)
    else:
        network.model.save(target, description)
