"""Chunks -> a backend: bounded memory, bounded stop. Knows neither metrics nor formats."""

from txmetrics.delivery._datagrams import Datagrams
from txmetrics.delivery._failover import Failover
from txmetrics.delivery._log import Log
from txmetrics.delivery._log_targets import log_target
from txmetrics.delivery._lookups import with_own_lookups
from txmetrics.delivery._otlp import OTLP, check_otlp_url
from txmetrics.delivery._peers import HOSTED_GRAPHITE_SINK, REMOTE_WRITE, check_remote_write_url, check_url
from txmetrics.delivery._post import Post
from txmetrics.delivery._route import check_host
from txmetrics.delivery._secret import Authorization, Secret
from txmetrics.delivery._spool import Spool
from txmetrics.delivery._stream import REPLAY_WINDOW, Stream
from txmetrics.delivery._survey import Survey, find_spools, survey

__all__ = [
    "HOSTED_GRAPHITE_SINK",
    "OTLP",
    "REMOTE_WRITE",
    "REPLAY_WINDOW",
    "Authorization",
    "Datagrams",
    "Failover",
    "Log",
    "Post",
    "Secret",
    "Spool",
    "Stream",
    "Survey",
    "check_host",
    "check_otlp_url",
    "check_remote_write_url",
    "check_url",
    "find_spools",
    "survey",
    "log_target",
    "with_own_lookups",
]
