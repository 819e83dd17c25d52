"""What the README and the pages in docs name is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from txmetrics import MetricsRegistry, Reporter
from txmetrics.delivery import Datagrams, Post, Secret, Spool, Stream
from txmetrics.interfaces import IDelivery
from txmetrics.reporter import Backend
from txmetrics.testing import FakeReactor
from txmetrics.wire import Graphite

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_program_and_link_exists(page: Path) -> None:
    """A reader who follows the page comes somewhere."""
    text = page.read_text("utf-8")
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), link
    for file in re.findall(r"\b(?:tests|benchmarks|examples|txmetrics|docs)/[\w/]+(?:\.py|\.md)?", text):
        assert (ROOT / file).exists(), file
    for module in re.findall(r"python -m ((?:tests|txmetrics)[\w.]*)", text):
        assert find_spec(module), module


def test_every_number_of_the_reporters_own_is_on_the_page(tmp_path: Path) -> None:
    """And no other: whatever the delivery, what arrives under ``txmetrics.`` is what the page says."""
    reactor = FakeReactor()
    spool = Spool(tmp_path)
    deliveries: list[IDelivery] = [
        Stream(reactor, None, "tcp:graphite:2003", spool=spool),
        Post(reactor, "https://graphite.example/sink", "the sink", Secret("key"), agent=object(), spool=spool),
        Datagrams(reactor, "127.0.0.1", 2003, "udp:127.0.0.1:2003"),
    ]
    sent = set()
    for delivery in deliveries:
        reporter = Reporter(MetricsRegistry(reactor.clock), lambda _, delivery=delivery: Backend(Graphite(), delivery))
        reporter._delivery = delivery
        sent |= {reading.name.removeprefix("txmetrics.") for reading in reporter._own_readings()}
    page = (ROOT / "docs" / "delivery.md").read_text("utf-8")
    section = page.split("## The reporter's own numbers")[1].split("\n## ")[0]
    section = re.sub(r"by reason \(.*?\)", "", section, flags=re.DOTALL)
    described = set(re.findall(r"`([a-z_]+(?:\.\*)?)`", section))
    assert sent == {name for name in described if not name.endswith(".*")}
