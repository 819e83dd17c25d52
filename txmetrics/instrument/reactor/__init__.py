"""The reactor itself: how busy it is, how late, and who held it up."""

from txmetrics.instrument.reactor._blocked import Block, BlockingCalls
from txmetrics.instrument.reactor._lag import Lag
from txmetrics.instrument.reactor._reactor import MeasuredReactor

__all__ = ["Block", "BlockingCalls", "Lag", "MeasuredReactor"]
