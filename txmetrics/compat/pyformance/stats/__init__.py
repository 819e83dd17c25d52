"""What stands behind the meters: samples of values, their percentiles, moving averages of rates."""

from .moving_average import ExpWeightedMovingAvg
from .samples import ExpDecayingSample
from .snapshot import Snapshot

__all__ = ["ExpDecayingSample", "ExpWeightedMovingAvg", "Snapshot"]
