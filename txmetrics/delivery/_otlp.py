"""OTLP over HTTP: which URLs a receiver may have, and what its answers mean, as OTLP's specification has it."""

from __future__ import annotations

from txmetrics.delivery._peers import Peer, Verdict, check_receiver, one_line
from txmetrics.delivery._secret import Authorization

__all__ = ["OTLP", "check_otlp_url"]

A_RECEIVER = "http://127.0.0.1:4318/v1/metrics"

AGAIN = (429, 502, 503, 504)
"""The statuses after which a request comes again; after every other error it must not."""


def check_otlp_url(url: str, *, authorized: bool = False) -> str:
    """Return ``url`` if it is one of http: or https: for OTLP; ValueError says what is wrong with it otherwise.

    With ``authorized`` it has to be one that a secret may be sent to: of https:, or of this machine. The text never
    quotes it.
    """
    return check_receiver(url, A_RECEIVER, authorized)


def _verdict(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.ACCEPTED
    return Verdict.REFUSED if status >= 400 and status not in AGAIN else Verdict.LATER


def _reason(text: bytes, key: Authorization | None) -> str:
    """The message of a google.rpc.Status; of another text, all of it."""
    message = _fields(text).get(2)
    return one_line(message if isinstance(message, bytes) else text, key)


def _rejected(text: bytes, key: Authorization | None) -> tuple[int, str]:
    """What an ExportMetricsServiceResponse says of its partial success."""
    partial = _fields(text).get(1)
    said = _fields(partial) if isinstance(partial, bytes) else {}
    points, message = said.get(1, 0), said.get(2, b"")
    if not isinstance(points, int) or not isinstance(message, bytes) or points >= 2**63:  # which is a negative one
        return 0, ""
    return points, one_line(message, key)


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The integers and texts in a protobuf message, by their numbers; the last may be cut off. {} if it is none."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        number, wire = divmod(tag, 8)
        if not number or wire not in (0, 2):
            return {}
        if wire == 0:
            found[number] = value
        else:
            found[number] = message[at : at + value]
            at += value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at ``at``, and where the next one begins."""
    number = shift = 0
    for byte in data[at : at + 10]:
        number |= (byte & 127) << shift
        shift += 7
        at += 1
        if byte < 128:
            break
    return number, at


OTLP = Peer(
    headers={"User-Agent": "txmetrics", "Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"},
    check_url=check_otlp_url,
    authorize=Authorization.as_header,
    verdict=_verdict,
    reason=_reason,
    in_order=True,
    rejected=_rejected,
)
"""Requests as ``wire.OTLP`` writes them."""
