"""The files of the page, and plotly's, which is taken from where its package is installed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from txmetrics.ext.dashboard._work import Steps

__all__ = ["INDEX", "PLOTLY", "accepts_gzip", "compressed", "page", "plotly", "tag"]

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}
"""What of the folder is served, by the end of its name."""

INDEX, PLOTLY = "index.html", "plotly.min.js"

PIECE = 8192
"""So many bytes are compressed in a step: 0.2 ms."""

LEVEL = 6


def page() -> Mapping[str, tuple[str, bytes]]:
    """The types and contents of the page's own files, by name."""
    folder = Path(__file__).parent / "page"
    return {
        file.name: (TYPES[file.suffix], file.read_bytes())
        for file in folder.iterdir()
        if file.suffix in TYPES and not file.name.startswith(".")
    }


def plotly() -> Path | None:
    """Where plotly.min.js is; None if plotly is not installed, which is found out without importing it."""
    spec = find_spec("plotly")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "package_data" / PLOTLY
        if file.is_file():
            return file
    return None


def tag(file: Path, coded: bool) -> bytes:
    """An ETag: another one for other contents, and for what is compressed. Raises OSError if ``file`` is gone."""
    found = file.stat()
    return f'"{found.st_size:x}-{found.st_mtime_ns:x}{"-gzip" if coded else ""}"'.encode("ascii")


def compressed(file: Path) -> Steps[bytes]:
    """What is in ``file``, as gzip would have it, in steps."""
    compressor, pieces = zlib.compressobj(LEVEL, wbits=31), []
    with file.open("rb") as source:
        while piece := source.read(PIECE):
            pieces.append(compressor.compress(piece))
            yield
    pieces.append(compressor.flush())
    return b"".join(pieces)


def accepts_gzip(request: Any) -> bool:
    """Whether the client can read what is compressed, and wants to."""
    accepted = ",".join(value.lower() for value in request.requestHeaders.getRawHeaders("accept-encoding", []))
    match = re.search(r"(?:^|,)\s*(?:x-)?gzip\s*(?:;\s*q=([0-9.]+)\s*)?(?:,|$)", accepted)
    return match is not None and (match[1] is None or match[1].strip("0.") != "")
