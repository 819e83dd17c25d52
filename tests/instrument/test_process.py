"""The process's own numbers, with psutil as the judge of them."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from txmetrics import MetricsRegistry
from txmetrics.instrument import MeasuredProcess, _process

FROM_THE_SYSTEM = {"resident_memory_bytes", "open_fds", "threads", "uptime_seconds"}
EVERYWHERE = {"cpu_seconds", "max_fds", "context_switches.voluntary", "context_switches.involuntary"}
COLLECTOR = {"gc.collections.generation0", "gc.collections.generation1", "gc.collections.generation2", "gc.pause"}


class Measured:
    """A MeasuredProcess that runs, and what a reporter reads of it."""

    def __init__(self) -> None:
        self.registry = MetricsRegistry()
        self.service = MeasuredProcess(self.registry)
        self.service.startService()

    def read(self) -> dict[str, Any]:
        """Fields by name, without the scope."""
        return {
            reading.name.removeprefix("process."): reading.fields().get("value", reading.fields())
            for reading in self.registry.snapshot()
        }


def descriptors() -> int:
    """How many are open, by trying them; psutil counts one of its own as well."""

    def is_open(number: int) -> bool:
        try:
            os.fstat(number)
        except OSError:
            return False
        return True

    return sum(map(is_open, range(4096)))


@pytest.fixture
def measured() -> Iterator[Measured]:
    callbacks = list(gc.callbacks)
    measured = Measured()
    yield measured
    measured.service.stopService()
    assert gc.callbacks == callbacks


def test_every_number_has_its_name(measured: Measured) -> None:
    """These, and no others."""
    assert set(measured.read()) == FROM_THE_SYSTEM | EVERYWHERE | COLLECTOR


def test_the_numbers_are_psutils(measured: Measured, tmp_path: Path) -> None:
    """Asked at the same moment, with files and threads that were not there before, and memory that was not."""
    judge, over = psutil.Process(), threading.Event()
    before = measured.read()
    threads = [threading.Thread(target=over.wait) for _ in range(3)]
    files = [(tmp_path / str(number)).open("w") for number in range(20)]
    memory = bytearray(b"x") * 50_000_000
    try:
        for thread in threads:
            thread.start()
        switches = judge.num_ctx_switches()
        read = measured.read()
        assert read["open_fds"] == descriptors() == before["open_fds"] + 20
        assert read["threads"] == judge.num_threads() == before["threads"] + 3
        assert read["max_fds"] == judge.rlimit(psutil.RLIMIT_NOFILE)[0]
        assert read["resident_memory_bytes"] == pytest.approx(judge.memory_info().rss, abs=2e6)
        assert read["resident_memory_bytes"] - before["resident_memory_bytes"] > len(memory) - 2e6
    finally:
        over.set()
        for file in files:
            file.close()
        for thread in threads:
            thread.join()
    times = judge.cpu_times()
    assert read["cpu_seconds"] == pytest.approx(times.user + times.system, abs=0.5)
    assert read["uptime_seconds"] == pytest.approx(time.time() - judge.create_time(), abs=1.5)
    assert read["context_switches.voluntary"] >= switches.voluntary  # of the main thread alone
    assert read["context_switches.involuntary"] >= switches.involuntary


def test_waiting_is_a_voluntary_switch_and_work_is_cpu_time(measured: Measured) -> None:
    """What is counted grows by what happens."""
    before = measured.read()
    for _ in range(20):
        time.sleep(0.001)
    begin = time.process_time()
    while time.process_time() < begin + 0.05:
        pass
    after = measured.read()
    assert after["context_switches.voluntary"] - before["context_switches.voluntary"] >= 20
    assert after["cpu_seconds"] - before["cpu_seconds"] >= 0.05


def test_an_old_kernel_does_not_tell_the_number_of_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are listed then, and the listing's own is not counted."""

    class OldPath(type(Path())):
        def stat(self, **settings: Any) -> os.stat_result:
            fields = list(super().stat(**settings))
            fields[6] = 0
            return os.stat_result(fields)

    monkeypatch.setattr(_process, "PROC", OldPath("/proc/self"))
    assert _process._open_fds() == descriptors()


def test_a_name_in_the_process_table_may_be_anything(measured: Measured) -> None:
    """Brackets and blanks in it, which the kernel does not escape, shift no field."""
    name = Path("/proc/self/comm")
    before = name.read_text()
    name.write_text("a) R 1 (b")
    try:
        assert measured.read()["threads"] == psutil.Process().num_threads()
    finally:
        name.write_text(before)


def test_without_proc_psutil_tells_the_same(
    measured: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On other systems than Linux, where it is installed."""
    expected = measured.read()
    monkeypatch.setattr(_process, "PROC", tmp_path)
    elsewhere = Measured()
    read = elsewhere.read()
    elsewhere.service.stopService()
    assert read.keys() == expected.keys()
    assert read["open_fds"] == expected["open_fds"] + 1  # psutil's own, on Linux
    assert read["threads"] == expected["threads"]
    assert read["resident_memory_bytes"] == pytest.approx(expected["resident_memory_bytes"], abs=2e6)
    assert read["uptime_seconds"] == pytest.approx(expected["uptime_seconds"], abs=1.5)


def test_without_proc_and_psutil_the_rest_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody can tell is left out."""
    monkeypatch.setattr(_process, "PROC", tmp_path)
    monkeypatch.setitem(sys.modules, "psutil", None)
    measured = Measured()
    assert set(measured.read()) == EVERYWHERE | COLLECTOR
    measured.service.stopService()


def test_a_run_of_the_collector_is_a_pause(measured: Measured) -> None:
    """It is counted by its generation, and took as long as it took."""
    before = measured.read()
    begin = time.perf_counter()
    for generation in (0, 1, 2, 2):
        gc.collect(generation)
    took = time.perf_counter() - begin
    after = measured.read()
    for generation, runs in enumerate([1, 1, 2]):
        name = f"gc.collections.generation{generation}"
        assert after[name] - before[name] >= runs
    assert after["gc.pause"]["count"] - before["gc.pause"]["count"] >= 4
    assert 0 < after["gc.pause"]["max"] <= after["gc.pause"]["sum"] - before["gc.pause"]["sum"] <= took + 0.1


def test_many_pauses_are_taken_in_several_steps(measured: Measured) -> None:
    """A report may hold the reactor for a millisecond or so at a time: the rest has to wait, and is not lost."""
    gc.disable()
    try:
        taken = measured.read()["gc.pause"]["count"]
        measured.service._collector._pauses.extend([0.001] * 4 * _process.AT_A_TIME)
        first, second = measured.read()["gc.pause"]["count"], measured.read()["gc.pause"]["count"]
    finally:
        gc.enable()
    assert first - taken == 3 * _process.AT_A_TIME
    assert second - taken == 4 * _process.AT_A_TIME


def test_a_collection_in_another_thread_touches_no_metric_there(measured: Measured) -> None:
    """Metrics belong to the reactor's thread: it is put aside until they are read."""
    pause = measured.registry.timer("process.gc.pause")
    thread = threading.Thread(target=gc.collect)
    thread.start()
    thread.join()
    before = pause.count
    assert measured.read()["gc.pause"]["count"] > before


def test_a_service_that_is_stopped_hears_no_collection() -> None:
    """And one that is started again hears each once."""
    measured = Measured()
    measured.service.startService()
    measured.service.stopService()
    measured.service.stopService()
    stopped = measured.read()["gc.pause"]["count"]
    gc.collect()
    assert measured.read()["gc.pause"]["count"] == stopped
    measured.service.startService()
    gc.disable()
    try:
        gc.collect()
    finally:
        gc.enable()
    measured.service.stopService()
    assert measured.read()["gc.pause"]["count"] == stopped + 1


def test_no_limit_is_no_number(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Infinity is not -1; Graphite gets neither."""
    unlimited = _process.resource.RLIM_INFINITY
    monkeypatch.setattr(_process.resource, "getrlimit", lambda which: (unlimited, unlimited))
    assert measured.read()["max_fds"] == float("inf")
