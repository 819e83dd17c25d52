"""What the kernel knows of a connection, and what it is asked to watch over."""

from __future__ import annotations

import fcntl
import socket
import termios
from contextlib import suppress
from struct import unpack
from typing import Any

__all__ = ["unacknowledged", "watch_over"]

USER_TIMEOUT = 10_000
"""Milliseconds for which the peer's kernel may leave written bytes unacknowledged; Linux waits 15 minutes by itself."""

KEEP_ALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPALIVE": 5, "TCP_KEEPINTVL": 2, "TCP_KEEPCNT": 3}
"""Seconds of silence before a probe, seconds between two (macOS names the first differently), probes."""


def watch_over(transport: Any) -> None:
    """Have the kernel notice within 11 seconds or so that the peer of a TCP connection is gone, where it can."""
    transport.setTcpKeepAlive(True)
    for name, value in {**KEEP_ALIVE, "TCP_USER_TIMEOUT": USER_TIMEOUT}.items():
        option = getattr(socket, name, None)
        if option is not None:
            with suppress(OSError, AttributeError):
                transport.socket.setsockopt(socket.IPPROTO_TCP, option, value)


def unacknowledged(transport: Any) -> int | None:
    """How many bytes the kernel took over that the peer's has not acknowledged (a Unix socket: that the peer has not
    read); None where that cannot be known."""
    try:
        (count,) = unpack("i", fcntl.ioctl(transport.socket, termios.TIOCOUTQ, bytes(4)))
    except (OSError, AttributeError, TypeError, ValueError):
        return None
    return int(count)
