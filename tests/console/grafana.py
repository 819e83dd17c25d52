"""Grafana's side of a dashboard: its panels, its variables filled in, and its schema as Grafana publishes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.carbon import cache, locked

Json: TypeAlias = dict[str, Any]

PACKAGES = ["@grafana/schema@13.2.3", "typescript@5.9.3"]
"""Grafana's own types of a dashboard, made from its schema, and the compiler that holds a dashboard against them."""


def panels(dashboard: Json) -> Iterator[Json]:
    """All of them, those in collapsed rows as well, but for the rows."""
    for panel in dashboard["panels"]:
        yield from panel.get("panels", []) if panel["type"] == "row" else [panel]


def targets(dashboard: Json) -> Iterator[Json]:
    """Of all panels."""
    for panel in panels(dashboard):
        yield from panel["targets"]


def variables(dashboard: Json) -> list[Json]:
    """The choices above the panels, without the data source."""
    first, *others = dashboard["templating"]["list"]
    assert first["type"] == "datasource"
    return others


def filled(text: str, values: Mapping[str, str]) -> str:
    """``text`` with the values of the variables in it, also in a regular expression; all of them must be there."""
    return re.sub(r"\$(?:\{(\w+)(?::regex)?\}|(\w+))", lambda match: values[match[1] or match[2]], text)


# The schema

_CHECK = """\
import type {{ Dashboard, DataQuery, FieldConfig, FieldConfigSource, Panel, RowPanel }} from "@grafana/schema";
import type * as timeseries from "{raw}/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import type * as stat from "{raw}/stat/panelcfg/x/StatPanelCfg_types.gen";

// A value of an enumeration is its text in JSON.
type Json<T> = T extends string ? `${{T}}`
    : T extends readonly (infer Item)[] ? Json<Item>[]
    : T extends object ? {{ [Key in keyof T]: Json<T[Key]> }}
    : T;

// What Grafana leaves open in a panel, because it depends on its type.
type Defaults<Custom> = Omit<FieldConfig, "custom"> & {{ custom?: Custom }};
type Fields<Custom> = Omit<FieldConfigSource, "defaults"> & {{ defaults: Defaults<Custom> }};
type Of<Type, Options, Custom> = Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> & {{
    type: Type; options: Options; fieldConfig: Fields<Custom>; targets: (DataQuery & Query)[];
}};
type Query = {query};
type Panels = Of<"timeseries", timeseries.Options, timeseries.FieldConfig> | Of<"stat", stat.Options, undefined>;
type Row = Omit<RowPanel, "panels"> & {{ panels: Panels[] }};

const published: Json<Dashboard> = {dashboard};
const exact: Json<Omit<Dashboard, "panels"> & {{ panels: (Panels | Row)[] }}> = {dashboard};
"""

_RAW = "@grafana/schema/dist/esm/raw/composable"

_QUERIES = {
    "graphite": "{ target: string; textEditor: boolean }",
    "prometheus": '{ expr: string; legendFormat: string; editorMode: "code" | "builder"; range: boolean }',
}


def complaints(dashboards: Mapping[str, Json], directory: Path) -> dict[str, list[str]]:
    """What the compiler says against each of the dashboards, by its name; they are compiled in ``directory``."""
    packages = _installed()
    (directory / "node_modules").symlink_to(packages / "node_modules")
    for name, dashboard in dashboards.items():
        query = _QUERIES[dashboard["templating"]["list"][0]["query"]]
        text = _CHECK.format(raw=_RAW, query=query, dashboard=json.dumps(dashboard, indent=1))
        (directory / f"{name}.ts").write_text(text)
    options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "esnext"]
    compiler = packages / "node_modules" / "typescript" / "bin" / "tsc"
    files = [f"{name}.ts" for name in dashboards]
    done = subprocess.run(
        ["node", str(compiler), *options, "--moduleResolution", "bundler", "--pretty", "false", *files],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = (done.stdout + done.stderr).splitlines()
    found = {name: [line for line in lines if line.startswith(f"{name}.ts(")] for name in dashboards}
    assert (done.returncode == 0) is not any(found.values()), lines
    return found


def _installed() -> Path:
    """The directory with the packages, filled on first use; all test runs share it."""
    if shutil.which("npm") is None:
        pytest.fail("npm is not installed: apt-get install npm", pytrace=False)
    home = cache() / f"grafana-schema-{PACKAGES[0].rpartition('@')[2]}"
    with locked(cache() / f"{home.name}.lock"):
        marker = home / "complete"
        if not marker.exists() or marker.read_text().split() != PACKAGES:
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            (home / "package.json").write_text("{}\n")
            npm = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
            done = subprocess.run(npm, cwd=home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
            if done.returncode:
                pytest.fail(f"installing {' and '.join(PACKAGES)} failed: {done.stderr[-500:]}", pytrace=False)
            marker.write_text("\n".join(PACKAGES) + "\n")
    return home
