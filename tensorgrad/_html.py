"""HTML for notebooks, in the font and colours of the notebook, light or dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ._text import printable

_CARD = (
    "border: 1px solid #8888; border-radius: 6px; padding: .5em .8em; margin: .3em 0; display: inline-block; "
    "max-width: 100%; box-sizing: border-box"
)
_PRE = "margin: .4em 0 0; background: transparent; color: inherit; font-family: monospace; line-height: 1.2"
_CELL = "text-align: {}; padding: .1em .8em .1em 0; font-variant-numeric: tabular-nums; vertical-align: top"


def shown(text: object) -> str:
    """Text as HTML.

    >>> shown("a < b")
    'a &lt; b'
    """
    return escape(printable(text))


def card(title: str, facts: Iterable[str], content: str = "") -> str:
    """A frame with a title in bold, facts beside it, and HTML below."""
    beside = "".join(f'<span style="margin-left: 1em; opacity: .75">{shown(fact)}</span>' for fact in facts)
    return f'<div style="{_CARD}"><div><b>{shown(title)}</b>{beside}</div>{content}</div>'


def preformatted(text: str) -> str:
    """Text as it stands, line by line."""
    lines = "\n".join(map(shown, text.splitlines()))
    return f'<pre style="{_PRE}">{lines}</pre>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; the columns ``numbers`` are set to the right."""

    def cells(tag: str, values: Sequence[str]) -> str:
        styles = (_CELL.format("right" if i in numbers else "left") for i in range(len(values)))
        return "".join(f'<{tag} style="{style}">{shown(value)}</{tag}>' for style, value in zip(styles, values))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<tr>{cells('th', header)}</tr>"
    return f'<div style="overflow-x: auto"><table style="font-size: inherit">{head}{body}</table></div>'


def folded(title: str, facts: str, content: str, is_open: bool) -> str:
    """A line that opens and closes what is below it, if there is anything."""
    line = f'<b>{shown(title)}</b><span style="margin-left: 1em; opacity: .75">{shown(facts)}</span>'
    if not content:
        return f'<div style="margin-left: 1em">{line}</div>'
    state = " open" if is_open else ""
    return f'<details{state}><summary>{line}</summary><div style="margin-left: 1.4em">{content}</div></details>'
