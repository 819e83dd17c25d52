"""Which names and tags Graphite can carry: names are checked at the door, never repaired behind the user's back.

The alphabet is what carbon stores unchanged. White space ends a name on the wire, ``;`` turns the rest into tags,
``* ? [ ] { }`` are patterns in every query, and everything outside ASCII is rewritten by one relay or another.
Of the alphabet, letters, digits and ``_ - #`` arrive everywhere as they are. carbon-c-relay writes ``% @ +`` as ``_``,
so that two names can become one behind it; ``: @ +`` are not in HostedGraphite's documents.

A metric with tags has a full name as carbon files it, ``jobs;queue=mail``. What a tag is called, the program says, so
that is checked; its value comes from outside, so that is cleaned. In a value the alphabet and dots arrive as they are
behind carbon, carbon-c-relay, VictoriaMetrics and graphite-web.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeAlias

__all__ = [
    "MAX_PART",
    "MAX_PATH",
    "OVERFLOW",
    "OWN",
    "Tag",
    "check",
    "clean",
    "full",
    "is_full",
    "overflow",
    "spelled",
    "tags_of",
]

Tag: TypeAlias = str | int
"""The value of a tag. An integer is written in digits, a bool as True or False."""

MAX_PART = 120
"""Longest part between two dots, which becomes a file name of at most 255 bytes; and longest value of a tag."""

MAX_PATH = 1024
"""Longest full name, and longest prefix before it: together still far from the 16,384 bytes of carbon's lines."""

OWN = "txmetrics"
"""First part of the names under which the reporter reports itself."""

OVERFLOW = "_other"
"""What stands in the place of a name, or of a tag's value, for which there was no room."""

NO_TAGS: Mapping[str, Tag] = MappingProxyType({})

_RESERVED = {"name": "Graphite", "le": "Prometheus", "vmrange": "VictoriaMetrics"}
"""Tags that mean something already, and to whom."""

_KINDS = frozenset({str, int, bool})

_KEY = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")
_OUTSIDE_VALUE = re.compile(r"[^A-Za-z0-9_.:%@#+-]")
_OUTSIDE = re.compile(r"[^A-Za-z0-9_:%@#+-]")
_PATH = re.compile(r"[A-Za-z0-9_:%@#+-]+(?:\.[A-Za-z0-9_:%@#+-]+)*")
_REMEDY = "use letters, digits and _ : % @ # + - with single dots between the parts"


def check(path: str, what: str = "metric name") -> str:
    """Return ``path`` if a Graphite path can carry it, unchanged (as a plain str, whatever kind of str it is).

    Raises ValueError (TypeError for what is no string) with one sentence that shows the offending part.
    """
    if not isinstance(path, str):
        raise TypeError(f"{what} {path!r} is a {type(path).__name__}, not a string")
    if len(path) > MAX_PATH:
        raise ValueError(f"{what} {path[:40]!r}... has {len(path)} characters; at most {MAX_PATH} are allowed")
    if _PATH.fullmatch(path) is None:
        raise ValueError(f"{what} {path!r} {_fault(path)}; {_REMEDY}")
    for part in path.split("."):
        if len(part) > MAX_PART:
            raise ValueError(
                f"{what} {path[:40]!r}... has a part of {len(part)} characters, {part[:40]!r}...; "
                f"at most {MAX_PART} are allowed between two dots"
            )
    return str.__str__(path)


def _fault(path: str) -> str:
    """What is wrong with ``path``, as the second half of a sentence."""
    outside = _OUTSIDE.search(path.replace(".", ""))
    if outside is not None:
        return f"contains {outside.group()!r}, which a Graphite path cannot carry"
    if not path:
        return "is empty"
    empty = path.split(".").index("")
    return f"has an empty part (part {empty + 1} between the dots)"


def clean(text: str) -> str:
    """One part of a path made from any text: what a part cannot carry becomes ``_``, dots included.

    Never raises; the answer is never empty and never longer than MAX_PART.
    """
    return _OUTSIDE.sub("_", text)[:MAX_PART] or "_"


def full(name: str, tags: Mapping[str, Tag] = NO_TAGS) -> str:
    """The full name of the metric ``name`` with ``tags``, in the order in which carbon has them: ``jobs;queue=mail``.

    A value can be any text: what a tag cannot carry becomes ``_``, and what is longer than MAX_PART is cut. Without
    ``tags``, ``name`` may be a full name already. Raises ValueError for a name that no path can carry, for a tag that
    is not called as one can be, for a full name that is none, and for tags with which a name may become longer than
    MAX_PATH, whatever their values; TypeError for a value that is none of str, int and bool.
    """
    if tags:
        return _joined(check(name), tags)
    if not isinstance(name, str) or ";" not in name:
        return check(name)
    name = str.__str__(name)
    path, *pairs = name.split(";")
    told = dict(pair.partition("=")[::2] for pair in pairs)
    right = _joined(check(path), told)
    if right != name:
        raise ValueError(f"metric name {name[:200]!r} is not as it is filed; write {right[:200]!r}, or give its tags")
    return name


def is_full(name: object) -> bool:
    """Whether ``name`` is a full name, and a plain str."""
    if type(name) is not str:
        return False
    try:
        full(name)
    except ValueError:
        return False
    return True


def spelled(name: str, tags: Mapping[str, Tag]) -> str:
    """``full(name, tags)`` in a quarter of the time if that name is in use and nothing has to be cleaned in it.

    Otherwise an answer that is no full name.
    """
    whole = name if type(name) is str else ";"
    for key, value in tags.items() if len(tags) == 1 else sorted(tags.items()):
        whole += f";{key}={value}" if type(value) in _KINDS else ";;"
    # As many as there are tags, and as each tag has one, none is in a name or a value; no full name has another ``=``.
    return whole if whole.count(";") == len(tags) else ""


def overflow(name: str) -> str:
    """The full name of what is in the place of ``name``, a full name, if there is no room for its tags."""
    path, *pairs = name.split(";")
    return ";".join([path, *(f"{pair.partition('=')[0]}={OVERFLOW}" for pair in pairs)])


def tags_of(name: str) -> dict[str, str]:
    """The tags in ``name``, a full name."""
    if ";" not in name:
        return {}
    return dict(pair.split("=") for pair in name.split(";")[1:])


def _joined(path: str, tags: Mapping[str, Tag]) -> str:
    longest = len(path) + sum(len(key) + MAX_PART + len(";=") for key in tags)
    if longest > MAX_PATH:
        raise ValueError(
            f"metric name {path[:40]!r} with its {len(tags)} tags may have {longest} characters, {MAX_PART} in each "
            f"tag's value; at most {MAX_PATH} are allowed"
        )
    return path + "".join(sorted(f";{_key(path, key)}={_value(path, key, value)}" for key, value in tags.items()))


def _key(path: str, key: str) -> str:
    """Return ``key`` if a tag can be called so; ValueError otherwise."""
    if _KEY.fullmatch(key) is None:
        raise ValueError(
            f"tag {key[:40]!r} of {path[:40]!r} is not called as a tag can be; use letters, digits and _, no digit and "
            f"no two _ first"
        )
    if key in _RESERVED:
        raise ValueError(f"tag {key!r} of {path[:40]!r} means something else to {_RESERVED[key]}; call it otherwise")
    return str.__str__(key)


def _value(path: str, key: str, value: Tag) -> str:
    """``value`` as a tag can carry it."""
    if isinstance(value, str):
        text = str.__str__(value)
    elif isinstance(value, int):
        text = str(value) if type(value) is bool else int.__repr__(value)  # whatever a kind of integer says
    else:
        raise TypeError(
            f"tag {key!r} of {path[:40]!r} is a {type(value).__name__}, neither a string nor an integer; convert it"
        )
    return _OUTSIDE_VALUE.sub("_", text)[:MAX_PART] or "_"
