"""What is wrong with the options is told in one line, which never repeats a key."""

from __future__ import annotations

import re
from pathlib import Path
from traceback import TracebackException

import pytest

from tests.tap.harness import GRAPHITE, parsed, refusal
from txmetrics.tap import KEY_VARIABLE, Options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name one plugin"),
        ([GRAPHITE], "name one plugin"),
        ([GRAPHITE, "nosuch"], "Unknown command: nosuch"),
        ([GRAPHITE, "metrics"], "Unknown command: metrics"),
        ([GRAPHITE, "web", "--nosuch"], "option --nosuch not recognized"),
        ([GRAPHITE, "web", "superfluous"], "Wrong number of arguments"),
        ([GRAPHITE, "--metrics-nosuch=1", "web"], "option --metrics-nosuch not recognized"),
        ([GRAPHITE, "--python=app.tac", "web"], "name one plugin"),
        ([GRAPHITE, "--python=/no/such/app.tac"], "/no/such/app.tac cannot be read: No such file"),
        ([GRAPHITE, "-y", "/"], "/ cannot be read: Is a directory"),
        (["web"], "nowhere to report to"),
        (["--metrics-prefix=web1", "--metrics-interval=1", "web"], "nowhere to report to"),
        (["--metrics-graphite"], "--metrics-graphite requires argument"),
        (["--metrics-graphite=", "web"], "'' is no endpoint such as tcp:127.0.0.1:2003"),
        (["--metrics-graphite=localhost:2003", "web"], "'localhost:2003' is no endpoint"),
        (["--metrics-graphite=tcp:localhost", "web"], "'tcp:localhost' is no endpoint"),
        (["--metrics-graphite=tcp:localhost:http", "web"], "'tcp:localhost:http' is no endpoint"),
        (["--metrics-graphite=tcp:a\nb", "web"], r"'tcp:a\nb' is no endpoint"),
        (["--metrics-graphite=tls:a:1:certificate=/no/such/file", "web"], "No such file"),
        (["--metrics-prefix=a..b", "web"], "'a..b' has an empty part"),
        (["--metrics-prefix=web1.", "web"], "'web1.' has an empty part"),
        (["--metrics-prefix=my web", "web"], "contains ' '"),
        (["--metrics-prefix=a\nb", "web"], r"contains '\n'"),
        (["--metrics-prefix={port}", "web"], "only {host}, {pid}, {worker} and {generation} are filled in"),
        (["--metrics-prefix={", "web"], "contains '{'"),
        (["--metrics-interval=0", "web"], "an interval of 0.0 seconds"),
        (["--metrics-interval=-1", "web"], "an interval of -1.0 seconds"),
        (["--metrics-interval=0.5", "web"], "an interval of 0.5 seconds"),
        (["--metrics-interval=nan", "web"], "nan seconds"),
        (["--metrics-interval=inf", "web"], "inf seconds"),
        (["--metrics-interval=ten", "web"], "--metrics-interval takes a number of seconds, not 'ten'"),
        (["--metrics-interval=", "web"], "--metrics-interval takes a number of seconds, not ''"),
        (["--metrics-dashboard=", "web"], "'' is no endpoint for a dashboard, such as tcp:8002"),
        (["--metrics-dashboard=tcp:http", "web"], "'tcp:http:interface=127.0.0.1' is no endpoint"),
        (["--metrics-dashboard=nosuch:1", "web"], "'nosuch:1' is no endpoint"),
        (["--metrics-hosted-graphite-endpoint=nosuch:1", "web"], "'nosuch:1' is no endpoint"),
        (["--metrics-graphite=udp:h:0", "web"], "'udp:h:0' is no endpoint"),
        ([GRAPHITE, "--metrics-protocol=protobuf", "web"], "choose one of plaintext, pickle, udp"),
        ([GRAPHITE, "--metrics-protocol=udp", "web"], "UDP's is such as udp:"),
        ([GRAPHITE, "--metrics-replay-window=-1", "web"], "a replay window of -1.0 seconds"),
        ([GRAPHITE, "--metrics-replay-window=x", "web"], "--metrics-replay-window takes a number of seconds, not 'x'"),
        ([GRAPHITE, "--metrics-hosted-graphite-transport=https", "web"], "report nothing without an API key"),
        ([GRAPHITE, "--metrics-hosted-graphite-endpoint=tcp:a:1", "web"], "report nothing without an API key"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(arguments: list[str], told: str) -> None:
    """Whatever is wrong on the command line, the user reads one sentence about it."""
    assert told in str(refusal(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--metrics-hosted-graphite-key=s3cret"],
        ["--metrics-hosted-graphite-key", "s3cret"],
        ["--metrics-hosted-graphite-k=s3cret"],
        ["--metrics-hosted-graphite-key-file=s3cret"],
        ["--metrics-hosted-graphite-key-file", "/s3cret"],
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(arguments: list[str]) -> None:
    """What was typed in place of a file's name may be the key, and ends in no message."""
    error = refusal(*arguments, "web")
    assert "s3cret" not in str(error) + repr(error)


def test_the_refusal_of_a_key_says_what_to_do_instead() -> None:
    """Both ways to give a key are in the message."""
    told = str(refusal("--metrics-hosted-graphite-key=s3cret", "web"))
    assert "--metrics-hosted-graphite-key-file=FILE" in told
    assert KEY_VARIABLE in told


@pytest.mark.parametrize("content", [b"", b" \n", b"s3cret s3cret", b"s3cret!", b"s3cret\ns3cret", b"s3cr\xc3\xa9t"])
def test_a_key_file_without_one_key_is_refused_and_not_repeated(tmp_path: Path, content: bytes) -> None:
    """Of an empty file, or of a key with strange characters, the message repeats nothing."""
    (tmp_path / "key").write_bytes(content)
    error = refusal(f"--metrics-hosted-graphite-key-file={tmp_path / 'key'}", "web")
    assert "no key" in str(error)
    assert "s3cr" not in str(error) + repr(error)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("missing", None, "No such file"), (".", None, "Is a directory"), ("binary", b"s3cret\xff", "it is no text")],
)
def test_a_key_file_that_cannot_be_read_is_a_usage_error(
    tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    """The reason is told, what is in the file is not."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    error = refusal(f"--metrics-hosted-graphite-key-file={tmp_path / name}", "web")
    assert reason in str(error)
    assert "s3cret" not in str(error) + repr(error)


def test_a_strange_key_in_the_environment_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is checked as the file is."""
    monkeypatch.setenv(KEY_VARIABLE, "s3cret!")
    error = refusal("web")
    assert "no key" in str(error)
    assert "s3cret" not in str(error) + repr(error)


def test_not_even_a_verbose_traceback_shows_a_refused_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No frame and no earlier error that the usage error carries holds what was in the file or the variable."""
    (tmp_path / "strange").write_text("s3cret!")
    (tmp_path / "binary").write_bytes(b"s3cret\xff")
    errors = [refusal(f"--metrics-hosted-graphite-key-file={tmp_path / name}", "web") for name in ("strange", "binary")]
    with monkeypatch.context() as environment:
        environment.setenv(KEY_VARIABLE, "s3cret!")
        errors.append(refusal("web"))
    for error in errors:
        shown = "".join(TracebackException.from_exception(error, capture_locals=True).format())
        assert "UsageError" in shown
        assert "s3cret" not in shown


def test_every_option_is_explained_in_one_line() -> None:
    """The help has a sentence for each option, without the line breaks that usage would keep."""
    options = Options()
    explained = {name: text for name, text in options.docs.items() if name.startswith("metrics-")}
    assert len(explained) == 20
    for name, text in explained.items():
        assert re.fullmatch(r"[A-Z][^\n]+\.", text), name
        assert f"--{name}=" in str(options)


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("8002", "tcp:8002:interface=127.0.0.1"),
        ("tcp:8002", "tcp:8002:interface=127.0.0.1"),
        ("tcp:8002:interface=127.0.0.2", "tcp:8002:interface=127.0.0.2"),
        ("unix:/run/dashboard", "unix:/run/dashboard"),
    ],
)
def test_a_dashboard_listens_on_loopback_if_nothing_else_is_said(given: str, taken: str) -> None:
    """It is enough of a backend for the program to run, too."""
    assert parsed(f"--metrics-dashboard={given}", "web").dashboard == taken
