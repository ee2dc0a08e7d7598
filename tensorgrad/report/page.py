"""A report as one self-contained HTML file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from .._atomic import replacing
from .text import printable

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
  :root { color-scheme: light; }
  body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #f6f7f9; margin: 0; }
  main { max-width: 1080px; margin: 0 auto; padding: 1rem; }
  h1 { font-size: 1.6rem; margin: .5rem 0; }
  h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
  section { background: #fff; border: 1px solid #e2e5ea; border-radius: 10px; padding: 1rem; margin: 1rem 0; }
  .figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; }
  .figures div { background: #fff; border: 1px solid #e2e5ea; border-radius: 10px; padding: .7rem 1rem; }
  .figures b { display: block; font-size: 1.4rem; }
  img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
  .scroll { overflow-x: auto; }
  table { border-collapse: collapse; font-size: .9rem; }
  th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #eceef1; vertical-align: top; }
  td:not(:first-child) { overflow-wrap: anywhere; }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
  pre { background: #f0f2f5; border-radius: 6px; padding: .7rem; margin: 0 0 .8rem; font-size: .85rem;
        white-space: pre-wrap; overflow-wrap: anywhere; }
  .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem; }
  .note { color: #667; font-size: .9rem; }
  @media (max-width: 600px) { img { max-width: 200%; } }
</style>
</head>
<body><main>
<h1>$title</h1>
<p class="note">$subtitle</p>
<div class="figures">$figures</div>
$sections
</main></body>
</html>
"""
)


def save_page(
    path: str | Path,
    title: str,
    subtitle: str,
    figures: Iterable[tuple[str, str]],
    sections: Iterable[tuple[str, str]],
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The HTML file.
    title, subtitle
        Plain text.
    figures
        ``(label, value)`` for the tiles at the top, plain text.
    sections
        ``(heading, content)``: the content is HTML, as made by the functions of this module.
    """
    tiles = "".join(f"<div>{_shown(label)}<b>{_shown(value)}</b></div>" for label, value in figures)
    parts = "\n".join(f"<section><h2>{_shown(heading)}</h2>{content}</section>" for heading, content in sections)
    page = _PAGE.substitute(title=_shown(title), subtitle=_shown(subtitle), figures=tiles, sections=parts)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def picture(path: str | Path, description: str) -> str:
    """An image from a PNG file, embedded."""
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return f'<div class="scroll"><img alt="{_shown(description)}" src="data:image/png;base64,{content}"></div>'


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; numbers are set to the right."""

    def cell(tag: str, value: object) -> str:
        kind = ' class="number"' if isinstance(value, (int, float)) else ""
        text = f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)
        return f"<{tag}{kind}>{_shown(text)}</{tag}>"

    rows = list(rows)
    head = "".join(cell("th", name) for name in header)
    body = "".join(f"<tr>{''.join(cell('td', value) for value in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def preformatted(text: str) -> str:
    """Text as it stands, in a box, line by line."""
    return f"<pre>{chr(10).join(map(_shown, text.splitlines()))}</pre>"


def _shown(text: str) -> str:
    """Text for HTML."""
    return escape(printable(text))


def note(text: str) -> str:
    """A remark in small print."""
    return f'<p class="note">{_shown(text)}</p>'


def side_by_side(*contents: str) -> str:
    """Contents beside each other where the screen is wide enough."""
    return f'<div class="pair">{"".join(f"<div>{content}</div>" for content in contents)}</div>'
