"""One word for why a connection was not made, or was lost: what the counts and the log say of it."""

from __future__ import annotations

from twisted.internet import error
from twisted.python.failure import Failure

from txmetrics.delivery._connection import StalledError

__all__ = ["kind"]

_KINDS: dict[type[BaseException], str] = {
    error.DNSLookupError: "dns",
    error.UnknownHostError: "dns",
    error.ConnectionRefusedError: "refused",
    error.TimeoutError: "timeout",
    error.TCPTimedOutError: "timeout",
    TimeoutError: "timeout",
    StalledError: "stalled",
    error.ConnectionDone: "closed",
}


def kind(reason: Failure) -> str:
    """dns, refused, timeout, tls, stalled, closed (in order, by the peer), or lost: whatever else."""
    while reasons := getattr(reason.value, "reasons", None):  # what Twisted's HTTP client says is wrapped in its own
        reason = reasons[0]
    if reason.type.__module__.startswith(("OpenSSL", "service_identity")):
        return "tls"
    return next((word for kind, word in _KINDS.items() if reason.check(kind)), "lost")
