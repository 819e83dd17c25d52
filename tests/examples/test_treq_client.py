"""``examples/treq_client.py`` as a newcomer runs it: what it says, and what a real carbon has stored afterwards."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.carbon import Carbon
from tests.processes import ROOT, Child, check_stored, run

TREQ_CLIENT = [sys.executable, "-W", "error", ROOT / "examples" / "treq_client.py"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[int]:
    """The port of a Site that answers ``?world_size=``, and everything else with a 400: the other example."""
    with Child(sys.executable, ROOT / "examples" / "hello.py", "--listen=0", cwd=tmp_path) as child:
        yield int(child.says(r"curl 'http://127\.0\.0\.1:(\d+)/")[1])


@pytest.fixture
def nobody() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_real_carbon_has_the_numbers_when_it_has_ended(own_carbon: Carbon, site: int, tmp_path: Path) -> None:
    """Of a page that is there, over one connection; its names have no prefix, so this carbon is its own."""
    graphite = f"tcp:127.0.0.1:{own_carbon.line_port}"
    ended = run(*TREQ_CLIENT, f"http://127.0.0.1:{site}/?world_size=15", graphite, "--times=7", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    name = f"http_client.127_0_0_1_{site}.GET"
    check_stored(own_carbon, f"{name}.requests.count", 7)
    check_stored(own_carbon, f"{name}.headers.count", 7)
    check_stored(own_carbon, f"{name}.status.2xx.count", 7)
    check_stored(own_carbon, f"{name}.status.4xx.count", 0)
    check_stored(own_carbon, "http_client.connections.new.count", 1)
    check_stored(own_carbon, "http_client.connections.reused.count", 6)
    check_stored(own_carbon, "http_client.active", 0)
    sizes = [int(size) for size in re.findall(r"^request \d: 200, (\d+) bytes$", ended.stdout, re.MULTILINE)]
    assert len(sizes) == 7
    check_stored(own_carbon, f"{name}.bytes_received.count", sum(sizes))


def test_a_real_carbon_has_the_errors(own_carbon: Carbon, nobody: int, tmp_path: Path) -> None:
    """By their type; and the program goes on to its end."""
    graphite = f"tcp:127.0.0.1:{own_carbon.line_port}"
    ended = run(*TREQ_CLIENT, f"http://127.0.0.1:{nobody}/", graphite, "--times=3", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert len(re.findall(r"^request \d: failed: .*refused", ended.stdout, re.MULTILINE)) == 3
    check_stored(own_carbon, f"http_client.127_0_0_1_{nobody}.GET.errors.ConnectionRefusedError.count", 3)
    check_stored(own_carbon, "http_client.connections.new.count", 0)


def test_it_says_what_it_did(site: int, nobody: int, tmp_path: Path) -> None:
    """Also without a Graphite; and it ends all the same."""
    ended = run(*TREQ_CLIENT, f"http://127.0.0.1:{site}/", f"tcp:127.0.0.1:{nobody}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    assert len(re.findall(r"^request \d: 400, \d+ bytes$", ended.stdout, re.MULTILINE)) == 5
    assert "http_client.connections.new.count is 1, http_client.connections.reused.count is 4\n" in ended.stdout
    name = rf"http_client\.127_0_0_1_{site}\.GET\.requests\.count"
    assert re.search(rf"{name} is 5, and the longest took \d\.\d+ s\n$", ended.stdout)


def test_a_wrong_endpoint_is_one_line(tmp_path: Path) -> None:
    """After the usage, as with everything that argparse finds wrong."""
    ended = run(*TREQ_CLIENT, "http://127.0.0.1/", "localhost", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'localhost' is no endpoint such as tcp:127.0.0.1:2003" in ended.stdout.splitlines()[-1]
