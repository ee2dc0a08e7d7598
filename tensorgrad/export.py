"""Write the network trained on your own images to a file for other programs: python -m tensorgrad.export RUN FILE."""

from __future__ import annotations

from .runner import exporting
from .runner.own_images import OWN_IMAGES


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.exporting.main`."""
    return exporting.main("tensorgrad.export", {OWN_IMAGES.name: OWN_IMAGES}, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
