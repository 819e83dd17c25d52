"""``txmetrics check`` over TLS: whom the certificate is for, who has signed it, and what is wrong with it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.threads import deferToThread

from tests.console.listening import HOST, Listening, Talkers
from tests.console.test_check import checked
from tests.delivery.certificates import Authority
from tests.processes import run
from txmetrics.testing import GraphiteReceiver


@pytest_twisted.ensureDeferred
async def test_a_good_certificate(listening: Listening, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says is told; the point arrives; that it was read is not claimed, since nobody says so over TLS."""
    monkeypatch.setattr("txmetrics.console._check.QUIET_TLS", 0.3)
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver, authority.server(HOST))
    told = await checked(f"tls:{HOST}:{port}:trustRoots={authority.directory}")
    assert not told.wrong, told.conclusion
    _, certificate, sent = told.steps
    assert certificate.startswith(f"TLS: certificate for {HOST}, by trustme")
    assert sent == "send: the point is written, and the connection was kept for 0.3 seconds"
    assert len(receiver.points) == 1


@pytest_twisted.ensureDeferred
async def test_the_wrong_name(listening: Listening, authority: Authority) -> None:
    """The one that is on it is told, and nothing is sent."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver, authority.server("elsewhere.example"))
    told = await checked(f"tls:{HOST}:{port}:trustRoots={authority.directory}")
    assert told.wrong
    assert told.conclusion == (
        f"the certificate is for elsewhere.example and not for {HOST}: give that name in the endpoint"
    )
    assert receiver.points == []


@pytest_twisted.ensureDeferred
async def test_an_issuer_that_nobody_knows(listening: Listening, authority: Authority) -> None:
    """The remedy is told with the words of the endpoint."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver, authority.server(HOST))
    told = await checked(f"tls:{HOST}:{port}")
    assert told.wrong
    assert told.conclusion.startswith("the certificate's issuer, trustme")
    assert told.conclusion.endswith("as a .pem file, and add :trustRoots=DIRECTORY")
    assert receiver.points == []


def served(directory: Path, issued: Any) -> DefaultOpenSSLContextFactory:
    """The TLS settings of a server with this certificate."""
    issued.private_key_pem.write_to_path(str(directory / "key"))
    issued.cert_chain_pems[0].write_to_path(str(directory / "crt"))
    return DefaultOpenSSLContextFactory(str(directory / "key"), str(directory / "crt"))


def trusted(directory: Path) -> trustme.CA:
    ca = trustme.CA()
    (directory / "roots").mkdir()
    ca.cert_pem.write_to_path(str(directory / "roots" / "ca.pem"))
    return ca


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_has_expired(listening: Listening, tmp_path: Path) -> None:
    """Since when, and where it has to be renewed."""
    now = datetime.now(UTC)
    issued = trusted(tmp_path).issue_cert(HOST, not_before=now - timedelta(30), not_after=now - timedelta(1))
    port = await listening.serve(GraphiteReceiver(), served(tmp_path, issued))
    told = await checked(f"tls:{HOST}:{port}:trustRoots={tmp_path}/roots")
    assert told.wrong
    assert told.conclusion == (f"the certificate expired on {now - timedelta(1):%Y-%m-%d}: it has to be renewed there")


@pytest_twisted.ensureDeferred
async def test_a_certificate_of_tomorrow(listening: Listening, tmp_path: Path) -> None:
    """One of the clocks is wrong."""
    now = datetime.now(UTC)
    issued = trusted(tmp_path).issue_cert(HOST, not_before=now + timedelta(1), not_after=now + timedelta(30))
    port = await listening.serve(GraphiteReceiver(), served(tmp_path, issued))
    told = await checked(f"tls:{HOST}:{port}:trustRoots={tmp_path}/roots")
    assert told.wrong
    assert "is the clock right, here and there?" in told.conclusion


@pytest_twisted.ensureDeferred
async def test_the_key_goes_before_the_name_and_is_never_shown(
    listening: Listening, authority: Authority, tmp_path: Path
) -> None:
    """As for HostedGraphite, in a program of its own."""
    receiver = GraphiteReceiver()
    port = await listening.serve(receiver, authority.server(HOST))
    (tmp_path / "key").write_text("k3y-of-a-test\n")
    endpoint = f"tls:{HOST}:{port}:trustRoots={authority.directory}"
    command = [sys.executable, "-m", "txmetrics", "check", endpoint, "--key-file", "key", "--name", "a.b"]
    done = await deferToThread(run, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert receiver.names() == {"k3y-of-a-test.a.b"}
    assert "k3y" not in done.stdout


@pytest_twisted.ensureDeferred
async def test_an_answer_that_repeats_the_key_is_not_shown(listening: Listening, authority: Authority) -> None:
    """It is told that there was one."""
    port = await listening.serve(Talkers(answer=b"unknown command k3y-of-a-test"), authority.server(HOST))
    told = await checked(f"tls:{HOST}:{port}:trustRoots={authority.directory}", secret=True)
    assert told.wrong
    assert told.steps[-1] == "send: it answered"
    assert "k3y" not in told.conclusion
