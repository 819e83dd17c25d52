"""The reporter turns the crank: every interval it collects, encodes and delivers, and it never dies.

LoopingCall --tick--> a report, in turns of TURN seconds with pauses in between --chunks--> the delivery
"""

from txmetrics.reporter._report import TURN
from txmetrics.reporter._reporter import PAUSE, STOP, Backend, Reporter, check_interval

__all__ = ["PAUSE", "STOP", "TURN", "Backend", "Reporter", "check_interval"]
