"""What a running service tells of itself, by the page that its dashboard is at."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from txmetrics import names
from txmetrics.console._seam import Trouble

__all__ = ["metrics_of", "reports_of"]

KINDS = frozenset({"counter", "gauge", "histogram", "meter", "timer"})

SECONDS = 10.0
"""A service that has not answered by then does not."""

LONGEST_REASON = 200
"""So many bytes of what a service says are repeated."""

LARGEST = 64 * 1024 * 1024
"""An answer of more bytes is none of a dashboard's."""


def metrics_of(url: str) -> Mapping[str, str]:
    """The kind of each metric that the service has, by name, in the order of their making; never an empty mapping.

    ``url`` is that of its dashboard, such as ``http://127.0.0.1:8002/``. Raises Trouble where there is none.
    """
    told = _ask(url, "metrics")
    try:
        metrics = {names.full(each["name"]): str(each["kind"]) for each in told}
    except (TypeError, KeyError, ValueError):
        raise _no_dashboard(url) from None
    if not KINDS.issuperset(metrics.values()):
        raise _no_dashboard(url)
    if not metrics:
        raise Trouble(f"the service at {url} has no metrics yet; ask it something, and then try again")
    return metrics


def reports_of(url: str) -> bool:
    """Whether the service reports to somebody, so that the reporter's own numbers arrive there. Raises Trouble."""
    told = _ask(url, "state")
    if not isinstance(told, dict) or not isinstance(told.get("reporters"), list):
        raise _no_dashboard(url)
    return bool(told["reporters"])


def _ask(url: str, resource: str) -> Any:
    """The JSON of a resource of the dashboard."""
    connection, path = _connection(url)
    try:
        connection.request("GET", f"{path}{resource}", headers={"Accept": "application/json"})
        with connection.getresponse() as answer:
            body = _body(answer)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Trouble(
            f"no dashboard answers at {url} ({reason}); is the service running, with --metrics-dashboard, at this port?"
        ) from None
    finally:
        connection.close()
    if answer.status != 200:
        is_text = answer.headers.get_content_type() == "text/plain"
        said = body[:LONGEST_REASON].decode("utf-8", "replace").strip() if is_text else answer.reason
        raise Trouble(f"{url} answers {answer.status} ({said}); give the URL of the service's dashboard")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _no_dashboard(url) from None


def _connection(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection that is not yet made, and the path of the dashboard, with a slash at its end."""
    if "@" in url:
        raise Trouble("a URL with a user or a password in it is not asked; give one such as http://127.0.0.1:8002/")
    makers = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        parts = urlsplit(url)
        make, host = makers[parts.scheme], parts.hostname
        if not host or not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError
        return make(host, parts.port, timeout=SECONDS), f"{parts.path.rstrip('/')}/"
    except (KeyError, ValueError):
        raise Trouble(f"{url!r} is no URL of a dashboard such as http://127.0.0.1:8002/") from None


def _body(answer: http.client.HTTPResponse) -> bytes:
    end, pieces, size = time.monotonic() + SECONDS, [], 0
    while piece := answer.read1(65536):
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            raise OSError(f"its answer has more than {LARGEST} bytes")
        if time.monotonic() > end:
            raise TimeoutError(f"its answer takes longer than {SECONDS:g} seconds")
    return b"".join(pieces)


def _no_dashboard(url: str) -> Trouble:
    return Trouble(f"what answers at {url} is no dashboard of txmetrics; give the URL that its page is at")
