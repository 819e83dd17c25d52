"""Where to: an endpoint as a user names it, what it takes to get there, and what to do when that fails."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from txmetrics import backends
from txmetrics.console._seam import Trouble
from txmetrics.delivery import Secret

__all__ = ["REMEDIES", "Where", "read_key"]

REMEDIES = {
    "dns": "the name has no address: is it spelled right, and does a name server answer?",
    "refused": "nothing listens there: is carbon running, is the port right? carbon's plaintext port is 2003",
    "timeout": "nobody answers: is the address right, is a firewall on the way?",
    "tls": "the TLS handshake failed",
    "closed": "it closes the connection at once: is something behind it, is this address allowed to connect?",
    "lost": "the connection cannot be made, or breaks",
    "stalled": "it takes nothing any more: is it stopped, or overloaded?",
}
"""What is wrong and what may help, by the words that a delivery counts its failures by."""


class Where(NamedTuple):
    """An endpoint. ``host`` is "" and ``port`` 0 where it has none of its own, such as ``unix:/path``."""

    text: str
    kind: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Where:
        """What ``text`` names; Trouble if it is no endpoint."""
        try:
            backends.check_endpoint(text)
        except ValueError as error:
            raise Trouble(str(error)) from None
        kind, *parts = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", text)]
        kind = kind.lower()
        if kind not in ("tcp", "tls", "udp") or any(part.startswith("endpoint=") for part in parts):
            return cls(text, kind, "", 0)
        named = dict(zip(("host", "port"), parts, strict=False))
        named |= {part.partition("=")[0]: part.partition("=")[2] for part in parts if "=" in part}
        host, port = named["host"].removeprefix("host="), int(named["port"].removeprefix("port="))
        if not host or not 0 < port < 65536:
            raise Trouble(f"{text!r} has no host or a port that is none; give an endpoint such as tcp:127.0.0.1:2003")
        return cls(text, kind, host, port)

    def check_secrecy(self) -> None:
        """Trouble if everybody on the way could read what is sent there."""
        if self.kind not in ("tls", "ssl", "unix"):
            raise Trouble(f"over {self.text} everybody on the way could read the API key; give a tls: endpoint")


def read_key(path: str | None) -> Secret | None:
    """The API key in the file at ``path``, None without one; Trouble, that shows nothing of it, if it is no key."""
    if path is None:
        return None
    try:
        return Secret(Path(path).read_text().strip())
    except OSError as error:
        reason = f"the key file {path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = f"the key file {path} is no text"
    except ValueError as error:
        reason = str(error)
    # Not from within: what led here holds the key, and a verbose traceback would show it.
    raise Trouble(reason)
