"""Sphinx builds these pages: sphinx-build -W docs build/docs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tensorgrad

ROOT = Path(__file__).parents[1]

project = "tensorgrad"
author = "the tensorgrad authors"
version = release = tensorgrad.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["build"]
html_theme = "furo"
html_title = f"tensorgrad {version}"
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_copy_source = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
highlight_language = "python"

myst_enable_extensions = ["dollarmath", "html_image"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3

autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def setup(app: Any) -> None:
    """Tell Sphinx what is done besides."""
    app.connect("source-read", link_files)
    app.connect("autodoc-process-docstring", escape_stars, priority=100)  # before napoleon, which makes emphasis


def link_files(app: Any, name: str, source: list[str]) -> None:
    """Links to files that are no pages, such as the README, become plain text: on GitHub they are links."""
    folder = Path(app.srcdir, name).parent

    def without_link(match: re.Match[str]) -> str:
        target = (folder / match[2].partition("#")[0]).resolve()
        is_page = target.is_relative_to(app.srcdir) and target.suffix == ".md"
        return match[0] if "://" in match[2] or is_page or not target.exists() else match[1]

    source[0] = re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s#][^)\s]*)\)", without_link, source[0])


def escape_stars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """In docstrings a star is never emphasis, but a power, a product, or the axes that remain."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``)", line)
            lines[i] = "".join(part if part.startswith("``") else part.replace("*", r"\*") for part in parts)
