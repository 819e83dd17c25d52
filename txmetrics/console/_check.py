"""``txmetrics check``: the way to a backend, step by step, and in words what is wrong with it."""

from __future__ import annotations

import socket
import time
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IResolutionReceiver, IStreamClientEndpoint
from zope.interface import implementer

from txmetrics.backends import way_to
from txmetrics.console._endpoint import REMEDIES, Where, read_key
from txmetrics.console._point import point
from txmetrics.console._probe import Deadline, PlainProbe, Probe, TlsProbe, connect, in_words
from txmetrics.console._reactor import in_reactor
from txmetrics.console._seam import Commands, Trouble
from txmetrics.console._text import plain
from txmetrics.delivery import with_own_lookups
from txmetrics.steady import steady

__all__ = ["add", "check", "run"]

QUIET = 1.0
"""Seconds in which a port that wants something else than lines closes the connection."""

QUIET_TLS = 2.0

SHARE = 0.5
"""Of the time that is left, for one step: what hangs must leave some for the words that follow."""


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "check",
        help="try the way to a backend, step by step",
        description="Try the way to a backend: look its name up, connect to each address, shake hands, send one point "
        "and see what becomes of it. Says in words what is wrong, and what may help.",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="tcp:host:2003, tls:host:20030, unix:/path, udp:host:2003")
    parser.add_argument("--name", default="txmetrics.check", help="of the point that is sent (%(default)s)")
    parser.add_argument("--key-file", metavar="FILE", help="put HostedGraphite's API key, which is in it, before NAME")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=10.0, help="for it all (%(default)g)")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> None:
    where = Where.parse(arguments.endpoint)
    if where.kind == "https":
        raise Trouble("check sends lines, and a URL takes requests; give an endpoint such as tls:host:20030")
    if not 0 < arguments.timeout <= 3600:
        raise Trouble(f"a timeout of {arguments.timeout:g} seconds makes no sense; give 10, for instance")
    key = read_key(arguments.key_file)
    if key is not None:
        where.check_secrecy()
    data = point(arguments.name, 1, int(time.time())).data
    line = data if key is None else key.before_each_line(data)
    check_it = partial(check, where=where, line=line, seconds=arguments.timeout, say=_say, secret=key is not None)
    print(in_reactor(check_it))


def _say(step: str, text: str) -> None:
    print(f"{step:<9}{text}", flush=True)


async def check(
    reactor: Any, where: Where, line: bytes, seconds: float, say: Callable[[str, str], None], secret: bool = False
) -> str:
    """Go step by step, and ``say`` what each shows; returns the conclusion, or it is a Trouble.

    Nothing is said of what is in ``line``, and if that is ``secret`` nothing of an answer either, which may repeat it.
    """
    way = _Way(reactor, where, Deadline(steady(reactor), seconds), say, secret)
    addresses = [] if not where.host else await way.look_up()
    if where.kind == "udp":
        return await way.send_datagram(addresses, line)
    if where.host:
        reached = await way.try_each(addresses)
        if where.kind == "tls":
            await way.look_at_certificate(reached)
    return await way.send(line)


class _Way:
    """The steps to one backend."""

    def __init__(
        self, reactor: Any, where: Where, deadline: Deadline, say: Callable[[str, str], None], secret: bool
    ) -> None:
        self._reactor = reactor
        self._where = where
        self._deadline = deadline
        self._say = say
        self._secret = secret
        self._fault: Callable[[Any], str] | None = None

    async def look_up(self) -> list[str]:
        """The host's addresses."""
        host = self._where.host
        looked_up = _LookUp()
        with_own_lookups(self._reactor).nameResolver.resolveHostName(looked_up, host, self._where.port)
        try:
            addresses: list[str] = await self._deadline.result(looked_up.done, SHARE)
        except TimeoutError:
            self._say("resolve", f"{plain(host)}: no answer")
            raise Trouble(f"no name server has answered in time: what {host} is nobody knows; is DNS set up?") from None
        if not addresses:
            self._say("resolve", f"{plain(host)}: no address")
            raise Trouble(f"{host} has no address: is it spelled right, and does a name server answer?")
        if addresses != [host]:
            self._say("resolve", f"{plain(host)} is {' and '.join(addresses)}")
        return addresses

    async def try_each(self, addresses: list[str]) -> str:
        """Connect to all ``addresses`` at the same time; returns the first that was reached."""
        tries = [Deferred.fromCoroutine(self._try(address)) for address in addresses]
        answers = await gatherResults(tries, consumeErrors=True)
        if not any(answer == "" for answer in answers):
            raise Trouble(self._unreached(answers))
        return addresses[answers.index("")]

    async def _try(self, address: str) -> str:
        """Why there is no connection to ``address``; "" if there is one."""
        clock = steady(self._reactor)
        began = clock.seconds()
        probe = PlainProbe()
        try:
            await connect(self._to(address), probe, self._deadline, SHARE)
        except CancelledError:
            raise
        except Exception as error:
            answer = in_words(error)
        else:
            probe.end()
            answer = ""
        took = f"connected in {(clock.seconds() - began) * 1000:.1f} ms"
        self._say("connect", f"{_and_port(address, self._where.port)}: {answer or took}")
        return answer

    def _to(self, address: str) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        return kind(self._reactor, address, self._where.port, timeout=self._deadline.left)

    def _unreached(self, answers: list[str]) -> str:
        if "refused" in answers:
            carbon = "is carbon running, is the port right? carbon's plaintext port is 2003"
            return f"nothing listens there: {carbon if self._where.kind == 'tcp' else 'is the port right?'}"
        if "no answer" in answers:
            return REMEDIES["timeout"]
        return f"{self._where.text} cannot be reached ({answers[0]}): is the address right, is there a way to it?"

    async def look_at_certificate(self, address: str) -> None:
        """Shake hands with whoever is there, to see what it calls itself."""
        from txmetrics.console import _tls  # late: TLS is an extra

        host, probe = self._where.host, TlsProbe()
        try:
            await self._connect(_tls.unverified(self._to(address), host), probe)
            await self._deadline.until(lambda: probe.ready or probe.over, self._deadline.left * SHARE)
            if not probe.ready:
                raise Trouble(self._no_handshake(probe))
            shown = _tls.Shown.of(probe)
        finally:
            if probe.transport is not None:
                probe.end()
        self._say("TLS", str(shown))
        self._fault = lambda reason: _tls.fault(shown, host, reason, datetime.now(UTC))

    def _no_handshake(self, probe: Probe) -> str:
        how = "does not answer the handshake" if probe.over is None else "broke the handshake off"
        self._say("TLS", f"it {how}")
        return f"{self._where.text} {how}: that port does not speak TLS, in all probability; carbon itself never does"

    async def send(self, line: bytes) -> str:
        """Connect as a reporter does, and send the point."""
        encrypted = self._where.kind in ("tls", "ssl")
        probe = TlsProbe() if encrypted else PlainProbe()
        try:
            await self._open(probe)
            probe.transport.write(line)
            return await self._become_of_it(probe)
        finally:
            if probe.transport is not None:
                probe.end()
                await self._deadline.until(lambda: probe.over, QUIET)

    async def _open(self, probe: Probe) -> None:
        await self._connect(way_to(with_own_lookups(self._reactor), self._where.text), probe)
        await self._deadline.until(lambda: probe.ready or probe.over, self._deadline.left * SHARE)
        if probe.over is not None and self._fault is not None:
            fault = self._fault(probe.over)
            self._say("TLS", fault)
            raise Trouble(fault)
        if not probe.ready:
            raise Trouble(self._no_handshake(probe))

    async def _connect(self, endpoint: IStreamClientEndpoint, probe: Probe) -> None:
        try:
            await connect(endpoint, probe, self._deadline, SHARE)
        except CancelledError:
            raise
        except Exception as error:
            self._say("connect", in_words(error))
            raise Trouble(f"{self._where.text} cannot be reached ({in_words(error)}): does it listen?") from None

    async def _become_of_it(self, probe: Probe) -> str:
        tls = isinstance(probe, TlsProbe)
        quiet = QUIET_TLS if tls else QUIET
        await self._deadline.until(lambda: probe.over or probe.end_seen or probe.received, quiet)
        if probe.received:
            said = plain(probe.received.decode("utf-8", "replace").strip())
            self._say("send", "it answered" if self._secret else f"it answered: {said}")
            raise Trouble(f"{self._where.text} answers, which Graphite never does: another program has that port")
        if probe.over is not None or probe.end_seen:
            self._say("send", "it closed the connection when the point came")
            other = "does it want a certificate of ours" if tls else "is it carbon's pickle port"
            raise Trouble(f"{self._where.text} takes no lines: {other}, is this address not allowed to connect?")
        if not isinstance(probe, PlainProbe):
            self._say("send", f"the point is written, and the connection was kept for {quiet:g} seconds")
            return "all is well, as far as can be known: over TLS nobody says that a point has been read"
        probe.half_close()
        await self._deadline.until(lambda: probe.over)
        if probe.over is None:
            self._say("send", "nobody has read the point")
            raise Trouble(f"{self._where.text} takes connections and reads nothing: is it stopped, or overloaded?")
        if not probe.end_seen:
            self._say("send", f"the connection broke: {in_words(probe.over.value)}")
            raise Trouble(f"{self._where.text} broke the connection off: look into its log")
        self._say("send", "the point was read")
        return "all is well: the point was sent, and read there"

    async def send_datagram(self, addresses: list[str], line: bytes) -> str:
        """Send the point to each address, and see whether that is refused."""
        refused = [address for address in addresses if await self._refuses(address, line)]
        if len(refused) == len(addresses):
            raise Trouble("nothing listens there: is the port right, is ENABLE_UDP_LISTENER on in carbon.conf?")
        return "nothing is wrong, as far as can be known: over UDP nobody says that a point has arrived"

    async def _refuses(self, address: str, line: bytes) -> bool:
        shown = _and_port(address, self._where.port)
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.connect((address, self._where.port))
                sender.send(line)
                await self._deadline.until(lambda: False, QUIET)
                sender.recv(1)
            except BlockingIOError:
                self._say("send", f"{shown}: the point is sent, and nothing came back")
                return False
            except OSError as error:
                refused = isinstance(error, ConnectionRefusedError)
                self._say("send", f"{shown}: {'refused' if refused else error.strerror}")
                return True
        self._say("send", f"{shown}: the point is sent, and something came back")
        return False


def _and_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@implementer(IResolutionReceiver)
class _LookUp:
    """One question to the name service."""

    def __init__(self) -> None:
        self.done: Deferred[list[str]] = Deferred()
        self._addresses: list[str] = []

    def resolutionBegan(self, resolution: object) -> None:
        """It cannot be cancelled, in most resolvers."""

    def addressResolved(self, address: Any) -> None:
        if address.host not in self._addresses:
            self._addresses.append(address.host)

    def resolutionComplete(self) -> None:
        self.done.callback(self._addresses)
