"""One connection, watched on its transport: what was received and sent over it, and how it ended.

On the transport, because nothing else stays the same for as long: a protocol may hand its connection over to another
one (a websocket), be a mere proxy of several (HTTP/1 and HTTP/2), or have no room for an attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper

from txmetrics.instrument._care import Care
from txmetrics.instrument._shadow import Shadow
from txmetrics.metrics import Counter

__all__ = ["Watch"]

_SEQUENCES = (list, tuple)


class Watch:
    """Counts the bytes that pass ``transport``, and calls ``lost`` once, with the reason, when the connection is lost.

    ``received`` and ``sent`` count what the protocol gets and writes: TLS has been taken off, or is still to be put on.
    Whatever goes wrong in the counting, ``care`` takes care of.
    """

    __slots__ = ("_care", "_losing", "_lost", "_reading", "_received", "_sent", "_transport", "_writing")

    def __init__(
        self,
        transport: Any,
        protocol: Any,
        received: Counter,
        sent: Counter,
        lost: Callable[[Any], None],
        care: Care,
    ) -> None:
        self._transport = transport
        self._received = received
        self._sent = sent
        self._lost = lost
        self._care = care
        self._reading: Shadow | None = None
        self._writing: list[Shadow] = []
        tells = transport if hasattr(transport, "connectionLost") else protocol
        self._losing: Shadow | None = Shadow(tells, "connectionLost", self._watch_loss)
        care.attempt(self._watch_bytes, protocol)

    def _watch_bytes(self, protocol: Any) -> None:
        self._reading = self._shadow_reading(protocol)
        self._shadow_writing()
        if hasattr(self._transport, "startTLS"):
            self._writing.append(Shadow(self._transport, "startTLS", self._watch_start_tls))

    # What is received

    def _shadow_reading(self, protocol: Any) -> Shadow:
        if ISSLTransport.providedBy(self._transport):
            return self._shadow_tls()
        carrier = self._transport
        while isinstance(carrier, ProtocolWrapper):
            carrier = carrier.transport
        if hasattr(carrier, "_dataReceived"):  # a socket's
            return Shadow(carrier, "_dataReceived", self._counting)
        return Shadow(protocol, "dataReceived", self._counting)

    def _counting(self, data_received: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        received, care = self._received, self._care

        def counted(data: bytes) -> Any:
            if data:
                try:
                    received.count += len(data)
                except Exception:
                    care.failed()
            return data_received(data)

        return counted

    def _shadow_tls(self) -> Shadow:
        return Shadow(self._transport.getHandle(), "recv", self._counting_tls)

    def _counting_tls(self, recv: Callable[..., bytes]) -> Callable[..., bytes]:
        received, care = self._received, self._care

        def counted(*args: Any) -> bytes:
            data = recv(*args)
            try:
                received.count += len(data)
            except Exception:
                care.failed()
            return data

        return counted

    def _watch_start_tls(self, start_tls: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            result = start_tls(*args, **kwargs)
            self._care.attempt(self._tls_started)
            return result

        return watched

    def _tls_started(self) -> None:
        self._stop_reading()
        self._reading = self._shadow_tls()

    # What is sent

    def _shadow_writing(self) -> None:
        sent, care = self._sent, self._care
        in_sequence = False  # some transports write a sequence by ``write``

        def counting(write: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
            def counted(data: bytes) -> Any:
                result = write(data)
                if not in_sequence:
                    try:
                        sent.count += len(data)
                    except Exception:
                        care.failed()
                return result

            return counted

        def counting_sequence(write_sequence: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def counted(pieces: Any) -> Any:
                nonlocal in_sequence
                if not isinstance(pieces, _SEQUENCES):
                    pieces = list(pieces)
                in_sequence = True
                try:
                    result = write_sequence(pieces)
                finally:
                    in_sequence = False
                try:
                    sent.count += sum(map(len, pieces))
                except Exception:
                    care.failed()
                return result

            return counted

        self._writing.append(Shadow(self._transport, "write", counting))
        self._writing.append(Shadow(self._transport, "writeSequence", counting_sequence))

    # How it ends

    def _watch_loss(self, connection_lost: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def losing(reason: Any) -> Any:
            self._care.attempt(self._stop_writing)  # what is written from now on goes nowhere
            if not self._care.attempt(self._listen):
                self.end(reason)
            try:
                return connection_lost(reason)
            finally:
                self.end(reason)

        return losing

    def _listen(self) -> bool:
        """Hear the end from the TLS layer, if there is one, for its errors are not the transport's."""
        if not ISSLTransport.providedBy(self._transport):
            return False
        layer: Any = self._transport
        if not isinstance(layer, ProtocolWrapper):
            layer = layer.protocol  # which startTLS put there
        layer.wrappedProtocol = _Ear(layer.wrappedProtocol, self)
        return True

    def end(self, reason: Any) -> None:
        """The protocol is told ``reason`` next, or was told already."""
        self._care.attempt(self._end, reason)

    def _end(self, reason: Any) -> None:
        if self._losing is None:
            return
        losing, self._losing = self._losing, None
        losing.remove()
        self._lost(reason)
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.remove()
            self._reading = None

    def _stop_writing(self) -> None:
        while self._writing:
            self._writing.pop().remove()


class _Ear:
    """Stands before a protocol while its connection is being lost."""

    def __init__(self, protocol: Any, watch: Watch) -> None:
        self._protocol = protocol
        self._watch = watch

    def connectionLost(self, reason: Any) -> Any:
        self._watch.end(reason)
        return self._protocol.connectionLost(reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._protocol, name)
