"""Runs the trials of a search, one process after the other.

study proposes settings ─► run of the recipe ─► its metric after every round ─► study judges them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
import math
import pathlib

from tffcxr.errors import InputError
from tffcxr.sweeps import search_values, sweep_runs
from tffcxr.sweeps.search_study import SearchStudy
from tffcxr.sweeps.search_trial import COMPLETE, ENDED, FAILED, PRUNED, Trial


class Search:
    """A search in a sweep's folder.

    Args:
      study: proposes and judges.
      runner: runs the recipe.
      seed: of all runs: trials differ in their settings alone.
      rounds: of a trial, how many rounds its run has.
      prunes: whether runs that the study gives up are stopped.
      note: gets a line for every start and end of a trial.
    """

    def __init__(
        self,
        study: SearchStudy,
        runner: sweep_runs.Runner,
        seed: int,
        rounds: Callable[[Trial], int],
        prunes: bool,
        note: Callable[[str], None],
    ):
        self._study = study
        self._runner = runner
        self._seed = seed
        self._rounds = rounds
        self._prunes = prunes
        self._note = note
        # What the last look has seen, and its answer.
        self._looked: tuple[int, search_values.Measured] | None = None
        self._at: int | None = None

    def run_all(self, count: int) -> Iterator[list[Trial]]:
        """Runs trials until so many have ended; resumes the one that was interrupted.

        Yields:
          at the start and after every trial, all that have begun.

        Raises:
          InputError: no run has the metric, so that there is nothing to search by.
        """
        trials = self._study.trials()
        yield trials
        done = sum(trial.status in ENDED for trial in trials)
        if done:
            self._note(f"{done} of {max(count, done)} trials have ended already")
        clock = sweep_runs.Clock()
        try:
            for number in range(done + 1, count + 1):
                trial, title = self._study.next(), f"trial {number}/{count}"
                run = trial.run(self._seed)
                self._note(f"{title}: {run.configuration.name} (seed {self._seed})")
                clock.start()
                self._advance(trial, title)
                trials = self._study.trials()
                ended = trials[-1]
                clock.end("", ended.status == COMPLETE)
                self._note(f"{title}: {self._told(ended)}; {clock.told([''] * (count - number))}")
                yield trials
        finally:
            self._runner.close()

    def _told(self, trial: Trial) -> str:
        if trial.status == COMPLETE:
            return f"{COMPLETE}, {self._study.metric} {trial.value:.4f}"
        return trial.error or trial.outcome

    def _advance(self, trial: Trial, title: str) -> None:
        """Runs a trial to its end, and tells the study."""
        run = trial.run(self._seed)
        outcome = sweep_runs.Outcome(run, sweep_runs.COMPLETE)
        if self._look(trial) is None and not self._runner.is_complete(run):
            outcome = self._runner.run(run, title, lambda: self._look(trial) is not None)
        # Whatever has happened meanwhile: the values alone decide.
        if self._look(trial) is not None:
            self._study.end(PRUNED)
        elif outcome.status == sweep_runs.COMPLETE:
            self._complete(trial)
        else:
            self._study.end(FAILED, error=outcome.error)

    def _look(self, trial: Trial) -> int | None:
        """Reports the rounds that a trial has finished; returns that after which it is pruned."""
        measured = search_values.read(self._folder(trial), self._study.metric)
        if (trial.number, measured) == self._looked:
            return self._at
        values, at = measured.values, None
        if self._prunes and measured.is_by_round:
            at = self._study.pruned_round(values, self._rounds(trial))
        self._study.report({n: value for n, value in values.items() if at is None or n <= at})
        self._looked, self._at = (trial.number, measured), at
        return at

    def _complete(self, trial: Trial) -> None:
        folder, metric = self._folder(trial), self._study.metric
        value = search_values.final_value(folder, metric, search_values.read(folder, metric).values)
        if not math.isnan(value):
            self._study.end(COMPLETE, value)
            return
        error = f"{metric} is undefined in every round"
        if not any(other.status == COMPLETE for other in self._study.trials()):
            raise InputError(f"--search: expected a metric with a value, but {error} of {folder}")
        self._study.end(FAILED, error=error)

    def _folder(self, trial: Trial) -> pathlib.Path:
        return self._study.path / trial.run(self._seed).folder
