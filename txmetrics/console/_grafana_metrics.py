"""The metrics of a service in groups, of which each is a line of a plot or several; what was shown is known."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, Protocol

from txmetrics.console._grafana_panels import Json

__all__ = ["COUNTED", "LEVELS", "SPREAD", "VARYING", "Catalogue", "Group", "Queries"]

FAMILIES = ("status", "codes", "errors", "failures", "lost", "failed", "blocked")
"""What follows such a part comes and goes while the service runs."""

COUNTED = frozenset({"counter", "meter", "histogram", "timer"})
SPREAD = frozenset({"histogram", "timer"})
LEVELS = frozenset({"gauge"})
"""The kinds of metrics that have a rate, that have percentiles, and that just show something."""

VARYING = frozenset({"*", "$route"})
"""Parts of a pattern for which each metric has one of its own."""

_MEMBER = re.compile(rf"((?:^|\.)(?:{'|'.join(FAMILIES)}))\.[^.;]+$")


class Group(NamedTuple):
    """Metrics of one kind whose names differ in the varying parts only."""

    pattern: str
    """Their name, with ``*``, or ``$route`` for the route that one chooses above the panels, in such parts.

    For Graphite, ``jobs;queue,zone`` are all metrics ``jobs`` with just these tags.
    """
    kind: str
    names: tuple[str, ...]


class Catalogue:
    """What the service has, and what of it no panel shows yet."""

    def __init__(self, metrics: Mapping[str, str]) -> None:
        """``metrics`` are kinds by names."""
        self._metrics = metrics
        self._left = dict.fromkeys(metrics)

    def take(self, pattern: str, kinds: Collection[str]) -> list[Group]:
        """The groups of the metrics of such ``kinds`` that ``pattern`` fits, one of each; they count as shown."""
        parts = ("[^.;]+" if part in VARYING else re.escape(part) for part in pattern.split("."))
        fits = re.compile(r"\.".join(parts)).fullmatch
        return self._groups((pattern, name) for name, kind in self._metrics.items() if kind in kinds and fits(name))

    def rest(self) -> list[Group]:
        """The groups of what was not shown, which counts as shown then."""
        return self._groups((_MEMBER.sub(r"\1.*", name), name) for name in [*self._left])

    def _groups(self, found: Iterable[tuple[str, str]]) -> list[Group]:
        groups: dict[tuple[str, str], list[str]] = {}
        for pattern, name in found:
            groups.setdefault((pattern, self._metrics[name]), []).append(name)
            self._left.pop(name, None)
        return [Group(pattern, kind, tuple(names)) for (pattern, kind), names in groups.items()]


class Queries(Protocol):
    """How a data source is asked for a group: each answer is a list of targets, empty if it cannot tell.

    A target has a line for each of the hosts that are chosen above the panels, and for each varying part; ``label``
    is one for all of them.
    """

    datasource: str
    """Grafana's word for the type of the data source."""

    def variables(self, has_routes: bool) -> list[Json]:
        """The choices above the panels."""

    def rate(self, group: Group) -> list[Json]:
        """Events, or what else was counted, a second."""

    def level(self, group: Group) -> list[Json]:
        """What gauges show."""

    def growth(self, group: Group) -> list[Json]:
        """By how much gauges grow a second that only ever do."""

    def quantile(self, group: Group, field: str, by_name: bool = False) -> list[Json]:
        """A percentile (``"p95"``) or ``"max"``; the line is named after the metric rather than after that."""

    def total(self, group: Group, label: str) -> list[Json]:
        """All of them together: their rates, or the levels of gauges."""

    def share(self, part: Group, whole: Group, label: str) -> list[Json]:
        """What the rate of ``part`` is of that of ``whole``, 0 to 1."""

    def highest(self, group: Group, field: str | None, label: str) -> list[Json]:
        """The highest percentile, or the highest level (None), of all hosts."""

    def itself(self) -> list[tuple[str, str, list[Json]]]:
        """Titles, units and targets of what whoever brings the numbers there tells of itself."""
