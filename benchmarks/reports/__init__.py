"""The parts of flush: registries, the cost of their reports, and a reactor that sends them."""
