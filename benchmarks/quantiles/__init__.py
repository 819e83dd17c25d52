"""The parts of accuracy: streams of values, and how each library tells their percentiles."""
