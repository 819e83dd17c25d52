"""Damages so many spools: ``python -m tests.delivery.spool 100000``."""

from __future__ import annotations

import sys
import time

from tests.delivery.spool.test_mutations import fuzz

if __name__ == "__main__":
    begun = time.monotonic()
    print(dict(fuzz(0, int(sys.argv[1]))), f"{time.monotonic() - begun:.0f} s")
