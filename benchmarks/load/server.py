"""The server under load, one of the subjects, as a process of its own that ends with its parent.

``python -m benchmarks.load.server`` prints a line of JSON when it is up, and one for each line that it reads: "cpu",
how many seconds of processor time it has used; "stop", after the last report, how many lines it has reported. It ends
when there is nothing more to read.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
import traceback
from itertools import cycle
from random import Random
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.stdio import StandardIO
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.server import Site

from benchmarks.load import HOST
from benchmarks.load.subjects import SUBJECTS, Bare

reactor: Any = _reactor


class Control(LineReceiver):
    """Talks to the parent."""

    delimiter = b"\n"

    def __init__(self, subject: Bare) -> None:
        self._subject = subject

    def tell(self, **what: Any) -> None:
        self.sendLine(json.dumps(what).encode())

    def lineReceived(self, line: bytes) -> None:
        if line == b"cpu":
            self.tell(cpu=time.process_time())
        else:
            stopped = maybeDeferred(self._subject.stop)
            stopped.addCallbacks(lambda _: self.tell(lines=self._subject.lines()), self.failed)

    def failed(self, failure: Failure) -> None:
        self.tell(failure=failure.getTraceback())

    def connectionLost(self, reason: Any = None) -> None:
        if reactor.running:
            reactor.stop()


def keep_busy(subject: Bare) -> None:
    """Let each timer take ten values a second; without any, the reactor wakes up as often."""
    random = Random(1)
    values = cycle([random.lognormvariate(-5, 1) for _ in range(1000)])
    shares = cycle([subject.timers[start::10] for start in range(10)])

    def work() -> None:
        for add in next(shares):
            add(next(values))

    LoopingCall(work).start(0.01)


def serve(subject: Bare) -> None:
    gc.collect()
    gc.freeze()  # as every server with many long-lived objects should; see the README
    subject.start()
    keep_busy(subject)
    listening = TCP4ServerEndpoint(reactor, 0, interface=HOST).listen(Site(subject.resource))
    control = Control(subject)
    StandardIO(control)
    listening.addCallback(lambda port: control.tell(port=port.getHost().port)).addErrback(control.failed)


def begin(subject: Bare) -> None:
    try:
        serve(subject)
    except Exception:  # the reactor would only log it, and the parent wait
        traceback.print_exc()
        reactor.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="The server under load.")
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--values", type=int, required=True, help="in a report")
    parser.add_argument("--sink", type=int, required=True, help="the port that takes the reports")
    parser.add_argument("--processor", type=int, help="run on this one")
    given = parser.parse_args()
    if given.processor is not None:
        os.sched_setaffinity(0, {given.processor})
    subject = SUBJECTS[given.subject](given.values, given.sink)
    reactor.callWhenRunning(begin, subject)
    reactor.run()


if __name__ == "__main__":
    main()
