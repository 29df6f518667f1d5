"""Runs engines side by side, each in a process of its own, and samples the memory they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
from typing import Any, BinaryIO

import psutil

from tffcxr import child_process
from tffcxr.benchmarks.benchmark_engines import Job
from tffcxr.errors import InputError

_SAMPLE_SECONDS = 0.2
_FAMILY_SECONDS = 2.0  # Looking for new child processes reads all of /proc.
_END_SECONDS = 10.0
_START = "from tffcxr.benchmarks import benchmark_engines; benchmark_engines.main()"


class EngineError(RuntimeError):
    """An engine's process reported an error or died."""


@dataclasses.dataclass(frozen=True)
class Repetition:
    """One timed run: its wall-clock seconds, its images, and the resident bytes after it."""

    seconds: float
    images: int
    memory: int

    @property
    def speed(self) -> float:
        """Images per second."""
        return self.images / self.seconds


@dataclasses.dataclass
class Outcome:
    """What was measured of one job.

    Attributes:
      job: what ran.
      import_seconds: from the start of the process until all packages were imported.
      build_seconds: model, computations and their tracing, after that.
      first: the first round, with all that is done when a computation is first called.
      repetitions: the timed ones, in order.
      peak_memory: highest sum of resident bytes of the process and its descendants.
      error: why there is no result, in one line; None if all went well.
    """

    job: Job
    import_seconds: float = 0.0
    build_seconds: float = 0.0
    first: Repetition | None = None
    repetitions: list[Repetition] = dataclasses.field(default_factory=list)
    peak_memory: int = 0
    error: str | None = None

    @property
    def speed(self) -> float | None:
        """Median images per second; None without a result."""
        if self.error or not self.repetitions:
            return None
        return statistics.median(repetition.speed for repetition in self.repetitions)

    @property
    def seconds_per_client(self) -> float | None:
        """Median seconds of one client's share of a repetition; None without a result."""
        if self.error or not self.repetitions:
            return None
        return statistics.median(r.seconds for r in self.repetitions) / self.job.clients


class FamilyMemory:
    """The resident memory of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._family: list[psutil.Process] = []
        self._looked = -_FAMILY_SECONDS

    def resident(self, refresh: bool = False) -> int:
        """Current bytes; the list of descendants is refreshed every few seconds, or on request."""
        if refresh or time.monotonic() - self._looked >= _FAMILY_SECONDS:
            self._looked = time.monotonic()
            with contextlib.suppress(psutil.NoSuchProcess):
                program = psutil.Process(self._pid)
                self._family = [program, *program.children(recursive=True)]
        total = 0
        for process in self._family:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                total += process.memory_info().rss
        return total


class _Contestant:
    """The process of one job, with a thread that samples its memory while it is at work."""

    def __init__(self, job: Job, log: BinaryIO) -> None:
        self.outcome = Outcome(job)
        reading, writing = os.pipe()
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START, json.dumps(dataclasses.asdict(job)), str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=child_process.environment(),
            pass_fds=[writing],
            start_new_session=True,  # All that it starts can be ended with it.
        )
        os.close(writing)
        self._events = os.fdopen(reading)
        self._memory = FamilyMemory(self._process.pid)
        self._is_at_work = threading.Event()
        self._is_at_work.set()
        self._is_over = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def wait_until_built(self) -> None:
        """Returns when rounds can be run."""
        event = self._event()
        self.outcome.import_seconds = event["imported"] - self._started
        self.outcome.build_seconds = event["built"] - event["imported"]
        self._is_at_work.clear()

    def run(self, rounds: int) -> Repetition:
        """Has the engine run so many rounds."""
        assert self._process.stdin is not None
        self._is_at_work.set()
        try:
            with contextlib.suppress(BrokenPipeError):  # Then reading says why.
                self._process.stdin.write(f"{rounds}\n".encode())
                self._process.stdin.flush()
            event = self._event()
        finally:
            self._is_at_work.clear()
        memory = self._memory.resident(refresh=True)
        self.outcome.peak_memory = max(self.outcome.peak_memory, memory)
        return Repetition(event["seconds"], event["images"], memory)

    def close(self) -> None:
        """Ends the process and all that it has started."""
        self._is_over.set()
        self._is_at_work.set()
        self._sampler.join()
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.terminate()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        child_process.kill_session(self._process)
        self._events.close()

    def _event(self) -> dict[str, Any]:
        line = self._events.readline()
        if not line:
            raise EngineError(f"the process ended with status {self._process.wait()}")
        event = json.loads(line)
        if event.get("is_input"):
            raise InputError(event["error"])
        if "error" in event:
            raise EngineError(event["error"])
        return event

    def _sample(self) -> None:
        while not self._is_over.wait(_SAMPLE_SECONDS):
            self._is_at_work.wait()
            self.outcome.peak_memory = max(self.outcome.peak_memory, self._memory.resident())


def race(
    jobs: Sequence[Job],
    rounds: Sequence[int],
    log_file: pathlib.Path,
    note: Callable[[str], None] = lambda text: None,
) -> list[Outcome]:
    """Measures jobs in turns.

    All are started at once and run one round each, which is not counted. Then every repetition
    goes through all jobs, in the order given and in the reverse order by turns, so that drifts of
    the machine affect all jobs alike.

    Args:
      jobs: what to measure.
      rounds: how many rounds each repetition has.
      log_file: what the processes print is appended to it.
      note: gets a line for every step.

    Returns:
      An outcome per job, in order. One that failed says why and does not end the others.

    Raises:
      InputError: an engine was given something that it cannot use.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(log_file.open("ab"))
        contestants = []
        for job in jobs:
            contestants.append(_Contestant(job, log))
            stack.callback(contestants[-1].close)

        def each(turn: Sequence[_Contestant], step: Callable[[_Contestant], None]) -> None:
            for contestant in turn:
                if contestant.outcome.error is None:
                    try:
                        step(contestant)
                    except EngineError as error:
                        contestant.outcome.error = str(error)
                        note(f"{contestant.outcome.job.engine} failed: {error}")

        def warm_up(contestant: _Contestant) -> None:
            contestant.outcome.first = contestant.run(1)
            note(
                f"{contestant.outcome.job.engine}: first round after "
                f"{time.monotonic() - contestant._started:.1f} s"
            )

        each(contestants, _Contestant.wait_until_built)
        each(contestants, warm_up)
        for number, count in enumerate(rounds, start=1):

            def timed(contestant: _Contestant, count: int = count, number: int = number) -> None:
                repetition = contestant.run(count)
                contestant.outcome.repetitions.append(repetition)
                note(
                    f"{contestant.outcome.job.engine}: repetition {number} of {len(rounds)}, "
                    f"{repetition.speed:.1f} images/s"
                )

            each(contestants if number % 2 else contestants[::-1], timed)
    return [contestant.outcome for contestant in contestants]
