"""Routes: the way of a request through the resources, in words that do not depend on who asks.

A path comes from the client, so it never becomes a name. What does is what the server's author wrote: a child that was
put there by ``putChild`` stands with its name, one that is found for the occasion as ``{}``, and a Klein application
with its rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from twisted.web import pages, resource

from txmetrics import names
from txmetrics.instrument._care import Care

__all__ = ["METHODS", "Trace", "node"]

METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"))
"""Those of RFC 9110 and RFC 5789. Twisted Web takes any other word as well, and they all are one, OTHER."""

NOT_FOUND = b"_404"
"""The route of all requests for which there was no resource."""

REDIRECT = b"_redirect"
"""Stands for the rule where a Klein application corrects the slashes of a path."""

PLACEHOLDER = b"{}"

DEPTH = 8
"""A route has so many parts at most; what is deeper adds nothing to it."""

_NO_RESOURCE = resource.NoResource, resource.ErrorPage, type(pages.notFound())

_VARIABLE = re.compile(r"<(?:[^<>]*:)?([^<>:]*)>|\{([^{}]*)\}")
"""In a rule, ``<name>`` or ``<converter(...):name>``, and ``{name}``."""

_OPAQUE, _HOSTS, _KLEIN = "opaque", "hosts", "klein"

_KINDS = {
    "twisted.web.static.File": _OPAQUE,
    "twisted.web.proxy.ReverseProxyResource": _OPAQUE,
    "twisted.web.vhost.NameVirtualHost": _HOSTS,
    "klein._resource.KleinResource": _KLEIN,
}
"""Resources of which more is to be known, by name, so that nothing is imported that the application does without."""

_INNER = "resource", "original", "_originalResource", "default"
"""Where resources that stand before another one keep it: rewriters, encoders, twistd web's headers, virtual hosts."""


def node(route: str | bytes) -> str:
    """The route as one part of a Graphite path: ``GET /users/{}/posts`` is ``GET-users-_-posts``.

    Slashes and spaces become ``-``; a variable becomes ``_`` and its name: ``/item/<int:number>`` is ``item-_number``.
    The root, which has no name, is ``_root``.
    """
    text = route.decode("utf-8", "replace") if isinstance(route, bytes) else route
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
    _closed = False
    _walks = 0

    def walk(self, root: Any, name: bytes, request: Any) -> Any:
        """Find the resource for ``request`` below ``root``, first of all its child ``name``, as Twisted Web does."""
        self._walks = this = self._walks + 1
        prepath = request.prepath
        if len(prepath) == 1:  # at the beginning of the path, or there again, as VHostMonsterResource does
            self._path = b" "
            self._closed = False
        found = root
        while True:
            depth = len(prepath)
            child = found.getChildWithDefault(name, request)
            if this == self._walks:  # else a wrapper within has gone the rest of the way, and noted it
                try:
                    self._step(found, name, child, request, depth)
                except Exception:
                    self.care.failed()
            found = child
            if not request.postpath or found.isLeaf:
                break
            name = request.postpath.pop(0)
            prepath = request.prepath
            prepath.append(name)
        self.resource = found
        return found

    def lead(self, found: Any, request: Any) -> None:
        """The last resource was a Klein application whose rule has led to ``found``, or something else has."""
        rule = _rule(self.resource, request)
        if rule is NOT_FOUND:
            return  # what is found is the page that says so
        if rule:
            self._add(rule)
        self.resource = found

    def route(self, request: Any, method: bytes) -> bytes:
        """The route of ``request``, which is over."""
        path, found = self._path, self.resource
        if _kind(found.__class__) is _KLEIN:
            rule = _rule(found, request)
            if rule is NOT_FOUND:
                return NOT_FOUND
            if rule:
                path += b"/" + rule
        elif request.code == 404 and isinstance(found, _NO_RESOURCE):
            return NOT_FOUND
        return (method if method in METHODS else b"OTHER") + path

    def _step(self, parent: Any, name: bytes, child: Any, request: Any, depth: int) -> None:
        """Note that ``parent``, asked for ``name``, has found ``child``; ``request.prepath`` had ``depth`` parts."""
        if self._closed:
            return
        children = getattr(parent, "children", None)
        if children and children.get(name) is child:
            if name:
                self._add(name)
            return
        kind = _kind(parent.__class__)
        if kind is _HOSTS:
            self._add_virtual_host(parent, request)
        if len(request.prepath) < depth:  # it gave the segment back, as those do that stand before a leaf
            return
        name = request.prepath[-1]  # a rewriter may have changed it
        if any(_static(each, name, child) for each in _behind(parent)):
            if name:
                self._add(name)
        elif kind is _OPAQUE or any(_kind(each.__class__) is _OPAQUE for each in _behind(parent)):
            self._closed = True
        elif not self._path.endswith(PLACEHOLDER):
            self._add(PLACEHOLDER)

    def _add_virtual_host(self, parent: Any, request: Any) -> None:
        """Note the name under which ``parent`` keeps the host that ``request`` is for, if it has one."""
        host = (request.getHeader(b"host") or b"").lower().split(b":", 1)[0]
        if host in parent.hosts:
            self._add(host)

    def _add(self, part: bytes) -> None:
        path = self._path
        if path.count(b"/") < DEPTH:
            self._path = path + b"/" + part


@lru_cache(maxsize=256)
def _kind(of: type) -> str | None:
    return next(filter(None, (_KINDS.get(f"{each.__module__}.{each.__qualname__}") for each in of.__mro__)), None)


def _static(parent: Any, name: bytes, child: Any, depth: int = 2) -> bool:
    """Whether ``child`` was put under ``name`` once, in ``parent`` or in what ``parent`` stands before."""
    children = getattr(parent, "children", None)
    if children and children.get(name) is child:
        return True
    return depth > 0 and any(_static(each, name, child, depth - 1) for each in _behind(parent))


def _behind(parent: Any) -> Iterator[Any]:
    attributes = vars(parent)
    for name in _INNER:
        if name in attributes:
            yield attributes[name]
    yield from attributes.get("hosts", {}).values()


def _rule(found: Any, request: Any) -> bytes | None:
    """The rule by which a Klein application answers ``request``; NOT_FOUND if none matches, None if it is no Klein.

    Klein keeps the mapper, and not what was matched.
    """
    if _kind(found.__class__) is not _KLEIN:
        return None
    from klein.interfaces import IKleinRequest

    mapper = IKleinRequest(request).mapper
    try:
        rule = mapper.match(return_rule=True)[0]
    except Exception as mismatch:  # one of werkzeug's, which knows why
        if hasattr(mismatch, "new_url"):
            return REDIRECT
        allowed = getattr(mismatch, "valid_methods", None)
        if not allowed:
            return NOT_FOUND
        rule = mapper.match(method=next(iter(allowed)), return_rule=True)[0]
    text: str = rule.rule.replace("<path:__rest__>", "")  # which Klein adds to the rule of a branch
    return text.strip("/").encode()
