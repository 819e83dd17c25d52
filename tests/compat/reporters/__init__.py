"""The reporters of the layer."""
