"""Targets for Graphite: the names that txmetrics sends, in functions that graphite-web 1.1 has and that work there.

A series without tags is asked for by its path, one with tags by ``seriesByTag``. None has a ``minValue`` or
``maxValue``, with which graphite-web answers 500 wherever a series has a gap. Rates are worked out before they are
added up, for only then a restart of one process harms no sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from txmetrics.console._grafana_metrics import VARYING, Group
from txmetrics.console._grafana_panels import Json, variable

__all__ = ["Graphite", "graphite_target"]

WORDS = frozenset({"true", "false", "none", "inf", "infinity", "nan"})
"""What graphite-web takes for something else than the beginning of a name."""

_LABELS = {"host": "Host", "pid": "Process", "worker": "Worker", "generation": "Generation"}
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(_LABELS)})\}}")


class Graphite:
    """`Queries` of the series under ``prefix``, in which ``{host}`` and its like are chosen above the panels.

    ``tags`` are the keys of what is on every series, which are chosen, too. ``deltas``: whether counts are told as
    what is new since the last report. A group whose pattern is ``jobs;queue,zone`` has these tags of its own.
    """

    datasource = "graphite"

    def __init__(self, prefix: str, tags: Sequence[str] = (), deltas: bool = False) -> None:
        self._parts = prefix.split(".") if prefix else []
        hosts = [place for place, part in enumerate(self._parts) if _PLACEHOLDER.search(part)]
        self.hosts: list[int | str] = [*hosts, *tags]
        """What tells processes apart in the names of lines: parts of the prefix, and tags."""
        self._tags = tags
        self._deltas = deltas

    def variables(self, has_routes: bool) -> list[Json]:
        if self._tags:
            return self._by_tags(has_routes)
        choices: dict[str, Json] = {}
        for place, part in enumerate(self._parts):
            for match in _PLACEHOLDER.finditer(part):
                choices.setdefault(match[1], self._choice(place, match))
        if has_routes:
            choices["route"] = variable("route", "Route", self._path("http.routes.*"), self.datasource, "*")
        return [*choices.values()]

    def _by_tags(self, has_routes: bool) -> list[Json]:
        """The same where everything has tags."""
        source, own = self.datasource, f"name=~{self._named_like('txmetrics.started')}"
        choices = [variable(tag, tag.capitalize(), f"tag_values({tag}, {own})", source, ".*") for tag in self._tags]
        if has_routes:
            routes = self._named_like(f"http.routes.*.requests.{self._counted}")
            query = f"tag_values(name, name=~{routes})"
            choices.append(variable("route", "Route", query, source, "[^.]+", r"/http\.routes\.([^.]+)\./"))
        return choices

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
        return [self._named(self.rates(group), group, self._places(group, 1))]

    def level(self, group: Group) -> list[Json]:
        return [self._named(self.series(group.pattern), group, self._places(group, 0))]

    def growth(self, group: Group) -> list[Json]:
        return [self._named(f"perSecond({self.series(group.pattern)})", group, self._places(group, 0))]

    def quantile(self, group: Group, field: str, by_name: bool = False) -> list[Json]:
        places = self._places(group, 1) if by_name else [*self._varying(group, 1), -1]
        return [self._named(self._highest(group, field), group, places)]

    def total(self, group: Group, label: str) -> list[Json]:
        return [graphite_target(f'alias({self._sum(group)},"{label}")')]

    def share(self, part: Group, whole: Group, label: str) -> list[Json]:
        return [graphite_target(f'alias(divideSeries({self._sum(part)},{self._sum(whole)}),"{label}")')]

    def highest(self, group: Group, field: str | None, label: str) -> list[Json]:
        series = self.series(group.pattern) if field is None else self._highest(group, field)
        return [graphite_target(f'alias(maxSeries({series}),"{label}")')]

    def itself(self) -> list[tuple[str, str, list[Json]]]:
        def own(counters: Sequence[str], gauges: Sequence[str]) -> list[Json]:
            groups = [Group(f"txmetrics.{name}", "counter", ()) for name in counters]
            levels = [Group(f"txmetrics.{name}", "gauge", ()) for name in gauges]
            return [target for group in groups for target in self.rate(group)] + [
                target for group in levels for target in self.level(group)
            ]

        dropped = self.rates(Group("txmetrics.points_dropped.*", "counter", ()))
        # A reason has a series from the first point on that was dropped for it: none is good news, and shown as 0.
        lost = f'alias(fallbackSeries(sumSeries({dropped}),constantLine(0)),"dropped")'
        return [
            ("Points a second", "cps", [*own(["points_collected", "points_delivered"], []), graphite_target(lost)]),
            ("Connected", "short", own([], ["connected"])),
            ("Points that wait", "short", own([], ["queue_points", "retained_points"])),
            ("How long the oldest has waited", "s", own([], ["queue_seconds"])),
            ("Time of a report, and its longest turn", "s", own([], ["report_seconds", "longest_turn"])),
            ("Traffic", "Bps", own(["bytes_sent"], [])),
        ]

    def sums(self, group: Group, by_process: bool = False) -> str:
        """The rate of all processes, for each varying part; or of all those, for each process."""
        names: list[int | str] = self.hosts if by_process else [*_keys(group), *self._places(group, 1)]
        return f'groupByNodes({self.rates(group)},"sum",{_listed(names)})'

    def shares(self, group: Group) -> str:
        """How many of all events are within each of the bounds that are counted, in percent."""
        if self._tags:
            within, every = self.series(group.pattern, "le"), self.series(group.pattern, "le", "le=+Inf")
        else:
            within, every = (self.series(group.pattern, f"le.{bound}") for bound in ("*", "inf"))
        bound = "'le'" if self._tags else -1
        shares = f'asPercent(groupByNodes({within},"sum",{bound}),sumSeries({every}))'
        return rf"aliasSub({shares},'^asPercent\(([^,]+),.*$','\1')"

    def presence(self, name: str) -> str:
        """1 for each process that reports ``name``, or did so two reports ago; 0 for those that do not any more."""
        # countSeries would count these as well. The newest report may be on its way.
        return f"isNonNull(keepLastValue({self.series(name)},2))"

    def by_process(self, series: str) -> Json:
        """Series with their processes for names."""
        return graphite_target(f"aliasByNode({series},{_listed(self.hosts)})")

    def rates(self, group: Group) -> str:
        """The series of the rates, one for each process and varying part."""
        series = self.series(group.pattern, self._counted)
        return f"scaleToSeconds({series},1)" if self._deltas else f"perSecond({series})"

    def series(self, pattern: str, field: str = "", *matchers: str) -> str:
        """The series of a field, as they were sent; of those with tags such that ``matchers`` fit."""
        path, semicolon, _ = pattern.partition(";")
        name = f"{path}.{field}" if field else path
        if not semicolon and not self._tags:
            return self._path(name)
        wanted = [f"name=~{self._named_like(name)}", *(f"{tag}=~^${{{tag}:regex}}$" for tag in self._tags), *matchers]
        return f"seriesByTag({_listed(wanted)})"

    @property
    def _counted(self) -> str:
        return "delta" if self._deltas else "count"

    def _path(self, name: str) -> str:
        first, *others = [*map(_variables, self._parts), *name.split(".")]
        if first[0] in "+-0123456789" or first.lower() in WORDS:  # graphite-web would read a number there, or a word
            first = f"{{{first}}}"
        return ".".join([first, *others])

    def _named_like(self, name: str) -> str:
        """A regular expression for names of series with tags.

        Of the prefix it takes what is chosen above the panels for paths for anything: a choice of all is ``*`` there.
        """
        route = "${route:regex}" if self._tags else "[^.]+"
        varying = {"*": "[^.]+", "$route": route}
        parts = ["[^.]+".join(re.escape(text) for text in _PLACEHOLDER.split(part)[::2]) for part in self._parts]
        parts += [varying.get(part, re.escape(part)) for part in name.split(".")]
        return "^" + r"\.".join(parts) + "$"

    def _sum(self, group: Group) -> str:
        return f"sumSeries({self.series(group.pattern) if group.kind == 'gauge' else self.rates(group)})"

    def _highest(self, group: Group, field: str) -> str:
        """Points that are too many for the screen are one, of which the highest is a bound and the average nothing."""
        return f'consolidateBy({self.series(group.pattern, field)},"max")'

    def _varying(self, group: Group, fields: int) -> list[int]:
        """Places of the varying parts, from the end of a name with so many fields behind the pattern."""
        parts = group.pattern.partition(";")[0].split(".")
        return [place - len(parts) - fields for place, part in enumerate(parts) if part in VARYING]

    def _places(self, group: Group, fields: int) -> list[int]:
        """Of what tells the lines of a panel apart: the varying parts, and the last part of the name."""
        last = -1 - fields
        varying = self._varying(group, fields)
        return varying if last in varying else [*varying, last]

    def _named(self, series: str, group: Group, places: Sequence[int]) -> Json:
        return graphite_target(f"aliasByNode({series},{_listed([*self.hosts, *_keys(group), *places])})")


def _anything(part: str) -> str:
    """A regular expression for what a part of the prefix can become."""
    return ".*".join(re.escape(text) for text in _PLACEHOLDER.split(part)[::2])


def _variables(part: str) -> str:
    """A part of the prefix with Grafana's variables in the place of ours."""
    return _PLACEHOLDER.sub(r"${\1}", part)


def _keys(group: Group) -> list[str]:
    """The tags of its own."""
    keys = group.pattern.partition(";")[2]
    return keys.split(",") if keys else []


def _listed(arguments: Iterable[int | str]) -> str:
    # No backslash is doubled: graphite-web takes them as they are.
    return ",".join(str(each) if isinstance(each, int) else f"'{each}'" for each in arguments)


def graphite_target(target: str) -> Json:
    return {"target": target, "textEditor": True}
