"""The Deferred radar: which Deferreds were created and never fired, and where.

While it runs, Deferred itself tells of each one that is created and of each one that becomes garbage; whether it has
fired, it is asked. What is known of it lives beside it, under its id, and does not keep it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter as Tally
from collections import deque
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias
from weakref import ref

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred

from txmetrics.family import OVERFLOW
from txmetrics.instrument._care import Care
from txmetrics.registry import MetricsRegistry, Scope

__all__ = ["DeferredRadar"]

LOST = 10_000
"""So many lost Deferreds wait at most to be counted by a report; of more the oldest are not counted."""

PLACES = 1000
"""So many places in which Deferreds were lost are told apart; the others share one."""

FRAMEWORK = tuple(
    f"{directory}/"
    for directory in (Path(defer.__file__).parent.parent, Path(asyncio.__file__).parent, Path(__file__).parent.parent)
)
"""Below these directories is what stands between an application and its Deferreds: Twisted, asyncio, ourselves."""

LOOPS = frozenset({"mainLoop", "run_forever"})
"""Functions there behind which no place lies: who started the reactor did not create what the reactor's turns do."""

Place: TypeAlias = tuple[str, int]


class DeferredRadar(Service):
    """An IService, for debugging, that knows which Deferreds were created while it runs and have never fired.

    ``deferreds.pending`` is a gauge of how many have not fired, and ``pending()`` tells where those were created;
    ``deferreds.lost`` is a counter of those that had not when they became garbage (those in a cycle do when Python's
    collector finds them), and ``lost()`` tells where those were created. A place is ``file:line``, of the first frame
    that is neither Twisted's nor asyncio's; of what the reactor created by itself, the first that is not of
    twisted/internet/defer.py. One that waits for another Deferred has fired: the other one is pending.

    Each Deferred takes about 1.2 us longer while it runs, and 0.2 us more for each frame of Twisted's between it and
    the application; a report takes about 3 ms for each 10,000 that have not fired. None is kept alive.
    ``Deferred.__init__`` and ``Deferred.__del__`` are replaced meanwhile, and are as they were when the last radar has
    stopped, which then knows of nothing that is pending. Raises ValueError if one of the names is taken.
    """

    def __init__(self, registry: MetricsRegistry | Scope, name: str = "deferreds") -> None:
        scope = registry.scope(name)
        self._tick = scope.clock.tick
        self._living: dict[int, tuple[ref[Deferred[Any]], Place, float]] = {}
        self._gone: deque[Place] = deque(maxlen=LOST)
        self._places: Tally[str] = Tally()
        scope.gauge("pending", self._report)
        self._lost = scope.counter("lost")
        self._care = Care("Deferreds")

    def startService(self) -> None:
        super().startService()
        _hook.add(self)

    def stopService(self) -> None:
        super().stopService()
        _hook.remove(self)
        self._living.clear()

    def pending(self) -> list[tuple[str, int, float]]:
        """Places with Deferreds that have not fired: place, how many, and the age of the oldest in seconds.

        The place with the oldest comes first.
        """
        now, oldest, count = self._tick(), dict[Place, float](), Tally[Place]()
        for place, begun in self._survey():
            oldest.setdefault(place, begun)
            count[place] += 1
        return [(_text(place), count[place], now - begun) for place, begun in oldest.items()]

    def lost(self) -> list[tuple[str, int]]:
        """Places that Deferreds were lost in, since the radar was made, and how many, the most first.

        Beyond 1000 places all others share ``_other``.
        """
        self._count_lost()
        return self._places.most_common()

    # What Deferred tells; in any thread, and at any moment

    def created(self, deferred: Deferred[Any], frame: FrameType) -> None:
        try:
            self._living[id(deferred)] = ref(deferred), _place(frame), self._tick()
        except Exception:
            self._care.failed()

    def garbage(self, deferred: Deferred[Any]) -> None:
        known = self._living.pop(id(deferred), None)
        if known is not None and not deferred.called:
            self._gone.append(known[1])

    # What is made of it

    def _report(self) -> int:
        self._count_lost()
        return len(self._survey())

    def _survey(self) -> list[tuple[Place, float]]:
        """Place and time of birth of those that have not fired, the oldest first; the others are forgotten."""
        found = []
        for key, known in self._living.copy().items():  # copied in one step: garbage may be found meanwhile
            deferred = known[0]()
            if deferred is not None and not deferred.called:
                found.append(known[1:])
            elif self._living.get(key) is known:
                self._living.pop(key, None)
        return found

    def _count_lost(self) -> None:
        for _ in range(len(self._gone)):
            place = _text(self._gone.popleft())
            self._lost.inc()
            self._places[place if place in self._places or len(self._places) < PLACES else OVERFLOW] += 1


def _place(frame: FrameType | None) -> Place:
    """Who created a Deferred, of which ``frame`` was the first to hear."""
    nearest: Place | None = None
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(FRAMEWORK):
            return code.co_filename, frame.f_lineno
        if nearest is None and code.co_filename != defer.__file__:
            nearest = code.co_filename, frame.f_lineno
        if code.co_name in LOOPS:
            break
        frame = frame.f_back
    return nearest or (defer.__file__, 0)


def _text(place: Place) -> str:
    file, line = place
    return f"{file}:{line}"


class _Hook:
    """In Deferred, for as long as there are radars to tell."""

    def __init__(self) -> None:
        self._radars: tuple[DeferredRadar, ...] = ()
        self._replaced: dict[str, tuple[Any, Any]] = {}  # by name, our method and the one that was there

    def add(self, radar: DeferredRadar) -> None:
        if not self._radars:
            self._install()
        if radar not in self._radars:
            self._radars = (*self._radars, radar)

    def remove(self, radar: DeferredRadar) -> None:
        if radar in self._radars:
            self._radars = tuple(one for one in self._radars if one is not radar)
            if not self._radars:
                self._undo()

    def _install(self) -> None:
        create, forget = Deferred.__init__, vars(Deferred).get("__del__")

        @wraps(create)
        def initialize(deferred: Deferred[Any], *args: Any, **kwargs: Any) -> None:
            create(deferred, *args, **kwargs)
            for radar in self._radars:
                radar.created(deferred, sys._getframe(1))

        def finalize(deferred: Deferred[Any]) -> None:
            if forget is not None:
                forget(deferred)
            for radar in self._radars:
                radar.garbage(deferred)

        self._replaced = {"__init__": (initialize, create), "__del__": (finalize, forget)}
        for name, (ours, _) in self._replaced.items():
            setattr(Deferred, name, ours)

    def _undo(self) -> None:
        for name, (ours, theirs) in self._replaced.items():
            if vars(Deferred).get(name) is not ours:
                continue  # somebody else's stands upon it, and calls it: it is idle from now on
            if theirs is None:
                delattr(Deferred, name)
            else:
                setattr(Deferred, name, theirs)


_hook = _Hook()
