"""Command lines of all scripts: a parser that says what is wrong in one sentence, and the types of arguments."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from reprlib import repr as shown
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence instead of after a page of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog.replace('python -m ', '')}: error: {message}; --help shows all options\n")


def whole(least: int) -> Callable[[str], int]:
    """The type of an argument: an integer of at least ``least``."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {shown(text)}") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {value}")
        return value

    return convert


def positive(text: str) -> float:
    """The type of an argument: a finite number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return value


def not_negative(text: str) -> float:
    """The type of an argument: a finite number from 0 on."""
    value = _number(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be finite and not negative, got {text}")
    return value


def below_one(text: str) -> float:
    """The type of an argument: a number from 0 on, less than 1."""
    value = not_negative(text)
    if not value < 1:
        raise argparse.ArgumentTypeError(f"must be less than 1, got {text}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {shown(text)}") from None


def widths(text: str) -> str:
    """The type of an argument: whole numbers from 1 on, such as ``512,256``, as text that JSON can hold."""
    return ",".join(str(whole(1)(part)) for part in str(text).split(","))


def size(text: str) -> str:
    """The type of an argument: height and width of images, such as ``48x64``, as text for JSON; 64 is both."""
    sides = str(text).lower().split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"must be a height and a width, such as 48x64, or one number, got {text}")
    return "x".join(str(whole(1)(side)) for side in sides)


def as_size(text: str) -> tuple[int, int]:
    """Height and width in what :func:`size` gives."""
    sides = list(map(int, text.split("x")))
    return sides[0], sides[-1]


def as_widths(text: str) -> tuple[int, ...]:
    """The numbers in what :func:`widths` gives."""
    return tuple(map(int, text.split(",")))


def rate(text: str) -> float:
    """The type of an argument: a number from 0 on, below 1."""
    value = not_negative(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"must be below 1, got {text}")
    return value


def share(text: str) -> float:
    """The type of an argument: a part of the whole, at most a half."""
    value = positive(text)
    if value > 0.5:
        raise argparse.ArgumentTypeError(f"must be at most 0.5, got {text}")
    return value


def path(text: object) -> Path:
    """The type of an argument: a path that can be printed and written into files."""
    if not isinstance(text, str) or not text:
        raise argparse.ArgumentTypeError(f"must be the name of a file or folder, got {shown(text)}")
    if "\0" in text or not text.isprintable():
        raise argparse.ArgumentTypeError(f"must be a name of printable characters in UTF-8, got {text!a}; rename it")
    return Path(text)
