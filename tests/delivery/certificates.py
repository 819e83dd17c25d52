"""Certificates for TLS on loopback: made by an authority of the tests' own."""

from __future__ import annotations

from pathlib import Path

import trustme
from twisted.internet.ssl import DefaultOpenSSLContextFactory


class Authority:
    """A certificate authority; `directory` holds its certificate, as ``trustRoots=`` wants it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca = trustme.CA()
        directory.mkdir()
        self._ca.cert_pem.write_to_path(str(directory / "ca.pem"))

    def server(self, name: str) -> DefaultOpenSSLContextFactory:
        """The TLS settings of a server with a certificate for `name`."""
        issued = self._ca.issue_cert(name)
        key, certificate = (str(self.directory / f"{name}.{what}") for what in ("key", "crt"))
        issued.private_key_pem.write_to_path(key)
        issued.cert_chain_pems[0].write_to_path(certificate)
        return DefaultOpenSSLContextFactory(key, certificate)
