"""Stand: a wrapper at the root of a tree of resources, in which the way of a request is noted.

It stands at the root only. On its first segment it walks the rest of the tree and hands back the resource that was
really meant, so that Twisted Web sees the same resource (its encoders, its HEAD) as without the wrapper.
"""

from __future__ import annotations

from typing import Any

from twisted.web.resource import IResource, getChildForRequest
from twisted.web.util import DeferredResource
from zope.interface import directlyProvides, implementer, providedBy

from txmetrics.instrument.web._request import MARK

__all__ = ["Stand"]

_NOTHING: dict[str, Any] = {}

DEPTH = 3
"""In so many resources, one inside the other, a DeferredResource is looked for."""


@implementer(IResource)
class Stand:
    """Stands for a resource, in everything; and notes the way that a request takes below it."""

    def __init__(self, root: Any) -> None:
        self._root = root
        directlyProvides(self, providedBy(root))  # Twisted Web asks it whether the answers are to be encoded

    @property
    def isLeaf(self) -> bool:
        return bool(self._root.isLeaf)

    def __getattr__(self, name: str) -> Any:
        """``putChild``, ``children``, ``getEncoder`` and all else are the root's."""
        return getattr(object.__getattribute__(self, "_root"), name)  # a copy in the making has none yet

    def __repr__(self) -> str:
        """The root's, for Twisted Web quotes it in its error pages."""
        return repr(self._root)

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        observation = getattr(request, MARK, None) or self._begin(request)
        if observation is None:
            return getChildForRequest(self._root.getChildWithDefault(name, request), request)
        found = observation.walk(self._root, name, request)
        # Asked here as well, for nearly every request is for something else, and a call would cost more than this.
        if found.__class__ is DeferredResource or "resource" in getattr(found, "__dict__", _NOTHING):
            deferred = _deferred(found)
            if deferred is not None:
                # It will go on from what it gets, and our part is over when its own callback, the next one, has run.
                deferred.d.addCallback(_stand)
        return found

    def render(self, request: Any) -> Any:
        observation = getattr(request, MARK, None) or self._begin(request)
        if observation is None:
            return self._root.render(request)
        return observation.render(request, self._root, _render)  # for it is the root's route that counts

    def _begin(self, request: Any) -> Any:
        """Begin to observe ``request``, None if that is somebody else's."""
        return None


def _render(request: Any, resource: Any) -> Any:
    return resource.render(request)


def _deferred(found: Any) -> Any:
    """The DeferredResource that ``found`` is, or has in it, as what is behind a login has; None if there is none."""
    for _ in range(DEPTH):
        if found is None or found.__class__ is DeferredResource:
            break
        found = getattr(found, "__dict__", _NOTHING).get("resource")
    return found if found.__class__ is DeferredResource else None


def _stand(resource: Any) -> Any:
    return resource if isinstance(resource, Stand) or not IResource.providedBy(resource) else Stand(resource)
