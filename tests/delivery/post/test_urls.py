"""Which URLs of a sink are right, and how a wrong one is refused without a word of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.delivery.post.net import KEY
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Post, Secret, check_url
from txmetrics.testing import FakeReactor


@pytest.mark.parametrize(
    "right",
    [HOSTED_GRAPHITE_SINK, "https://127.0.0.1:8443/x", "https://[::1]:1/", "HTTPS://a.example", "https://a/b@c"],
)
def test_a_url_of_https_is_right(right: str) -> None:
    """With a host, and perhaps a port and a path."""
    assert check_url(right) == right
    Post(FakeReactor(), right, "the sink", Secret(KEY))


@pytest.mark.parametrize(
    ("wrong", "remedy"),
    [
        ("http://www.hostedgraphite.com/api/v1/sink", "give one such as https://www"),
        (f"http://{KEY}@www.hostedgraphite.com/", "give one such as https://www"),
        (f"{KEY}@www.hostedgraphite.com", "give one such as https://www"),
        ("www.hostedgraphite.com", "give one such as https://www"),
        (f"https://{KEY}@www.hostedgraphite.com/api/v1/sink", "give the API key by itself"),
        (f"https://{KEY}:x@www.hostedgraphite.com/api/v1/sink", "give the API key by itself"),
        (f"https://www.hostedgraphite.com\\@{KEY}/", "give the API key by itself"),
        (f"https://www.hostedgraphite.com/#{KEY}", "leave out"),
        (f"https://www.hostedgraphite.com/?key={KEY}", "leave out"),
        ("https://", "give one such as https://www"),
        (f"https:{KEY}", "give one such as https://www"),
        ("https:///path", "give one such as https://www"),
        (f"https://host:{KEY}/", "give one such as https://www"),
        ("https://host:0/", "give one such as https://www"),
        ("https://host:70000/", "give one such as https://www"),
        (f"https://[{KEY}/", "give one such as https://www"),
        (f"https://{KEY}..host/", "give one such as https://www"),
        (f"https://{KEY} /", "give one such as https://www"),
        (f"https://host/\n{KEY}", "give one such as https://www"),
        ("https://höst/", "give one such as https://www"),
        ("", "give one such as https://www"),
        (None, "give one such as https://www"),
        (b"https://host/", "give one such as https://www"),
    ],
)
def test_another_url_is_refused_with_a_remedy_and_without_a_word_of_it(wrong: Any, remedy: str) -> None:
    """It might have the key in it."""
    for refuses in (check_url, lambda url: Post(FakeReactor(), url, "the sink", Secret(KEY))):
        with pytest.raises(ValueError, match=r"^the URL") as refused:
            refuses(wrong)
        assert remedy in str(refused.value)
        assert KEY not in str(refused.value)
        assert "\n" not in str(refused.value)
