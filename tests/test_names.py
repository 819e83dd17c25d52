"""Names: what a Graphite path can carry goes through, all else is refused with a reason or cleaned."""

from __future__ import annotations

import re
import string
import sys
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from txmetrics.names import MAX_PART, MAX_PATH, check, clean

ALPHABET = set(string.ascii_letters + string.digits + "_:%@#+-")

any_text = st.text(st.characters(exclude_categories=())) | st.text(sorted(ALPHABET) + list(". \n;"), max_size=300)
"""Any unicode text, lone surrogates included, and more often what is almost a name."""

properties = settings(deadline=None, max_examples=300)


def _is_a_path(text: str) -> bool:
    """The rule once more, without the regular expressions."""
    parts = text.split(".")
    return len(text) <= MAX_PATH and all(0 < len(part) <= MAX_PART and set(part) <= ALPHABET for part in parts)


@properties
@given(any_text)
def test_check_follows_the_rule(text: str) -> None:
    """It returns a path as it was, and refuses everything else with one line that says which text it was."""
    if _is_a_path(text):
        assert check(text) == text
    else:
        with pytest.raises(ValueError, match="metric name") as caught:
            check(text)
        message = str(caught.value)
        assert message.isprintable()
        assert repr(text[:40])[1:-1] in message


@properties
@given(any_text)
@example("")
@example(".")
@example("\n")
@example("a.b")
@example("x" * 5000)
def test_clean_makes_one_part_of_anything(text: str) -> None:
    """The answer passes the check, is one part, and keeps every character that a part can carry."""
    part = clean(text)
    assert check(part) == part
    assert "." not in part
    kept = [character if character in ALPHABET else "_" for character in text[:MAX_PART]]
    assert part == ("".join(kept) or "_")


@given(st.lists(any_text, min_size=1, max_size=8))
def test_cleaned_parts_make_a_path(texts: list[str]) -> None:
    """Any texts can be joined to a name once each was cleaned."""
    check(".".join(map(clean, texts)))


def test_every_character_is_either_carried_or_refused() -> None:
    """Of all there are, the alphabet and nothing else, whatever a regular expression thinks of a digit or a letter."""
    assert {chr(n) for n in range(sys.maxunicode + 1) if clean(chr(n)) == chr(n)} == ALPHABET
    assert {chr(n) for n in range(sys.maxunicode + 1) if _passes(f"a{chr(n)}b")} == ALPHABET | {"."}


def _passes(text: str) -> bool:
    try:
        return check(text) == text
    except ValueError:
        return False


@pytest.mark.parametrize("character", sorted(ALPHABET))
def test_each_character_may_stand_alone(character: str) -> None:
    """Also as the whole of a name."""
    assert check(character) == character


@pytest.mark.parametrize(
    "character", [*" \t\n\r\0;=~!^*?[]{}()/\\'\",<>|&$`", "\x1b", "\x85", "\xa0", "ä", "\u2028", "٣"]
)
def test_the_offending_character_is_shown(character: str) -> None:
    """In the middle, at the beginning and at the very end, where a regular expression might miss a newline."""
    for name in (f"a{character}b", f"{character}a.b", f"a.b{character}"):
        with pytest.raises(ValueError, match="metric name") as caught:
            check(name)
        assert f"contains {character!r}" in str(caught.value)


@pytest.mark.parametrize(("name", "part"), [("", None), (".", 1), (".a", 1), ("a.", 2), ("a..b", 2), ("a.b...c", 3)])
def test_an_empty_part_is_shown_by_its_place(name: str, part: int | None) -> None:
    """The first one that is empty, counted from 1."""
    with pytest.raises(ValueError, match="is empty" if part is None else rf"empty part \(part {part} "):
        check(name)


def test_lengths_are_limited() -> None:
    """To the number itself, and one more is refused with both numbers; the message stays short."""
    longest = ".".join(["x" * 100] * 10) + "." + "y" * 14
    assert len(check(longest)) == MAX_PATH
    assert check("x" * MAX_PART)
    for name, length, limit in ((longest + "y", MAX_PATH + 1, MAX_PATH), ("a." + "x" * 121, 121, MAX_PART)):
        with pytest.raises(ValueError, match=f"{length} characters") as caught:
            check(name)
        assert str(limit) in str(caught.value)
        assert len(str(caught.value)) < 250


def test_the_remedy_is_in_the_message() -> None:
    """Whoever reads it knows what to write instead."""
    with pytest.raises(ValueError, match="metric name") as caught:
        check("a b")
    alphabet = re.findall(r"(?<= )[_:%@#+-](?= )", str(caught.value))
    assert set(alphabet) == set("_:%@#+-")
    assert "letters, digits" in str(caught.value)


def test_what_is_checked_can_be_named() -> None:
    """A prefix is called a prefix in its message."""
    with pytest.raises(ValueError, match="prefix 'a b'"):
        check("a b", "prefix")
    with pytest.raises(TypeError, match="prefix 5 is a int"):
        check(5, "prefix")


@pytest.mark.parametrize("what", [None, 5, b"bytes", ["list"]], ids=repr)
def test_only_a_string_is_a_name(what: Any) -> None:
    """All else is a TypeError that shows it."""
    with pytest.raises(TypeError) as caught:
        check(what)
    assert repr(what) in str(caught.value)


def test_a_kind_of_string_becomes_a_string() -> None:
    """What a subclass makes of its text, when formatted or added, cannot reach a line."""

    class Name(StrEnum):
        HITS = "hits"

    class Liar(str):
        def __str__(self) -> str:
            return "a 1 2\nb"

        __repr__ = __format__ = __str__

    assert type(check(Name.HITS)) is str
    assert check(Name.HITS) == "hits"
    assert (type(check(Liar("x"))), f"{check(Liar('x'))}") == (str, "x")
