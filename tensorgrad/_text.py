"""Escaping of text from elsewhere: names of classes, files and runs may contain anything."""

from __future__ import annotations


def printable(text: object, longest: int | None = None) -> str:
    """``text`` on one line, with invisible characters escaped, and its middle left out beyond ``longest`` characters.

    A terminal obeys control characters, a picture has no glyph for them, and bytes that are not UTF-8, which Python
    keeps in file names, cannot be written to a UTF-8 file at all.

    >>> print(printable("red \\x1b[31m, two\\nlines, a name in Latin-1: \\udce9"))
    red \\x1b[31m, two\\nlines, a name in Latin-1: \\xe9
    >>> printable("a name that is rather long", 11)
    'a nam… long'
    """
    characters = str(text)
    if longest is not None and len(characters) > longest:
        half = longest // 2
        characters = f"{characters[: longest - half - 1]}…{characters[-half:]}"
    return characters if characters.isprintable() else "".join(map(_visible, characters))


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # one byte of a name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
