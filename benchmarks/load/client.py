"""Asks a server so many times a second, whatever the answers do, and prints how long each took.

``python -m benchmarks.load.client PORT``. The latency is counted from the moment at which the request was due. One
that had to wait, because all connections were still waiting for their answers, has that in its latency: nobody is
spared a slow server by being asked to come later (no "coordinated omission").
"""

from __future__ import annotations

import argparse
import json
import socket
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from select import select

from benchmarks.load import BODY, CONNECTIONS, HOST

PATIENCE = 10.0
"""Seconds after the last request until no answer is awaited any more."""


class Connection:
    """Stays open from one request to the next."""

    REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fileno, self.close = self._socket.fileno, self._socket.close
        self._answer = b""
        self.due = 0.0

    def ask(self, due: float) -> None:
        self.due, self._answer = due, b""
        self._socket.sendall(self.REQUEST)

    def read(self) -> bool | None:
        """Whether the answer is right, None while it is not complete."""
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the server has closed a connection")
        self._answer += received
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < len(BODY):
            return None
        return head.startswith(b"HTTP/1.1 200 ") and body == BODY


@dataclass
class Answers:
    latencies: list[float] = field(default_factory=list)
    """In seconds, of all but the first, which warm up."""

    asked: int = 0
    right: int = 0


def ask(port: int, rate: float, warm: float, seconds: float) -> Answers:
    """Ask for ``warm`` and then for ``seconds``. Raises TimeoutError if there are no answers."""
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(port))) for _ in range(CONNECTIONS)]
        return _ask(connections, rate, warm, seconds)


def _ask(connections: Sequence[Connection], rate: float, warm: float, seconds: float) -> Answers:
    idle, busy, answers = deque(connections), set[Connection](), Answers()
    start = time.perf_counter() + 0.01
    begin, total = start + warm, round((warm + seconds) * rate)
    end = start + total / rate + PATIENCE
    while (busy or answers.asked < total) and (now := time.perf_counter()) < end:
        due = start + answers.asked / rate
        if idle and answers.asked < total and due <= now:
            connection = idle.popleft()
            connection.ask(due)
            busy.add(connection)
            answers.asked += 1
            continue
        next_one = due if idle and answers.asked < total else end
        for connection in select(busy, (), (), next_one - now)[0]:
            right = connection.read()
            if right is not None:
                answers.right += right
                if connection.due >= begin:
                    answers.latencies.append(time.perf_counter() - connection.due)
                busy.remove(connection)
                idle.append(connection)
    if busy or answers.asked < total:
        raise TimeoutError(f"{total - answers.asked + len(busy)} requests were not answered")
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a server at a steady rate.")
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--warm", type=float, required=True, help="seconds before it is measured")
    parser.add_argument("--seconds", type=float, required=True, help="for which it is measured")
    given = parser.parse_args()
    print(json.dumps(vars(ask(given.port, given.rate, given.warm, given.seconds))))


if __name__ == "__main__":
    main()
