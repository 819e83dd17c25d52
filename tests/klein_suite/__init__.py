"""Klein's own test suite, from its source distribution, bare and with every one of its resources measured."""
