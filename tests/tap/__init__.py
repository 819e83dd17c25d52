"""The options of twistd's ``metrics`` and of the mix-in, and the service that they make."""
