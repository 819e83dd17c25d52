"""A TLS that hides nothing: what Twisted's own TLS transport needs of OpenSSL, for the fraction of a handshake's cost.

Graphite's lines have no control characters, so three of them can play the records of the protocol.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

__all__ = ["ALERT", "CLOSE", "HELLO", "over_tls"]

HELLO, CLOSE, ALERT = b"\x01", b"\x02", b"\x03"


def over_tls(factory: Any, reactor: Any) -> TLSMemoryBIOFactory:
    """``factory``, whose connections are made over this TLS."""
    return TLSMemoryBIOFactory(_Creator(), True, factory, reactor)


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    def clientConnectionForTLS(self, protocol: object) -> Any:
        return _Cipher()


class _Cipher:
    """The parts of OpenSSL.SSL.Connection that Twisted uses."""

    def __init__(self) -> None:
        self._in = b""
        self._out = HELLO
        self._open = False
        self._close_sent = False
        self._cut_off = False

    def set_connect_state(self) -> None:
        pass

    def set_app_data(self, data: object) -> None:
        pass

    def do_handshake(self) -> None:
        if self._in.startswith(ALERT):
            raise SSL.Error([("SSL routines", "", "certificate verify failed")])
        if not self._in.startswith(HELLO):
            raise SSL.WantReadError
        self._in = self._in[1:]
        self._open = True

    def bio_write(self, data: bytes) -> None:
        self._in += data

    def bio_read(self, size: int) -> bytes:
        if not self._out:
            raise SSL.WantReadError
        data, self._out = self._out[:size], self._out[size:]
        return data

    def bio_shutdown(self) -> None:
        self._cut_off = True

    def send(self, data: bytes) -> int:
        self._out += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if self._in.startswith(CLOSE):
            raise SSL.ZeroReturnError
        if self._cut_off:
            raise SSL.SysCallError(-1, "Unexpected EOF")
        raise SSL.WantReadError

    def shutdown(self) -> bool:
        if not self._open:
            raise SSL.Error([])
        if not self._close_sent:
            self._close_sent = True
            self._out += CLOSE
        return self._in.startswith(CLOSE)
