"""The twistd plugin ``metrics``, and the same options as a mix-in for plugins of your own.

    twistd -n metrics --metrics-graphite=tcp:127.0.0.1:2003 web --listen=tcp:8080 --path=.

Under twistd the options and ``makeService`` run in the parent, before the fork and as root: nothing is opened, no pid
is taken and no clock is read until the services start.

With ``--workers=4`` that process is a supervisor (``_workers``) of four others, in each of which twistd runs the same
plugin (``_worker``), with the ports of the application shared (``_shared_ports``).
"""

from txmetrics.tap._options import KEY_VARIABLE, MetricsOptionMixin
from txmetrics.tap._plugin import Options, makeService, measured
from txmetrics.tap._service import MeasuredService

__all__ = ["KEY_VARIABLE", "MeasuredService", "MetricsOptionMixin", "Options", "makeService", "measured"]
