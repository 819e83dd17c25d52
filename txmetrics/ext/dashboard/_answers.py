"""How every answer looks: its headers, its length, and a sentence where there is nothing better."""

from __future__ import annotations

from typing import Any

__all__ = ["HEADERS", "JSON", "PLAIN", "say", "send", "send_headers"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""On every answer; but plotly's file may be kept."""

PLAIN, JSON = "text/plain; charset=utf-8", "application/json"


def send(request: Any, content: bytes, kind: str) -> None:
    """Answer ``request`` with ``content`` of the type ``kind``; a HEAD gets the headers of that."""
    request.setHeader("Content-Type", kind)
    request.setHeader("Content-Length", str(len(content)))
    request.write(content)
    request.finish()


def send_headers(request: Any) -> None:
    """Answer ``request`` with the headers that are set, and nothing else."""
    request.write(b"")
    request.finish()


def say(request: Any, code: int, sentence: str) -> None:
    """Answer ``request`` with a sentence."""
    request.setResponseCode(code)
    send(request, f"{sentence}\n".encode(), PLAIN)
