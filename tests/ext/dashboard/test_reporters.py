"""How the reporters are: where they report to, whether that goes well, what was lost of late."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import succeed

from tests.ext.dashboard.stand import Stand
from txmetrics.interfaces import Chunk, Ledger
from txmetrics.reporter import Backend, Reporter
from txmetrics.wire import Graphite


def state(stand: Stand) -> Any:
    return stand.ask("/state").json


class Delivery:
    """An IDelivery whose books are what the test says."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.levels: dict[str, float] = {"connected": 1, "queue_seconds": 0.0}
        self.dropped: dict[str, int] = {}

    @property
    def ledger(self) -> Ledger:
        return Ledger(30 + sum(self.dropped.values()), 10, 5, 15, 0, self.dropped)

    def start(self) -> None:
        """Nothing to open."""

    def deliver(self, chunk: Chunk) -> None:
        """It is gone."""

    def stop(self, seconds: float) -> Any:
        return succeed(None)


def _reporter(stand: Stand, delivery: Delivery) -> Reporter:
    def backend(reactor: Any) -> Backend:
        return Backend(Graphite(), delivery)

    return Reporter(stand.registry, backend, 60, where="tcp:graphite:2003", reactor=stand.reactor)


def test_a_reporter_is_told() -> None:
    """Where it reports to, and where its points are."""
    reporters: list[Reporter] = []
    stand, delivery = Stand(reporters=lambda: reporters), Delivery()
    reporters.append(_reporter(stand, delivery))
    stand.run()
    assert state(stand)["reporters"][0] == {
        "where": "tcp:graphite:2003",
        "health": "warn",
        "connected": False,
        "lag": 0.0,
        "queued": 0,
        "dropped": 0,
        "delivered": 0,
        "collected": 0,
        "reports": 0,
    }
    reporters[0].startService()
    stand.seconds()
    delivery.levels["queue_seconds"] = 0.5
    delivery.dropped["overflow"] = 0
    assert state(stand)["reporters"][0] == {
        "where": "tcp:graphite:2003",
        "health": "good",
        "connected": True,
        "lag": 0.5,
        "queued": 15,
        "dropped": 0,
        "delivered": 10,
        "collected": 30,
        "reports": 0,
    }
    reporters[0].stopService()
    stand.turns()
    stand.close()


@pytest.mark.parametrize(
    ("connected", "waiting", "health"),
    [(1, 0.0, "good"), (1, 300.0, "good"), (0, 0.0, "warn"), (0, 30.0, "warn"), (0, 30.1, "bad")],
)
def test_the_health_of_a_reporter(connected: int, waiting: float, health: str) -> None:
    """Not connected is a warning, and bad once something has waited for half a minute."""
    stand, delivery = Stand(), Delivery()
    reporter = _reporter(stand, delivery)
    stand = Stand(reporters=(reporter,)).run()
    delivery.levels = {"connected": connected, "queue_seconds": waiting}
    reporter.startService()
    assert state(stand)["reporters"][0]["health"] == health
    reporter.stopService()
    stand.close()


def test_what_was_dropped_is_bad_for_a_minute() -> None:
    """Also when nobody has looked meanwhile; what was dropped long ago is counted only."""
    delivery = Delivery()
    reporter = _reporter(Stand(), delivery)
    reporter.startService()
    delivery.dropped["overflow"] = 4
    stand = Stand(reporters=[reporter]).run()
    assert state(stand)["reporters"][0]["health"] == "good"
    stand.seconds(20)
    delivery.dropped["overflow"] += 1
    stand.seconds(50)
    [told] = state(stand)["reporters"]
    assert (told["health"], told["dropped"]) == ("bad", 5)
    stand.seconds(30)
    [told] = state(stand)["reporters"]
    assert (told["health"], told["dropped"]) == ("good", 5)
    reporter.stopService()
    stand.close()
