"""Routes: the way of a request through the resources, in words that do not depend on who asks.

A path comes from the client, so it never becomes a name. What does is what the server's author wrote: a child that was
put there by ``putChild`` stands with its name, one that is found for the occasion as ``{}``, and a Klein application
with its rule.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from twisted.web import pages, resource

from txmetrics import names
from txmetrics.instrument._care import Care
from txmetrics.instrument._methods import METHODS, OTHER

__all__ = ["Trace", "node"]

NOT_FOUND = b"_404"
"""The route of all requests for which there was no resource."""

REDIRECT = "_redirect"
"""Stands for the rule where a Klein application corrects the slashes of a path."""

PLACEHOLDER = b"/{}"

REST = "<path:__rest__>"
"""What Klein adds to the rule of a branch."""

DEPTH = 8
"""A route has so many parts at most; what is deeper adds nothing to it."""

LAYERS = 8
"""So many resources that stand before one another are looked through."""

CLASSES = 1000
"""So many classes of resources are remembered."""

_NO_RESOURCE = resource.NoResource, resource.ErrorPage, type(pages.notFound())

_VARIABLE = re.compile(r"<(?:[^<>]*:)?([^<>:]*)>|\{([^{}]*)\}")
"""In a rule, ``<name>`` or ``<converter(...):name>``, and ``{name}``."""

_FILE, _PROXY, _HOSTS, _REENTRY, _STAND = "file", "proxy", "hosts", "reentry", "stand"

_KINDS = {
    "twisted.web.static.File": _FILE,
    "twisted.web.proxy.ReverseProxyResource": _PROXY,
    "twisted.web.vhost.NameVirtualHost": _HOSTS,
    "twisted.web.vhost._HostResource": _REENTRY,
    "txmetrics.instrument.web._stand.Stand": _STAND,
}
"""Resources of which more is to be known, by name, so that nothing is imported that the application does without."""

_OPAQUE = _FILE, _PROXY
"""Of these a route ends where they were put: what is below is somebody else's tree."""

_INNER = "resource", "original", "_originalResource", "_root"
"""Where resources that stand before another one keep it: rewriters and logins, encoders, twistd web's headers, ours."""

_kinds: dict[type, str | None] = {}
"""Those of the classes of resources that were met."""

_own_children: WeakKeyDictionary[Any, frozenset[bytes]] = WeakKeyDictionary()
"""Of resources that keep a child when it was first asked for: the names of those that were there before."""


def node(route: str | bytes) -> str:
    """The route as one part of a Graphite path: ``GET /users/{}/posts`` is ``GET-users-_-posts``.

    Slashes, and the space behind the method, become ``-``; a variable becomes ``_`` and its name:
    ``/item/<int:number>`` is ``item-_number``. The root, which has no name, is ``_root``.
    """
    text = route[: names.MAX_PATH]  # more of it would not fit anyway
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    method, space, path = text.partition(" ")
    if not space:
        method, path = "", text
    path = _VARIABLE.sub(lambda found: f"_{found[1] or found[2] or ''}", path)
    path = path.strip("/").replace("/", "-") or "_root"
    return names.clean(f"{method}-{path}" if method else path)


class Trace:
    """The way of one request, as far as it has come. ``resource`` is the last one that was found.

    What every request begins with stands in the class, so that to begin costs nothing.
    """

    care: Care
    resource: Any = None
    _path = b" "
    _walks = 0
    _mapper: Any = None  # the last one of Klein's whose rule is part of the path
    _matched = False  # by a rule, to its end
    _missing = False

    def walk(self, root: Any, name: bytes, request: Any) -> Any:
        """Find the resource for ``request`` below ``root``, first of all its child ``name``, as Twisted Web does."""
        self._walks = this = self._walks + 1
        found = root
        while True:
            try:
                known = found.children.get(name)
            except Exception:  # not every resource has them, nor in a dict
                known = None
            if known is None:
                found = self._find(found, name, request, this)
            else:
                parent, found = found, found.getChildWithDefault(name, request)
                if this == self._walks:  # else a wrapper within has gone the rest of the way, and noted it
                    if found is not known or (_own_children and not _is_own(parent, name)):
                        self.care.attempt(self._note, parent, name, found, request)
                    elif name:
                        self._add(name)
            if not request.postpath or found.isLeaf:
                break
            name = request.postpath.pop(0)
            request.prepath.append(name)
        self.resource = found
        return found

    def lead(self, found: Any, request: Any) -> None:
        """The last resource was a Klein application whose rule has led to ``found``, or something else has."""
        if self._follow_rule(request):  # else what is found is the page that says so
            self.resource = found

    def route(self, request: Any, method: bytes) -> bytes:
        """The route of ``request``, which is over."""
        if getattr(request, "_adapterCache", None) and self.care.attempt(self._follow_rule, request) is False:
            return NOT_FOUND
        if request.code == 404 and not self._matched and self.care.attempt(self._is_missing, request):
            return NOT_FOUND
        path = self._path
        return (method if method in METHODS else OTHER) + (path if path != b" " else b" /")

    def _find(self, parent: Any, name: bytes, request: Any, this: int) -> Any:
        """The child ``name`` that ``parent`` finds by means of its own, noted in the walk ``this``."""
        attempt, depth = self.care.attempt, len(request.prepath)
        answering = attempt(self._look_through, parent, request)
        size, inner_size = len(_children(parent)), len(_children(answering))
        try:
            found = parent.getChildWithDefault(name, request)
        except Exception:
            if this == self._walks:
                self._add_variable()
            raise
        if this == self._walks and len(request.prepath) >= depth:  # else it gave the segment back, as before a leaf
            _look_for_new(parent, size)
            if answering is not parent:
                _look_for_new(answering, inner_size)
            attempt(self._note, answering, request.prepath[-1], found, request)  # a rewriter may have changed the name
        return found

    def _look_through(self, parent: Any, request: Any) -> Any:
        """The resource that answers for ``parent``; notes the names of virtual hosts on the way there."""
        layer = parent
        for _ in range(LAYERS):
            kind = _kind(layer)
            if kind is _STAND:
                return layer  # its own walk will go on from here
            if kind is _REENTRY:
                self._path = b" "  # it begins again at the Site's root
            elif kind is _HOSTS and (host := _host(request)) in layer.hosts:
                self._add(host)
            parent, layer = layer, _inner(layer, request)
            if layer is None:
                break
        return parent

    def _note(self, parent: Any, name: bytes, found: Any, request: Any) -> None:
        """Note that ``parent``, which was asked for ``name``, has ``found`` this."""
        kind = _kind(parent)
        known = _children(parent).get(name)
        if kind is _FILE and found is parent.childNotFound:
            self._missing = True
        elif not name:
            return
        elif known is not None and any(known is each for each in _layers(found, request)) and _is_own(parent, name):
            self._add(name)
        elif kind not in _OPAQUE or _kind(_innermost(found, request)) not in _OPAQUE:
            self._add_variable()

    def _follow_rule(self, request: Any) -> bool:
        """Add the rule by which a Klein application answers ``request``, if one does; False if no rule matches."""
        mapper = _mapper(request)
        if mapper is None or mapper is self._mapper:
            return True
        rule = _rule(mapper)
        if rule is None:
            return False
        self._mapper = mapper
        self._matched = not rule.endswith(REST)
        part = rule.replace(REST, "").strip("/")
        if part:
            self._add(part.encode())
        return True

    def _is_missing(self, request: Any) -> bool:
        """Whether the 404 with which ``request`` was answered says that there is no resource."""
        last = _innermost(self.resource, request)
        return self._missing or isinstance(last, _NO_RESOURCE) or _kind(last) in (_FILE, _HOSTS)

    def _add_variable(self) -> None:
        if not self._path.endswith(PLACEHOLDER):
            self._add(b"{}")

    def _add(self, part: bytes) -> None:
        path = self._path
        if path.count(b"/") < DEPTH:
            self._path = path + b"/" + part


def _kind(of: Any) -> str | None:
    """What ``of`` is, if more is to be known of it."""
    try:
        return _kinds[of.__class__]
    except KeyError:
        return _find_kind(of.__class__)


def _find_kind(of: type) -> str | None:
    looks = (f"{each.__module__}.{each.__qualname__}" for each in of.__mro__)
    kind = next((_KINDS[look] for look in looks if look in _KINDS), None)
    if len(_kinds) < CLASSES and "<locals>" not in of.__qualname__:  # such a class may be made for one request
        _kinds[of] = kind
    return kind


def _children(of: Any) -> dict[bytes, Any]:
    """The children that were put into the resource ``of``, if it has any in the usual way."""
    try:
        children = of.children
    except Exception:  # a property may raise anything
        return {}
    return children if isinstance(children, dict) else {}


def _is_own(parent: Any, name: bytes) -> bool:
    """Whether the child of this ``name`` was put into ``parent`` before anybody asked for it."""
    try:
        return name in _own_children.get(parent, (name,))
    except Exception:  # what cannot be hashed could not be kept either
        return True


def _look_for_new(parent: Any, size: int) -> None:
    """If ``parent`` has more children than ``size`` now, it keeps them when they are asked for. Remember its own."""
    children = _children(parent)
    if len(children) > size:
        with suppress(Exception):  # not everything can be hashed
            _own_children.setdefault(parent, frozenset(islice(children, size)))


def _layers(resource: Any, request: Any) -> Iterator[Any]:
    """``resource``, the one that it stands before in the way of ``request``, the one before which that stands, ..."""
    for _ in range(LAYERS):
        yield resource
        resource = _inner(resource, request)
        if resource is None:
            return


def _innermost(resource: Any, request: Any) -> Any:
    *_, last = _layers(resource, request)
    return last


def _inner(resource: Any, request: Any) -> Any:
    if _kind(resource) is _HOSTS:
        return resource.hosts.get(_host(request), resource.default)
    attributes = getattr(resource, "__dict__", {})
    for name in _INNER:
        inner = attributes.get(name)
        if inner is not None and hasattr(inner, "getChildWithDefault"):
            return inner
    return None


def _host(request: Any) -> bytes:
    """The host that ``request`` is for, as NameVirtualHost understands it."""
    host: bytes = request.getHeader(b"host") or b""
    return host.lower().split(b":", 1)[0]


def _mapper(request: Any) -> Any:
    """What Klein has found the rule for ``request`` with: it keeps this, and not the rule. None if it was not asked.

    Wherever it stands, behind an encoder, a login or a resource of the application's own.
    """
    if "klein" not in sys.modules or not getattr(request, "_adapterCache", None):  # there it keeps Klein's part
        return None
    from klein.interfaces import IKleinRequest

    return getattr(IKleinRequest(request, None), "mapper", None)


def _rule(mapper: Any) -> str | None:
    """The rule that ``mapper`` matches, None if there is none."""
    try:
        rule = mapper.match(return_rule=True)[0]
    except Exception as mismatch:  # one of werkzeug's, which knows why
        if hasattr(mismatch, "new_url"):
            return REDIRECT
        allowed = getattr(mismatch, "valid_methods", None)
        if not allowed:
            return None
        rule = mapper.match(method=min(allowed), return_rule=True)[0]
    text: str = rule.rule
    return text
