"""What a metric is called in Prometheus, which of its parts are labels, and that none is ever lost for its name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.prometheus import expose, read_openmetrics, read_text, samples
from tests.wire import hostile
from txmetrics.snapshot import CounterReading, GaugeReading, HistogramReading, MeterReading, Reading, TimerReading
from txmetrics.wire import OpenMetrics, PrometheusPlan, PrometheusText, labels_of
from txmetrics.wire._prometheus_plan import BYTES, NUMBERS, RATIOS, SECONDS

CALLED = {
    ("http.requests", "timer"): "http_requests_seconds",
    ("http.active", "gauge"): "http_active",
    ("http.status.2xx", "counter"): 'http_status_total{status="2xx"}',
    ("http.routes.GET-users-_-posts.status.2xx", "counter"): (
        'http_routes_status_total{route="GET-users-_-posts",status="2xx"}'
    ),
    ("http.routes.GET-users.requests", "timer"): 'http_routes_requests_seconds{route="GET-users"}',
    ("http.routes._404.errors.KeyError", "counter"): 'http_routes_errors_total{error="KeyError",route="_404"}',
    ("http.routes.GET-a.codes.404", "counter"): 'http_routes_codes_total{code="404",route="GET-a"}',
    ("http.routes.GET-a.request_bytes", "histogram"): 'http_routes_request_bytes{route="GET-a"}',
    ("reactor.blocked.app_f", "timer"): 'reactor_blocked_seconds{call="app_f"}',
    ("reactor.cpu_seconds", "gauge"): "reactor_cpu_seconds",
    ("process.gc.collections.generation0", "gauge"): "process_gc_collections_generation0",
    ("log.errors.ValueError", "counter"): 'log_errors_total{error="ValueError"}',
    ("tasks.import", "timer"): 'tasks_seconds{task="import"}',
    ("tasks.import.errors.OSError", "counter"): 'tasks_errors_total{error="OSError",task="import"}',
    ("threadpool.errors", "counter"): "threadpool_errors_total",
    ("http_client.example_org.GET.status.5xx", "counter"): (
        'http_client_status_total{host="example_org",method="GET",status="5xx"}'
    ),
    ("http_client.example_org.GET.requests", "timer"): (
        'http_client_requests_seconds{host="example_org",method="GET"}'
    ),
    ("http_client.connections.reused", "counter"): "http_client_connections_reused_total",
    ("http_client.measuring_errors", "counter"): "http_client_measuring_errors_total",
    ("client.failures.DNSLookupError", "counter"): 'client_failures_total{error="DNSLookupError"}',
    ("connections.8080.open", "gauge"): 'connections_open{port="8080"}',
    ("connections.8080.lost.ConnectionLost", "counter"): 'connections_lost_total{error="ConnectionLost",port="8080"}',
    ("db.connections", "gauge"): "db_connections",
    ("deferreds.lost", "counter"): "deferreds_lost_total",
    ("mails", "meter"): "mails_total",
    ("jobs.total", "counter"): "jobs_total",
    ("_total", "counter"): "_total_total",
    ("db.seconds", "timer"): "db_seconds",
    ("seconds", "timer"): "seconds_seconds",
    ("404.pages", "counter"): "_404_pages_total",
    ("a-b.c@d%e#f+g:h", "gauge"): "a_b_c_d_e_f_g:h",
    ("x.errors.A.failed.B", "counter"): 'x_errors_failed_B_total{error="A"}',
    ("a.status", "gauge"): "a_status",
    ("jobs;queue=mail", "counter"): 'jobs_total{queue="mail"}',
    ("db.query;pool=a.b;table=users", "timer"): 'db_query_seconds{pool="a.b",table="users"}',
    ("http.routes.GET-a.codes.404;zone=x", "counter"): 'http_routes_codes_total{code="404",route="GET-a",zone="x"}',
    ("http.routes.GET-a.requests;route=x", "timer"): 'http_routes_GET_a_requests_seconds{route="x"}',
    ("http_client.example_org.GET.requests;host=x", "timer"): (
        'http_client_example_org_GET_requests_seconds{host="x"}'
    ),
}


@pytest.mark.parametrize(("name", "kind"), CALLED)
def test_what_a_metric_is_called(name: str, kind: str) -> None:
    """Each of the project's own instruments, and names with a catch."""
    plan = PrometheusPlan()
    plan.add(name, kind)
    [family] = plan.families.values()
    [(labels, whose)] = family.series.items()
    total = "_total" if family.type == "counter" else ""
    assert f"{family.name}{total}{f'{{{labels}}}' if labels else ''}" == CALLED[name, kind]
    assert whose == name


@pytest.mark.parametrize(
    ("name", "kind", "unit", "bounds"),
    [
        ("http.requests", "timer", "seconds", SECONDS),
        ("wait_seconds", "histogram", "seconds", SECONDS),
        ("mail.bytes", "histogram", "bytes", BYTES),
        ("cache.hit_ratio", "histogram", "ratio", RATIOS),
        ("bytes", "histogram", "", NUMBERS),
        ("jobs_seconds_total", "counter", "seconds", SECONDS),
    ],
)
def test_units_and_bounds(name: str, kind: str, unit: str, bounds: tuple[float, ...]) -> None:
    """Both go by the end of the name."""
    plan = PrometheusPlan()
    plan.add(name, kind)
    [family] = plan.families.values()
    assert (family.unit, family.bounds) == (unit, bounds)
    assert list(bounds) == sorted(set(bounds))


def test_what_a_family_says_of_itself() -> None:
    """Its kind, its unit and what it is in Graphite, or what the application says of one of its metrics."""
    plan = PrometheusPlan(help={"mail.bytes": "How large mails are.", "jobs": "What is to be done."})
    for name, kind in [("http.routes.a.requests", "timer"), ("http.routes.b.requests", "timer"), ("q.length", "gauge")]:
        plan.add(name, kind)
    plan.add("mail.bytes", "histogram")
    plan.add("jobs;queue=mail", "counter")
    plan.add("jobs;queue=print", "counter")
    plan.add("depth;queue=print", "gauge")
    assert [family.help for family in plan.families.values()] == [
        "A timer of seconds, http.routes.*.requests in Graphite.",
        "A gauge, q.length in Graphite.",
        "How large mails are.",
        "What is to be done.",
        "A gauge, depth in Graphite.",
    ]


@pytest.mark.parametrize(
    ("metrics", "families"),
    [
        ([("a-b", "counter"), ("a_b", "counter")], {"a_b": ["a-b", "a_b"]}),
        ([("x", "counter"), ("x_total", "gauge")], {"x": ["x"], "x_total_gauge": ["x_total"]}),
        ([("x_total", "gauge"), ("x", "counter")], {"x_total": ["x_total"], "x_counter": ["x"]}),
        ([("a", "histogram"), ("a_count", "gauge")], {"a": ["a"], "a_count_gauge": ["a_count"]}),
        ([("a_count", "gauge"), ("a", "timer")], {"a_count": ["a_count"], "a_seconds": ["a"]}),
        ([("a_seconds_sum", "gauge"), ("a", "timer")], {"a_seconds_sum": ["a_seconds_sum"], "a_timer_seconds": ["a"]}),
        ([("a.seconds", "histogram"), ("a", "timer")], {"a_seconds": ["a.seconds"], "a_timer_seconds": ["a"]}),
        (
            [("x", "counter"), ("x_gauge", "counter"), ("x_", "gauge"), ("x.total", "gauge"), ("x_total", "gauge")],
            {"x": ["x"], "x_gauge": ["x_gauge"], "x_": ["x_"], "x_total_gauge": ["x.total", "x_total"]},
        ),
        ([("a.b", "gauge"), ("a_b", "counter"), ("a-b", "meter")], None),
        ([("a", "gauge"), ("a;b=c", "gauge"), ("a;b=d", "gauge")], {"a": ["a", "a;b=c", "a;b=d"]}),
        ([("a.b;c=d", "gauge"), ("a_b;c=d", "gauge")], {"a_b": ["a.b;c=d", "a_b;c=d"]}),
        ([("a.status.x", "gauge"), ("a.status;status=x", "gauge")], {"a_status": ["a.status.x", "a.status;status=x"]}),
    ],
)
def test_what_would_be_the_same(metrics: list[tuple[str, str]], families: dict[str, list[str]] | None) -> None:
    """The later one has a family or a label of its own, and keeps it when the earlier one goes."""
    plan = PrometheusPlan()
    for name, kind in metrics:
        plan.add(name, kind)
    told = {family.name: [*family.series.values()] for family in plan.families.values()}
    assert families is None or told == families
    assert sorted(name for names in told.values() for name in names) == sorted(name for name, _ in metrics)
    first, *others = (name for name, _ in metrics)
    plan.discard(first)
    plan.discard(first)
    assert sorted(plan.names()) == sorted(others)
    assert [name for family in plan.families.values() for name in family.series.values()] == [
        name for names in told.values() for name in names if name != first
    ]


kinds = st.sampled_from(["counter", "gauge", "meter", "histogram", "timer"])
parts = st.sampled_from(
    [
        "a",
        "b",
        "a-b",
        "a_b",
        "total",
        "count",
        "seconds",
        "status",
        "errors",
        "routes",
        "1",
        "http_client",
        "connections",
    ]
)
EMPTY: Mapping[str, Callable[[str], Reading]] = {
    "counter": lambda name: CounterReading(name, 1),
    "gauge": lambda name: GaugeReading(name, 1),
    "meter": lambda name: MeterReading(name, 1, 0.0, 0.0, 0.0, 0.0),
    "histogram": lambda name: HistogramReading(name, 0, 0.0, None),
    "timer": lambda name: TimerReading(name, 0, 0.0, None, 0.0, 0.0, 0.0, 0.0),
}
"""A reading of each kind."""

tagged = st.builds("{};{}={}".format, parts, st.sampled_from(["route", "status", "a"]), st.sampled_from(["a", "b"]))
"""Tags that are called like the labels of other metrics, and have their values."""

changes = st.lists(
    st.tuples(
        st.lists(parts, min_size=1, max_size=5).map(".".join) | hostile.full_names | tagged, kinds, st.booleans()
    ),
    max_size=30,
)


@settings(deadline=None)
@given(changes)
def test_no_two_metrics_ever_share_a_sample(history: list[tuple[str, str, bool]]) -> None:
    """Whatever comes, goes and changes its kind, each metric that is there has a place that nobody else has."""
    plan = PrometheusPlan()
    there: dict[str, str] = {}
    for name, kind, stays in history:
        plan.add(name, kind)
        there[name] = kind
        if not stays:
            plan.discard(name)
            del there[name]
    assert {name: family.kind for family in plan.families.values() for name in family.series.values()} == there
    for format, read in [(OpenMetrics(), read_openmetrics), (PrometheusText(), read_text)]:
        told = samples(read(expose([EMPTY[kind](name) for name, kind in there.items()], format, plan)))
        assert len(told) == sum(
            len(family.bounds) + 3 if family.type == "histogram" else 1
            for family in plan.families.values()
            for _ in family.series
        )


@settings(deadline=None, max_examples=40)
@given(st.lists(hostile.good_names | hostile.full_names | tagged, min_size=1, max_size=10, unique=True), kinds)
def test_labels_are_found_again(names: list[str], kind: str) -> None:
    """The labels of a metric, by its name and the text that they are written as; and all names are Prometheus'."""
    plan = PrometheusPlan()
    for name in names:
        plan.add(name, kind)
    for family in plan.families.values():
        assert re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", family.name)
        for text, name in family.series.items():
            assert ",".join(f'{label}="{value}"' for label, value in labels_of(name, text)) == text


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1), (1, float("nan")), (1, float("inf"))])
def test_bounds_that_are_none(bounds: tuple[float, ...]) -> None:
    """They are refused with one sentence, which says what would be right."""
    with pytest.raises(ValueError, match=r"are no bounds; give finite numbers in ascending order, at least one$"):
        PrometheusPlan(bounds)
