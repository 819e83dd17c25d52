"""The parts of hot_path: what is compared, what a value costs in all, instructions, and importing."""
