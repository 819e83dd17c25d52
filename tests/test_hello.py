"""``examples/hello.py`` as a newcomer runs it: the article's numbers, and what arrives at a Graphite."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import article
from tests.carbon import Carbon
from tests.processes import ROOT, Child, check_stored, get, run

HELLO = [sys.executable, ROOT / "examples" / "hello.py", "--dashboard=0"]


def port_of(child: Child) -> int:
    """The port that it says one can ask."""
    return int(child.says(r"curl 'http://127\.0\.0\.1:(\d+)/\?world_size=15'")[1])


@pytest.fixture
def hello(tmp_path: Path) -> Iterator[Child]:
    """The example on its embedded default, on any port."""
    with Child(*HELLO, "--listen", "0", cwd=tmp_path) as child:
        yield child


def ask(port: int, size: object) -> dict[str, float]:
    """The answer to one number."""
    [(status, body)] = get(port, f"/?world_size={size}")
    assert status == 200
    answer: dict[str, float] = json.loads(body)
    return answer


def test_three_three_and_fifteen_give_the_numbers_of_the_article(hello: Child) -> None:
    """The histogram as JSON, the third answer of which the article printed."""
    port = port_of(hello)
    assert ask(port, 3)["count"] == 1
    assert ask(port, 3)["count"] == 2
    assert ask(port, 15) == article.WORLD_SIZE


def test_a_request_without_a_number_is_told_so_and_counts_nothing(hello: Child) -> None:
    """It is an HTTP request like any other, and neither a hello nor a world."""
    port = port_of(hello)
    wrong = ["/", "/?world_size=", *(f"/?world_size={text}" for text in ("big", "nan", "-inf", "1e999", "0x10", "%ff"))]
    for path in wrong:
        [(status, body)] = get(port, path)
        assert status == 400
        assert body.startswith(b"world_size is ")
        assert body.endswith(b"Ask with a number, as in ?world_size=15\n")
    assert b"'big'" in get(port, wrong[2])[0][1]
    assert ask(port, 7)["count"] == 1
    hello.says(rf"http\.requests\.count is {len(wrong) + 2}, hello_called\.count is 1\n")


def test_it_says_each_second_what_arrived(hello: Child) -> None:
    """A hundred requests later the embedded Graphite has received a count of a hundred."""
    port = port_of(hello)
    assert {status for status, _ in get(port, "/?world_size=15", 100)} == {200}
    hello.says(r"\n[1-9]\d* lines arrived: http\.requests\.count is 100, hello_called\.count is 100\n")


def test_it_ends_at_sigterm_without_a_complaint(hello: Child) -> None:
    """Cleanly, and that is also what Ctrl-C does."""
    port_of(hello)
    assert hello.stop() == 0
    assert "rror" not in hello.output()


def test_a_real_carbon_has_the_exact_numbers_after_sigterm(own_carbon: Carbon, tmp_path: Path) -> None:
    """Its names have no prefix, so this carbon is its own; the last interval is delivered on the way out."""
    with Child(*HELLO, "--listen=0", f"--graphite=tcp:127.0.0.1:{own_carbon.line_port}", cwd=tmp_path) as child:
        assert {status for status, _ in get(port_of(child), "/?world_size=15", 43)} == {200}
        assert child.stop() in (0, -signal.SIGTERM)

    check_stored(own_carbon, "http.requests.count", 43)
    check_stored(own_carbon, "hello_called.count", 43)
    check_stored(own_carbon, "world_size.count", 43)
    check_stored(own_carbon, "world_size.max", 15)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """The commonest accident with an example, and not a success."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(*HELLO, "--listen", taken.getsockname()[1], cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout.startswith("hello.py: Couldn't listen on 127.0.0.1:")
    assert ended.stdout.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen=70000"], "port must be 0-65535"),
        (["--graphite=localhost:2003"], "'localhost:2003' is no endpoint such as tcp:127.0.0.1:2003"),
        (["--graphite=tcp:localhost"], "'tcp:localhost' is no endpoint"),
        (["--hosted-graphite-key-file=missing"], "No such file or directory: 'missing'"),
        (["--hosted-graphite-key-file=."], "Is a directory"),
        (["--hosted-graphite-key-file=strange"], "the API key is "),
        (["--hosted-graphite-key-file=empty"], "the API key is empty"),
    ],
)
def test_a_wrong_argument_is_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    """No traceback, no success, and nothing of what was in the file of the key."""
    (tmp_path / "strange").write_text("s3cret!")
    (tmp_path / "empty").write_text("")
    ended = run(*HELLO, "--listen=0", *arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout.startswith("hello.py: ")
    assert told in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert "s3cret" not in ended.stdout


def test_two_backends_at_once_are_a_usage_error(tmp_path: Path) -> None:
    """As is everything that argparse finds wrong."""
    ended = run(*HELLO, "--graphite=tcp:a:1", "--hosted-graphite-key-file=key", cwd=tmp_path)
    assert ended.returncode == 2
    assert "not allowed with argument" in ended.stdout.splitlines()[-1]
