"""The trials of a search as a table, and what its numbers are, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import textwrap
from typing import Any

from tffcxr.evaluation import registry
from tffcxr.report import page, style
from tffcxr.sweeps import search_space, search_trial, sweep_finals, sweep_results, sweep_table
from tffcxr.sweeps.search_trial import COMPLETE, FAILED, PENDING, PRUNED, Trial

_WIDTH = 100
_ORDER = (COMPLETE, PRUNED, FAILED, PENDING)


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search knows beside its runs.

    Attributes:
      axes: the space.
      importances: of `search_study.SearchStudy.importances`.
      split: the images that the metric is of: "validation", "test" or "training".
      keeps_best_round: whether the recipe keeps the model of its best round, not of its last one.
      command: words of the command that runs the recipe with the best settings; None if no trial
        is complete.
    """

    axes: Sequence[search_space.Axis]
    importances: Mapping[str, float] | str
    split: str = "validation"
    keeps_best_round: bool = False
    command: Sequence[str] | None = None


def runs_of(trials: Sequence[Trial], seed: int) -> list[sweep_results.Run]:
    """The trials as runs of a sweep, in order."""
    found = []
    for trial in trials:
        run = trial.run(seed)
        found.append(
            sweep_results.Run(
                folder=run.folder,
                configuration=run.configuration.name,
                flags=dict(trial.settings),
                repeat=run.repeat,
                seed=seed,
                status=trial.status,
                error=trial.error,
                trial=trial,
            )
        )
    return found


def trials_of(sweep: sweep_results.Sweep) -> list[Trial]:
    """The trials of a sweep that is a search, in order."""
    return [run.trial for run in sweep.runs if run.trial is not None]


def best(trials: Sequence[Trial], metric: str) -> Trial | None:
    """The complete trial with the best value, the first of equals; None without a complete one."""
    complete = [trial for trial in trials if trial.status == COMPLETE]
    sign = 1.0 if registry.is_lower_better(metric) else -1.0
    return min(complete, key=lambda trial: sign * trial.value, default=None)


def shown_value(trial: Trial, metric: str) -> float | None:
    """The value of a complete trial, the best value of a pruned one; None of any other."""
    if trial.status == COMPLETE:
        return trial.value
    if trial.status != PRUNED:
        return None
    choose = min if registry.is_lower_better(metric) else max
    return choose(trial.values.values())


def ordered(trials: Sequence[Trial], metric: str) -> list[Trial]:
    """The best first, then those that were pruned, the latest first, then those that failed."""
    sign = 1.0 if registry.is_lower_better(metric) else -1.0

    def key(trial: Trial) -> tuple[int, int, float, int]:
        value = shown_value(trial, metric)
        by_value = 0.0 if value is None else sign * value
        return _ORDER.index(trial.status), -(trial.pruned_round or 0), by_value, trial.number

    return sorted(trials, key=key)


def of_trials(sweep: sweep_results.Sweep) -> sweep_table.Table:
    """A row per trial, in the order of `ordered`; the best one is marked."""
    metric, trials = sweep.metric or "", trials_of(sweep)
    chosen = best(trials, metric)
    cells = []
    for trial in ordered(trials, metric):
        number = style.number(shown_value(trial, metric))
        cells.append(
            [
                f"{trial.number}{' (best)' if trial == chosen else ''}",
                *(text for _, text in trial.settings),
                trial.outcome,
                f"({number})" if trial.status == PRUNED else number,
            ]
        )
    headings = ["trial", *sweep.swept, "status", metric]
    return sweep_table.Table(headings, cells, len(headings) - 1)


def legend(sweep: sweep_results.Sweep, search: Search) -> list[str]:
    """Sentences that say what the values are, and how far to trust the best one."""
    columns = len(sweep.compared)
    mean = f", the mean over {columns} columns of rounds.csv," if columns > 1 else ""
    when = "in its best round" if search.keeps_best_round else "after its last round"
    trials = trials_of(sweep)
    sentences = [
        f"A trial is judged by {sweep.metric}{mean} on the {search.split} images {when}: that is "
        "the model that the recipe keeps."
    ]
    if any(trial.status == PRUNED for trial in trials):
        sentences.append(
            "In brackets: the best value of a trial until it was pruned, because that was worse "
            "than the median of the complete trials in the same round."
        )
    sentences.append(
        f"The best of {style.counted(len(trials), 'trial')} on the same images is optimistically "
        "biased"
        + (
            ", and so are its final results, which are of these images too."
            if search.split == "test"
            else "; its final results on the test images are not."
        )
    )
    return sentences


def format_summary(
    sweep: sweep_results.Sweep, finals: Sequence[Mapping[str, Any]], search: Search
) -> str:
    """The tables and the best settings as text of at most 100 columns, but for the command.

    Args:
      sweep: the sweep.
      finals: of `sweep_finals.rows`.
      search: see there.
    """
    parts = [sweep_table.format_table(of_trials(sweep)), _wrapped(" ".join(legend(sweep, search)))]
    chosen = best(trials_of(sweep), sweep.metric or "")
    if finals and chosen is not None:
        name = chosen.run(0).configuration.name
        of_best = [row for row in finals if row["configuration"] == name]
        if of_best:
            table = sweep_table.of_finals(sweep, of_best, is_short=True)
            parts.append(sweep_table.format_table(table))
            splits = ", ".join(sorted({str(row.get("split")) for row in of_best}))
            told = (
                f"Final results of the best trial ({splits} images). Of all: {sweep_finals.FILE}."
            )
            parts.append(_wrapped(told))
    failed = [run for run in sweep.runs if run.status == search_trial.FAILED]
    if failed:
        parts.append("\n".join(f"failed: {run.folder}: {run.error}" for run in failed))
    if search.command is not None:
        parts.append(f"best settings:\n{page.command(list(search.command))}")
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.wrap(text, _WIDTH))
