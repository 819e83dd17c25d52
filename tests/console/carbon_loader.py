"""Runs in carbon's own virtual environment: what its loader makes of two configuration files.

A question is a line of JSON on stdin: the directory of the files, and names of series. So is its answer on stdout: for
each name the archives, the xFilesFactor and the method that carbon would make its file with, and what it logged.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

import whisper
from carbon import log, state
from carbon.conf import settings

settings["CONF_DIR"] = ""
storage = import_module("carbon.storage")  # which asks for that when it is imported


class Whisper:
    """What the loader asks of carbon's database: here it is whisper itself."""

    aggregationMethods = whisper.aggregationMethods
    validateArchiveList = staticmethod(whisper.validateArchiveList)


def verdict(directory: str, names: list[str]) -> dict[str, Any]:
    """How carbon would store each of ``names``."""
    complaints: list[str] = []
    log.msg = log.err = complaints.append
    storage.STORAGE_SCHEMAS_CONFIG = os.path.join(directory, "storage-schemas.conf")
    storage.STORAGE_AGGREGATION_CONFIG = os.path.join(directory, "storage-aggregation.conf")
    schemas, aggregations = storage.loadStorageSchemas(), storage.loadAggregationSchemas()
    stored = {}
    for name in names:
        archives = next(schema for schema in schemas if schema.matches(name)).archives
        factor, method = next(rule for rule in aggregations if rule.matches(name)).archives
        stored[name] = [[archive.getTuple() for archive in archives], factor, method]
    return {"stored": stored, "complaints": complaints}


if __name__ == "__main__":
    state.database = Whisper
    for question in sys.stdin:
        print(json.dumps(verdict(**json.loads(question))), flush=True)
