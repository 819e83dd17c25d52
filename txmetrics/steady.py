"""Steady time: delayed calls that come when they should, also after somebody has set the clock.

Twisted's reactors measure their delays with the wall clock: when it is set back by an hour, every ``callLater`` waits
for an hour longer. The kernel has a clock that nobody can set, and a timer on it that a reactor can watch like a
socket (timerfd, Linux). One such timer, set for the earliest of all calls, is open as long as a call is pending.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from math import ceil, inf
from typing import Any
from weakref import WeakSet

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["steady"]


def steady(reactor: Any) -> Any:
    """An IReactorTime for ``reactor`` whose seconds pass evenly; they count from anywhere.

    It behaves like the reactor's own, but is made for tens of calls, not for thousands. A reactor whose time is not
    the wall clock (a fake one), and any where there is no timerfd (not Linux), is the answer itself, unchanged. Where
    no timer can be had for the moment (no file descriptor left, forbidden to the process) the reactor's own time does
    what it can. It is for the process that it was made in: in a forked child it leaves the parent's timer alone.
    """
    if sys.platform == "linux" and reactor.seconds is time.time and IReactorFDSet.providedBy(reactor):
        return _SteadyTime(reactor)
    return reactor


@implementer(IReactorTime, IReadDescriptor)
class _SteadyTime:
    """The calls, and the timer that the reactor watches for them.

    The timer is never read: once it has expired it stays readable until it is set anew, which is just right for a
    call that is due by then, and spares a row of ``callLater(0)`` the system calls.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[DelayedCall] = []
        self._fd = -1
        self._timer_allowed = True
        self._instead: IDelayedCall | None = None  # of the reactor, while there is no timer
        self._alarm = inf  # when one of them rings
        _in_this_process().add(self)

    # IReactorTime

    seconds = staticmethod(time.monotonic)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> DelayedCall:
        assert delay >= 0, f"{delay} is not greater than or equal to 0 seconds"
        call = DelayedCall(self.seconds() + delay, callable, args, kw, self._cancelled, self._sooner, self.seconds)
        self._calls.append(call)
        self._sooner(call)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return tuple(self._calls)

    # What a DelayedCall reports; to be put off it does not report, it is found out when the alarm rings

    def _sooner(self, call: DelayedCall) -> None:
        if call.time < self._alarm:
            self._set_alarm(call.time)

    def _cancelled(self, call: DelayedCall) -> None:
        self._calls.remove(call)
        if not self._calls:
            self._clear_alarm()

    # The calls

    def _make_calls(self) -> None:
        """Make each call that is due now; what becomes due meanwhile has its turn later."""
        now = self.seconds()
        for call in sorted([call for call in self._calls if call.time <= now], key=DelayedCall.getTime):
            if call.active() and call.getTime() <= now:  # still, after those before it
                self._calls.remove(call)
                self._make(call)
        for call in self._calls:
            call.activate_delay()
        self._keep_alarm()

    def _make(self, call: DelayedCall) -> None:
        call.called = 1
        try:
            call.func(*call.args, **call.kw)
        except BaseException:  # as the reactor does: it would take the timer away from us for it
            self.log.failure("while handling timed call")

    # The alarm

    def _keep_alarm(self) -> None:
        """Set it for the earliest call, if it does not ring by then anyway."""
        if not self._calls:
            self._clear_alarm()
            return
        first, now = min(call.time for call in self._calls), self.seconds()
        if first != self._alarm and max(first, self._alarm) > now:
            self._set_alarm(first)

    def _set_alarm(self, when: float) -> None:
        self._cancel_instead()
        self._alarm = when
        delay = max(0.0, when - self.seconds())
        try:
            self._set_timer(delay)
        except Exception:  # of whatever kind: the call must come
            self._close_timer()
            self._instead = self._reactor.callLater(delay, self._instead_rings)

    def _clear_alarm(self) -> None:
        self._cancel_instead()
        self._close_timer()
        self._alarm = inf

    def _cancel_instead(self) -> None:
        call, self._instead = self._instead, None
        if call is not None:
            call.cancel()

    def _instead_rings(self) -> None:
        self._instead = None
        self._alarm = inf  # unlike the timer it rings but once
        self._make_calls()

    # The timer

    # A relative time, although the kernel takes absolute ones: libfaketime mistakes those for wall time.

    def _set_timer(self, delay: float) -> None:
        if self._fd == -1:
            if not self._timer_allowed:
                raise OSError("the timer is not ours, or not wanted any more")
            self._fd = _timerfd_create()
            self._reactor.addReader(self)
        _timerfd_settime(self._fd, ceil(min(max(delay, NOW), NEVER) * 1e9))

    def _close_timer(self) -> None:
        if self._fd != -1:
            with suppress(Exception):  # it may be what has failed before
                self._reactor.removeReader(self)
            self._forget_timer()

    def _forget_timer(self) -> None:
        fd, self._fd = self._fd, -1
        if fd != -1:
            with suppress(OSError):
                os.close(fd)

    def _do_without_timer(self) -> None:
        """From now on, and without a word to the reactor about the one there is."""
        self._timer_allowed = False
        self._forget_timer()
        self._alarm = inf
        if self._calls:
            self._set_alarm(min(call.time for call in self._calls))

    # IReadDescriptor

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._make_calls()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has let go of the timer: it shuts down, or cannot watch a number as high as this."""
        if self._fd != -1:
            self._do_without_timer()

    def logPrefix(self) -> str:
        return "txmetrics"

    def __repr__(self) -> str:
        return f"<steady time with {self._calls}>"


# Forks


@cache
def _in_this_process() -> WeakSet[_SteadyTime]:
    """All of them, for a forked child: what it did to a timer, or to the reactor's epoll, it would do to its parent."""
    everyone: WeakSet[_SteadyTime] = WeakSet()

    def leave_the_timers_to_the_parent() -> None:
        for one in list(everyone):
            with suppress(Exception):  # it is not the business of whoever forks
                one._do_without_timer()

    os.register_at_fork(after_in_child=leave_the_timers_to_the_parent)
    return everyone


# The kernel's interface

NOW, NEVER = 1e-9, 4e9
"""In seconds. No nanoseconds at all would stop the timer; more than a century of them would not fit into 63 bits."""

if sys.version_info >= (3, 13):

    def _timerfd_create() -> int:
        return os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        os.timerfd_settime_ns(fd, initial=nanoseconds)

else:

    @cache
    def _libc() -> tuple[Any, Any]:
        """The C library, and room for an itimerspec: the interval and the time, each in seconds and nanoseconds."""
        import ctypes  # late: not everybody needs it

        libc = ctypes.CDLL(None)
        itimerspec = ctypes.c_long * 4
        libc.timerfd_create.argtypes = (ctypes.c_int, ctypes.c_int)
        libc.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, itimerspec, ctypes.c_void_p)
        return libc, itimerspec()

    def _timerfd_create() -> int:
        libc, _ = _libc()
        fd: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if fd == -1:
            raise OSError("timerfd_create failed")
        return fd

    def _timerfd_settime(fd: int, nanoseconds: int) -> None:
        libc, when = _libc()
        when[2], when[3] = divmod(nanoseconds, 1_000_000_000)
        if libc.timerfd_settime(fd, 0, when, None) == -1:
            raise OSError("timerfd_settime failed")
