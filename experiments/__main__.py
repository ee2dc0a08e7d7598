"""What there is to run: python -m experiments."""

from experiments.registry import EXPERIMENTS
from tensorgrad.runner.console import say

OTHERS = {
    "experiments.predict RUN IMAGE...": "Name what is in new pictures with a trained network.",
    "experiments.export RUN FILE": "Write the network of a run to a file for other programs.",
    "experiments.compare RUN...": "Put runs side by side in a table and a picture.",
    "tensorgrad.train DIR": "Train a network on your own images, one folder per class.",
}


def main() -> int:
    """Print each command with what it does."""
    commands = {each.module: f"{each.purpose} --model {' or '.join(each.recipes)}" for each in EXPERIMENTS.values()}
    for command, purpose in {**commands, **OTHERS}.items():
        say(f"python -m {command:34} {purpose}")
    say("Each tells its options with --help.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
