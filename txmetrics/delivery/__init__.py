"""Chunks -> a backend: bounded memory, bounded stop. Knows neither metrics nor formats."""

from txmetrics.delivery._datagrams import Datagrams
from txmetrics.delivery._lookups import with_own_lookups
from txmetrics.delivery._post import HOSTED_GRAPHITE_SINK, Post, check_url
from txmetrics.delivery._route import check_host
from txmetrics.delivery._secret import Secret
from txmetrics.delivery._spool import Spool
from txmetrics.delivery._stream import REPLAY_WINDOW, Stream

__all__ = [
    "HOSTED_GRAPHITE_SINK",
    "REPLAY_WINDOW",
    "Datagrams",
    "Post",
    "Secret",
    "Spool",
    "Stream",
    "check_host",
    "check_url",
    "with_own_lookups",
]
