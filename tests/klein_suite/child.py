"""One run of Klein's test suite, ``bare`` or ``measured``; prints what became of each test, and what was measured.

In a measured run every ``KleinResource(app)``, and so every ``Klein.resource()``, gives a TimedResource before the
KleinResource. The class itself remains where it is, and whoever has imported it still has the same.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import klein
from klein.resource import KleinResource
from twisted.trial import reporter, runner

from txmetrics import MetricsRegistry, TimedResource
from txmetrics.instrument.web._request import observation_of

SUITE = "klein.test"

COUNTED = "_counted_by_the_klein_suite"
"""Marks a request."""


class Record(reporter.TestResult):
    """Remembers what became of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, str] = {}

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        self.outcomes[test.id()] = "unknown"

    def addSuccess(self, test: Any) -> None:
        super().addSuccess(test)
        self._outcome(test, "passed")

    def addError(self, test: Any, error: Any) -> None:
        super().addError(test, error)
        self._outcome(test, "error", error)

    def addFailure(self, test: Any, fail: Any) -> None:
        super().addFailure(test, fail)
        self._outcome(test, "failed", fail)

    def addSkip(self, test: Any, reason: Any) -> None:
        super().addSkip(test, reason)
        self._outcome(test, "skipped")

    def addExpectedFailure(self, test: Any, error: Any, todo: Any = None) -> None:
        super().addExpectedFailure(test, error, todo)
        self._outcome(test, "failed as expected")

    def addUnexpectedSuccess(self, test: Any, todo: Any = None) -> None:
        super().addUnexpectedSuccess(test, todo)
        self._outcome(test, "passed unexpectedly")

    def _outcome(self, test: Any, outcome: str, problem: Any = None) -> None:
        if self.outcomes.get(test.id()) in ("error", "failed"):
            return  # an error in cleaning up may follow
        self.outcomes[test.id()] = outcome
        if problem is not None:
            print(f"{test.id()}: {outcome}\n{problem}", file=sys.stderr)


class Measured:
    """Measures what every KleinResource renders from now on, and counts by itself what that is."""

    def __init__(self) -> None:
        self.registry = MetricsRegistry()
        self.requests = self.observed = 0
        bare_render = KleinResource.render

        def measured(kind: Any, app: Any) -> TimedResource:
            resource = object.__new__(kind)
            resource.__init__(app)
            return TimedResource(resource, self.registry)

        def render(resource: Any, request: Any) -> Any:
            if COUNTED not in vars(request):  # else one application has led to another
                vars(request)[COUNTED] = True
                self.requests += 1
                self.observed += observation_of(request) is not None
            return bare_render(resource, request)

        KleinResource.__new__ = measured
        KleinResource.render = render

    def told(self) -> dict[str, object]:
        """How many requests were rendered, by our own count, and what the metrics say."""
        of_routes = [
            reading.count
            for reading in self.registry.snapshot()
            if reading.name.startswith("http.routes.") and reading.name.endswith(".requests")
        ]
        return {
            "requests": self.requests,
            "observed": self.observed,
            "measured": self.registry.timer("http.requests").count,
            "measured_by_route": sum(of_routes),
            "routes": len(of_routes),
            "active": self.registry.gauge("http.active").value,
            "measuring_errors": self.registry.counter("http.measuring_errors").count,
        }


def main() -> None:
    measured = Measured() if sys.argv[1] == "measured" else None
    record = Record()
    suite = runner.TrialSuite([runner.TestLoader().loadByName(SUITE, recurse=True)])
    suite.run(record)
    told = {"outcomes": record.outcomes, "klein": os.path.dirname(klein.__file__)}
    print(json.dumps(told | (measured.told() if measured else {})))


if __name__ == "__main__":
    main()
