"""The front door: the public names, all of them and no other."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest

import txmetrics
from txmetrics import backends, clock, expiry, instrument, metrics, registry, reporter

PROMISED = {
    "Counter": metrics.Counter,
    "Gauge": metrics.Gauge,
    "Histogram": metrics.Histogram,
    "Meter": metrics.Meter,
    "Timer": metrics.Timer,
    "MetricsRegistry": registry.MetricsRegistry,
    "Reader": registry.Reader,
    "Scope": registry.Scope,
    "Clock": clock.Clock,
    "IdleExpiry": expiry.IdleExpiry,
    "instrument": instrument,
    "MeasuredConnectionPool": instrument.MeasuredConnectionPool,
    "MeasuredLog": instrument.MeasuredLog,
    "MeasuredProcess": instrument.MeasuredProcess,
    "MeasuredReactor": instrument.MeasuredReactor,
    "MeasuredThreadPool": instrument.MeasuredThreadPool,
    "ShedLoad": instrument.ShedLoad,
    "Tasks": instrument.Tasks,
    "TimedAgent": instrument.TimedAgent,
    "TimedEndpoint": instrument.TimedEndpoint,
    "TimedResource": instrument.TimedResource,
    "measure_connections": instrument.measure_connections,
    "measure_loop": instrument.measure_loop,
    "set_long_lived": instrument.set_long_lived,
    "set_route": instrument.set_route,
    "timed": instrument.timed,
    "backends": backends,
    "Backend": reporter.Backend,
    "Reporter": reporter.Reporter,
}

MODULES = ["txmetrics", *(found.name for found in pkgutil.walk_packages(txmetrics.__path__, "txmetrics."))]

NOTHING_TO_OFFER = {"txmetrics.__main__", "txmetrics.compat", "txmetrics.ext"}
"""The first one is run, of the others one imports what is in them."""


def test_the_promised_names_are_these() -> None:
    """A name that is added or taken away is a change of the interface, and is made here as well."""
    assert sorted(txmetrics.__all__) == sorted(PROMISED)


@pytest.mark.parametrize("name", PROMISED)
def test_each_name_is_what_its_room_has(name: str) -> None:
    """The front door has no things of its own, also those that it fetches when they are first asked for."""
    assert getattr(txmetrics, name) is PROMISED[name]


def test_a_star_import_gets_them_all() -> None:
    """Nothing in the list is missing behind the door."""
    names: dict[str, object] = {}
    exec("from txmetrics import *", names)
    del names["__builtins__"]
    assert names == PROMISED


def test_dir_shows_the_promised_names() -> None:
    """Also those that were not fetched yet, so that a shell completes them."""
    assert set(PROMISED) <= set(dir(txmetrics))
    assert {"__all__", "__doc__", "__name__"} <= set(dir(txmetrics))


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module, with the name in it."""
    with pytest.raises(AttributeError, match="module 'txmetrics' has no attribute 'Grafana'"):
        _ = txmetrics.Grafana
    assert not hasattr(txmetrics, "__wrapped__")
    with pytest.raises(ImportError, match="Grafana"):
        exec("from txmetrics import Grafana")


def test_types_are_shipped() -> None:
    """The marker that lets a type checker use the annotations is in the package."""
    assert (Path(txmetrics.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", MODULES)
def test_each_module_says_what_it_offers(name: str) -> None:
    """Every module opens with a sentence, has an ``__all__``, and has what that promises."""
    module: ModuleType = importlib.import_module(name)
    assert module.__doc__
    assert bool(module.__all__) != (name in NOTHING_TO_OFFER)
    assert len(set(module.__all__)) == len(module.__all__)
    assert [each for each in module.__all__ if not hasattr(module, each)] == []
