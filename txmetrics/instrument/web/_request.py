"""The classes of requests that tell, and what may be said of a request."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from zope.interface import directlyProvidedBy, directlyProvides

__all__ = ["MARK", "measured", "observation_of", "observed", "set_long_lived", "set_route"]

MARK = "_txmetrics_observation"
_ANNOUNCED = "_txmetrics_announced"


def set_route(request: Any, name: str) -> None:
    """Say that ``request`` is to be counted under the route ``name``, such as ``/users/{id}``; the method is added.

    Has no effect on a request that no TimedResource measures, or that has ended. ``name`` must not hold what a client
    sent: beyond 200 different ones all are counted together.
    """
    observation = observation_of(request)
    if observation is not None:
        observation.name, observation.usual = name, False


def set_long_lived(request: Any) -> None:
    """Say that ``request`` waits on purpose, as a long poll does, so that its time is not one that anybody waited for.

    It is counted under ``long_lived`` instead of ``requests``. Has no effect on a request that no TimedResource
    measures, or that has ended. Server-sent events are found without.
    """
    observation = observation_of(request)
    if observation is not None:
        observation.live_long()


def observation_of(request: Any) -> Any:
    """The Observation of ``request``, None if it has none."""
    return getattr(request, MARK, None)


@lru_cache(maxsize=64)
def observed(kind: Any) -> Any:
    """The class of requests that is like ``kind``, and passes on to a request's Observation what is called on it."""
    components = {"_adapterCache": getattr(kind, "_adapterCache", None)}  # not every kind of request can have some
    return _like(kind, {MARK: None, **components, **_rendering(kind), **_answering(kind)})


def measured(kind: Any, timed: Any) -> Any:
    """The class of requests that is like ``kind``, and tells ``timed``, a TimedResource, of each one that comes."""
    kind = observed(kind)
    return _like(kind, {_ANNOUNCED: None, **_arriving(kind, timed)})


def _like(kind: Any, attributes: dict[str, Any]) -> Any:
    """A subclass of ``kind``. Logs, and processes that get copies, find it under the same name.

    It must not have another base: the class of a request can only be changed to one of the same layout.
    """
    looks = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    like = type(kind)(kind.__name__, (kind,), {"__slots__": (), **looks, **attributes})
    directlyProvides(like, directlyProvidedBy(kind))  # HTTPChannel asks the class how it is to be called
    return like


def _arriving(kind: Any, timed: Any) -> dict[str, Any]:
    def gotLength(self: Any, length: Any) -> Any:
        if length != 0:  # None for one that is not known yet
            self._txmetrics_announced = timed.announced()
        return kind.gotLength(self, length)

    def process(self: Any) -> Any:
        timed.arrived(self, self._txmetrics_announced)
        return kind.process(self)

    return {"gotLength": gotLength, "process": process}


def _rendering(kind: Any) -> dict[str, Any]:
    def render(self: Any, resource: Any) -> Any:
        observation = self._txmetrics_observation
        if observation is None:
            return kind.render(self, resource)
        if observation.renders or resource is not observation.resource:
            return observation.render(self, resource, kind.render)
        # The same as there, in fewer steps, for that is how nearly every request is rendered.
        observation.renders = 1
        try:
            result = kind.render(self, resource)
        except BaseException:
            observation.renders = 0
            raise
        return result if observation.ended else observation.rendered(self, result)

    def processingFailed(self: Any, reason: Any) -> Any:
        observation = self._txmetrics_observation
        if observation is not None:
            observation.failing(reason)
        return kind.processingFailed(self, reason)

    def getStateToCopyFor(self: Any, issuer: Any) -> Any:
        """What a distrib.ResourceSubscription sends to another process; nothing of ours can travel."""
        state = kind.getStateToCopyFor(self, issuer)
        state.pop(_ANNOUNCED, None)
        observation = state.pop(MARK, None)
        state["notifications"] = [each for each in state["notifications"] if each is not observation]
        return state

    return {"render": render, "processingFailed": processingFailed, "getStateToCopyFor": getStateToCopyFor}


def _answering(kind: Any) -> dict[str, Any]:
    def finish(self: Any) -> Any:
        """To finish is also to serve the next request of a pipeline, and that is not this one's time."""
        observation = self._txmetrics_observation
        if observation is not None and observation.finished is None:
            try:
                observation.finished = observation.now() - observation.begun
            except Exception:
                observation.care.failed()
        return kind.finish(self)

    return {"finish": finish}
