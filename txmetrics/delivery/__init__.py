"""Chunks -> a backend: bounded memory, bounded stop. Knows neither metrics nor formats."""

from txmetrics.delivery._secret import Secret
from txmetrics.delivery._stream import Stream

__all__ = ["Secret", "Stream"]
