"""What a report of 50,000 and of 500,000 values costs the server that makes it: CPU time, memory, and the time in which
its reactor does nothing else.

    python -m benchmarks.flush                # eight minutes or so; --quick: a look at whether it runs

The cost of a report is measured without a network, see ``reports/cost.py``; how long its turns of the reactor are, and
for how long the reactor stands still, in a reactor of its own that sends real reports to another process, see
``reports/reactor.py``. What is compared takes turns; the times are CPU times.
"""

from __future__ import annotations

import argparse

from benchmarks.reports import cost, turns
from benchmarks.results import Results

ROUNDS = {20: 21, 0: 11, 1000: 3}
"""How often a report is measured, by how many values each timer has in the interval."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What a report costs.")
    parser.add_argument("--quick", action="store_true", help="only see whether it runs")
    parser.add_argument("--json", metavar="FILE", help="write the results there, too")
    given = parser.parse_args()
    values = 1_000 if given.quick else 50_000
    results = Results("flush")
    memory, missing = cost.measure_memory(values)
    costs = cost.measure(values, dict.fromkeys(ROUNDS, 1) if given.quick else ROUNDS)
    by_reactor = turns.measure(turns.QUICK if given.quick else turns.THOROUGH)
    results.add(*cost.tell(costs, missing))
    results.add(*turns.tell(by_reactor))
    results.add(*cost.tell_memory(memory))
    results.show()
    if given.json is not None:
        results.write(given.json)


if __name__ == "__main__":
    main()
