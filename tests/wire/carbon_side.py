"""Runs in carbon's own virtual environment: what its receivers make of bytes, each time on a new connection.

A question is a line of JSON on stdin: which receiver, and a list of texts of bytes (latin-1) that arrive in one piece
each. So is its answer on stdout.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from carbon import events, log
from carbon.protocols import MetricLineReceiver, MetricPickleReceiver
from twisted.internet.testing import StringTransport

RECEIVERS = {"line": MetricLineReceiver, "pickle": MetricPickleReceiver}


def verdict(receiver: str, pieces: list[str]) -> dict[str, Any]:
    """The points that carbon took, what it logged of what it refused, and whether it kept the connection."""
    points: list[tuple[str, float, float]] = []
    refused: list[str] = []
    transport = StringTransport()
    parser = RECEIVERS[receiver]()
    parser.makeConnection(transport)
    events.metricReceived.handlers = [lambda metric, point: points.append((metric, *point))]
    log.listener = refused.append
    error = None
    try:
        for piece in pieces:
            parser.dataReceived(piece.encode("latin-1"))
    except Exception as raised:  # the reactor would close the connection
        error = repr(raised)
    connected = error is None and not transport.disconnecting and not transport.disconnected
    return {"points": points, "refused": refused, "connected": connected, "error": error}


if __name__ == "__main__":
    log.listener = lambda message: None
    for question in sys.stdin:
        print(json.dumps(verdict(**json.loads(question))), flush=True)
