"""Text that others wrote, made harmless."""

from .._text import printable

__all__ = ["printable"]
