"""Put runs side by side in a table and a picture: python -m tensorgrad.compare runs/*"""

from __future__ import annotations

from .runner import comparing


def main(arguments: list[str] | None = None) -> int:
    """Run the script; its exit code is that of :func:`tensorgrad.runner.comparing.main`."""
    return comparing.main("tensorgrad.compare", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
