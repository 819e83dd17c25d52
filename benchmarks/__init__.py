"""What txmetrics and its peers cost: ``python -m benchmarks`` measures everything and writes docs/performance.md."""

PARTS = {
    "hot_path": 30,
    "accuracy": 60,
    "memory": 30,
    "flush": 30,
    "scale": 60,
    "request": 30,
    "looks": 15,
    "end_to_end": 60,
    "soak": 90,
}
"""Each is a module here. In this order; one that takes longer than so many minutes has failed."""
