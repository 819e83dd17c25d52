"""The server: reads lines as carbon does, keeps the last seconds in memory only, and dies, freezes and dawdles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.cipher import ALERT, CLOSE, HELLO

if TYPE_CHECKING:
    from tests.simulation.kernel import Link, Network
    from tests.simulation.oracles import Judge

__all__ = ["Server"]


class Server:
    """``stored`` has each line with the moment of its first reading, in the order of these.

    A line whose newline never comes is discarded.
    """

    def __init__(self, judge: Judge, settings: Any) -> None:
        self.network: Network
        self.stored: dict[bytes, float] = {}
        self.slow_rate = 100
        self._judge = judge
        self._settings = settings
        self._key = settings.key.encode() + b"." if settings.key else b""

    # What the network tells

    def accepted(self, link: Link) -> None:
        if self.network.trouble["accept_close"]:
            link.end(self.network.random.choice([0.0, 0.0, 0.3, 3.0]))

    def arrived(self, link: Link) -> None:
        """There may be something to read."""
        trouble = self.network.trouble
        if trouble["frozen"] or not link.server_open:
            return
        if trouble["slow"]:
            self._read_slowly(link)
        else:
            self._read(link, len(link.incoming))

    def broken(self, link: Link, readable: bool) -> None:
        """A reset: some kernels let the process read what is left, if it runs, others throw it away."""
        if readable and not self.network.trouble["frozen"]:
            self._feed(link, bytes(link.incoming))
        else:
            self._lose(link)

    # What happens to it

    def kill(self, lose: float, notice: float) -> None:
        """``kill -9``, which loses what it has read in the last ``lose`` seconds and all that it has not read."""
        now = self.network.reactor.rightNow
        lost = []
        for line, read in reversed(self.stored.items()):
            if read <= now - lose:
                break
            lost.append(line)
        for line in lost:
            del self.stored[line]
        self._judge.server_lost(lost)
        for link in list(self.network.links):
            if link.server_open:
                self._lose(link)
                link.end(notice)

    def go_on(self) -> None:
        """It runs again, or as fast as ever."""
        for link in list(self.network.links):
            self.arrived(link)

    def _lose(self, link: Link) -> None:
        unread = link.partial + link.incoming
        self._judge.server_lost([self._bare(line) for line in unread.splitlines(keepends=True)])

    # Reading

    def _read_slowly(self, link: Link) -> None:
        if not link.dawdling and (link.incoming or link.shut_seen):
            link.dawdling = True

            def read() -> None:
                link.dawdling = False
                if link.server_open and not self.network.trouble["frozen"]:
                    self._read(link, self.slow_rate)
                    self.arrived(link)

            self.network.reactor.later(1.0, read)

    def _read(self, link: Link, size: int) -> None:
        data = bytes(link.incoming[:size])
        del link.incoming[:size]
        if data:
            if link.outgoing:
                link.wake()
            self._feed(link, data)
        if link.shut_seen and not link.incoming:
            link.partial = b""
            link.end()

    def _feed(self, link: Link, data: bytes) -> None:
        if self._settings.tls:
            data = self._decrypt(link, data)
        *lines, link.partial = (link.partial + data).split(b"\n")
        now = self.network.reactor.rightNow
        for line in lines:
            line = self._bare(line + b"\n")
            self._judge.line_read(line, line in self.stored)
            self.stored.setdefault(line, now)

    def _bare(self, line: bytes) -> bytes:
        """Without the key, if it stands there as it should."""
        return line.removeprefix(self._key) if self._key and line.startswith(self._key) else self._key + line

    def _decrypt(self, link: Link, data: bytes) -> bytes:
        if data.startswith(HELLO):
            bad = self.network.trouble["tls"]
            link.answer(ALERT if bad else HELLO)
            if bad:
                link.end()
        elif data.endswith(CLOSE) and link.server_open:
            link.incoming.clear()
            link.answer(CLOSE)
            link.end()
        return data.strip(HELLO + CLOSE)
