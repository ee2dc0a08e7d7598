"""Name what is in new pictures with a network trained on your own images: python -m tensorgrad.predict RUN IMAGE..."""

from __future__ import annotations

from .runner import predicting
from .runner.own_images import OWN_IMAGES


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.predicting.main`."""
    return predicting.main("tensorgrad.predict", {OWN_IMAGES.name: OWN_IMAGES}, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
