"""``examples/static_site``: the command that its README shows, with every reactor, and what a real carbon then has."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest

from tests.carbon import Carbon
from tests.processes import ROOT, SCRIPTS, Child, check_reaches, check_stored, get

SITE = ROOT / "examples" / "static_site"
README = (SITE / "README.md").read_text("utf-8")
REACTORS = ["epoll", "poll", "select", "asyncio"]


def command(carbon: Carbon, reactor: str) -> list[object]:
    """What the README says, with another port, another Graphite and any reactor."""
    [text] = re.findall(r"^```sh\n(.*)\n```$", README, re.MULTILINE)
    for documented, here in {
        "tcp:127.0.0.1:2003": f"tcp:127.0.0.1:{carbon.line_port}",
        "tcp:8080": "tcp:0:interface=127.0.0.1",
        "twistd -n": f"twistd -r {reactor} -n --pidfile=",
    }.items():
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    program, *arguments = shlex.split(text)
    return [SCRIPTS / program, *arguments]


@pytest.mark.parametrize("reactor", REACTORS)
def test_a_real_carbon_has_everything(own_carbon: Carbon, tmp_path: Path, reactor: str) -> None:
    """Exact numbers of requests, connections and log events, something of all else, and all that the README names."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    with Child(*command(own_carbon, reactor), cwd=tmp_path) as child:
        port = child.port()
        pages = get(port, "/", 3) + get(port, "/about.html", 4) + get(port, "/hello.rpy?world_size=15", 5)
        assert [status for status, _ in pages] == [200] * 12
        assert pages[0][1] == (SITE / "pages" / "index.html").read_bytes()
        assert pages[-1][1] == b"hello ooooooooooooooo\n"
        wrong = get(port, "/hello.rpy?world_size=big") + get(port, "/none")
        assert [status for status, _ in wrong] == [500, 404]
        assert child.stop() in (0, -signal.SIGTERM)
        output = child.output()
    assert f"reactor class: twisted.internet.{reactor}reactor." in output
    assert output.count("Traceback (most") == 1, output  # the script's
    assert "measur" not in re.sub(r"File \".*\"", "", output)

    check_stored(own_carbon, "http.requests.count", 14)
    check_stored(own_carbon, "http.status.2xx.count", 12)
    check_stored(own_carbon, "http.measuring_errors.count", 0)
    check_stored(own_carbon, "http.routes.GET-_root.requests.count", 7)
    check_stored(own_carbon, "http.routes.GET-_.requests.count", 6)
    check_stored(own_carbon, "http.routes.GET-_.errors.ValueError.count", 1)
    check_stored(own_carbon, "http.routes._404.requests.count", 1)
    connections = f"connections.{port}"
    check_stored(own_carbon, f"{connections}.accepted.count", 5)
    check_stored(own_carbon, f"{connections}.lost.ConnectionDone.count", 5)
    check_stored(own_carbon, f"{connections}.open", 0)
    check_stored(own_carbon, "log.critical.count", 1)
    check_stored(own_carbon, "log.errors.ValueError.count", 1)
    check_stored(own_carbon, "log.unhandled_errors.count", 0)

    bodies = sum(len(body) for _, body in pages + wrong)
    check_stored(own_carbon, "http.bytes_sent.count", bodies)
    check_reaches(own_carbon, f"{connections}.bytes_sent.count", bodies + 1)  # for there are headers, too
    check_reaches(own_carbon, "log.info.count", 14)  # a line for each request
    check_reaches(own_carbon, "reactor.ticks.count", 14)
    check_reaches(own_carbon, "reactor.readers", 1)
    check_reaches(own_carbon, "process.cpu_seconds", 0.01)
    check_reaches(own_carbon, "process.resident_memory_bytes", 10_000_000)

    table = re.findall(r"^\| (`.*`) \|", README, re.MULTILINE)
    named = {name.replace(".8080.", f".{port}.") for row in table for name in re.findall(r"`(.*?)`", row)}
    assert len(named) >= 15
    own_carbon.wait_for(lambda: named <= own_carbon.names())
