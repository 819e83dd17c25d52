"""``backends.remote_write``: a wrong argument is refused in a sentence; and a token is seen by the server only."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests import sink as answers
from tests.delivery.certificates import Authority
from tests.sink import Sink, SinkServer
from tests.strict import Logged
from txmetrics import MetricsRegistry, backends
from txmetrics.delivery import Authorization

TOKEN = "canary-4c0e.9d5e"
URL = "http://127.0.0.1:9090/api/v1/write"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"url": "http://127.0.0.1:9090"}, "the URL has no path"),
        ({"url": "tcp:127.0.0.1:9090"}, "the URL is none"),
        ({"url": "http://metrics.example/write", "authorization": "token"}, "give a URL of https://"),
        ({"authorization": "two words"}, "the authorization is none"),
        ({"authorization": ("a:b", "c")}, "the authorization is none"),
        ({"histograms": "summary"}, "histograms 'summary' are unknown; choose one of classic, native, vmrange"),
        ({"buckets": [1, 1]}, "buckets [1, 1] are no bounds"),
        ({"interval": 0.5}, "0.5 seconds is too short"),
        ({"labels": {"le": "x"}}, "label 'le' cannot be on every series"),
        ({"labels": {"__name__": "x"}}, "label '__name__' cannot be on every series"),
        ({"labels": {"a-b": "x"}}, "label 'a-b' cannot be on every series"),
        ({"labels": {"a\n": "x"}}, "label 'a\\n' cannot be on every series"),
        ({"labels": {1: "x"}}, "label 1 cannot be on every series"),
        ({"labels": {"a": ""}}, "label a='' has no value"),
        ({"labels": {"a": "b\nc"}}, "label a='b\\nc' has no value"),
        ({"labels": {"a": None}}, "label a=None has no value"),
        ({"labels": {"a": "{fqdn}"}}, "label a='{fqdn}' has {fqdn}; only {host}"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], part: str) -> None:
    """At once, in one line that says what is wrong."""
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        backends.remote_write(MetricsRegistry(), **{"url": URL, **arguments})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("authorization", [TOKEN, ("me", TOKEN), Authorization(TOKEN)])
@pytest.mark.parametrize(
    "wrong",
    [{"url": "http://metrics.example/write"}, {"labels": {"a": ""}}, {"histograms": "x"}, {"interval": 0.1}],
)
def test_a_wrong_argument_does_not_tell_the_token(authorization: Any, wrong: dict[str, Any]) -> None:
    """Not even the variables of a verbose traceback do."""
    make: Callable[..., Any] = backends.remote_write
    with pytest.raises(ValueError) as raised:  # noqa: PT011  whichever it is, it must not show the token
        make(MetricsRegistry(), **{"url": URL, "authorization": authorization, **wrong})
    frames = [entry.frame for entry in raised.traceback[1:]]
    text = "\n".join([str(raised.value), *(f"{frame.f_locals!r}" for frame in frames)])
    assert "histograms" in text  # the variables are there
    assert "canary" not in text


def test_where_it_reports_to_is_the_url() -> None:
    """And nothing is opened yet, nor asked for."""
    reporter = backends.remote_write(MetricsRegistry(), URL)
    assert (reporter.where, reporter.running) == (URL, False)


@pytest_twisted.ensureDeferred
async def test_a_token_goes_over_tls_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """It is in the header, and in no log and no repr, also when the server throws it back."""
    authority = Authority(tmp_path / "trusted")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.directory / "ca.pem"))
    server = await SinkServer(Sink(), authority.server("127.0.0.1")).start()
    server.sink.answers.extend([answers.status(500), answers.status(401, f"not Bearer {TOKEN}".encode())])
    reporter = backends.remote_write(MetricsRegistry(), server.url, 3600, authorization=TOKEN)
    reporter.startService()
    await reporter.stopService()
    assert {seen.authorization for seen in server.sink.requests} == {f"Bearer {TOKEN}"}
    assert reporter.ledger()["dropped"].keys() == {"refused"}
    texts = [*logged.texts(), repr(reporter), repr(vars(reporter)), repr(vars(reporter._delivery._delivery))]
    assert len([text for text in texts if server.url in text]) > 2
    assert not [text for text in texts if "canary" in text]
    await server.stop()
