"""``examples/klein_app.py`` as a newcomer runs it: asked over HTTP, stopped, and read back from a real carbon."""

from __future__ import annotations

import http.client
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.carbon import Carbon
from tests.processes import ROOT, SECONDS, Child, check_reaches, check_stored, get, run

KLEIN_APP = [sys.executable, "-W", "error", ROOT / "examples" / "klein_app.py"]


@pytest.fixture
def shop(own_carbon: Carbon, tmp_path: Path) -> Iterator[Child]:
    """The example; its names have no prefix, so the carbon is its own."""
    with Child(*KLEIN_APP, f"tcp:127.0.0.1:{own_carbon.line_port}", "--listen=0", cwd=tmp_path) as child:
        yield child


def port_of(child: Child) -> int:
    """The port that it says one can ask."""
    return int(child.says(r"curl http://127\.0\.0\.1:(\d+)/item/2")[1])


def post(port: int, path: str) -> int:
    """The status of one order."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as connection:
        connection.request("POST", path)
        return connection.getresponse().status


def stop(shop: Child) -> None:
    """It ends in good order, and has reported what was left to report."""
    assert shop.stop() in (0, -signal.SIGTERM)
    assert "measuring" not in shop.output()


def test_a_real_carbon_has_the_routes_after_sigterm(own_carbon: Carbon, shop: Child) -> None:
    """A route is the author's rule: neither the number of an item, nor a path that there is not, makes a series."""
    port = port_of(shop)
    assert [status for status, _ in get(port, "/", 5)] == [200] * 5
    for number in (1, 2, 3):
        assert get(port, f"/item/{number}", number)[-1][0] == 200
    assert get(port, "/item/77")[0][0] == 404
    for path in ("/nothing", "/secret/of/a/client"):
        assert get(port, path)[0][0] == 404
    assert [post(port, f"/item/{number}/order") for number in (1, 3, 4, 5)] == [200, 200, 500, 500]
    stop(shop)

    routes = "http.routes"
    check_stored(own_carbon, f"{routes}.GET-_root.requests.count", 5)
    check_stored(own_carbon, f"{routes}.GET-item-_number.requests.count", 7)
    check_stored(own_carbon, f"{routes}.GET-item-_number.status.2xx.count", 6)
    check_stored(own_carbon, f"{routes}.GET-item-_number.status.4xx.count", 1)
    check_reaches(own_carbon, f"{routes}.GET-item-_number.requests.max", 0.01)
    check_stored(own_carbon, f"{routes}._404.requests.count", 2)
    check_stored(own_carbon, f"{routes}.POST-item-_number-order.status.2xx.count", 2)
    check_stored(own_carbon, f"{routes}.POST-item-_number-order.status.5xx.count", 2)
    check_stored(own_carbon, f"{routes}.POST-item-_number-order.errors.KeyError.count", 2)
    check_stored(own_carbon, "http.requests.count", 5 + 7 + 2 + 4)
    check_stored(own_carbon, "http.status.5xx.count", 2)
    check_stored(own_carbon, "http.active", 0)
    check_stored(own_carbon, "http.measuring_errors.count", 0)
    made = {name.split(".")[2] for name in own_carbon.names() if name.startswith(f"{routes}.")}
    assert made == {"GET-_root", "GET-item-_number", "_404", "POST-item-_number-order"}


def test_a_real_carbon_has_who_held_the_reactor(own_carbon: Carbon, shop: Child) -> None:
    """By name, though Klein and a Deferred stand between; and each kind of report is a route of its own."""
    port = port_of(shop)
    assert [status for status, _ in get(port, "/admin/close-the-day", 2)] == [200] * 2
    assert [status for status, _ in get(port, "/admin/report/stock", 3)] == [200] * 3
    assert [status for status, _ in get(port, "/admin/report/sales", 4)] == [200] * 4
    assert get(port, "/admin/report/made-up")[0][0] == 404
    stop(shop)

    check_stored(own_carbon, "reactor.blocked.Shop_close_the_day.count", 2)
    check_reaches(own_carbon, "reactor.blocked.Shop_close_the_day.min", 0.1)
    check_stored(own_carbon, "http.routes.GET-admin-close-the-day.requests.count", 2)
    check_stored(own_carbon, "http.routes.GET-admin-report-stock.requests.count", 3)
    check_stored(own_carbon, "http.routes.GET-admin-report-sales.requests.count", 4)
    check_stored(own_carbon, "http.routes.GET-admin-report-_kind.status.4xx.count", 1)
    for name in ("reactor.blocked.HTTPChannel_dataReceived.min", "http.blocking.max", "reactor.ticks.max"):
        check_reaches(own_carbon, name, 0.05)  # the threshold; the reports of the stock took 0.1
    check_reaches(own_carbon, "reactor.blocked.HTTPChannel_dataReceived.count", 3)
    check_reaches(own_carbon, "reactor.lag.count", 1)
    check_reaches(own_carbon, "reactor.readers", 1)


def test_a_real_carbon_has_the_long_lived_apart(own_carbon: Carbon, shop: Child) -> None:
    """A stream of events that its client leaves, a long poll that is answered, and one that nobody answers."""
    port = port_of(shop)
    with (
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as events,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as answered,
        closing(http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)) as unanswered,
    ):
        events.request("GET", "/events")
        assert events.getresponse().readline() == b"data: 0\n"
        answered.request("GET", "/admin/next-order")
        get(port)  # what was sent before this was answered has come, too
        assert post(port, "/item/2/order") == 200
        assert answered.getresponse().read() == b"order 1: sextant\n"
        unanswered.request("GET", "/admin/next-order")
        get(port)
        events.close()
        get(port)
        stop(shop)

    check_stored(own_carbon, "http.routes.GET-events.long_lived.count", 1)
    check_stored(own_carbon, "http.routes.GET-events.aborted.count", 1)
    check_stored(own_carbon, "http.routes.GET-admin-next-order.long_lived.count", 1)
    check_stored(own_carbon, "http.routes.GET-admin-next-order.status.2xx.count", 1)
    check_stored(own_carbon, "http.long_lived.count", 2)
    check_stored(own_carbon, "http.active_long_lived", 1)
    check_stored(own_carbon, "http.requests.count", 4)
    check_stored(own_carbon, "http.active", 0)


def test_a_wrong_endpoint_is_one_line(tmp_path: Path) -> None:
    """After the usage, as with everything that argparse finds wrong."""
    ended = run(*KLEIN_APP, "localhost", cwd=tmp_path)
    assert ended.returncode == 2
    assert "'localhost' is no endpoint such as tcp:127.0.0.1:2003" in ended.stdout.splitlines()[-1]


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    """The commonest accident with an example, and not a success."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run(*KLEIN_APP, "unix:nobody", "--listen", taken.getsockname()[1], cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stdout.startswith("klein_app.py: Couldn't listen on 127.0.0.1:")
    assert ended.stdout.count("\n") == 1
