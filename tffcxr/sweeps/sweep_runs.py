"""Runs what a sweep has planned, one process after the other, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import pathlib
import signal
import time

from tffcxr import child_process
from tffcxr.sweeps import sweep_plan
from tffcxr.training import run_directory
from tffcxr.training.progress import format_duration

COMPLETE, FAILED, PENDING = "complete", "failed", "pending"
# A recipe that is interrupted ends at once; one that does not is killed, and can be resumed too.
_PATIENCE_SECONDS = 10.0
_LONGEST_MESSAGE = 300


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run stands.

    Attributes:
      run: which.
      status: `COMPLETE`, `FAILED` or `PENDING`.
      error: why it failed, in one line; empty otherwise.
    """

    run: sweep_plan.Run
    status: str
    error: str = ""


class Runner:
    """Starts runs of one recipe.

    Args:
      module: the recipe's.
      fixed: settings of all runs.
      output: the sweep's folder.
      shared: by configuration, arguments for the folders that its runs share with others.
      note: gets a line for every start and end of a run.
    """

    def __init__(
        self,
        module: str,
        fixed: Sequence[sweep_plan.Setting],
        output: pathlib.Path,
        shared: Mapping[str, Sequence[str]],
        note: Callable[[str], None],
    ):
        self._module = module
        self._fixed = fixed
        self._output = output
        self._shared = shared
        self._note = note

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
        started = time.monotonic()
        for done, index in enumerate(waiting):
            title = f"run {len(runs) - len(waiting) + done + 1}/{len(runs)}"
            self._note(f"{title}: {runs[index].name} (seed {runs[index].seed})")
            outcomes[index] = self.run(runs[index])
            elapsed = time.monotonic() - started
            left = elapsed / (done + 1) * (len(waiting) - done - 1)
            self._note(
                f"{title}: {outcomes[index].error or COMPLETE}; "
                f"{format_duration(elapsed)} elapsed, about {format_duration(left)} left"
            )
            yield list(outcomes)

    def run(self, run: sweep_plan.Run) -> Outcome:
        """Starts or resumes a run and waits for its end, in whatever way that comes."""
        folder = self._output / run.folder
        # Beside it: a recipe takes a folder that is empty.
        log = folder.with_name(f"{folder.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = [
            *sweep_plan.arguments([*self._fixed, *run.configuration.settings]),
            *self._shared[run.configuration.name],
            *([] if run.configuration.text("seed") else [f"--seed={run.seed}"]),
            f"--output_dir={folder}",
        ]
        with log.open("ab") as file:
            before = file.tell()
            process = child_process.start(self._module, arguments, file)
            try:
                status = process.wait()
            except BaseException:
                child_process.stop(process, _PATIENCE_SECONDS)
                raise
        child_process.kill_session(process)
        if status == 0 and self.is_complete(run):
            return Outcome(run, COMPLETE)
        return Outcome(run, FAILED, _reason(log, before, status))

    def is_complete(self, run: sweep_plan.Run) -> bool:
        """Whether a run has nothing left to do."""
        return run_directory.is_complete(self._output / run.folder)


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
