"""The parts of memory and scale: what is measured, and where."""
