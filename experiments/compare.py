"""Put runs side by side in a table and a picture: python -m experiments.compare runs/*"""

from __future__ import annotations

from pathlib import Path

from tensorgrad.runner.arguments import Parser
from tensorgrad.runner.comparison import compare
from tensorgrad.runner.errors import reported_errors


def main(arguments: list[str] | None = None) -> int:
    """Print the table and draw the picture; the exit code is 2 if a folder holds no finished run."""
    parser = Parser(prog="python -m experiments.compare", description="Put runs side by side in a table and a picture.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, such as runs/*")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture (default: compare.png beside the first run)")
    options = parser.parse_args(arguments)
    with reported_errors("experiments.compare"):
        runs = [path for path in options.runs if not path.is_file()]
        compare(runs, options.out or options.runs[0].parent / "compare.png")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
