"""Train a network on your own images: python -m tensorgrad.train DIR [--model cnn]."""

from __future__ import annotations

from .runner import command
from .runner.own_images import OWN_IMAGES


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.command.main`."""
    return command.main(OWN_IMAGES, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
