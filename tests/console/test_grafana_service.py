"""Asking a service for its metrics: whoever answers, or nobody does, it is said in one sentence."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.console.grafana import targets
from tests.processes import run
from txmetrics.console import _service
from txmetrics.console._seam import Trouble
from txmetrics.console._service import metrics_of, reports_of


@contextmanager
def answering(
    answers: dict[str, tuple[int, bytes]], pause: float = 0.0, kind: str = "application/json"
) -> Iterator[str]:
    """The URL of a web server in a thread: paths with a status and a body, a byte of it each ``pause`` seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b"nothing"))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for place in range(len(body)) if pause else [slice(None)]:
                self.wfile.write(body[place : place + 1] if pause else body)
                time.sleep(pause)

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                """Whoever asked has gone."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def metrics(*kinds: str) -> bytes:
    return json.dumps([{"name": f"a.{number}", "kind": kind} for number, kind in enumerate(kinds)]).encode()


def command(url: str, cwd: Path, *arguments: str) -> tuple[int, str]:
    done = run(sys.executable, "-m", "txmetrics", "grafana-dashboard", url, *arguments, cwd=cwd)
    return done.returncode, done.stdout


def test_metrics_and_their_kinds_are_told_in_their_order() -> None:
    """Wherever the dashboard is mounted, with or without the slash at its end."""
    body = metrics("timer", "counter", "gauge", "meter", "histogram")
    with answering({"/inside/metrics": (200, body), "/inside/state": (200, b'{"reporters": [{}]}')}) as url:
        for path in ("inside", "inside/"):
            assert list(metrics_of(url + path).items()) == [
                ("a.0", "timer"),
                ("a.1", "counter"),
                ("a.2", "gauge"),
                ("a.3", "meter"),
                ("a.4", "histogram"),
            ]
            assert reports_of(url + path)


def test_whether_it_reports_to_anybody_is_known() -> None:
    """By its reporters, of which there may be none."""
    with answering({"/state": (200, b'{"reporters": []}')}) as url:
        assert not reports_of(url)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (
            200,
            b"<html>hello</html>",
            "what answers at {url} is no dashboard of txmetrics; give the URL that its page is at",
        ),
        (200, b'{"a": 1}', "what answers at {url} is no dashboard of txmetrics"),
        (200, b"[1, 2]", "what answers at {url} is no dashboard of txmetrics"),
        (200, b"null", "what answers at {url} is no dashboard of txmetrics"),
        (200, b"17", "what answers at {url} is no dashboard of txmetrics"),
        (200, b"\xff\xfe\xfd", "what answers at {url} is no dashboard of txmetrics"),
        (200, b"[" * 100_000, "what answers at {url} is no dashboard of txmetrics"),
        (200, b'[{"name": "a", "kind": "cat"}]', "what answers at {url} is no dashboard of txmetrics"),
        (200, b'[{"name": "a b\\"); x", "kind": "gauge"}]', "what answers at {url} is no dashboard of txmetrics"),
        (200, b'[{"name": 7, "kind": "gauge"}]', "what answers at {url} is no dashboard of txmetrics"),
        (200, b"[]", "the service at {url} has no metrics yet; ask it something, and then try again"),
        (404, b"no", "{url} answers 404 (Not Found); give the URL of the service's dashboard"),
        (302, b"no", "{url} answers 302 (Found); give the URL of the service's dashboard"),
        (503, b"no", "{url} answers 503 (Service Unavailable); give the URL of the service's dashboard"),
    ],
)
def test_what_is_no_dashboard_is_told(status: int, body: bytes, sentence: str) -> None:
    """In one sentence with the URL in it."""
    with answering({"/metrics": (status, body)}) as url, pytest.raises(Trouble) as trouble:
        metrics_of(url)
    assert str(trouble.value).startswith(sentence.format(url=url))
    assert str(trouble.value).count("\n") == 0


def test_what_a_service_says_of_its_refusal_is_repeated() -> None:
    """As far as it is text, and not too long."""
    body = b"Ask from this machine." + b" " * 1000 + b"x"
    with (
        answering({"/metrics": (403, body)}, kind="text/plain; charset=utf-8") as url,
        pytest.raises(Trouble) as trouble,
    ):
        metrics_of(url)
    assert str(trouble.value) == (
        f"{url} answers 403 (Ask from this machine.); give the URL of the service's dashboard"
    )


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"reporters": 1}', b"null"])
def test_a_state_that_is_none_is_told(body: bytes) -> None:
    """The metrics may have been somebody else's."""
    with answering({"/state": (200, body)}) as url, pytest.raises(Trouble, match="is no dashboard of txmetrics"):
        reports_of(url)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8002",
        "ftp://127.0.0.1/",
        "http://",
        "http://127.0.0.1:port/",
        "http://127.0.0.1:70000/",
        "http://127.0.0.1/\n",
        "http://127.0.0.1/a b",
        "http://[::1/",
        "",
    ],
)
def test_what_is_no_url_is_told(url: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(Trouble) as trouble:
        metrics_of(url)
    assert str(trouble.value) == f"{url!r} is no URL of a dashboard such as http://127.0.0.1:8002/"


def test_a_password_in_a_url_is_not_repeated() -> None:
    """Nor used."""
    with pytest.raises(Trouble) as trouble:
        metrics_of("http://user:secret@127.0.0.1/")
    assert str(trouble.value) == (
        "a URL with a user or a password in it is not asked; give one such as http://127.0.0.1:8002/"
    )


def test_a_service_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With a hint, on stderr, and with status 1."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        assert command(url, tmp_path) == (
            1,
            f"txmetrics: no dashboard answers at {url} (Connection refused); "
            "is the service running, with --metrics-dashboard, at this port?\n",
        )


@pytest.mark.parametrize("pause", [0.05, 1.0])
def test_a_service_that_answers_too_slowly_is_not_waited_for(pause: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that says nothing for long, nor one that says a little again and again."""
    monkeypatch.setattr(_service, "SECONDS", 0.3)
    with (
        answering({"/metrics": (200, b" " * 1000)}, pause) as url,
        pytest.raises(Trouble, match="no dashboard answers"),
    ):
        metrics_of(url)


def test_an_endless_answer_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up at a size that no dashboard's has."""
    monkeypatch.setattr(_service, "LARGEST", 10_000)
    with answering({"/metrics": (200, b" " * 100_000)}) as url, pytest.raises(Trouble, match="more than 10000 bytes"):
        metrics_of(url)


def test_something_that_speaks_no_http_is_told() -> None:
    """A carbon, for instance."""

    def greet() -> None:
        with server.accept()[0] as connection:
            connection.sendall(b"hello\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(Trouble, match="no dashboard answers at"):
            metrics_of(f"http://127.0.0.1:{server.getsockname()[1]}/")
        thread.join(10)


def test_the_command_writes_the_dashboard_and_says_what_is_left_out(tmp_path: Path) -> None:
    """JSON on stdout; a wrong prefix is a wrong usage."""
    body = metrics(*["gauge"] * 302)
    with answering({"/metrics": (200, body), "/state": (200, b'{"reporters": []}')}) as url:
        status, said = command(url, tmp_path, "--title", "Mine")
        written, _, complaint = said.partition("\n}\n")
        assert json.loads(f"{written}\n}}")["title"] == "Mine"
        assert (status, complaint) == (0, "txmetrics: 2 more panels are left out; nobody would look at them all\n")
        status, said = command(url, tmp_path, "--prefix", "web.{user}")
        assert status == 2
        assert "prefix 'web.{user}' has {user}; only {host}, {pid}, {worker} and {generation} are filled in" in said


def test_metrics_with_tags_are_asked_for(tmp_path: Path) -> None:
    """All that differ in the values of their tags in one panel; for Prometheus tags are labels like others."""
    told = [{"name": f"jobs;queue={queue}", "kind": "counter"} for queue in ("mail", "print")]
    answers = {"/metrics": (200, json.dumps(told).encode()), "/state": (200, b'{"reporters": []}')}
    with answering(answers) as url:
        status, said = command(url, tmp_path, "--prefix", "web.{host}")
        assert status == 0
        assert [target["target"] for target in targets(json.loads(said))] == [
            r"aliasByNode(perSecond(seriesByTag('name=~^web\.[^.]+\.jobs\.count$')),1,'queue',-2)"
        ]
        status, said = command(url, tmp_path, "--datasource=prometheus")
        assert status == 0
        assert r"jobs_total{instance=~\"$instance\", queue=\"mail\"}" in said


def test_a_fleet_needs_what_tells_its_processes_apart(tmp_path: Path) -> None:
    """In Graphite: a place in the prefix, or tags, which are given as the service has them."""
    told = [{"name": "jobs;host=x;queue=mail", "kind": "counter"}]
    answers = {"/metrics": (200, json.dumps(told).encode()), "/state": (200, b'{"reporters": []}')}
    with answering(answers) as url:
        status, said = command(url, tmp_path, "--fleet", "--prefix", "web")
        assert (status, said.count("\n")) == (1, 1)
        assert (
            "Graphite tells processes apart by a --prefix such as web.{host}.{worker}, or by --tags; give one" in said
        )
        status, said = command(url, tmp_path, "--fleet", "--tags", "host={host},worker={worker}")
        assert status == 0
        assert (
            r"groupByNodes(scaleToSeconds(seriesByTag('name=~^jobs\.delta$','host=~^${host:regex}$',"
            r"""'worker=~^${worker:regex}$'),1),"sum",'exported_host','queue',-2)"""
        ) in [target["target"] for target in targets(json.loads(said))]
        for wrong in ("host", "=x", "a b={host}", ""):
            status, said = command(url, tmp_path, "--fleet", "--tags", wrong)
            assert status == 2
            assert f"{wrong!r} is no list of tags such as host={{host}},worker={{worker}}" in said
