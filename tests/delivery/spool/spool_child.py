"""A process that fills a spool until it is killed: ``python -m tests.delivery.spool.spool_child DIRECTORY FIRST SEED``.

It says on its standard output what is certain to have happened: ``+17`` appended, ``-17`` settled.
"""

from __future__ import annotations

import os
import sys
import time
from random import Random

from txmetrics.delivery._spool import Spool
from txmetrics.interfaces import Chunk

STEPS = 300
MOST_BYTES = 200_000


def numbered(number: int) -> Chunk:
    """The chunk with this number, the same in every process."""
    random = Random(number)
    return Chunk(random.randbytes(random.randrange(MOST_BYTES)), random.randrange(1, 500), number)


def main(directory: str, first: int, seed: int) -> None:
    random = Random(seed)
    spool = Spool(directory, max_bytes=2**30)
    spool.open()
    chunks = [numbered(number) for number in range(first, first + STEPS)]
    for chunk in chunks:
        if spool.append(chunk):
            os.write(1, b"+%d\n" % chunk.timestamp)
        if random.random() < 0.3:
            taken = spool.take()
            spool.settle()
            os.write(1, b"-%d\n" % (taken.timestamp if taken else -1))
    time.sleep(60)  # to be killed


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
