"""The bridge: a registry as a collector of prometheus_client, for whatever works with that.

It needs ``pip install 'txmetrics[prometheus]'``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from txmetrics.ext.prometheus._catalogue import Catalogue
from txmetrics.registry import MetricsRegistry
from txmetrics.snapshot import Reading
from txmetrics.wire import SECONDS, Family, PrometheusPlan, labels_of, samples

__all__ = ["RegistryCollector"]


class RegistryCollector:
    """``REGISTRY.register(RegistryCollector(registry))``, and prometheus_client has all metrics of ``registry``.

    The families, labels and buckets are those of ``ScrapeResource``, and so are ``buckets`` and ``help``; a histogram
    that has negative values has neither sum nor count, as in OpenMetrics. What cannot be told is left out.

    Everything is collected at once, in the thread that asks, and that must be the reactor's: ``generate_latest``,
    ``write_to_textfile`` and the like may be called there. prometheus_client's ``start_http_server``, its WSGI
    application in a thread, and a push from one, must not be used: the registry has no locks. For a scrape there is
    ScrapeResource. Beside MeasuredProcess, unregister prometheus_client's PROCESS_COLLECTOR, which has the same names.
    """

    def __init__(
        self,
        registry: MetricsRegistry,
        *,
        buckets: Sequence[float] = SECONDS,
        help: Mapping[str, str] | None = None,
    ) -> None:
        self._catalogue = Catalogue(registry, PrometheusPlan(buckets, help), {})

    def collect(self) -> Iterator[Metric]:
        """The families, as prometheus_client has them."""
        for _ in self._catalogue.update():
            pass
        for family in self._catalogue.families():
            metric = Metric(family.name, family.help, family.type, family.unit)
            for labels, reading in self._catalogue.readings(family):
                _add(metric, family, labels, reading)
            if metric.samples:
                yield metric

    def describe(self) -> list[Metric]:
        """None: what there is, only ``collect`` knows, and to register is no reason to read everything."""
        return []


def _add(metric: Metric, family: Family, labels: str, reading: Reading) -> None:
    pairs = dict(labels_of(reading.name, labels))
    for suffix, le, number in samples(family, reading, strict=True) or ():
        bucket = {} if le is None else {"le": le}
        metric.add_sample(family.name + suffix, {**pairs, **bucket}, number)
