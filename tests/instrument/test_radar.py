"""The Deferred radar: what never fired, and where that was created."""

from __future__ import annotations

import gc
import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import defer
from twisted.internet.defer import Deferred, DeferredList, DeferredQueue, fail, inlineCallbacks, succeed
from twisted.internet.task import deferLater

from tests.processes import run
from tests.strict import Logged
from txmetrics import MetricsRegistry, timed
from txmetrics.instrument import DeferredRadar, _radar
from txmetrics.testing import FakeReactor


@pytest.fixture
def radar(registry: MetricsRegistry) -> Iterator[DeferredRadar]:
    """One that runs in the test's ``with running(radar):``, so that it does not see what pytest-twisted does."""
    before = dict(vars(Deferred))
    radar = DeferredRadar(registry)
    yield radar
    assert dict(vars(Deferred)) == before


@contextmanager
def running(radar: DeferredRadar) -> Iterator[None]:
    """The time in which it sees Deferreds."""
    radar.startService()
    try:
        yield
    finally:
        radar.stopService()


def told(registry: MetricsRegistry) -> tuple[Any, Any]:
    """What one report tells: how many are pending, and how many were lost."""
    readings = {reading.name: reading.fields() for reading in registry.snapshot()}
    return readings["deferreds.pending"]["value"], readings["deferreds.lost"]["count"]


def here(offset: int = 0) -> str:
    """The place of the line that calls it, or of another one."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno + offset}"


def test_a_deferred_is_pending_until_it_fires(
    reactor: FakeReactor, registry: MetricsRegistry, radar: DeferredRadar
) -> None:
    """With where it was created, and its age."""
    with running(radar):
        places, deferreds = [], []
        for _ in range(2):
            places.append(here(1))
            deferreds.append(Deferred())
            reactor.advance(1)
        other, three = here(), Deferred()
        reactor.advance(1)
        (place,), (one, two) = set(places), deferreds
        assert told(registry) == (3, 0)
        assert radar.pending() == [(place, 2, 3), (other, 1, 1)]
        one.callback(None)
        three.errback(ArithmeticError("on purpose"))
        three.addErrback(lambda failure: None)
        assert told(registry) == (1, 0)
        assert radar.pending() == [(place, 1, 2)]
        two.cancel()
        two.addErrback(lambda failure: None)
        assert told(registry) == (0, 0)
        deferreds.clear()
        del one, two, three
        assert told(registry) == (0, 0)
        assert radar.lost() == []


def test_a_deferred_is_lost_when_it_is_garbage_before_it_fired(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """It is counted once, with where it was created, and pending no more."""
    with running(radar):
        for _ in range(3):
            place, deferred = here(), Deferred()
        del deferred
        other = here(1)
        Deferred()
        assert told(registry) == told(registry) == (0, 4)
        assert radar.lost() == [(place, 3), (other, 1)]


def test_garbage_in_a_cycle_is_lost_when_the_collector_finds_it(
    registry: MetricsRegistry, radar: DeferredRadar
) -> None:
    """inlineCallbacks that wait for what nobody can fire are such."""
    with running(radar):

        @inlineCallbacks
        def work() -> Iterator[Any]:
            yield Deferred()

        work().addCallback(lambda result: result)
        gc.collect()
        assert told(registry) == (0, 2)


def test_what_has_its_result_at_once_is_neither(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """Twisted makes them without ``callback``."""
    with running(radar):
        kept = [succeed("result"), fail(ArithmeticError("on purpose"))]
        kept[1].addErrback(lambda failure: None)
        assert told(registry) == (0, 0)
        del kept
        assert told(registry) == (0, 0)


def test_a_list_is_pending_with_its_members(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """A DeferredList is a Deferred, created where it is called for."""
    with running(radar):
        members = [Deferred(), Deferred()]
        place, both = here(), DeferredList(members)
        assert told(registry) == (3, 0)
        assert radar.pending()[-1][:2] == (place, 1)
        for member in members:
            member.callback(None)
        assert told(registry) == (0, 0)
        assert both.called


def test_of_a_chain_only_the_end_is_pending(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """The first one has fired, and waits for the other."""
    with running(radar):
        place, inner = here(), Deferred()
        outer = succeed(None).addCallback(lambda result: inner)
        assert [(found, count) for found, count, _ in radar.pending()] == [(place, 1)]
        inner.callback("result")
        assert told(registry) == (0, 0)
        assert outer.result == "result"


def test_a_coroutine_is_pending_where_it_was_started(
    reactor: FakeReactor, registry: MetricsRegistry, radar: DeferredRadar
) -> None:
    """And what it awaits where it was created."""
    with running(radar):

        async def work() -> str:
            await deferLater(reactor, 1, lambda: None)
            return "result"

        awaited = here(-3)
        started, done = here(), Deferred.fromCoroutine(work())
        assert {place for place, _, _ in radar.pending()} == {awaited, started}
        assert {count for _, count, _ in radar.pending()} == {1}
        reactor.advance(1)
        assert told(registry) == (0, 0)
        assert done.result == "result"


def test_what_twisted_or_txmetrics_create_has_its_place_in_the_application(
    registry: MetricsRegistry, radar: DeferredRadar
) -> None:
    """The first frame that is not theirs."""
    with running(radar):
        place, queued = here(), DeferredQueue().get()
        assert radar.pending()[-1][:2] == (place, 1)

        @timed(registry.timer("work"))
        @inlineCallbacks
        def work(deferred: Deferred[None]) -> Iterator[Any]:
            yield deferred

        other, waiting = here(), work(queued)
        assert radar.pending()[-1][:2] == (other, 1)
        queued.callback(None)
        assert told(registry) == (0, 0)
        assert waiting.called


BY_THE_REACTOR = """
from twisted.internet import asyncioreactor
if {asyncio}:
    asyncioreactor.install()
from twisted.internet import reactor
from twisted.internet.defer import DeferredQueue
from txmetrics import MetricsRegistry
from txmetrics.instrument import DeferredRadar

radar = DeferredRadar(MetricsRegistry())
queue = DeferredQueue()
radar.startService()
reactor.callLater(0, queue.get)   # the queue keeps what it gives
reactor.callLater(0.1, lambda: print(radar.pending()[-1][0]))
reactor.callLater(0.2, reactor.stop)
reactor.run()
"""


@pytest.mark.parametrize("asyncio", [False, True])
def test_what_the_reactor_creates_by_itself_has_its_place_in_twisted(tmp_path: Path, asyncio: bool) -> None:
    """Not where the reactor was started."""
    script = tmp_path / "by_the_reactor.py"
    script.write_text(BY_THE_REACTOR.format(asyncio=asyncio))
    done = run(sys.executable, "-W", "error", script, cwd=tmp_path)
    file, line = done.stdout.strip().rsplit(":", 1)
    assert Path(file) == Path(defer.__file__).parent / "base.py", done.stdout
    assert int(line) > 0


def test_a_deferred_from_before_is_not_known(registry: MetricsRegistry) -> None:
    """Nor one from after; and a radar that stops knows of nothing that is pending, but of what was lost."""
    early = Deferred()
    radar = DeferredRadar(registry)
    radar.startService()
    within = Deferred()
    Deferred()
    assert told(registry) == (1, 1)
    radar.stopService()
    late = Deferred()
    assert told(registry) == (0, 1)
    del early, within, late
    assert told(registry) == (0, 1)
    radar.startService()
    again = Deferred()
    Deferred()
    assert told(registry) == (1, 2)
    radar.stopService()
    del again


def test_deferred_is_as_it_was_when_the_last_radar_stops() -> None:
    """Several may run, and stop in any order."""
    before, signature = dict(vars(Deferred)), inspect.signature(Deferred)
    registries = [MetricsRegistry(), MetricsRegistry()]
    first, last = (DeferredRadar(registry) for registry in registries)
    with running(last):
        with running(first):
            first.startService()
            kept: Deferred[None] = Deferred()
            assert [told(registry) for registry in registries] == [(1, 0), (1, 0)]
            assert inspect.signature(Deferred) == signature
        assert dict(vars(Deferred)) != before
        del kept
        assert [told(registry) for registry in registries] == [(0, 0), (0, 1)]
    assert dict(vars(Deferred)) == before
    last.stopService()
    assert dict(vars(Deferred)) == before


def test_somebody_elses_change_of_deferred_stays(registry: MetricsRegistry) -> None:
    """What stands upon the radar's calls it, and is not taken away with it."""
    radar = DeferredRadar(registry)
    radar.startService()
    below, made = Deferred.__init__, []

    def theirs(deferred: Deferred[Any], *args: Any) -> None:
        below(deferred, *args)
        made.append(1)

    original = below.__wrapped__
    Deferred.__init__ = theirs
    try:
        radar.stopService()
        assert Deferred.__init__ is theirs
        Deferred()
        assert made == [1]
        assert told(registry) == (0, 0)
        assert "__del__" not in vars(Deferred)
    finally:
        Deferred.__init__ = original


def test_it_keeps_nothing_alive(radar: DeferredRadar) -> None:
    """A Deferred goes when its last user does, with what hangs on it."""
    with running(radar):
        deferred: Deferred[Any] = Deferred()
        reference = weakref.ref(deferred)
        del deferred
        assert reference() is None
        deferred = Deferred()
        result = type("Result", (), {})()
        reference = weakref.ref(result)
        deferred.callback(result)
        del result, deferred
        assert reference() is None


def test_nothing_stays_of_those_that_have_fired(radar: DeferredRadar) -> None:
    """Neither of those that live, from the next report on, nor of those that do not, at once."""
    with running(radar):
        kept = [Deferred() for _ in range(10)]
        for _ in range(1000):
            Deferred().callback(None)
        assert len(radar._living) == 10
        for deferred in kept:
            deferred.callback(None)
        assert radar.pending() == []
        assert radar._living == {}


def test_a_subclass_with_its_own_end_is_not_kept_in_mind(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """Of one that does not tell Deferred of its end it is not known that it was lost."""
    with running(radar):

        class Quiet(Deferred):
            def __del__(self) -> None:
                """It tells nobody."""

        Quiet()
        assert told(registry) == (0, 0)
        assert radar._living == {}


def test_places_beyond_the_limit_share_one(radar: DeferredRadar, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory stays small, and the sum is right."""
    with running(radar):
        monkeypatch.setattr(_radar, "PLACES", 2)
        for place in range(5):
            exec(compile("Deferred()", f"file{place}.py", "exec"), {"Deferred": Deferred})
        assert radar.lost() == [("_other", 3), ("file0.py:1", 1), ("file1.py:1", 1)]


def test_a_deferred_may_be_lost_in_any_thread(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """As that is where the collector may find it; it is counted in the reactor's."""
    with running(radar):
        cycle: list[Any] = [Deferred()]
        cycle.append(cycle)
        del cycle
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
        assert registry.counter("deferreds.lost").count == 0
        assert told(registry) == (0, 1)


def test_a_failing_clock_changes_no_deferred(
    reactor: FakeReactor, registry: MetricsRegistry, radar: DeferredRadar, logged: Logged
) -> None:
    """It is logged once, and Deferreds work."""
    with running(radar):

        def raise_error() -> float:
            raise OSError("broken")

        radar._tick = raise_error
        found: list[Any] = []
        for _ in range(3):
            Deferred().addCallback(found.append).callback("result")
        assert found == ["result"] * 3
        radar._tick = reactor.seconds
        assert len(logged.flush(OSError)) == 1


def test_a_name_that_is_taken_is_refused(registry: MetricsRegistry, radar: DeferredRadar) -> None:
    """By another radar, too."""
    with running(radar):
        with pytest.raises(ValueError, match=r"deferreds\.pending"):
            DeferredRadar(registry)
        told_by: Callable[[], Any] = DeferredRadar(registry, "mine").lost
        assert told_by() == []
