"""The live page: a registry's numbers in a browser, already there when it is opened.

    the registry ---- a point a second ----> History, three tiers of rows
                                                 |
    who asks ---- Guard ---- Dashboard ---- Overview, JSON in turns, the page's files

Its plots are drawn by plotly: ``pip install 'txmetrics[dashboard]'``. All else works without.
"""

from txmetrics.ext.dashboard._resource import Dashboard
from txmetrics.ext.dashboard._service import DashboardService

__all__ = ["Dashboard", "DashboardService"]
