"""The viewers of the stream of events: all get the same bytes, and one that does not read gets none."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

__all__ = ["VIEWERS", "Viewer", "Viewers"]

VIEWERS = 50
"""So many may look at a time."""

RETRY = 2000
"""Milliseconds after which a browser comes back that was cut off."""


class Viewers:
    """Those who look."""

    def __init__(self) -> None:
        self._viewers: list[Viewer] = []

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, request: Any) -> Viewer:
        """From now on ``request``, whose headers are set, gets what is told."""
        viewer = Viewer(request)
        self._viewers.append(viewer)
        request.notifyFinish().addBoth(lambda _: self._remove(viewer))
        request.registerProducer(viewer, True)
        request.write(f"retry: {RETRY}\n: a state each second\n\n".encode("ascii"))
        return viewer

    def tell(self, state: bytes) -> None:
        """Send ``state``, one line, to each viewer that has read what came before."""
        event = _event(state)
        for viewer in [*self._viewers]:
            viewer.send(event)

    def close(self) -> None:
        """End all streams."""
        for viewer in [*self._viewers]:
            viewer.end()

    def _remove(self, viewer: Viewer) -> None:
        viewer.stopProducing()
        self._viewers.remove(viewer)


@implementer(IPushProducer)
class Viewer:
    """One of them."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._reads = True

    def tell(self, state: bytes) -> None:
        """Send ``state``, one line."""
        self.send(_event(state))

    def send(self, event: bytes) -> None:
        """Send ``event``, unless what came before is not read yet, or nobody is there any more."""
        if self._reads:
            self._request.write(event)

    def end(self) -> None:
        """End the stream."""
        self._request.unregisterProducer()
        self._request.finish()

    def pauseProducing(self) -> None:
        self._reads = False

    def resumeProducing(self) -> None:
        self._reads = True

    def stopProducing(self) -> None:
        """The connection is lost; the request tells that, too."""
        self._reads = False


def _event(state: bytes) -> bytes:
    return b"data: " + state + b"\n\n"
