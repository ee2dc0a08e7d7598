"""The scripts that classify new pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .arguments import Parser
from .console import say, warn
from .errors import reported_errors
from .experiment import Experiment
from .prediction import classify

SHOWN = 3


def main(program: str, experiments: Mapping[str, Experiment], arguments: list[str] | None = None) -> int:
    """Print the likeliest classes of every image that can be read; the exit code is 2 if the run or an image cannot.

    ``program`` is the script's name, ``experiments`` those, by their names, of one of which the run must be.
    """
    parser = Parser(prog=f"python -m {program}", description="Name what is in new pictures with a trained network.")
    help_of_run = "folder of a run, such as runs/mnist, or a file of its network: .npz, .safetensors or .onnx"
    parser.add_argument("run", type=Path, metavar="RUN", help=help_of_run)
    help_of_images = "picture files of any size; digits light on dark, or with --invert"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=help_of_images)
    parser.add_argument("--invert", action="store_true", help="take the negatives, as of digits that are dark on light")
    options = parser.parse_args(arguments)
    with reported_errors(program):
        answers = classify(options.run, options.images, experiments, invert=options.invert)
        for path, ranking in answers.rankings.items():
            say(f"{path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in ranking[:SHOWN]))
        for kind, sentences in (("warning", answers.warnings), ("error", answers.problems)):
            for sentence in sentences:
                warn(f"{program}: {kind}: {sentence}")
    return 2 if answers.problems else 0
