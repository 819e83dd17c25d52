"""The answer: a body that goes out as fast as its reader takes it, without a copy of its own."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import INTERNAL_SERVER_ERROR, NOT_ALLOWED
from zope.interface import implementer

from txmetrics.ext.prometheus._rendering import Body

__all__ = ["METHODS", "Answer", "refusal"]

METHODS = (b"GET", b"HEAD")

FAILED = b"The metrics could not be written down; the log of this server says why.\n"


def refusal(request: Any) -> bytes:
    """The body for a method that is none of METHODS; the status and headers are set."""
    request.setResponseCode(NOT_ALLOWED)
    request.setHeader(b"allow", b", ".join(METHODS))
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return b"This can be read with GET and HEAD only.\n"


@implementer(IPushProducer)
class Answer:
    """What one request is answered with, if its client is still there by then."""

    def __init__(self, request: Any, headers: dict[bytes, bytes]) -> None:
        self._request = request
        self._headers = headers
        self._chunks: tuple[bytes, ...] = ()
        self._next = 0
        self._paused = False
        self._over = False
        request.notifyFinish().addErrback(self._gone)

    def send(self, body: Body) -> None:
        """Answer with ``body``."""
        if self._over:
            return
        request = self._request
        for name, value in self._headers.items():
            request.setHeader(name, value)
        request.setHeader(b"content-length", b"%d" % body.size)
        if request.method == b"HEAD":
            self._finish()
            return
        self._chunks = body.chunks
        request.registerProducer(self, True)
        self.resumeProducing()

    def fail(self, failure: Failure) -> None:
        """Say that there is no body. Why is not the client's business."""
        if not self._over:
            self._request.setResponseCode(INTERNAL_SERVER_ERROR)
            self._request.setHeader(b"content-type", b"text/plain; charset=utf-8")
            self._request.setHeader(b"content-length", b"%d" % len(FAILED))
            self._request.write(FAILED)
            self._finish()

    # IPushProducer

    def resumeProducing(self) -> None:
        self._paused = False
        while not self._paused and not self._over:
            if self._next == len(self._chunks):
                self._request.unregisterProducer()
                self._finish()
                return
            self._next += 1
            self._request.write(self._chunks[self._next - 1])

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._over = True

    # The request

    def _gone(self, reason: Failure) -> None:
        self._over = True
        self._chunks = ()

    def _finish(self) -> None:
        self._over = True
        self._request.finish()
