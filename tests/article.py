"""What the article of 2013 printed after 3, 3 and 15, under today's names."""

SPREAD = {
    "max": 15.0,
    "mean": 7.0,
    "min": 3.0,
    "stddev": 6.928203230275509,
    "p50": 3.0,
    "p75": 15.0,
    "p95": 15.0,
    "p98": 15.0,
    "p99": 15.0,
    "p999": 15.0,
}

WORLD_SIZE = {"count": 3, "sum": 21.0, **SPREAD}
