"""Ports that the workers of a service share: each listens for itself, and the kernel deals out the connections.

Only a worker's process is changed, and in it every port that the application opens by itself, in whatever way. A socket
that was made elsewhere and is adopted stays as it is.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

from twisted.application.internet import StreamServerEndpointService
from twisted.internet import tcp, udp, unix
from twisted.internet.error import CannotListenError

__all__ = ["share_ports", "unshared"]

S = TypeVar("S", bound=StreamServerEndpointService)

_unshared: WeakSet[Any] = WeakSet()
"""The factories of ports that belong to one worker."""


def unshared(service: S) -> S:
    """``service``, whose port is this worker's alone; to be said before it listens."""
    _unshared.add(service.factory)
    return service


def share_ports() -> None:
    """From now on, let all TCP and UDP ports that this process opens be shared with others of the same user.

    Not those of services that are ``unshared``, nor port 0, which is another port for each. UNIX sockets cannot be
    shared: who listens on one gets a CannotListenError that says so.
    """
    kinds: tuple[Any, ...] = (tcp.Port, udp.Port)
    for kind in kinds:
        kind.createInternetSocket = _sharing(kind.createInternetSocket)
    unix.Port.startListening = _refuse  # type: ignore[method-assign]


def _sharing(create: Callable[[Any], socket.socket]) -> Callable[[Any], socket.socket]:
    def createInternetSocket(port: Any) -> socket.socket:
        made = create(port)
        factory = getattr(port, "factory", None)
        if port.port and not any(factory is each for each in _unshared):  # the application's may not be hashable
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        return made

    return createInternetSocket


def _refuse(port: Any) -> None:
    reason = "several workers cannot share a UNIX socket; give a tcp: endpoint, or --workers=1"
    raise CannotListenError("unix", port.port, OSError(reason))
