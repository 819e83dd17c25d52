"""What pyformance 0.4's own reporters make of plans: a line of JSON in, one out; run with its sources in the path."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import pickle
import socket
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any

from tests.compat.clocks import Clock
from tests.compat.reporters.plans import TIMESTAMP, carry_out


def stand_in(name: str, **contents: Any) -> None:
    """For a module that pyformance asks for, and uses for little."""
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module


def results(plan: dict[str, Any]) -> dict[str, Any]:
    import pyformance

    clock = Clock(1_500_000_000)
    registry = pyformance.MetricsRegistry(clock)
    carry_out(plan["operations"], registry, clock)
    carbon = reporter("carbon", "CarbonReporter")(registry, 10, plan["prefix"], clock=clock)
    lines = carbon._collect_metrics(registry, TIMESTAMP)
    carbon.pickle_protocol = True
    points = pickle.loads(carbon._collect_metrics(registry, TIMESTAMP)[4:])
    return {"lines": lines.decode(), "points": points, **others(registry, clock)}


def others(registry: Any, clock: Any) -> dict[str, Any]:
    page = io.StringIO()
    reporter("console", "ConsoleReporter")(registry, 10, page, clock).report_now(timestamp=TIMESTAMP)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, tempfile.TemporaryDirectory() as folder:
        log.bind(f"{folder}/log")
        log.settimeout(10)
        syslog = reporter("syslog", "SysLogReporter")(registry, 10, "web", clock, log.getsockname())
        syslog.report_now(timestamp=TIMESTAMP)
        (handler,) = syslog.logger.handlers
        syslog.logger.removeHandler(handler)
        handler.close()
        os.unlink(f"{folder}/log")
        rows = {}
        if not any("/" in name for name in registry.dump_metrics()):
            with reporter("csv", "CsvReporter")(registry, 10, folder, ";", clock) as csv:
                csv.report_now(timestamp=TIMESTAMP)
                csv.report_now(timestamp=TIMESTAMP + 10)
            rows = {file.name: file.read_text() for file in Path(folder).iterdir()}
        return {"page": page.getvalue(), "rows": rows, "message": base64.b64encode(log.recv(2**18)).decode()}


def reporter(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"pyformance.reporters.{module}_reporter"), name)


def main() -> None:
    warnings.simplefilter("ignore")
    stand_in("pkg_resources", declare_namespace=lambda name: None)
    stand_in("six", iteritems=lambda mapping: iter(mapping.items()))
    for line in sys.stdin:
        print(json.dumps(results(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
