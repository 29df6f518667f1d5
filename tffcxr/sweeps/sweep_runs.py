"""Runs the plan of a sweep, one process after the other, and reports progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import os
import pathlib
import signal
import statistics
import subprocess
import time
from typing import BinaryIO

from tffcxr import child_process, concealed
from tffcxr.sweeps import fork_server, sweep_plan, sweep_progress
from tffcxr.training import run_directory
from tffcxr.training.progress import format_duration

COMPLETE, FAILED, PENDING = "complete", "failed", "pending"
# A recipe that is interrupted ends at once; one that does not is killed, and can be resumed too.
_PATIENCE_SECONDS = 10.0
_LONGEST_MESSAGE = 300
_LOOK_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The state of a run.

    Attributes:
      run: which.
      status: `COMPLETE`, `FAILED` or `PENDING`.
      error: why it failed, in one line without paths; the log has them. Empty otherwise.
    """

    run: sweep_plan.Run
    status: str
    error: str = ""


class Runner:
    """Starts runs of one recipe.

    Runs are forks of a server process that has imported TensorFlow, except those that need another
    environment than the sweep's when it is imported: these are processes of their own.

    Args:
      module: the recipe's.
      fixed: settings of all runs.
      output: the sweep's folder.
      shared: of a configuration, arguments for the folders that its runs share with others.
      environment: of a configuration, what its runs need in the environment.
      note: gets a line for every start and end of a run.
      progress: shows the rounds of a run.
      preloaded: modules that the process imports of which runs are forks.
    """

    def __init__(
        self,
        module: str,
        fixed: Sequence[sweep_plan.Setting],
        output: pathlib.Path,
        shared: Callable[[sweep_plan.Configuration], Sequence[str]],
        environment: Callable[[sweep_plan.Configuration], Mapping[str, str]],
        note: Callable[[str], None],
        progress: sweep_progress.Display,
        preloaded: Sequence[str] = (),
    ):
        self._module = module
        self._fixed = fixed
        self._output = output
        self._shared = shared
        self._environment = environment
        self._note = note
        self._progress = progress
        self._server = fork_server.Server(preloaded)

    def run_all(self, runs: Sequence[sweep_plan.Run]) -> Iterator[list[Outcome]]:
        """Runs what is not complete, in order.

        Yields:
          at the start and after every run that it has started, how all runs stand, in their order.
        """
        outcomes = [Outcome(run, COMPLETE if self.is_complete(run) else PENDING) for run in runs]
        waiting = [i for i, outcome in enumerate(outcomes) if outcome.status == PENDING]
        yield list(outcomes)
        if len(waiting) < len(runs):
            self._note(f"{len(runs) - len(waiting)} of {len(runs)} runs are complete already")
        clock = Clock()
        try:
            for done, index in enumerate(waiting):
                run, title = runs[index], f"run {len(runs) - len(waiting) + done + 1}/{len(runs)}"
                self._note(f"{title}: {run.name} (seed {run.seed})")
                clock.start()
                outcomes[index] = self.run(run, title)
                clock.end(run.configuration.name, outcomes[index].status == COMPLETE)
                left = clock.told([runs[i].configuration.name for i in waiting[done + 1 :]])
                self._note(f"{title}: {outcomes[index].error or COMPLETE}; {left}")
                yield list(outcomes)
        finally:
            self.close()

    def close(self) -> None:
        """Ends the process of which runs are forks, and a run with it."""
        self._server.close()

    def run(
        self, run: sweep_plan.Run, title: str, is_given_up: Callable[[], bool] = lambda: False
    ) -> Outcome:
        """Starts or resumes a run and waits for its end, in whatever way that comes.

        Args:
          run: which.
          title: what stands before its rounds where they are shown.
          is_given_up: asked now and then while it runs; if so, the run is stopped by SIGTERM. It
            is pending then, with the checkpoint of its last round.
        """
        folder = self._output / run.folder
        # Beside it: a recipe takes a folder that is empty.
        log = folder.with_name(f"{folder.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            *sweep_plan.arguments([*self._fixed, *run.configuration.settings]),
            *self._shared(run.configuration),
            *([] if run.configuration.text("seed") else [f"--seed={run.seed}"]),
            f"--output_dir={folder}",
        ]
        with log.open("ab") as file, log.open("rb") as reader:
            before = reader.seek(0, os.SEEK_END)
            process = self._start(run, arguments, file)
            try:
                status = self._wait(process, title, reader, is_given_up)
                if status is None:
                    child_process.stop(process, _PATIENCE_SECONDS, signal.SIGTERM)
                    return Outcome(run, PENDING)
            except BaseException:
                child_process.stop(process, _PATIENCE_SECONDS)
                raise
        child_process.kill_session(process)
        if status == 0 and self.is_complete(run):
            return Outcome(run, COMPLETE)
        return Outcome(run, FAILED, concealed.text(_reason(log, before, status)))

    def _start(
        self, run: sweep_plan.Run, arguments: Sequence[str], log: BinaryIO
    ) -> child_process.Process:
        needed = self._environment(run.configuration)
        if all(os.environ.get(name) == value for name, value in needed.items()):
            return self._server.start(self._module, arguments, log)
        return child_process.start(self._module, arguments, log)

    def _wait(
        self,
        process: child_process.Process,
        title: str,
        log: BinaryIO,
        is_given_up: Callable[[], bool],
    ) -> int | None:
        """Shows what is added to the log until the run has ended; returns its exit status.

        Returns:
          None if it is given up and has not ended.
        """
        with self._progress.of(title, log) as rounds:
            while True:
                try:
                    return process.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    rounds.update()
                if is_given_up():
                    return None

    def is_complete(self, run: sweep_plan.Run) -> bool:
        """Whether a run is complete."""
        return run_directory.is_complete(self._output / run.folder)


class Clock:
    """Times runs one after the other, and tells how long the others will take."""

    def __init__(self) -> None:
        self._begun = self._started = time.monotonic()
        self._seconds: dict[str, list[float]] = {}  # By configuration.

    def start(self) -> None:
        """A run starts."""
        self._started = time.monotonic()

    def end(self, configuration: str, counts: bool) -> None:
        """It has ended; `counts` says whether others will take as long."""
        if counts:
            seconds = time.monotonic() - self._started
            self._seconds.setdefault(configuration, []).append(seconds)

    def told(self, waiting: Sequence[str]) -> str:
        """The time that has passed, and that the configurations to come will take."""
        passed = f"{format_duration(time.monotonic() - self._begun)} elapsed"
        left = _left(self._seconds, waiting)
        return passed if left is None else f"{passed}, about {format_duration(left)} left"


def _left(seconds: Mapping[str, Sequence[float]], waiting: Sequence[str]) -> float | None:
    """Estimates the remaining seconds; None if too little is known.

    A run takes as long as the others of its configuration did, or as all others if it is the first.
    What the first run of a sweep took is not counted, once there is another: it may have made and
    decoded the images of all.

    Args:
      seconds: of complete runs, by configuration, in the order in which they ran.
      waiting: the configurations of the runs to come.
    """
    taken = [(name, each) for name, times in seconds.items() for each in times]
    later = taken[1:]
    if not waiting or not later:
        return None
    usual = statistics.fmean(each for _, each in later)
    own = {name: [each for other, each in later if other == name] for name in set(waiting)}
    return sum(statistics.fmean(own[name]) if own[name] else usual for name in waiting)


def _reason(log: pathlib.Path, start: int, status: int) -> str:
    """The last line that a run has printed, and how it ended where that is not plain."""
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    if len(last) > _LONGEST_MESSAGE:
        last = last[:_LONGEST_MESSAGE] + "…"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}: {last}"
    return last if status else f"ended without a report: {last}"
