"""Sphinx builds these pages: sphinx-build -W docs build/docs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert as mathml
from sphinx.util.docutils import SphinxTranslator

import tensorgrad
from tensorgrad._atomic import replacing

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"

project = "tensorgrad"
copyright = "the tensorgrad authors, MIT licence"
version = release = tensorgrad.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = f"tensorgrad {version}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "monokai"
highlight_language = "python"

myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tools/notebooks.py runs them
nb_render_markdown_format = "myst"

autodoc_member_order = "groupwise"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "imported-members": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app: Any) -> None:
    """Connect what this file adds to Sphinx."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", copy_notebooks)
    app.connect("source-read", prepare_page)
    app.connect("autodoc-process-docstring", escape_stars, priority=100)  # before napoleon, which makes emphasis


def write_formula(translator: SphinxTranslator, node: Any) -> None:
    """A formula as MathML, which browsers show without a script: the pages need no network."""
    translator.body.append(mathml(node.astext(), display="block" if node.tagname == "math_block" else "inline"))
    raise SkipNode


def copy_notebooks(app: Any) -> None:
    """Sphinx finds pages below its folder only: the notebooks are copied there, their links shortened."""
    (HERE / "notebooks").mkdir(exist_ok=True)
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
        copy = HERE / "notebooks" / notebook.name
        if not copy.exists() or copy.read_text(encoding="utf-8") != text:  # another build may be reading it
            with replacing(copy) as temporary:
                temporary.write_text(text, encoding="utf-8")


def prepare_page(app: Any, name: str, source: list[str]) -> None:
    """What is right on GitHub and would be a warning or ugly here.

    Links to files that are no pages, such as the README, become plain text; blocks of code lose the blank line that
    ends a doctest's output.
    """
    folder = Path(app.srcdir, name).parent

    def link(match: re.Match[str]) -> str:
        text, path = match[1], match[2].partition("#")[0]
        target = (folder / path).resolve()
        if "://" in path or not target.exists() or (HERE in target.parents and target.suffix in (".md", ".ipynb")):
            return match[0]
        if target.parent == NOTEBOOKS and target.suffix == ".ipynb":
            return f"[{text}]({os.path.relpath(HERE / 'notebooks' / target.name, folder)})"
        return text

    if Path(app.srcdir, f"{name}.md").exists():
        source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s#][^)\s]*)\)", link, source[0])
        source[0] = source[0].replace("\n\n```\n", "\n```\n")


def escape_stars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """In docstrings a star is never emphasis, but a power, a product, or the axes that remain."""
    is_example = False  # which ends with an empty line, after what it prints
    for i, line in enumerate(lines):
        is_example = line.lstrip().startswith(">>>") or (is_example and bool(line.strip()))
        if not is_example:
            parts = re.split(r"(``.*?``)", line)
            lines[i] = "".join(part if part.startswith("``") else part.replace("*", r"\*") for part in parts)
