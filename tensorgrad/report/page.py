"""A report as one self-contained HTML file, from the templates beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._atomic import replacing
from .._optional import require
from .charts import decimal, percent
from .text import printable


def save_page(path: str | Path, content: dict[str, Any]) -> None:
    """Write the page: what ``templates/report.html`` makes of ``content``.

    Whatever text there is in it may hold anything: it is escaped, and what cannot be seen is written as its escape.
    Markup of our own is given as ``markup(text)``.

    Raises
    ------
    MissingExtra
        If Jinja2 is not installed.
    """
    page = _environment().get_template("report.html").render(content)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def markup(text: str) -> Any:
    """Text that is put into the page as it stands."""
    return require("markupsafe", "the report").Markup(text)


def _environment() -> Any:
    jinja2 = require("jinja2", "the report")
    markup_type = require("markupsafe", "the report").Markup

    def harmless(value: object) -> Any:
        return value if isinstance(value, markup_type) else printable(value)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=harmless,
    )
    environment.filters.update(percent=percent, decimal=decimal, count="{:,}".format, times=_times)
    return environment


def _times(shape: tuple[int, ...]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape)) or "a number"
