"""Name what is in new pictures with a trained network: python -m experiments.predict RUN IMAGE..."""

from __future__ import annotations

from experiments.registry import EXPERIMENTS
from tensorgrad.runner import predicting
from tensorgrad.runner.own_images import OWN_IMAGES


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.predicting.main`."""
    return predicting.main("experiments.predict", {**EXPERIMENTS, OWN_IMAGES.name: OWN_IMAGES}, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
