"""What a scraper is answered: methods, formats, encodings, headers, and what the resource tells of itself."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ext.prometheus.scraping import Rig
from tests.prometheus import OPEN_METRICS, PROTOBUF, read_openmetrics, read_protobuf, read_text, samples
from txmetrics import MetricsRegistry
from txmetrics.ext.prometheus import ScrapeResource

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN = "application/openmetrics-text; version=1.0.0; charset=utf-8"
BINARY = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5,"
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)

ACCEPTED = [
    ("", TEXT),
    ("*/*", TEXT),
    ("text/html", TEXT),
    ("text/plain", TEXT),
    ("text/plain; version=1.0.0", TEXT),
    ("image/png, text/*;q=0.1", TEXT),
    (PROMETHEUS_2, OPEN),
    (f"{PROTOBUF},{PROMETHEUS_2.replace('1.0.0,', '1.0.0;q=0.8,')}", BINARY),
    (PROMETHEUS_3, f"{OPEN}; escaping=underscores"),
    ("application/openmetrics-text", OPEN),
    ("APPLICATION/OpenMetrics-Text ; Version=1.0.0", OPEN),
    ('application/openmetrics-text; version="1.0.0"; charset=utf-8', OPEN),
    ("application/openmetrics-text;version=0.0.1,text/plain;q=0.5", TEXT),
    ("application/openmetrics-text;version=2.0.0", TEXT),
    ("application/openmetrics-text;q=0.3,text/plain;q=0.5", TEXT),
    ("text/plain,application/openmetrics-text", TEXT),
    ("application/openmetrics-text,text/plain", OPEN),
    ("application/openmetrics-text;q=0", TEXT),
    ("application/openmetrics-text;q=2", TEXT),
    ("application/openmetrics-text;q=x", TEXT),
    ("text/plain;q=0,*/*,application/openmetrics-text;q=0.1", OPEN),
    ("application/openmetrics-text;version=1.0.0;q=0.1,application/openmetrics-text;q=0.9,text/plain;q=0.5", OPEN),
    ("application/*", TEXT),
    ("application/vnd.google.protobuf", TEXT),
    ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
    (f"{PROTOBUF};q=0.9,*/*;q=0.1", BINARY),
    (";;,=,;q=,", TEXT),
    ("\xff\xfe;q=\xb2,application/openmetrics-text;q=nan", TEXT),
]


@pytest.mark.parametrize(("accept", "content_type"), ACCEPTED)
def test_the_format_is_the_one_that_is_liked_best(accept: str, content_type: str) -> None:
    """By quality and version; text for who says nothing, and protobuf for nobody who does not name it in full."""
    rig = Rig()
    rig.registry.timer("db").add(0.3)
    answer = rig.scrape(*([f"Accept: {accept}"] if accept else []))
    read: Any = {TEXT: read_text, BINARY: read_protobuf}.get(content_type, read_openmetrics)
    assert answer.status == 200
    assert answer.headers["content-type"] == content_type
    assert "db_seconds" in [family.name for family in read(answer.body)]


def test_several_accept_headers_are_one() -> None:
    """As HTTP has it."""
    answer = Rig().scrape("Accept: text/plain;q=0.1", f"Accept: {OPEN_METRICS}")
    assert answer.headers["content-type"] == OPEN


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0,*", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("br", False),
    ],
)
def test_gzip_where_it_is_welcome(accepted: str, compressed: bool) -> None:
    """And the same body in it, with the length that goes over the wire."""
    rig = Rig()
    for number in range(2000):
        rig.registry.counter(f"a.{number}")
    headers = [f"Accept-Encoding: {accepted}"] if accepted else []
    plain, answer = rig.scrape(), rig.scrape(*headers)
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert (int(answer.headers["content-length"]) < len(plain.body) / 5) == compressed
    assert samples(read_text(answer.body)).keys() == samples(read_text(plain.body)).keys()


def test_the_headers() -> None:
    """All that a cache has to know."""
    answer = Rig().scrape()
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["content-length"] == str(len(answer.body))


def test_head_is_get_without_the_body() -> None:
    """The same headers."""
    rig = Rig()
    get, head = rig.scrape(), rig.scrape(method="HEAD")
    assert head.body == b""
    assert head.status == 200
    same = ("content-type", "vary")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    assert abs(int(head.headers["content-length"]) - len(get.body)) < 20


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
def test_nothing_but_get_and_head(method: str) -> None:
    """There is nothing to be changed; and such a request costs nothing."""
    rig = Rig()
    answer = rig.ask(method=method).answer
    assert answer is not None
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert rig.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("path", ["/", "/metrics", "/metrics/a/b?name[]=x"])
def test_it_is_a_leaf(path: str) -> None:
    """Nothing of a request but three headers and the method makes a difference."""
    assert Rig().scrape(path=path).body.startswith(b"# HELP txmetrics_scrapes_total A counter, txmetrics.scrapes in")


def test_what_it_tells_of_itself() -> None:
    """How often it was asked, how many values could not be told, and how long the last rendering took."""
    rig = Rig()
    rig.registry.gauge("text").set("text")
    rig.registry.gauge("broken", lambda: 1 / 0)
    rig.registry.gauge("fine", lambda: 3)
    rig.registry.counter("negative").dec()
    rig.scrape()
    told = {name: value for (name, _), value in samples(read_text(rig.scrape().body)).items()}
    assert told == {
        "txmetrics_scrapes_total": 2,
        "txmetrics_scrape_unreadable_total": 3,
        "txmetrics_scrape_duration_seconds": pytest.approx(0.001, abs=1e-6),
        "fine": 3,
    }


def test_its_own_names_are_its_own() -> None:
    """A metric that would have one of them is told beside."""
    rig = Rig()
    rig.registry.gauge("txmetrics_scrapes").set(17)
    told = samples(read_openmetrics(rig.scrape(f"Accept: {OPEN_METRICS}").body))
    assert told["txmetrics_scrapes_total", frozenset()] == 1
    assert told["txmetrics_scrapes_gauge", frozenset()] == 17


def test_bounds_and_sentences_of_ones_own() -> None:
    """They are told as they were given."""
    rig = Rig(buckets=[0.5, 2], help={"db": "How long the database takes."})
    rig.registry.timer("db").add(1)
    text = rig.scrape().body.decode()
    assert "# HELP db_seconds How long the database takes.\n" in text
    assert text.count("_bucket") == 3
    assert 'db_seconds_bucket{le="0.5"} 0\ndb_seconds_bucket{le="2.0"} 1\ndb_seconds_bucket{le="+Inf"} 1\n' in text


def test_bounds_that_are_none() -> None:
    """Are found out when the resource is made, not when it is asked."""
    with pytest.raises(ValueError, match="give finite numbers in ascending order"):
        ScrapeResource(MetricsRegistry(), buckets=[2, 1])


def test_each_scrape_tells_what_is_there() -> None:
    """What was made since, is there; what was removed, is not; what was made anew, is of its new kind."""
    rig = Rig()
    rig.registry.counter("old")
    rig.registry.counter("changed")
    assert {"old_total", "changed_total"} <= {name for name, _ in samples(read_text(rig.scrape().body))}
    rig.registry.unregister("old")
    rig.registry.unregister("changed")
    rig.registry.gauge("changed").set(4)
    rig.registry.counter("new")
    told = samples(read_text(rig.scrape().body))
    assert [(name, value) for (name, _), value in told.items()][3:] == [("changed", 4), ("new_total", 0)]
