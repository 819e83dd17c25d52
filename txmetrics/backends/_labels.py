"""Labels that are on every series, as a user writes them."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from txmetrics.backends._prefix import PLACES, check_places, fillings_of
from txmetrics.identity import Identity

__all__ = ["check_labels", "check_text", "filled_labels"]

_RESERVED = ("le", "vmrange")
"""What histograms' series have."""


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return ``labels``, which may be changed afterwards, if they can be on a series; ValueError says why not."""
    for name, text in labels.items():
        if not (isinstance(name, str) and re.fullmatch(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", name)) or name in _RESERVED:
            raise ValueError(
                f"label {name!r} cannot be on every series; use letters, digits and _, neither two _ nor a digit first "
                f"(and not {' or '.join(_RESERVED)})"
            )
        check_text(f"label {name}", text)
    return dict(labels)


def check_text(what: str, text: object) -> None:
    """Raise ValueError if ``text`` cannot be the value of ``what``."""
    if not isinstance(text, str) or not text or not text.isprintable():
        raise ValueError(f"{what}={text!r} has no value; give it some text on one line, or leave it out")
    check_places(f"{what}={text!r}", text)


def filled_labels(labels: Mapping[str, str], service: str = "job") -> dict[str, str]:
    """``labels`` as they are of this process, now. The host has the name it calls itself, dots and all.

    ``service`` is the label that workers have in common.
    """
    wants_slot = any("{worker}" in text for text in labels.values())  # or one were taken that nobody would see
    identity = Identity.resolve(labels.get(service, "")) if wants_slot else Identity.resolve(worker="-")
    fillings = {**fillings_of(identity), "{host}": socket.gethostname() or identity.host}
    return {name: PLACES.sub(lambda place: fillings[place[0]], text) for name, text in labels.items()}
