"""``--workers``: real processes that share the application's ports, each with its own name, ports and spool."""

from __future__ import annotations

import os
import pwd
import re
import signal
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.carbon import Carbon
from tests.processes import Child, check_stored, fetch, get, run
from tests.tap.workers import APPLICATION, TWIST, TWISTD, Supervised, free_ports, kill
from tests.waiting import wait_until

TAC = f"""
{APPLICATION}
from twisted.application.service import Application
from twisted.application.strports import service
from twisted.web.server import Site

application = Application("who")
service("tcp:PORT:interface=127.0.0.1", Site(Who())).setServiceParent(application)
"""

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an application that tells who has served."""
    (tmp_path / "who.py").write_text(APPLICATION)
    return tmp_path


def web(port: int) -> list[str]:
    return ["web", f"--listen=tcp:{port}:interface=127.0.0.1", "--class=who.resource"]


def test_four_workers_share_a_port_and_their_sums_are_right(carbon: Carbon, prefix: str, place: Path) -> None:
    """Each answers, under its own prefix carbon has what each has answered, and after SIGTERM nobody is left."""
    port, requests = free_ports(), 80
    options = [f"--metrics-graphite=tcp:127.0.0.1:{carbon.line_port}", f"--metrics-prefix={prefix}.{{worker}}"]
    command = [*TWISTD, "--workers=4", *options, *web(port)]
    with Supervised(*command, cwd=place, PYTHONPATH=str(place)) as service:
        answered = Counter({f"w{number}": 0 for number in range(4)})
        pids = {}
        while len(pids) < 4 or answered.total() < requests:
            pid, name = service.ask(port)
            answered[name] += 1
            assert pids.setdefault(name, pid) == pid
            assert answered.total() < 1000, service.output()
        assert sorted(pids.values()) == sorted(service.workers())
        assert service.stop() in (0, -signal.SIGTERM)
        service.check_gone(port)
    assert set(answered) == {"w0", "w1", "w2", "w3"}
    for name, number in answered.items():
        check_stored(carbon, f"{prefix}.{name}.http.requests.count", number)
    said = service.output()
    assert "Traceback" not in said
    assert said.count("Main loop terminated.") == 5
    assert re.search(r"^\S+ \[w3#info\] \[-\] Site starting on", said, re.MULTILINE)


@pytest.mark.parametrize("runner", [TWISTD, TWIST], ids=["twistd", "twist"])
def test_a_killed_worker_comes_back_and_a_killed_supervisor_leaves_none(runner: list[Any], tmp_path: Path) -> None:
    """The new one has the name of the one before it; without a supervisor they all stop, in order."""
    port = free_ports()
    (tmp_path / "app.tac").write_text(TAC.replace("PORT", str(port)))
    command = [*runner, "--workers=2", "--metrics-log=metrics.log", "--metrics-prefix={worker}", "--python=app.tac"]
    with Supervised(*command, cwd=tmp_path) as service:
        before = service.all_of(port, 2)
        assert set(before) == {"w0", "w1"}
        kill(before["w1"])
        service.says(r"worker w1 ended \(signal 9\) and is started again")
        wait_until(lambda: service.all_of(port, 2)["w1"] != before["w1"], service.output)
        after = service.all_of(port, 2)
        assert after["w0"] == before["w0"]
        service.kill()
        service.check_gone(port)
    # Their last reports are there, whole: a file takes the lines of all.
    written = (tmp_path / "metrics.log").read_text()
    assert {name for name in after if f'"name": "{name}.http.requests"' in written} == {"w0", "w1"}


def test_each_worker_has_its_own_ports_and_spool(place: Path) -> None:
    """Prometheus scrapes each, and sees the application's requests only; a spool is used by one process."""
    own = free_ports(5)
    port = own + 4
    options = [
        *(f"--metrics-prometheus=tcp:{own}", f"--metrics-dashboard=tcp:{own + 2}", "--metrics-spool=spool"),
        *("--metrics-graphite=tcp:127.0.0.1:9", "--metrics-graphite-tags=worker={worker}", "--metrics-interval=1"),
    ]
    with Supervised(*TWISTD, "--workers", "2", *options, *web(port), cwd=place, PYTHONPATH=str(place)) as service:
        service.all_of(port, 2)
        for _ in range(20):
            service.ask(port)
        # A page is made once for all who scrape within most of a second.
        wait_until(lambda: sum(_requests(own + number) for number in range(2)) == service.asked, service.output)
        for number in range(2):
            assert fetch(f"http://127.0.0.1:{own + number}/") == b"The metrics are at /metrics.\n"
            assert get(own + number, "/nothing")[0][0] == 404
            assert b"<html" in fetch(f"http://127.0.0.1:{own + 2 + number}/")
        spools = [place / "spool" / f"w{number}" / "plaintext_tcp:127_0_0_1:9" for number in range(2)]
        wait_until(lambda: all(any(spool.glob("*.spool")) for spool in spools), service.output)
        assert service.stop() in (0, -signal.SIGTERM)
    assert "another spool is using it" not in service.output()
    assert "Traceback" not in service.output()


def _requests(port: int) -> int:
    metrics = fetch(f"http://127.0.0.1:{port}/metrics").decode()
    found = re.search(r"^http_requests_seconds_count (\d+)", metrics, re.MULTILINE)
    return int(found[1]) if found else 0


def test_a_signal_to_the_whole_group_stops_all_in_order(place: Path) -> None:
    """Ctrl-C in a terminal and service managers tell every process, and the supervisor tells the workers again."""
    port = free_ports()
    command = [*TWISTD, "--workers=2", "--metrics-prometheus=tcp:0", *web(port)]
    with Supervised("setsid", *command, cwd=place, PYTHONPATH=str(place)) as service:
        service.all_of(port, 2)
        os.killpg(service.pid, signal.SIGINT)
        service.check_gone(port)
        service.says("Server Shut Down(.|\n)*Server Shut Down(.|\n)*Server Shut Down")
    assert "started again" not in service.output()
    assert "Traceback" not in service.output()


@as_root
def test_workers_shed_their_privileges_themselves(place: Path) -> None:
    """As alone: the port is opened as root, and served by somebody else, also after a restart."""
    port = next(port for port in range(600, 1000) if _is_free(port))
    user = [*TWISTD[:-1], "--uid=nobody", "--gid=nogroup", "metrics"]
    command = [*user, "--workers=2", "--metrics-prometheus=tcp:0", *web(port)]
    with Supervised(*command, cwd=place, PYTHONPATH=str(place)) as service:
        before = service.all_of(port, 2)
        kill(before["w0"])
        service.says(r"worker w0 ended \(signal 9\)")  # until then it may have taken connections with it
        wait_until(lambda: service.all_of(port, 2)["w0"] != before["w0"], service.output)
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in service.workers()}
        assert owners == {pwd.getpwnam("nobody").pw_uid}
        assert service.stop() in (0, -signal.SIGTERM)
        service.check_gone(port)


def _is_free(port: int) -> bool:
    with suppress(OSError):
        socket.create_server(("127.0.0.1", port)).close()
        return True
    return False


def test_a_unix_socket_is_refused_in_one_sentence(place: Path) -> None:
    """It cannot be shared, and the first worker gets it as little as the others."""
    command = [*TWISTD, "--workers=2", "--metrics-prometheus=tcp:0", "web", "--listen=unix:socket", "--path=."]
    with Supervised(*command, cwd=place) as service:
        service.says("Couldn't listen on unix:.*several workers cannot share a UNIX socket; give a tcp: endpoint")
        assert service.stop() in (0, -signal.SIGTERM)


def test_each_port_of_our_own_is_opened_once(tmp_path: Path) -> None:
    """Under twistd, which starts a service in two steps; who looks is not counted; and alone they are enough."""
    own = free_ports(2)
    options = [f"--metrics-dashboard=tcp:{own}", f"--metrics-prometheus=tcp:{own + 1}"]
    with Child(*TWISTD, *options, "web", "--listen=tcp:0:interface=127.0.0.1", "--path=.", cwd=tmp_path) as child:
        assert get(child.port(), times=3)[0][0] == 200
        assert {status for page in (own, own + 1) for status, _ in get(page, times=4)} == {200}
        assert _requests(own + 1) == 3
        assert child.stop() in (0, -signal.SIGTERM)
    assert child.output().count("Dashboard starting on") == child.output().count("Prometheus starting on") == 1
    assert "rror" not in child.output()


def test_a_refused_command_line_starts_nobody(tmp_path: Path) -> None:
    """The whole line is checked before the first process: also the plugin's own part, and the environment."""
    command = [*TWISTD, "--workers=2", "--metrics-log=log", "--metrics-prefix={worker}"]
    wrong = run(*command, "web", "--nosuch", cwd=tmp_path)
    named = run(*command, "web", "--path=.", cwd=tmp_path, TXMETRICS_WORKER="w7")
    assert "option --nosuch not recognized" in wrong.stdout
    assert "TXMETRICS_WORKER names one process, and --workers names its own; unset it" in named.stdout
    assert wrong.returncode == named.returncode == 1
