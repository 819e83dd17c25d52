"""The parts of soak: the server, its world, and the judgement."""
