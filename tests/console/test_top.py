"""``txmetrics top`` in a real terminal: it shows, follows, obeys, and leaves the terminal as it was."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.listening import unused_port
from tests.console.terminal import HOSTILE, SHOWN, Answers, Terminal, a_route, a_state, answering
from tests.processes import ROOT, Child, get, run
from tests.waiting import wait_until

TOP = ("-m", "txmetrics", "top")
FOOT = r"q: quit"


@pytest.fixture
def dashboard() -> Iterator[Answers]:
    with answering(Answers(a_state())) as answers:
        yield answers


def given_back(terminal: Terminal) -> bool:
    """Whether the terminal is the one that it was: its own screen, the cursor, the echo of what is typed."""
    return terminal.output.endswith("\x1b[0m\x1b[?25h\x1b[?1049l") and terminal.ways() == terminal.ways_before


def routes(lines: list[str]) -> list[str]:
    """The names of the routes, from above."""
    names = [line.split()[-1] for line in lines if line]
    return [name for name in names if name.startswith(("GET-", "POST-"))]


def test_the_hello_example_moves_in_the_terminal(tmp_path: Path) -> None:
    """A real dashboard: its requests appear within seconds of being made."""
    with Child(sys.executable, ROOT / "examples/hello.py", "--listen=0", "--dashboard=0", cwd=tmp_path) as hello:
        port = int(hello.says(r"curl 'http://127.0.0.1:(\d+)/")[1])
        url = hello.says(r"and see it: (\S+)")[1]
        with Terminal(*TOP, url) as terminal:
            terminal.shows(FOOT)
            get(port, "/?world_size=15", times=3)
            terminal.shows(r"requests so far 3\b")
            lines = terminal.shows(r"HEALTH +CONNECTED .* REPORTER\n +good +yes .* tcp:127.0.0.1:\d+")
            assert len(lines) == 30
            terminal.type(b"q")
            assert terminal.ends() == 0
            assert given_back(terminal)


def test_it_is_printed_once_where_there_is_no_terminal(dashboard: Answers, tmp_path: Path) -> None:
    """All of it, as plain text; with --once in a terminal, too, and nothing there is cleared."""
    done = run(sys.executable, *TOP, dashboard.url, cwd=tmp_path)
    assert done.returncode == 0
    first, big, empty, head, *rows = done.stdout.splitlines()
    assert first == "web1  process 4711  up 2 h 46 min"
    assert big == "requests a second 12.0    errors 1.2 % warn    99th percentile 12.3 ms    requests so far 123,456"
    assert empty == ""
    assert head.split() == ["RATE/S", "COUNT", "ERRORS", "P50", "P95", "P99", "MAX", "HEALTH", "ROUTE"]
    assert routes(rows) == ["GET-cart", "GET-users", "POST-a"]
    assert dashboard.asked == ["/state"]
    with Terminal(*TOP, dashboard.url, "--once") as terminal:
        assert terminal.ends() == 0
        assert terminal.output.replace("\r\n", "\n") == done.stdout


def test_keys(dashboard: Answers) -> None:
    """Right and left sort by another column, r the other way round, also typed at a time; other keys do nothing."""
    with Terminal(*TOP, dashboard.url) as terminal:
        assert routes(terminal.shows(FOOT)) == ["GET-cart", "GET-users", "POST-a"]
        terminal.type(b"\x1b[C")
        assert routes(terminal.shows(r"GET-users\n.*POST-a\n.*GET-cart"))
        terminal.type(b"r")
        assert routes(terminal.shows(r"GET-cart\n.*POST-a\n.*GET-users"))
        terminal.type(b"\x1b[D")
        terminal.shows(r"GET-cart\n.*GET-users\n.*POST-a")
        terminal.type(b"\x1bODr")
        terminal.shows(r"POST-a\n.*GET-users\n.*GET-cart")
        terminal.type(b"?\x1b[5~x")
        terminal.type(b"q")
        assert terminal.ends() == 0


def test_names_from_outside_do_nothing_to_the_terminal(dashboard: Answers) -> None:
    """Escape sequences, another direction, line ends: all are shown, none is obeyed."""
    slow = {"seconds": 1.5, "ended": 1_764_379_990.0, "route": HOSTILE, "path": HOSTILE, "code": None}
    dashboard.state = a_state(
        host=HOSTILE,
        big=[{"label": HOSTILE, "value": 1, "unit": HOSTILE, "health": HOSTILE}],
        routes=[a_route(HOSTILE, 1, 1, 0.1)],
        slowest=[slow],
        reporters=[{"where": HOSTILE, "health": HOSTILE}],
    )
    with Terminal(*TOP, dashboard.url, columns=200) as terminal:
        lines = terminal.shows(FOOT)
        assert "\n".join(lines).count(SHOWN) == 6  # the host, the label, the route, the path, the reporter, its health
        terminal.type(b"q")
        assert terminal.ends() == 0
    for obeyed in ("\x1b]", "\x1b[2J", "\u202e", "\x9b", "\x07"):
        assert obeyed not in terminal.output


def test_another_size(dashboard: Answers) -> None:
    """Is honoured at once: nothing is wider or higher, and the name of a route has room."""
    with Terminal(*TOP, dashboard.url) as terminal:
        terminal.shows(FOOT)
        dashboard.gate.clear()  # so that no news is the reason for another picture
        terminal.resize(44, 12)
        lines = wait_until(lambda: (shown := terminal.screen()) and len(shown) == 12 and shown, lambda: terminal.output)
        assert max(map(len, lines)) <= 44
        assert routes(lines)[0] == "GET-cart"
        assert lines[-1].startswith("left and right")
        terminal.resize(8, 2)
        lines = wait_until(lambda: (shown := terminal.screen()) and len(shown) == 2 and shown, lambda: terminal.output)
        assert max(map(len, lines)) <= 8
        terminal.type(b"q")
        assert terminal.ends() == 0


@pytest.mark.parametrize(("how", "status"), [("Ctrl-C", 130), ("SIGTERM", 143)])
def test_it_leaves_the_terminal_as_it_was(dashboard: Answers, how: str, status: int) -> None:
    """However it is ended."""
    with Terminal(*TOP, dashboard.url) as terminal:
        terminal.shows(FOOT)
        assert not terminal.ways()[3] & termios.ECHO
        if how == "Ctrl-C":
            terminal.type(b"\x03")
        else:
            terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == status
        assert given_back(terminal)


@pytest.mark.parametrize("field", ["rate", "count"])
def test_a_mistake_of_ours_leaves_the_terminal_as_it_was(dashboard: Answers, field: str) -> None:
    """And is shown where one can read it: one that news bring about, or a key."""
    broken = f"""
from txmetrics.console import _top, main
table = _top.table
_top.table = lambda state, order, *args: 1 / 0 if order.field == {field!r} else table(state, order, *args)
main(["top", {dashboard.url!r}])
"""
    with Terminal("-c", broken) as terminal:
        if field == "count":
            terminal.shows(FOOT)
            terminal.type(b"\x1b[C")
        assert terminal.ends() == 1
        assert terminal.ways() == terminal.ways_before
        shown, _, after = terminal.output.partition("\x1b[?1049l")
        assert "ZeroDivisionError" in after
        assert "Traceback" not in shown


def test_ctrl_z(dashboard: Answers) -> None:
    """The shell gets the terminal as it was; called back, the table is there again."""
    with Terminal(*TOP, dashboard.url) as terminal:
        terminal.shows(FOOT)
        terminal.type(b"\x1a")
        stat = Path(f"/proc/{terminal.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", stat.read_text)
        terminal.screen()
        assert given_back(terminal)
        pictures = terminal.output.count("\x1b[H")
        terminal.process.send_signal(signal.SIGCONT)
        wait_until(lambda: terminal.screen() and terminal.output.count("\x1b[H") > pictures, lambda: terminal.output)
        assert not terminal.ways()[3] & termios.ECHO
        terminal.type(b"q")
        assert terminal.ends() == 0
        assert given_back(terminal)


def test_a_service_that_comes_and_goes(tmp_path: Path) -> None:
    """It is waited for, and what was last seen of it stays, with its age."""
    port = unused_port()
    url = f"http://127.0.0.1:{port}/"
    with Terminal(*TOP, url) as terminal:
        lines = terminal.shows("trying again")
        assert lines[-1] == f"no dashboard answers at {url}: refused; trying again"
        with answering(Answers(a_state()), port):
            terminal.shows(r"requests so far 123,456(\n.*)+q: quit")
        lines = terminal.shows(r"refused; trying again; this is \d+ s old")
        assert lines[0].startswith("web1  process 4711")
        terminal.type(b"q")
        assert terminal.ends() == 0
