"""Name what is in new pictures with a trained network: python -m experiments.predict RUN IMAGE..."""

from __future__ import annotations

from pathlib import Path

from experiments.registry import EXPERIMENTS
from experiments.runner.arguments import Parser
from experiments.runner.console import say, warn
from experiments.runner.errors import reported_errors
from experiments.runner.prediction import classify

SHOWN = 3
PROGRAM = "experiments.predict"


def main(arguments: list[str] | None = None) -> int:
    """Print the likeliest classes of every image that can be read; the exit code is 2 if the run or an image cannot."""
    parser = Parser(
        prog="python -m experiments.predict", description="Name what is in new pictures with a trained network."
    )
    help_of_run = "folder of a run, such as runs/mnist, or a file of its network: .npz, .safetensors or .onnx"
    parser.add_argument("run", type=Path, metavar="RUN", help=help_of_run)
    help_of_images = "picture files of any size; digits light on dark, or with --invert"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=help_of_images)
    parser.add_argument("--invert", action="store_true", help="take the negatives, as of digits that are dark on light")
    options = parser.parse_args(arguments)
    with reported_errors(PROGRAM):
        answers = classify(options.run, options.images, EXPERIMENTS, invert=options.invert)
        for path, ranking in answers.rankings.items():
            say(f"{path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in ranking[:SHOWN]))
        for kind, sentences in (("warning", answers.warnings), ("error", answers.problems)):
            for sentence in sentences:
                warn(f"{PROGRAM}: {kind}: {sentence}")
    return 2 if answers.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
