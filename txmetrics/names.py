"""Which names a Graphite path can carry: checked at the door, never repaired behind the user's back.

The alphabet is what carbon stores unchanged. White space ends a name on the wire, ``;`` turns the rest into tags,
``* ? [ ] { }`` are patterns in every query, and everything outside ASCII is rewritten by one relay or another.
Of the alphabet, letters, digits and ``_ - #`` arrive everywhere as they are. carbon-c-relay writes ``% @ +`` as ``_``,
so that two names can become one behind it; ``: @ +`` are not in HostedGraphite's documents.
"""

from __future__ import annotations

import re

__all__ = ["MAX_PART", "MAX_PATH", "OWN", "check", "clean"]

MAX_PART = 120
"""Longest part between two dots: a part becomes a file name, which may have 255 bytes."""

MAX_PATH = 1024
"""Longest name, and longest prefix before it: together still far from the 16,384 bytes of carbon's lines."""

OWN = "txmetrics"
"""First part of the names under which the reporter reports itself."""

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
