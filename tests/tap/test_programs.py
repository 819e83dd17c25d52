"""The plugins and files that twistd's ``metrics`` runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.scripts.twistd import ServerOptions

from tests.tap.harness import GRAPHITE, KEY, parsed, reactor
from txmetrics.tap import MeasuredService, makeService


def test_the_inner_plugin_gets_its_own_options() -> None:
    """What stands behind the plugin's name is parsed by that plugin."""
    options = parsed(GRAPHITE, "web", "--listen=tcp:0", "--path=/tmp")
    assert options.subCommand == "web"
    assert options.subOptions["ports"] == ["tcp:0"]


def test_the_inner_plugin_finds_the_options_of_twistd_in_its_parent() -> None:
    """Plugins read and set options of twistd there, as carbon's does with umask, pidfile and syslog."""
    twistd = ServerOptions()
    twistd.parseOptions(["-n", "--pidfile=/tmp/a.pid", "metrics", GRAPHITE, "web"])
    parent = twistd.subOptions.subOptions.parent
    assert parent.subCommand == "web"
    assert parent["nodaemon"]
    assert parent.get("pidfile") == "/tmp/a.pid"
    assert "umask" in parent
    parent["pidfile"] = "/tmp/b.pid"
    assert twistd["pidfile"] == "/tmp/b.pid"


def test_an_option_that_neither_has_is_missing() -> None:
    """The detour over twistd's options ends like any dict."""
    options = parsed(GRAPHITE, "web")
    options["own"] = 1
    assert options["own"] == 1
    assert options.get("nosuch", 3) == 3
    assert "nosuch" not in options
    with pytest.raises(KeyError, match="nosuch"):
        options["nosuch"]


def tac(directory: Path, code: str) -> Path:
    path = directory / "app.tac"
    path.write_text(f"from twisted.application.service import Application\n{code}\n")
    return path


def test_a_tac_file_is_run_and_measured(tmp_path: Path) -> None:
    """Its application's services end up in a MeasuredService."""
    service = makeService(parsed(GRAPHITE, "--python", str(tac(tmp_path, "application = Application('mine')"))))
    assert isinstance(service, MeasuredService)
    assert "mine" in service.namedServices


@pytest.mark.parametrize(("given", "uid", "gid"), [([], 1234, 567), (["--uid=42"], 42, 567)])
def test_a_tac_file_still_says_who_it_runs_as(tmp_path: Path, given: list[str], uid: int, gid: int) -> None:
    """twistd gives up root for the user that an Application names, unless the command line names one."""
    path = tac(tmp_path, "application = Application('mine', uid=1234, gid=567)")
    twistd = ServerOptions()
    twistd.parseOptions([*given, "metrics", GRAPHITE, f"--python={path}"])
    makeService(twistd.subOptions)
    assert (twistd["uid"], twistd["gid"]) == (uid, gid)


def test_a_tac_file_without_an_application_ends_with_one_line(tmp_path: Path) -> None:
    """The common slip is told by name; other errors in the file keep their traceback."""
    options = parsed(GRAPHITE, f"--python={tac(tmp_path, 'app = Application(1)')}")
    with pytest.raises(SystemExit, match=r"app\.tac sets no variable named application$"):
        makeService(options)
    options = parsed(GRAPHITE, f"--python={tac(tmp_path, '{}[5]')}")
    with pytest.raises(KeyError):
        makeService(options)


def test_making_the_service_opens_nothing(tmp_path: Path) -> None:
    """twistd forks and changes the user after makeService, so that waits for startService."""
    (tmp_path / "key").write_text(KEY)
    files, calls, readers = set(os.listdir("/dev/fd")), reactor.getDelayedCalls(), reactor.getReaders()
    makeService(parsed(GRAPHITE, f"--metrics-hosted-graphite-key-file={tmp_path / 'key'}", "web", "--listen=tcp:0"))
    assert set(os.listdir("/dev/fd")) <= files
    assert (reactor.getDelayedCalls(), reactor.getReaders()) == (calls, readers)
