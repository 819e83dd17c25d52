"""pyformance 0.4's names, with its numbers and without its faults: for code of which only the imports change.

    import txmetrics.compat.pyformance as pyformance
    from txmetrics.compat.pyformance.meters import Timer

It tells what pyformance told, field for field: the same numbers of the same values at the same times, of its samples,
percentiles and averages. Values may come from any thread, as there; all else belongs to the reactor's. Where pyformance
was wrong, it is otherwise:

Registries

* A gauge that raised took every other metric of the report with it. Here it alone is left out until it can be read, and
  the log says so. A gauge or a thread that made a metric during a report ended it; here it does not.
* A name could be of several kinds, and one hid the other's fields. Here that is a ValueError, unless nothing is hidden:
  of a gauge with any other, and of counter, meter and timer of one function's calls (``f_calls``).
* Of two threads that made a meter at the same time, one could count on one that nobody told. Here both get the same.

Numbers

* The variance began anew whenever the mean was -1 (-1 and 5 had a variance of 0), and a rate whenever it was negative.
* A minimum was never above 2147483647 and a maximum never below -2147483647, and these were told where there were no
  values. Here they are those of the values, and 0 without any, as the mean is.
* A NaN or an infinity made the mean one for ever. Here neither is taken in.
* What is no number raised TypeError and stayed in the sample nevertheless, so that no report succeeded any more. Here
  it raises the TypeError only.
* Numbers near the largest double raised from ``add``, or from every report thereafter. Here they do not; a deviation
  for which a double has no room is infinite.
* A meter that was read in the very moment of its making raised ZeroDivisionError. Here its rate is 0.
* A decaying sample raised ZeroDivisionError on a random 0, and OverflowError when it had a large ``alpha`` and was some
  minutes old. Here it does neither.
* A sample of a time window kept all values there ever were until somebody looked. Here it keeps those of its time.

Times

* Everything was timed with the wall clock, and wrong when that was set. Here, if no other clock is given, with one that
  nobody can set.
* ``with timer.time() as t`` gave None, a second ``stop()`` counted again, and a second block of the same context lasted
  since the first. Here ``t`` is the context, which counts once a block.
* A listener of ``call_too_long``, or a sink, that raised did so in the code that was measured. Here the log says so.
* A finalizer that counted could wait for ever for a lock that its own thread held. Here it does not wait.

Decorators

* A call was over when its function returned, which for a Deferred, a coroutine or a generator is before it has begun.
  Here it is over when that is, and ``hist_calls`` takes the number that it brings.
* ``hist_calls`` raised AttributeError whenever the result was a number.
* An error in the metrics, or a function without a name (a partial), raised instead of the call. Here the log says so.

Reporters

* They reported from a thread, which waited for the backend, over a new connection each time. Here everything happens in
  the reactor, in short turns, over one connection.
* They slept for the interval after each report, and so drifted. Here reports are due at the multiples of the interval,
  and carry these as their timestamps.
* The last interval was lost. Here ``stop()`` reports it, and so does the end of the reactor.
* A report that could not be delivered was lost, and so was every error. Here it waits in bounded memory and is sent
  with its own timestamps, and errors are logged.
* Whatever a name or a value was became a line, also one that carbon cannot read. Here that is left out, and logged
  once; True and False are 1 and 0.
* A report over UDP was one datagram, which fails beyond 64 kB, and could be a pickle, which carbon does not take. Here
  datagrams hold whole lines and pass every link, and the pickle is a ValueError.
* The one for HostedGraphite could not be imported, and a single NaN would have cost it the whole report. Here it posts
  what is taken.
* The one for CSV kept a file open for each metric, and lost the report at the first name with a slash. Here no file
  stays open, and the slash is ``%2F``.
* The one for syslog glued its messages together over TCP, and stood still when the log did. Here a newline ends each,
  and what the log does not take at once is dropped.
"""

from .meters.timer import call_too_long
from .registry import (
    MetricsRegistry,
    clear,
    count_calls,
    counter,
    dump_metrics,
    gauge,
    global_registry,
    hist_calls,
    histogram,
    meter,
    meter_calls,
    set_global_registry,
    time_calls,
    timer,
)

__all__ = [
    "MetricsRegistry",
    "call_too_long",
    # on the global registry
    "global_registry",
    "set_global_registry",
    "clear",
    "counter",
    "dump_metrics",
    "gauge",
    "histogram",
    "meter",
    "timer",
    "count_calls",
    "hist_calls",
    "meter_calls",
    "time_calls",
]
