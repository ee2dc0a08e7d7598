"""Build the notebooks from their text and run them: python -m tools.notebooks --data-dir DIR.

Each ``notebooks/NAME.py`` is a script of cells (jupytext's percent format); ``NAME.ipynb`` is that with its outputs.
``DIR`` holds ``mnist/`` and ``simpsons-mnist/``; images of the latter aren't kept in the outputs. Without it outputs
are kept as they are, where only the text between the code has changed.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

from tensorgrad._atomic import replacing
from tensorgrad._optional import require

FOLDER = Path(__file__).parents[1] / "notebooks"
TEXTS = sorted(FOLDER.glob("Neural_Network_*.py"))
SECONDS = 600
"""How long a cell may run."""


def main() -> None:
    """Write the notebooks with their outputs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder with mnist/ and simpsons-mnist/, or: small (default: run nothing)")
    parser.add_argument("names", nargs="*", help="which notebooks (default: all)")
    options = parser.parse_args()
    for text in TEXTS:
        if not options.names or text.stem in options.names:
            notebook, built = read(text), text.with_suffix(".ipynb")
            if options.data_dir:
                execute(notebook, options.data_dir)
            else:
                keep_outputs(notebook, built)
            save(notebook, built)


def read(text: Path) -> Any:
    """The notebook that a text describes, without outputs; its cells are numbered, so that it is the same each time."""
    notebook = require("jupytext", "building notebooks").read(text)
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    return notebook


def execute(notebook: Any, data_dir: str) -> None:
    """Run all cells, in the folder of the notebooks; an error in one is raised."""
    nbclient = require("nbclient", "running notebooks")
    data = data_dir if data_dir == "small" else str(Path(data_dir).resolve())
    environment = {**os.environ, "DATA_DIR": data, "PICTURES": "free"}
    client = nbclient.NotebookClient(
        notebook, timeout=SECONDS, record_timing=False, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute(env=environment)


def keep_outputs(notebook: Any, built: Path) -> None:
    """Give a notebook the outputs of one that was run before, if their code is the same.

    Raises
    ------
    SystemExit
        If it is not: then it has to be run.
    """
    before = require("nbformat", "building notebooks").read(built, as_version=4)
    pairs = list(zip(*([cell for cell in each.cells if cell.cell_type == "code"] for each in (notebook, before))))
    if [new.source for new, _ in pairs] != [cell.source for cell in before.cells if cell.cell_type == "code"]:
        raise SystemExit(f"{built.stem}: the code has changed; run it again, with --data-dir")
    for new, old in pairs:
        new.outputs, new.execution_count = old.outputs, old.execution_count
    notebook.metadata = before.metadata


def solutions(notebook: Any) -> list[str]:
    """The code of the solutions that are folded away in the text."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    folded = (part for text in texts for part in re.findall(r"<details>.*?</details>", text, re.DOTALL))
    return [code for part in folded for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL)]


def code_cell(source: str) -> Any:
    """A cell of code, to be run after the others."""
    return require("nbformat.v4", "building notebooks").new_code_cell(source)


def save(notebook: Any, path: Path) -> None:
    """Write a notebook, without what depends on the machine on which it ran."""
    notebook.metadata.get("language_info", {}).pop("version", None)
    with replacing(path) as temporary:
        require("nbformat", "building notebooks").write(notebook, temporary)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
