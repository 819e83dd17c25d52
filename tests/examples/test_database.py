"""``examples/database.py`` as a newcomer runs it: what it says, and what a real carbon has stored when it has ended."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

from tests.carbon import Carbon
from tests.processes import ROOT, check_reaches, check_stored, run

DATABASE = [sys.executable, "-W", "error", ROOT / "examples" / "database.py"]


def test_a_real_carbon_has_the_numbers_when_it_has_ended(own_carbon: Carbon, tmp_path: Path) -> None:
    """Table, eight rows, six slow queries, one count; and the transaction that was rolled back."""
    ended = run(*DATABASE, f"tcp:127.0.0.1:{own_carbon.line_port}", cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout
    check_stored(own_carbon, "db.commits.count", 16)
    check_stored(own_carbon, "db.rollbacks.count", 1)
    check_stored(own_carbon, "db.errors.IntegrityError.count", 1)
    check_stored(own_carbon, "db.run.count", 17)
    check_stored(own_carbon, "db.wait.count", 17)
    check_stored(own_carbon, "db.connections", 2)
    check_stored(own_carbon, "db.threads", 2)
    check_stored(own_carbon, "db.queue", 0)
    check_reaches(own_carbon, "db.run.max", 0.1)
    check_reaches(own_carbon, "db.wait.max", 0.19)  # behind two others of 0.1 s


def test_it_says_what_it_did(tmp_path: Path) -> None:
    """Also without a Graphite; and it ends all the same."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    ended = run(*DATABASE, f"tcp:127.0.0.1:{nobody}", cwd=tmp_path)
    assert ended.returncode == 0
    assert "8 rows inserted\n6 slow queries done, by 2 threads\nrolled back: UNIQUE" in ended.stdout
    assert "8 rows are there\n" in ended.stdout
    assert "db.commits.count is 16, db.rollbacks.count is 1\n" in ended.stdout
    assert re.search(r"of 17 units of work the longest waited \d\.\d+ s and ran \d\.\d+ s\n$", ended.stdout)


def test_a_wrong_endpoint_is_one_line(tmp_path: Path) -> None:
    """After the usage, as with everything that argparse finds wrong."""
    ended = run(*DATABASE, "localhost", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'localhost' is no endpoint such as tcp:127.0.0.1:2003" in ended.stdout.splitlines()[-1]
