"""twistd and twist as operators run them, in front of a real carbon: what is stored is what was served, exactly."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.carbon import Carbon
from tests.processes import ROOT, SCRIPTS, Child, check_reaches, check_stored, get, run, wait_until

TWISTD = [SCRIPTS / "twistd", "-n", "--pidfile=", "metrics"]
TWIST = [SCRIPTS / "twist", "--log-format=text", "metrics"]
WEB = ["web", "--listen=tcp:0:interface=127.0.0.1"]


def to(carbon: Carbon, prefix: str, interval: int = 10) -> list[str]:
    """The options for reports to ``carbon``; ten seconds are longer than any of these servers lives."""
    return [
        f"--metrics-graphite=tcp:127.0.0.1:{carbon.line_port}",
        f"--metrics-prefix={prefix}",
        f"--metrics-interval={interval}",
    ]


def serve_and_stop(child: Child, requests: int, path: str = "/") -> None:
    """Send so many requests, all answered, then SIGTERM: the child ends as twistd does, without a complaint."""
    answers = get(child.port(), path, requests)
    assert {status for status, _ in answers} == {200}
    assert child.stop() in (0, -signal.SIGTERM)
    assert "Main loop terminated" in child.output()
    assert "Traceback (most" not in child.output()
    assert "rror" not in child.output()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A directory to serve."""
    directory = tmp_path / "pages"
    directory.mkdir()
    (directory / "index.html").write_text("hello")
    return directory


def test_after_sigterm_carbon_has_the_exact_number_of_requests(
    carbon: Carbon, prefix: str, tmp_path: Path, page: Path
) -> None:
    """The command of the README, reporting every second, and the requests since the last second, too."""
    name = f"{prefix}.http.requests.count"
    with Child(*TWISTD, *to(carbon, prefix, interval=1), *WEB, f"--path={page}", cwd=tmp_path) as child:
        assert get(child.port(), times=100) == [(200, b"hello")] * 100
        carbon.wait_for(lambda: 100 in carbon.points(name).values())
        serve_and_stop(child, 37)
    check_stored(carbon, name, 137)
    check_stored(carbon, f"{prefix}.http.status.2xx.count", 137)
    check_stored(carbon, f"{prefix}.http.active", 0)
    check_stored(carbon, f"{prefix}.http.bytes_sent.count", 137 * len(b"hello"))
    check_reaches(carbon, f"{prefix}.process.threads", 1)
    check_reaches(carbon, f"{prefix}.process.resident_memory_bytes", 10_000_000)


@pytest.mark.parametrize("runner", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_a_server_that_stops_before_its_first_report_still_reports(
    carbon: Carbon, prefix: str, tmp_path: Path, page: Path, runner: list[Any]
) -> None:
    """Only the flush at SIGTERM can have brought these numbers, under either runner."""
    with Child(*runner, *to(carbon, prefix, interval=3600), *WEB, f"--path={page}", cwd=tmp_path) as child:
        serve_and_stop(child, 23)
    check_stored(carbon, f"{prefix}.http.requests.count", 23)
    assert len(carbon.stored(f"{prefix}.http.requests.count")) == 1


TAC = """
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

class Hello(Resource):
    isLeaf = True
    def render_GET(self, request):
        return b"hello"

class ListensItself(Service):
    def startService(self):
        super().startService()
        self.port = reactor.listenTCP(0, Site(Hello()), interface="127.0.0.1")
    def stopService(self):
        return self.port.stopListening()
"""


def test_a_tac_file_whose_service_listens_by_itself_is_measured(carbon: Carbon, prefix: str, tmp_path: Path) -> None:
    """No tree of services shows that Site; it is measured from the first request on all the same."""
    (tmp_path / "app.tac").write_text(
        f"{TAC}\napplication = Application('hello')\nListensItself().setServiceParent(application)\n"
    )
    with Child(*TWISTD, *to(carbon, prefix), "--python", "app.tac", cwd=tmp_path) as child:
        serve_and_stop(child, 31)
    check_stored(carbon, f"{prefix}.http.requests.count", 31)


PLUGIN = """
from twisted.application.service import ServiceMaker

own = ServiceMaker("own", "own", "A plugin of one's own.", "own")
"""

OWN = f"""
from twisted.python.usage import Options as UsageOptions
from txmetrics import MetricsRegistry
from txmetrics.tap import MetricsOptionMixin, measured
{TAC}
class Options(UsageOptions, MetricsOptionMixin):
    pass

def makeService(options):
    registry = MetricsRegistry()
    registry.counter("started").inc()
    return measured(ListensItself(), options, registry)
"""


@pytest.fixture
def own_plugin(tmp_path: Path) -> Path:
    """A directory for PYTHONPATH with a plugin whose service listens by itself and whose options are the mix-in's."""
    (tmp_path / "path" / "twisted" / "plugins").mkdir(parents=True)
    (tmp_path / "path" / "twisted" / "plugins" / "own_plugin.py").write_text(PLUGIN)
    (tmp_path / "path" / "own.py").write_text(OWN)
    return tmp_path / "path"


@pytest.mark.parametrize("runner", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_a_plugin_is_measured_unmodified(
    carbon: Carbon, prefix: str, tmp_path: Path, own_plugin: Path, runner: list[Any]
) -> None:
    """Whatever plugin is installed can stand behind ``metrics``."""
    command = [*runner, *to(carbon, prefix), "own"]
    with Child(*command, cwd=tmp_path, PYTHONPATH=str(own_plugin)) as child:
        serve_and_stop(child, 29)
    check_stored(carbon, f"{prefix}.http.requests.count", 29)
    assert f"{prefix}.started.count" not in carbon.names()


@pytest.mark.parametrize("runner", [TWISTD[:-1], TWIST[:-1]], ids=["twistd", "twist"])
def test_a_plugin_with_the_mixin_reports_its_own_metrics_as_well(
    carbon: Carbon, prefix: str, tmp_path: Path, own_plugin: Path, runner: list[Any]
) -> None:
    """The options are the plugin's own then, and so is the registry."""
    command = [*runner, "own", *to(carbon, prefix)]
    with Child(*command, cwd=tmp_path, PYTHONPATH=str(own_plugin)) as child:
        serve_and_stop(child, 19)
    check_stored(carbon, f"{prefix}.http.requests.count", 19)
    check_stored(carbon, f"{prefix}.started.count", 1)


KLEIN = """
from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import deferLater

app = Klein()
resource = app.resource

@app.route("/item/<int:number>")
def item(request, number):
    return deferLater(reactor, 0.001, lambda: b"item %d" % number)
"""


def test_a_klein_application_is_measured(carbon: Carbon, prefix: str, tmp_path: Path) -> None:
    """``web --class`` with asynchronous answers."""
    (tmp_path / "shop.py").write_text(KLEIN)
    command = [*TWISTD, *to(carbon, prefix), *WEB, "--class=shop.resource"]
    with Child(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path)) as child:
        assert get(child.port(), "/item/5") == [(200, b"item 5")]
        assert get(child.port(), "/nothing")[0][0] == 404
        serve_and_stop(child, 17, "/item/7")
    check_stored(carbon, f"{prefix}.http.requests.count", 19)
    check_stored(carbon, f"{prefix}.http.status.4xx.count", 1)


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that every user may read and write, which those of pytest are not."""
    directory = Path(tempfile.mkdtemp(prefix="txmetrics-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


USER = "nobody"
as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@contextmanager
def daemon(directory: Path, user: str | None, *arguments: str) -> Iterator[tuple[int, int]]:
    """A daemonised ``twistd metrics ... web``, ended by SIGTERM and complaining of nothing: its pid and port."""
    log, pidfile = directory / "twistd.log", directory / "twistd.pid"
    as_user = [] if user is None else ["--uid", user]
    command = [SCRIPTS / "twistd", f"--pidfile={pidfile}", f"--logfile={log}", *as_user, "metrics"]
    started = run(*command, *arguments, *WEB, cwd=directory)
    assert (started.returncode, started.stdout) == (0, "")
    pid = int(pidfile.read_text())
    try:
        if user is not None:
            assert Path(f"/proc/{pid}").stat().st_uid == pwd.getpwnam(user).pw_uid
        port = re.search(r"Site starting on (\d+)", log.read_text())
        assert port is not None
        yield pid, int(port[1])
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: "Server Shut Down." in log.read_text(), log.read_text)
    assert "Traceback (most" not in log.read_text()


@pytest.mark.parametrize("user", [None, pytest.param(USER, marks=as_root)])
def test_the_daemon_reports_under_its_own_pid(carbon: Carbon, prefix: str, public: Path, user: str | None) -> None:
    """twistd forks twice and gives up root after the service was made; what reports is what came out of that."""
    with daemon(public, user, *to(carbon, f"{prefix}.{{pid}}")) as (pid, port):
        assert {status for status, _ in get(port, times=41)} == {200}
    check_stored(carbon, f"{prefix}.{pid}.http.requests.count", 41)


@as_root
def test_the_daemon_reports_over_tls_as_somebody_else(
    carbon: Carbon, prefix: str, tmp_path: Path, public: Path
) -> None:
    """Names are resolved and certificates checked by a user who may not even read Python's own modules."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(public / "authority.pem"))
    server = tmp_path / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(server))
    front = [f"--port=ssl:0:interface=127.0.0.1:privateKey={server}:certKey={server}", "--host=127.0.0.1"]
    command = [*TWISTD[:-1], "portforward", *front, f"--dest_port={carbon.line_port}"]
    with Child(*command, cwd=tmp_path) as terminator:
        endpoint = f"tls:localhost:{terminator.port('ProxyFactory')}:trustRoots={public}"
        options = [f"--metrics-graphite={endpoint}", f"--metrics-prefix={prefix}"]
        with daemon(public, USER, *options) as (_, port):
            assert {status for status, _ in get(port, times=13)} == {200}
        check_stored(carbon, f"{prefix}.http.requests.count", 13)


def test_without_a_carbon_the_server_serves_and_stops_all_the_same(tmp_path: Path, page: Path) -> None:
    """A Graphite that is away costs the users nothing and the operator a line in the log."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        endpoint = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        command = [*TWISTD, f"--metrics-graphite={endpoint}", "--metrics-interval=1", *WEB, f"--path={page}"]
        with Child(*command, cwd=tmp_path) as child:
            child.says(f"no connection to {endpoint}")
            assert get(child.port(), times=50) == [(200, b"hello")] * 50
            assert child.stop(seconds=10) in (0, -signal.SIGTERM)
            assert "points may not have reached" in child.output()
            assert "Traceback (most" not in child.output()


def test_a_frozen_carbon_stops_neither_the_service_nor_its_end(own_carbon: Carbon, tmp_path: Path, page: Path) -> None:
    """It takes connections and reads nothing; what it was sent until the end is stored when it goes on."""
    with Child(*TWISTD, *to(own_carbon, "web", interval=1), *WEB, f"--path={page}", cwd=tmp_path) as child:
        port = child.port()
        own_carbon.freeze()
        assert get(port, times=20) == [(200, b"hello")] * 20
        assert child.stop(seconds=10) in (0, -signal.SIGTERM)
    own_carbon.thaw()
    check_stored(own_carbon, "web.http.requests.count", 20)


def test_a_port_that_is_taken_ends_the_server_as_it_does_without_us(tmp_path: Path) -> None:
    """The error of the inner plugin is passed on, and nothing of ours keeps the process alive."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        web = ["web", f"--listen=tcp:{taken.getsockname()[1]}:interface=127.0.0.1"]
        plain = run(*TWISTD[:-1], *web, cwd=tmp_path)
        ours = run(*TWISTD, "--metrics-graphite=tcp:127.0.0.1:9", *web, cwd=tmp_path)
    assert ours.returncode == plain.returncode != 0
    for ended in (plain, ours):
        assert "CannotListenError: Couldn't listen on 127.0.0.1:" in ended.stdout.splitlines()[-1]


@cache
def usage_error(program: Path) -> int:
    """The runner's own exit status for a wrong option: twistd's was 0 until 2024, by mistake."""
    return run(program, "--nosuch", cwd=ROOT).returncode


@pytest.mark.parametrize(
    ("runner", "arguments", "told"),
    [
        (TWISTD, ["--metrics-graphite=localhost:2003", "web"], "'localhost:2003' is no endpoint"),
        (TWISTD, ["--metrics-graphite=tcp:a:1", "web", "--nosuch"], "option --nosuch not recognized"),
        (TWISTD, ["--metrics-graphite=tcp:a:1", "-y", "nosuch.tac"], "nosuch.tac cannot be read: No such file"),
        (TWISTD, ["--metrics-hosted-graphite-key=s3cret", "web"], "an API key does not belong on a command line"),
        (TWIST, ["--metrics-graphite=tcp:a:1", "--metrics-interval=0", "web"], "an interval of 0.0 seconds"),
    ],
)
def test_a_wrong_option_shows_one_line_and_ends_with_an_error(
    tmp_path: Path, runner: list[Any], arguments: list[str], told: str
) -> None:
    """Beside the help, which both runners print, there is one line, and it says what is wrong."""
    ended = run(*runner, *arguments, cwd=tmp_path)
    assert ended.returncode == usage_error(runner[0])
    assert len([line for line in ended.stdout.splitlines() if told in line]) == 1
    assert "Traceback (most" not in ended.stdout
    assert "s3cret" not in ended.stdout


@pytest.mark.parametrize("runner", [TWISTD[:-1], TWIST[:-1]], ids=["twistd", "twist"])
def test_a_wrong_key_in_the_environment_of_the_mixin_is_one_line(
    tmp_path: Path, own_plugin: Path, runner: list[Any]
) -> None:
    """It shows only in makeService, where the runners would print a traceback for a usage error."""
    ended = run(*runner, "own", cwd=tmp_path, PYTHONPATH=str(own_plugin), TXMETRICS_HOSTED_GRAPHITE_KEY="s3cret!")
    assert ended.returncode == 1
    assert re.fullmatch(r"the API key is [^\n]*\n", ended.stdout)


@pytest.mark.parametrize("runner", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_a_page_shows_what_a_plugin_does(tmp_path: Path, page: Path, runner: list[Any]) -> None:
    """With no Graphite anywhere; those who look are not among the requests, and the stop is as clean as ever."""
    with Child(*runner, "--metrics-dashboard=tcp:0", *WEB, f"--path={page}", cwd=tmp_path) as child:
        shown = child.port("Dashboard")
        assert get(child.port(), "/", 23)[-1] == (200, b"hello")
        assert {status for status, _ in get(shown, "/", 3)} == {200}

        def state() -> Any:
            return json.loads(get(shown, "/state")[0][1])

        def total() -> float:
            return float({each["key"]: each["value"] for each in state()["big"]}.get("total") or 0)

        wait_until(lambda: total() == 23, lambda: str(state()))
        assert len(state()["slowest"]) == 20
        assert {each["path"] for each in state()["slowest"]} == {"/"}
        assert child.stop() in (0, -signal.SIGTERM)
    assert "Main loop terminated" in child.output()
    assert "rror" not in child.output()
