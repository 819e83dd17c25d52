"""The article's four listings as its readers run them, but on another port, and with an interval of a second."""

from __future__ import annotations

import ast
import sys
from ast import literal_eval
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest_twisted

from tests import article, processes
from tests.delivery.certificates import Authority
from tests.delivery.network import until
from tests.processes import ROOT, Child, fetch, free_port
from tests.sink import Sink, SinkServer, hang

PYTHON = [sys.executable, "-W", "error"]

LISTINGS = {file.stem: file for file in sorted((ROOT / "examples" / "article").glob("*.py"))}

HISTOGRAM = {
    "avg": 7.0,
    "count": 3.0,
    "max": 15,
    "min": 3,
    "std_dev": 6.928203230275509,
    "75_percentile": 15,
    "95_percentile": 15,
    "99_percentile": 15,
    "999_percentile": 15,
}


class Listing:
    """One that runs."""

    def __init__(self, name: str, cwd: Path, replaced: dict[str, str] | None = None, **variables: str) -> None:
        self.port = free_port()
        source = LISTINGS[name].read_text()
        for old, new in {"listenTCP(8001,": f"listenTCP({self.port},", **(replaced or {})}.items():
            assert source.count(old) == 1, old
            source = source.replace(old, new)
        (cwd / "listing.py").write_text(source)
        self.url = f"http://127.0.0.1:{self.port}/"
        self.child = Child(*PYTHON, "listing.py", cwd=cwd, **variables)

    def __enter__(self) -> Listing:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.child.__exit__()

    def ask(self, size: int) -> dict[str, float]:
        answer: dict[str, float] = literal_eval(fetch(f"{self.url}?world_size={size}").decode())
        return answer


def test_there_are_four_and_they_import_only_twisted_and_the_layer() -> None:
    """One import is all that somebody who comes from pyformance has to change."""
    assert list(LISTINGS) == ["1_hello", "2_counter", "3_histogram", "4_hosted_graphite"]
    for file in LISTINGS.values():
        tree = ast.parse(file.read_text())
        modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
        assert {module.split(".")[0] for module in modules} <= {"typing", "twisted", "txmetrics"}
        ours = [module for module in modules if module.startswith("txmetrics")]
        assert all(module.startswith("txmetrics.compat.pyformance") for module in ours)
        assert bool(ours) == (file.stem != "1_hello")


def test_the_first_says_hello(tmp_path: Path) -> None:
    """And ends at SIGTERM."""
    with Listing("1_hello", tmp_path) as listing:
        assert fetch(listing.url) == b"Hello World\n"
        assert listing.child.stop() in (0, -15)
        assert listing.child.output() == ""


def test_the_second_counts(tmp_path: Path) -> None:
    """Its answers grow."""
    with Listing("2_counter", tmp_path) as listing:
        assert [fetch(listing.url) for _ in range(3)] == [
            b"Hello World, called %d times\n" % times for times in (1, 2, 3)
        ]


def test_the_third_tells_the_numbers_of_the_article(tmp_path: Path) -> None:
    """After 3, 3 and 15, exactly and of the same types."""
    with Listing("3_histogram", tmp_path) as listing:
        answers = [listing.ask(size) for size in (3, 3, 15)]
    assert [answer["count"] for answer in answers] == [1.0, 2.0, 3.0]
    assert repr(answers[-1]) == repr(HISTOGRAM)
    assert answers[-1]["std_dev"] == article.SPREAD["stddev"]


@pytest_twisted.ensureDeferred
async def test_the_fourth_reports_to_hosted_graphite_and_answers_meanwhile(tmp_path: Path) -> None:
    """Also while the sink does not: nothing in it blocks the reactor. A report is of the numbers that it has then."""
    authority = Authority(tmp_path / "trusted")
    server = await SinkServer(Sink(), authority.server("127.0.0.1")).start()
    server.sink.answers.append(hang)
    replaced = {'10, "KEY")': f'1, "KEY", url="{server.url}")'}
    trusted = {"SSL_CERT_FILE": str(authority.directory / "ca.pem")}
    try:
        with Listing("4_hosted_graphite", tmp_path, replaced, **trusted) as listing:
            assert [listing.ask(size)["count"] for size in (3, 3)] == [1.0, 2.0]
            await until(lambda: server.sink.requests, 20)
            assert listing.ask(15) == HISTOGRAM  # the sink has the request, and has not answered
            assert server.sink.accepted == []
            server.sink.transports[-1].abortConnection()
            await until(lambda: b"world_size.std_dev 6.928203230275509 " in b"\n".join(server.sink.lines), 20)
            assert listing.child.output() == ""
    finally:
        await server.stop()
    check_posts(server.sink)


def check_posts(sink: Any) -> None:
    """They have the key, and each line is one of what the listing measures, with a whole second."""
    assert {request.authorization for request in sink.requests} == {"Basic " + b64encode(b"KEY:").decode()}
    names = {line.split()[0].decode() for line in sink.lines}
    assert names == {"hello_called.count", *(f"world_size.{field}" for field in HISTOGRAM)}
    assert all(line.split()[2].isdigit() for line in sink.lines)


def test_without_a_number_the_third_is_an_error_and_goes_on(tmp_path: Path) -> None:
    """As the article's was; the next request is answered as ever."""
    with Listing("3_histogram", tmp_path) as listing:
        listing.ask(3)
        assert processes.get(listing.port)[0][0] == 500
        assert listing.ask(3)["count"] == 2.0
