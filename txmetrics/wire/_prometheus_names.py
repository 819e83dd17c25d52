"""Names: a metric's full name as Graphite has it -> the stem of a Prometheus name, its labels and its unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from txmetrics.names import tags_of

__all__ = ["LABELS", "Labels", "Place", "escaped", "labels_of", "labels_text", "place", "unit_of"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Names and values, in the order in which they are written."""

LABELS: Mapping[str, tuple[str, ...]] = {
    "routes": ("route",),
    "status": ("status",),
    "codes": ("code",),
    "errors": ("error",),
    "failures": ("error",),
    "lost": ("error",),
    "failed": ("error",),
    "blocked": ("call",),
    "tasks": ("task",),
    "connections": ("port",),
    "http_client": ("host", "method"),
}
"""What follows such a part of a name becomes the values of these labels."""

_INSIDE = frozenset({"connections", "http_client"})
"""After these only if more follows: ``http_client.connections.new`` has no labels."""

UNITS = ("seconds", "bytes", "ratio")

_OUTSIDE = re.compile("[^a-zA-Z0-9_:]")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Place(NamedTuple):
    """Where a metric stands among Prometheus' families."""

    stem: str
    """Of letters, digits, ``_`` and ``:``, with no digit first."""
    labels: Labels
    """By their names in order, so that the same ones are written the same."""
    pattern: str
    """The name as Graphite has it, without tags, and with ``*`` in the place of the labels' values."""


def place(name: str) -> Place:
    """Where the metric of the full name ``name`` stands.

    A tag is a label. Where a part of the name would be a label that is called like one, it stays in the name.
    """
    path = name.partition(";")[0]
    parts = path.split(".")
    pattern = [*parts]
    labels = tags_of(name)
    at = 0
    while at < len(parts):
        names = LABELS.get(parts[at], ())
        rest = len(parts) - at - 1
        if names and not labels.keys() & set(names) and rest >= len(names) + (parts[at] in _INSIDE):
            for label in names:
                at += 1
                labels[label], pattern[at] = parts[at], "*"
        at += 1
    stem = _OUTSIDE.sub("_", "_".join(part for part in pattern if part != "*"))
    if stem[0].isdigit():
        stem = f"_{stem}"
    return Place(stem, tuple(sorted(labels.items())), ".".join(pattern)) if labels else Place(stem, (), path)


def unit_of(stem: str) -> str:
    """The unit that a name ends with, "" for none."""
    return next((unit for unit in UNITS if stem.endswith(f"_{unit}")), "")


def labels_text(labels: Labels) -> str:
    """As both text formats have them, without the braces."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels)


def labels_of(name: str, text: str) -> Labels:
    """The labels of the metric ``name`` that are written as ``text``."""
    if not text:
        return ()
    labels = place(name).labels
    return labels if labels_text(labels) == text else (*labels, ("name", name))


def escaped(text: str) -> str:
    """``text`` as it may stand between quotes."""
    return text.translate(_ESCAPES)
