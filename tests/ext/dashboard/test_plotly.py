"""Plotly's file: the one that is installed, never imported, and a sentence where there is none."""

from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ext.dashboard.stand import Stand
from txmetrics.ext.dashboard import _assets


def test_plotly_s_file_is_the_one_that_is_installed(stand: Stand) -> None:
    """Compressed for those who take that; as it is, it is asked for over loopback."""
    file = _assets.plotly()
    assert file is not None
    packed = stand.ask("/plotly.min.js", "Accept-Encoding: br, gzip;q=0.5")
    assert gzip.decompress(packed.body) == file.read_bytes()
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["content-type"] == "text/javascript; charset=utf-8"
    assert len(packed.body) < file.stat().st_size / 3
    assert stand.ask("/plotly.min.js", "Accept-Encoding: gzip").body == packed.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip; q=0.000, br", "identity", "notgzip", "gzipped"])
def test_who_does_not_take_what_is_compressed_gets_it_as_it_is(stand: Stand, accepted: str) -> None:
    """Also those who say so in numbers."""
    answer = stand.ask("/plotly.min.js", f"Accept-Encoding: {accepted}", method="HEAD")
    assert "content-encoding" not in answer.headers
    assert answer.headers["vary"] == "Accept-Encoding"


def test_who_has_plotly_s_file_is_not_sent_it_again(stand: Stand) -> None:
    """Each form has a tag of its own."""
    plain = stand.ask("/plotly.min.js", method="HEAD").headers["etag"]
    packed = stand.ask("/plotly.min.js", "Accept-Encoding: gzip", method="HEAD").headers["etag"]
    assert plain != packed
    answer = stand.ask("/plotly.min.js", f"If-None-Match: {packed}", "Accept-Encoding: gzip")
    assert (answer.code, answer.body, answer.headers["etag"]) == (304, b"", packed)
    assert stand.ask("/plotly.min.js", f"If-None-Match: {packed}", method="HEAD").code == 200


WITHOUT_PLOTLY = """
import json, sys
sys.modules.pop("plotly", None)
class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name == "plotly":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Nowhere())
import importlib.util
find_spec = importlib.util.find_spec
def without(name, package=None):
    return None if name == "plotly" else find_spec(name, package)
importlib.util.find_spec = without
from tests.ext.dashboard.stand import Stand
stand = Stand().run()
answer = stand.ask("/plotly.min.js")
print(json.dumps([answer.code, answer.body.decode(), stand.ask("/").code, stand.ask("/state").code]))
"""


def test_without_plotly_a_sentence_says_what_to_do() -> None:
    """And all the rest works."""
    assert _run(WITHOUT_PLOTLY) == [404, "Plots need plotly: pip install 'txmetrics[dashboard]'\n", 200, 200]


WITH_PLOTLY = """
import json, sys
from tests.ext.dashboard.stand import Stand
stand = Stand().run()
code = stand.ask("/plotly.min.js", method="HEAD").code
print(json.dumps([code, "plotly" in sys.modules]))
"""


def test_plotly_is_not_imported() -> None:
    """It is large, and its file is all that is wanted."""
    assert _run(WITH_PLOTLY) == [200, False]


def _run(program: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_no_file_of_the_dashboard_knows_plotly_but_by_name() -> None:
    """There is no import of it."""
    for file in Path(_assets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert "plotly" not in names
