"""The registry: names -> metrics -> an iterator of frozen readings.

One name has one kind. A metric with tags is one whose name is its full name, ``jobs;queue=mail``, to all who read.
Reading resets nothing; whoever wants to know what happened *since* holds a Reader, which remembers for itself where it
was.
"""

from txmetrics.registry._deltas import Deltas
from txmetrics.registry._reader import Reader
from txmetrics.registry._registry import MetricsRegistry
from txmetrics.registry._scope import Scope

__all__ = ["Deltas", "MetricsRegistry", "Reader", "Scope"]
