"""Text from outside, made harmless for a terminal; and how much room a text takes there."""

from __future__ import annotations

import unicodedata

__all__ = ["clipped", "plain", "width"]


def plain(text: object) -> str:
    """``text`` as one line of printable characters: all others, the directions of Unicode among them, are escaped."""
    return "".join([character if character.isprintable() else _escaped(character) for character in str(text)])


def width(text: str) -> int:
    """How many cells of a terminal a printable ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def clipped(text: str, cells: int) -> str:
    """``text`` if it fits in so many ``cells``, otherwise its beginning and a ``~``."""
    if width(text) <= cells:
        return text
    kept, room = "", cells - 1
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return f"{kept}~"[: max(0, cells)]


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
