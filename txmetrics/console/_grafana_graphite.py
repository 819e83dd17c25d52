"""Targets for Graphite: the names that txmetrics sends, in functions that graphite-web 1.1 has and that work there.

None has a ``minValue`` or ``maxValue``, with which graphite-web answers 500 wherever a series has a gap. Rates are
worked out before they are added up, for only then a restart of one process harms no sum.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from txmetrics.console._grafana_metrics import VARYING, Group
from txmetrics.console._grafana_panels import Json, variable

__all__ = ["Graphite"]

WORDS = frozenset({"true", "false", "none", "inf", "infinity", "nan"})
"""What graphite-web takes for something else than the beginning of a name."""

_LABELS = {"host": "Host", "pid": "Process", "worker": "Worker", "generation": "Generation"}
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(_LABELS)})\}}")


class Graphite:
    """`Queries` of the series under ``prefix``, in which ``{host}`` and its like are chosen above the panels."""

    datasource = "graphite"

    def __init__(self, prefix: str) -> None:
        self._parts = prefix.split(".") if prefix else []
        self._hosts = [place for place, part in enumerate(self._parts) if _PLACEHOLDER.search(part)]

    def variables(self, has_routes: bool) -> list[Json]:
        choices: dict[str, Json] = {}
        for place, part in enumerate(self._parts):
            for match in _PLACEHOLDER.finditer(part):
                choices.setdefault(match[1], self._choice(place, match))
        if has_routes:
            choices["route"] = variable("route", "Route", self._path("http.routes.*"), self.datasource, "*")
        return [*choices.values()]

    def _choice(self, place: int, match: re.Match[str]) -> Json:
        """The variable of a placeholder in a part of the prefix; what stands around it is cut from what is found."""
        part, name = self._parts[place], match[1]
        before, after = part[: match.start()], part[match.end() :]
        query = ".".join(
            [*map(_variables, self._parts[:place]), _variables(before) + "*" + _PLACEHOLDER.sub("*", after)]
        )
        regex = f"/^{_anything(before)}(.*){_anything(after)}$/" if before or after else ""
        return variable(name, _LABELS[name], query, self.datasource, "*", regex)

    def rate(self, group: Group) -> list[Json]:
        return [self._named(self._rate(group), self._places(group, 1))]

    def level(self, group: Group) -> list[Json]:
        return [self._named(self._path(group.pattern), self._places(group, 0))]

    def growth(self, group: Group) -> list[Json]:
        return [self._named(f"perSecond({self._path(group.pattern)})", self._places(group, 0))]

    def quantile(self, group: Group, field: str, by_name: bool = False) -> list[Json]:
        places = self._places(group, 1) if by_name else [*self._varying(group, 1), -1]
        return [self._named(self._highest(group, field), places)]

    def total(self, group: Group, label: str) -> list[Json]:
        return [_target(f'alias({self._sum(group)},"{label}")')]

    def share(self, part: Group, whole: Group, label: str) -> list[Json]:
        return [_target(f'alias(divideSeries({self._sum(part)},{self._sum(whole)}),"{label}")')]

    def highest(self, group: Group, field: str | None, label: str) -> list[Json]:
        series = self._path(group.pattern) if field is None else self._highest(group, field)
        return [_target(f'alias(maxSeries({series}),"{label}")')]

    def itself(self) -> list[tuple[str, str, list[Json]]]:
        def own(counters: Sequence[str], gauges: Sequence[str]) -> list[Json]:
            groups = [Group(f"txmetrics.{name}", "counter", ()) for name in counters]
            levels = [Group(f"txmetrics.{name}", "gauge", ()) for name in gauges]
            return [target for group in groups for target in self.rate(group)] + [
                target for group in levels for target in self.level(group)
            ]

        dropped = self._rate(Group("txmetrics.points_dropped.*", "counter", ()))
        # A reason has a series from the first point on that was dropped for it: none is good news, and shown as 0.
        lost = f'alias(fallbackSeries(sumSeries({dropped}),constantLine(0)),"dropped")'
        return [
            ("Points a second", "cps", [*own(["points_collected", "points_delivered"], []), _target(lost)]),
            ("Connected", "short", own([], ["connected"])),
            ("Points that wait", "short", own([], ["queue_points", "retained_points"])),
            ("How long the oldest has waited", "s", own([], ["queue_seconds"])),
            ("Time of a report, and its longest turn", "s", own([], ["report_seconds", "longest_turn"])),
            ("Traffic", "Bps", own(["bytes_sent"], [])),
        ]

    def _path(self, name: str) -> str:
        first, *others = [*map(_variables, self._parts), *name.split(".")]
        if first[0] in "+-0123456789" or first.lower() in WORDS:  # graphite-web would read a number there, or a word
            first = f"{{{first}}}"
        return ".".join([first, *others])

    def _sum(self, group: Group) -> str:
        return f"sumSeries({self._path(group.pattern) if group.kind == 'gauge' else self._rate(group)})"

    def _rate(self, group: Group) -> str:
        return f"perSecond({self._path(group.pattern)}.count)"

    def _highest(self, group: Group, field: str) -> str:
        """Points that are too many for the screen are one, of which the highest is a bound and the average nothing."""
        return f'consolidateBy({self._path(group.pattern)}.{field},"max")'

    def _varying(self, group: Group, fields: int) -> list[int]:
        """Places of the varying parts, from the end of a name with so many fields behind the pattern."""
        parts = group.pattern.split(".")
        return [place - len(parts) - fields for place, part in enumerate(parts) if part in VARYING]

    def _places(self, group: Group, fields: int) -> list[int]:
        """Of what tells the lines of a panel apart: the varying parts, and the last part of the name."""
        last = -1 - fields
        varying = self._varying(group, fields)
        return varying if last in varying else [*varying, last]

    def _named(self, series: str, places: Sequence[int]) -> Json:
        return _target(f"aliasByNode({series},{','.join(map(str, [*self._hosts, *places]))})")


def _anything(part: str) -> str:
    """A regular expression for what a part of the prefix can become."""
    return ".*".join(re.escape(text) for text in _PLACEHOLDER.split(part)[::2])


def _variables(part: str) -> str:
    """A part of the prefix with Grafana's variables in the place of ours."""
    return _PLACEHOLDER.sub(r"${\1}", part)


def _target(target: str) -> Json:
    return {"target": target, "textEditor": True}
