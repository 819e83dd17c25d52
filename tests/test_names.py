"""Names and tags: what Graphite can carry goes through, all else is refused with a reason or cleaned."""

from __future__ import annotations

import re
import string
import sys
from enum import StrEnum
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from txmetrics.names import MAX_PART, MAX_PATH, OVERFLOW, check, clean, full, overflow, spelled, tags_of

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


# Tags

keys = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,4}", fullmatch=True).filter(lambda key: key not in ("name", "le"))
any_tags = st.dictionaries(keys, any_text | st.integers() | st.booleans(), max_size=4)
paths = st.from_regex(r"[a-z%]{1,4}(\.[a-z]{1,4})?", fullmatch=True)


@properties
@given(paths, any_tags)
@example("a", {"a1": "x", "a": "y", "ab": "z"})
def test_a_full_name_says_all(path: str, tags: dict[str, Any]) -> None:
    """The name and the cleaned tags can be read out of it, in whatever order they were given, and it is one itself."""
    name = full(path, tags)
    assert name == full(path, dict(reversed(tags.items()))) == full(name)
    assert name.partition(";")[0] == path
    assert tags_of(name).keys() == tags.keys()
    for key, value in tags_of(name).items():
        kept = [character if character in ALPHABET | {"."} else "_" for character in str(tags[key])[:MAX_PART]]
        assert value == ("".join(kept) or "_")


@properties
@given(any_text | paths, st.dictionaries(any_text | keys, any_text | st.integers() | st.floats() | st.none()))
def test_what_is_spelled_is_the_full_name_or_none(path: str, tags: dict[str, Any]) -> None:
    """The quick way leads nowhere else, so that no value can be made to name another metric."""
    name = spelled(path, tags)
    try:
        is_full = full(name) == name
    except ValueError:
        is_full = False
    if is_full:
        assert name == full(path, tags)


@given(
    paths,
    st.dictionaries(keys, st.text(sorted(ALPHABET | {"."}), min_size=1) | st.integers() | st.booleans(), max_size=4),
)
def test_what_needs_no_cleaning_is_spelled(path: str, tags: dict[str, Any]) -> None:
    """So that it is found quickly; but for tags that carbon orders otherwise than Python does."""
    name = spelled(path, tags)
    assert sorted(name.split(";")) == sorted(full(path, tags).split(";"))


def test_the_quick_way_knows_what_is_not_plain() -> None:
    """A value of another type, also one that looks like text, and a name that is a full one."""

    class Liar(str):
        def __format__(self, spec: str) -> str:
            return "mail"

    wrong: list[tuple[Any, Any]] = [("jobs", 1.0), ("jobs", None), ("jobs", b"mail"), ("jobs", Liar("x")), (5, "mail")]
    for name, value in wrong:
        assert spelled(name, {"queue": value}) == ""
    assert spelled("jobs;a=b", {"queue": "mail"}) == ""
    assert spelled("jobs", {"queue": "mail;zone=x"}) == ""


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({"queue": "mail"}, "jobs;queue=mail"),
        ({"queue": "a b;c=~d/e"}, "jobs;queue=a_b_c__d_e"),
        ({"queue": ""}, "jobs;queue=_"),
        ({"zone": "b", "queue": "a.b.c"}, "jobs;queue=a.b.c;zone=b"),
        ({"port": 8080, "tls": True}, "jobs;port=8080;tls=True"),
        ({"a": "x", "a1": "y"}, "jobs;a1=y;a=x"),
        ({"queue": "~"}, "jobs;queue=_"),
        ({"queue": "x" * 200}, f"jobs;queue={'x' * 120}"),
        ({"queue": "ä\n"}, "jobs;queue=__"),
    ],
)
def test_a_full_name(tags: dict[str, Any], name: str) -> None:
    """Letter by letter."""
    assert full("jobs", tags) == name


def test_a_kind_of_integer_is_the_integer() -> None:
    """Whatever it is called besides."""
    assert full("http", {"code": HTTPStatus.NOT_FOUND}) == full("http", {"code": 404}) == "http;code=404"
    assert spelled("http", {"code": HTTPStatus.NOT_FOUND}) == ""


def test_a_kind_of_string_is_the_string_also_in_a_tag() -> None:
    """Whatever it says when it is formatted."""

    class Queue(StrEnum):
        MAIL = "mail"

    class Liar(str):
        __str__ = __format__ = lambda self, *spec: "evil"

    assert full("jobs", {"queue": Queue.MAIL}) == "jobs;queue=mail"
    assert full("jobs", {"queue": Liar("mail")}) == "jobs;queue=mail"


@pytest.mark.parametrize(
    "key", ["", "1a", "a-b", "a.b", "grün", "a b", "a=b", "a;b", "__name__", "__", "a\n", "a!", "a^", "x" * 50 + "-"]
)
def test_a_tag_that_is_called_wrongly_is_refused(key: str) -> None:
    """With what is right."""
    with pytest.raises(ValueError, match="is not called as a tag can be; use letters, digits and _") as caught:
        full("jobs", {key: "x"})
    assert repr(key[:40]) in str(caught.value)
    assert "of 'jobs'" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("key", "whose"), [("name", "Graphite"), ("le", "Prometheus"), ("vmrange", "VictoriaMetrics")])
def test_a_tag_that_means_something_already_is_refused(key: str, whose: str) -> None:
    """Somebody would take it for something else."""
    with pytest.raises(ValueError, match=f"tag '{key}' of 'jobs' means something else to {whose}; call it otherwise"):
        full("jobs", {key: "x"})


@pytest.mark.parametrize("value", [None, 1.5, b"mail", ["mail"], object()], ids=lambda value: type(value).__name__)
def test_a_value_of_another_type_is_refused(value: Any) -> None:
    """What text it should be, only the program can say."""
    told = f"tag 'queue' of 'jobs' is a {type(value).__name__}, neither a string nor an integer; convert it"
    with pytest.raises(TypeError, match=f"^{told}$"):
        full("jobs", {"queue": value})


def test_what_is_too_long_does_not_depend_on_the_values() -> None:
    """A program finds out the first time, not when a long value comes."""
    keys = [f"k{number}" for number in range(8)]
    assert len(full("x" * 32, dict.fromkeys(keys, "y" * 500))) == 32 + 8 * 124 == MAX_PATH
    with pytest.raises(
        ValueError, match="with its 8 tags may have 1025 characters, 120 in each tag's value; at most 1024"
    ):
        full("x" * 33, dict.fromkeys(keys, "y"))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("jobs;b=1;a=2", "jobs;a=2;b=1"),
        ("jobs;a=", "jobs;a=_"),
        ("jobs;a=~x", "jobs;a=_x"),
        ("jobs;a", "jobs;a=_"),
        ("jobs;a=1;a=1", "jobs;a=1"),
        ("jobs;a=b=c", "jobs;a=b_c"),
    ],
)
def test_a_full_name_that_is_none_is_refused(name: str, right: str) -> None:
    """With one that would be."""
    told = f"metric name {name!r} is not as it is filed; write {right!r}, or give its tags"
    with pytest.raises(ValueError, match=f"^{told}$"):
        full(name)


@pytest.mark.parametrize(
    "name", ["jobs;", ";a=b", "a b;c=d", "jobs;name=x", "jobs;=x", "a..b;c=d", "x" * 1020 + ";a=b"]
)
def test_neither_part_of_a_full_name_may_be_wrong(name: str) -> None:
    """The name has to be a path, and a tag to be called as one can be."""
    with pytest.raises(ValueError, match=r"metric name|tag"):
        full(name)


@given(paths, any_tags)
def test_an_overflow_has_the_same_tags(path: str, tags: dict[str, Any]) -> None:
    """With one and the same value, as carbon files it."""
    assert overflow(full(path, tags)) == full(path, dict.fromkeys(tags, OVERFLOW))
