"""Datagrams: chunks over UDP, in virtual time on a network in memory, and over loopback to a real carbon."""

import pytest

pytest.register_assert_rewrite("tests.delivery.datagrams.net")
