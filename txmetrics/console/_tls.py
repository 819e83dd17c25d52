"""Certificates: whom one vouches for, who vouches for it, until when, and what is wrong with it, in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, ClientContextFactory
from twisted.python.failure import Failure

from txmetrics.console._probe import TlsProbe
from txmetrics.console._text import plain

__all__ = ["Shown", "fault", "unverified"]

HANDSHAKE_STARTS = 0x10  # OpenSSL's SSL_CB_HANDSHAKE_START
REMEDY = "if you trust it, put the issuer's certificate into a directory, as a .pem file, and add :trustRoots=DIRECTORY"
ALTERNATIVE_NAMES = "2.5.29.17"  # RFC 5280, 4.2.1.6


class Shown(NamedTuple):
    """What a certificate says, whether or not it is true."""

    names: list[str]
    issuer: str
    self_signed: bool
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, probe: TlsProbe) -> Shown:
        """The certificate that the other side of a TLS connection has shown."""
        certificate = Certificate.peerFromTransport(probe.transport)
        original: Any = certificate.original
        return cls(
            _names(original) or [_common_name(certificate.getSubject())],
            _common_name(certificate.getIssuer()),
            certificate.getSubject() == certificate.getIssuer(),
            _moment(original.get_notBefore()),
            _moment(original.get_notAfter()),
        )

    def __str__(self) -> str:
        names = ", ".join(map(plain, self.names))
        return f"certificate for {names}, by {plain(self.issuer)}, until {self.ends:%Y-%m-%d}"


def unverified(endpoint: IStreamClientEndpoint, host: str) -> IStreamClientEndpoint:
    """TLS over ``endpoint`` that believes every certificate: to look at it, and to send nothing."""
    return wrapClientTLS(_Credulous(host), endpoint)  # type: ignore[arg-type]  # the old kind of factory will do


def fault(shown: Shown, host: str, reason: Failure, now: datetime) -> str:
    """Why the handshake was broken off for ``reason``, and what may help."""
    if now > shown.ends:
        return f"the certificate expired on {shown.ends:%Y-%m-%d}: it has to be renewed there"
    if now < shown.begins:
        return f"the certificate is valid from {shown.begins:%Y-%m-%d} on only: is the clock right, here and there?"
    if reason.type.__module__.startswith("service_identity"):
        names = ", ".join(map(plain, shown.names))
        return f"the certificate is for {names} and not for {plain(host)}: give that name in the endpoint"
    if shown.self_signed:
        return f"the certificate is signed by nobody but itself: {REMEDY}"
    return f"the certificate's issuer, {plain(shown.issuer)}, is unknown here: {REMEDY}"


class _Credulous(ClientContextFactory):
    """Verifies nothing, and says whom it wants to talk to."""

    def __init__(self, host: str) -> None:
        self._name = b"" if isIPAddress(host) or isIPv6Address(host) else host.encode("idna")

    def getContext(self) -> Any:
        context = super().getContext()
        context.set_info_callback(self._tell_name)
        return context

    def _tell_name(self, connection: Any, where: int, _: int) -> None:
        if where & HANDSHAKE_STARTS and self._name:
            connection.set_tlsext_host_name(self._name)


def _names(certificate: Any) -> list[str]:
    for extension in certificate.to_cryptography().extensions:
        if extension.oid.dotted_string == ALTERNATIVE_NAMES:
            return [str(name.value) for name in extension.value]
    return []


def _common_name(distinguished: Any) -> str:
    for part in ("commonName", "organizationName", "organizationalUnitName"):
        if part in distinguished:
            return str(distinguished[part].decode("utf-8", "replace"))
    return "nobody"


def _moment(asn1: bytes) -> datetime:
    return datetime.strptime(asn1.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
