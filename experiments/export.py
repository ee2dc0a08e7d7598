"""Write the network of a run to a file for other programs: python -m experiments.export RUN FILE."""

from __future__ import annotations

from experiments.registry import EXPERIMENTS
from tensorgrad.runner import exporting
from tensorgrad.runner.own_images import OWN_IMAGES


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.exporting.main`."""
    return exporting.main("experiments.export", {**EXPERIMENTS, OWN_IMAGES.name: OWN_IMAGES}, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
