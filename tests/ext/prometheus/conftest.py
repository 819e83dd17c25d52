"""The servers of these tests."""

from tests.instrument.web.conftest import stage

__all__ = ["stage"]
