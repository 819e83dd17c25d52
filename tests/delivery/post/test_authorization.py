"""Authorization: a token, or a user and a password, that show themselves to nobody but the transport."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tests.delivery.test_secret import verbose
from txmetrics.delivery import Authorization

CANARY = "canary-4c0e.9d5e"


@pytest.mark.parametrize("secret", [CANARY, ("me", CANARY)])
@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__, lambda secret: repr([secret])])
def test_it_shows_stars(secret: Any, show: Callable[[Any], str]) -> None:
    """However it is turned into text, and so does the header that is made of it."""
    authorization = Authorization(secret)
    for each in (authorization, authorization.as_header()):
        assert "***" in show(each)
        assert "canary" not in show(each)
        assert "Y2FuYXJ5" not in show(each)


@pytest.mark.parametrize("move", [pickle.dumps, copy.copy, copy.deepcopy, vars, iter])
def test_it_is_not_taken_apart(move: Callable[[Any], Any]) -> None:
    """It cannot be pickled, copied or looked into."""
    with pytest.raises(TypeError) as refused:
        move(Authorization(CANARY))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        " ",
        f"{CANARY}\n",
        f"Bearer {CANARY}",
        f"{CANARY}é",
        "==",
        ("", CANARY),
        ("a:b", CANARY),
        ("me", f"{CANARY}\r\nX: y"),
        ("me", None, CANARY),
        ("me",),
        (None, None, None),
        None,
        5,
        b"token",
    ],
)
def test_what_is_none_is_refused_without_a_word_of_it(wrong: Any) -> None:
    """Not even the variables of a verbose traceback show it."""
    text = verbose(Authorization, wrong)
    assert "the authorization is none: give a token" in text
    assert "canary" not in text


@pytest.mark.parametrize(
    ("secret", "text", "there"),
    [
        (CANARY, f"x{CANARY}x".encode(), True),
        (CANARY, b"another", False),
        (("me", CANARY), CANARY.encode(), True),
        (("me", CANARY), b"me", False),
        (("me", ""), b"anything", False),
    ],
)
def test_it_is_found_in_what_a_server_says(secret: Any, text: bytes, there: bool) -> None:
    """As a token, a password, or what stands for both."""
    assert Authorization(secret).is_in(text) is there
