"""HostedGraphiteReporter: to HostedGraphite's HTTPS sink, in pyformance's order of arguments or in the article's."""

from __future__ import annotations

from typing import Any

from txmetrics.compat.pyformance.reporters._lines import HostedLines
from txmetrics.compat.pyformance.reporters.reporter import Reporter, no_reactor
from txmetrics.delivery import HOSTED_GRAPHITE_SINK, Post, Secret, check_url, with_own_lookups
from txmetrics.interfaces import IDelivery, IWire
from txmetrics.steady import steady

__all__ = ["HostedGraphiteReporter"]


class HostedGraphiteReporter(Reporter):
    """Posts to the sink at ``url``, as the user whose API key is ``hosted_graphite_api_key``.

    The arguments may also be in the article's order, ``HostedGraphiteReporter(registry, 10, "KEY")``; then it is
    started at once. The key is in no repr, log or traceback. What the sink does not accept is posted again until it
    does, and waits in at most 8 MiB of memory; what it refuses is dropped.

    Raises ValueError for a key that is none and for a URL that is not of https://.
    """

    def __init__(
        self,
        hosted_graphite_api_key: Any,
        registry: Any = None,
        reporting_interval: Any = 10,
        url: str = HOSTED_GRAPHITE_SINK,
        clock: Any = None,
    ) -> None:
        as_in_the_article = hasattr(hosted_graphite_api_key, "dump_metrics")
        if as_in_the_article:
            registry, reporting_interval, key = hosted_graphite_api_key, registry, reporting_interval
        else:
            key = hosted_graphite_api_key
        try:
            self._key = key if isinstance(key, Secret) else Secret(key)
        finally:
            del hosted_graphite_api_key, key  # a verbose traceback shows the variables of a function
        super().__init__(registry, reporting_interval, clock)
        self.url = check_url(url)
        if as_in_the_article:
            self.start()

    def _write_as(self) -> IWire:
        return HostedLines()

    def _deliver_to(self, reactor: Any) -> IDelivery:
        if reactor is None:
            raise no_reactor(self)
        return Post(with_own_lookups(reactor), self.url, self.url, self._key, time=steady(reactor))
