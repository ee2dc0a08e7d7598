"""Measure training over ranks here, and predict it for many: python -m benchmarks.scaling.

Steps of one, two and four processes and their messages give the constants of a cost model (``model.py``), which is
checked against the steps and then says what 8 to 1,024 ranks would bring. Takes about two minutes. What large batches
do to accuracy is measured only with ``--data-dir``, and else taken from the results that are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.scaling.batches import accuracies
from benchmarks.scaling.measure import measure
from benchmarks.scaling.page import draw, rewritten, text
from benchmarks.scaling.predictions import derived
from benchmarks.speed import machine
from tensorgrad._atomic import replacing
from tensorgrad.runner.arguments import Parser, path, positive, whole
from tensorgrad.runner.errors import reported_errors

ROOT = Path(__file__).resolve().parents[2]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "scaling.md"
JSON, MARKDOWN, PICTURE = "ranks.json", "ranks.md", "ranks.png"
LIBRARIES = ("numpy", "numba", "mpi4py", "mpich")
KEPT = ("machine", "measured", "accuracies")


def main(arguments: list[str] | None = None) -> int:
    """Measure, predict and write; the exit code is 2 where MPI is not there or the folder cannot be written."""
    parser = Parser(prog="python -m benchmarks.scaling", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=whole(1), default=3, metavar="N", help="times that everything is measured (3)")
    add("--seconds", type=positive, default=0.5, metavar="X", help="for each measurement and round (0.5)")
    add("--out", type=path, default=Path("runs/benchmark"), metavar="DIR", help="for figures, tables and picture")
    add("--data-dir", type=path, metavar="DIR", help="holds mnist/: train with large batches, too (some minutes)")
    add("--again", type=path, metavar="FILE", help="take what was measured from these figures")
    add("--write", action="store_true", help="into benchmarks/results and docs/scaling.md instead")
    options = parser.parse_args(arguments)
    with reported_errors("benchmarks.scaling"):
        out = RESULTS if options.write else options.out
        out.mkdir(parents=True, exist_ok=True)
        before = json.loads((options.again or RESULTS / JSON).read_text())
        if options.again is None:
            before.update({"machine": machine(LIBRARIES), "measured": measure(options.rounds, options.seconds)})
        if options.data_dir is not None:
            before["accuracies"] = accuracies(options.data_dir)
        kept = {"accuracies": [], **{name: before[name] for name in KEPT if name in before}}
        results = {**kept, **derived(kept["measured"])}
        write(results, out, PAGE if options.write else None)
    print(text(results))
    print(f"figures, tables and picture in {out}")
    return 0


def write(results: dict[str, Any], out: Path, page: Path | None) -> None:
    """Write figures, tables and the picture, and the page if there is one."""
    files = {out / JSON: json.dumps(results, indent=1) + "\n", out / MARKDOWN: text(results)}
    if page is not None:
        files[page] = rewritten(page.read_text(encoding="utf-8"), results)
    for file, content in files.items():
        with replacing(file) as temporary:
            temporary.write_text(content, encoding="utf-8")
    draw(results, out / PICTURE)


if __name__ == "__main__":
    raise SystemExit(main())
