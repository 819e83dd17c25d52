"""How many instructions an operation takes: however busy the machine is, they are the same."""

from __future__ import annotations

import sys
from timeit import Timer

from benchmarks import valgrind
from benchmarks.costs.operations import EMPTY, PIECE, REFERENCE, Operation, all_operations
from benchmarks.results import Table

__all__ = ["TITLE", "count", "tell"]

TITLE = "Instructions of one operation"
LOOP, REF = "loop", "REF"


def count(number: int) -> dict[str, float]:
    """Instructions of an operation, by its name, and of REF, without those of the loop around it.

    Raises what ``valgrind.count`` raises.
    """
    counts = valgrind.count("benchmarks.costs.instructions", str(number))
    loop = counts.pop(LOOP)
    return {name: instructions - loop for name, instructions in counts.items()}


def perform(number: int) -> None:
    """What valgrind watches."""
    operations, _ = all_operations()
    for operation in (EMPTY, REFERENCE, *operations):
        timer, often = Timer(operation.code, globals=operation.names), number
        if operation.before is not None:
            often = PIECE // 2
        for _ in range(3):  # so that the interpreter has specialised it
            timer.timeit(PIECE)
        if operation.before is not None:
            operation.before()
        valgrind.tell(name(operation), timer.timeit, often)


def name(operation: Operation) -> str:
    if operation in (EMPTY, REFERENCE):
        return LOOP if operation is EMPTY else REF
    return f"{operation.what}, {operation.library}"


def tell(operations: list[Operation], counts: dict[str, float]) -> Table:
    """A table of what ``count`` has counted."""
    table = Table(TITLE, ["", "library", "", "instructions", "x REF"])
    table.note = "Counted by valgrind, however busy the machine is. What the kernel does, for a datagram, is not in it."
    for operation in (REFERENCE, *operations):
        instructions = counts[name(operation)]
        cells = [f"{instructions:,.0f}", f"{instructions / counts[REF]:.2f}"]
        table.rows.append([operation.what, operation.library, f"`{operation.code}`", *cells])
    return table


if __name__ == "__main__":
    perform(int(sys.argv[1]))
