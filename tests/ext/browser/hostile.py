"""Names and paths as somebody would choose them who wants a page to do what it should not."""

from __future__ import annotations

import time

from txmetrics.instrument import SlowRequest
from txmetrics.instrument.reactor import Block

__all__ = ["BLOCKS", "FORGED", "SLOW", "TEXTS", "seen"]

TEXTS = (
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=2</script>",
    "<svg onload=window.pwned=3>",
    '"><iframe srcdoc="<script>parent.pwned=4</script>">',
    "javascript:window.pwned=5",
    "<b>bold</b><br><a href='javascript:window.pwned=6'>click</a>",
    "${window.pwned=7} {{window.pwned=7}} %{y} %7B",
    "</td></table><style>body{display:none}</style>",
    "&lt;img src=x&gt; &amp;",
    "turned \u202egnp.exe and \u2066hidden\u2069",
    "\x1b[31mred\x1b[0m\x00\x07 \r\n",
)

SEEN = {
    "\u202e": "\\u202e",
    "\u2066": "\\u2066",
    "\u2069": "\\u2069",
    "\x1b": "\\u001b",
    "\0": "\\u0000",
    "\7": "\\u0007",
}
"""What nobody could see is written out."""

SLOW = [SlowRequest(3.0 - n / 10, time.time(), text, f"/{text}", 200, None, 0.1, 0.2) for n, text in enumerate(TEXTS)]
BLOCKS = [Block(text, 0.5, time.time(), f"in {text}") for text in TEXTS]

FORGED = ["forged.<b>bold</b>", "forged.<a href='javascript:pwned=10'>click</a>"]
"""Names that mean something to plotly, which no registry would have."""


def seen(text: str) -> str:
    """``text`` as the page shows it; white space is as long as it may be."""
    return " ".join("".join(SEEN.get(letter, letter) for letter in text.replace("\r", "\\u000d")).split())
