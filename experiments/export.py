"""Write the network of a run to a file for other programs: python -m experiments.export RUN FILE."""

from __future__ import annotations

from pathlib import Path

from experiments.registry import EXPERIMENTS
from tensorgrad.runner.arguments import Parser
from tensorgrad.runner.console import say
from tensorgrad.runner.errors import reported_errors
from tensorgrad.runner.exporting import export
from tensorgrad.runner.own_images import OWN_IMAGES

PROGRAM = "experiments.export"


def main(arguments: list[str] | None = None) -> int:
    """Write the file and say so; the exit code is 2 if that cannot be."""
    parser = Parser(prog=f"python -m {PROGRAM}", description="Write the network of a run to a file for other programs.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, such as runs/mnist")
    help_of_file = "what to write: a network (.onnx), or weights (.safetensors, .npz); predict takes it like the run"
    parser.add_argument("file", type=Path, metavar="FILE", help=help_of_file)
    options = parser.parse_args(arguments)
    with reported_errors(PROGRAM):
        export(options.run, options.file, {**EXPERIMENTS, OWN_IMAGES.name: OWN_IMAGES})
        say(f"{options.file}: written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
