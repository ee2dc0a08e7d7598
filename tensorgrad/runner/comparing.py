"""The scripts that put runs side by side."""

from __future__ import annotations

from pathlib import Path

from .arguments import Parser
from .comparison import compare
from .errors import reported_errors


def main(program: str, arguments: list[str] | None = None) -> int:
    """Print the table and draw the picture; the exit code is 2 if no folder holds a finished run.

    ``program`` is the script's name.
    """
    parser = Parser(prog=f"python -m {program}", description="Put runs side by side in a table and a picture.")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, such as runs/*")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture (default: compare.png beside the first run)")
    options = parser.parse_args(arguments)
    with reported_errors(program):
        runs = [path for path in options.runs if not path.is_file()]
        compare(runs, options.out or options.runs[0].parent / "compare.png")
    return 0
