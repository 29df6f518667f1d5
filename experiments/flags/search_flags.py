"""The flags of a sweep's search, and the search that they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import checks, sweep_flags, typed
from tffcxr import options
from tffcxr.errors import InputError
from tffcxr.sweeps import search_space, sweep_plan

if TYPE_CHECKING:
    from tffcxr.sweeps.search_study import SearchStudy
    from tffcxr.sweeps.search_table import Search
    from tffcxr.sweeps.search_trial import Trial
    from tffcxr.sweeps.sweep_results import Sweep
    from tffcxr.sweeps.sweep_runs import Runner

FLAGS = flags.FLAGS
_TRIALS = 20
_EXAMPLE = "--grid=learning_rate=1e-4..1e-2"


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "search",
        None,
        "Search the space of the --grid flags for the best value of this metric, instead of "
        "running every combination: a column of rounds.csv or its end, as for --metric. Of several "
        "columns, such as one per finding, the mean counts.",
    )
    flags.DEFINE_integer(
        "trials",
        None,
        "Settings to try; the same command with more trials extends a search. Default: "
        f"{_TRIALS}, or all settings if there are fewer or with --sampler=grid.",
    )
    flags.DEFINE_enum(
        "sampler",
        options.SEARCH_SAMPLERS[0],
        list(options.SEARCH_SAMPLERS),
        "What proposes settings: tpe learns from the trials before, random does not, and grid "
        "tries every combination of lists in order.",
    )
    flags.DEFINE_boolean(
        "prune",
        True,
        "Stop a trial whose metric is worse than the median of the complete trials in the same "
        "round, from the fourth trial on.",
    )


@dataclasses.dataclass(frozen=True)
class SearchPlan:
    """A search.

    Attributes:
      axes: the space.
      fixed: settings of all trials.
      metric: what is best.
      trials: how many.
    """

    axes: tuple[search_space.Axis, ...]
    fixed: tuple[sweep_plan.Setting, ...]
    metric: str
    trials: int

    @property
    def swept(self) -> tuple[str, ...]:
        """Names of the flags that differ."""
        return tuple(axis.name for axis in self.axes)

    @property
    def corners(self) -> sweep_plan.Plan:
        """Configurations that the recipe must accept before anything runs; no runs."""
        configurations = [
            sweep_plan.Configuration(",".join(f"{n}={text}" for n, text in settings), settings, "")
            for settings in search_space.corners(self.axes)
        ]
        return sweep_plan.Plan(self.fixed, self.swept, tuple(configurations), ())

    @property
    def described(self) -> dict[str, Any]:
        """What must stay the same for the search to resume, beside the fixed settings."""
        space = {f"--grid={axis.name}": axis.described for axis in self.axes}
        return {"sampler": FLAGS.sampler, "prune": FLAGS.prune, **space}


def plan() -> SearchPlan | None:
    """Reads and checks what can be checked without the recipe; None without `--search`.

    Raises:
      InputError: a flag has no effect, or is out of range; or the space has too few settings.
    """
    if FLAGS.search is None:
        for name in ("trials", "sampler", "prune"):
            checks.used(False, name, "--search", "search")
        search_space.reject_ranges(FLAGS.grid)
        return None
    from tffcxr.sweeps import search_values

    search_values.check_metric(FLAGS.search)
    for name in ("configurations", "repeats", "metric", "target"):
        if FLAGS[name].present:
            raise InputError(f"--{name}: expected it without --search, found both")
    checks.at_least(1, "trials")
    if not FLAGS.grid:
        raise InputError(f"--search: expected a --grid to search, such as {_EXAMPLE}, found none")
    axes = search_space.parse(FLAGS.grid)
    fixed = sweep_plan.parse_settings(FLAGS.set)
    sweep_plan.check_sources([], [(axis.name, axis.ends) for axis in axes], fixed, 1)
    if any(axis.name == "seed" for axis in axes):
        raise InputError("--grid: expected no seed in a search, since chance is not to be chosen")
    is_grid = FLAGS.sampler == "grid"
    for axis in axes:
        if is_grid and isinstance(axis, search_space.Range):
            raise InputError(
                f"--sampler=grid: expected lists of values, found the range {axis.name}="
                f"{axis.described}"
            )
    size = search_space.size(axes)
    trials = FLAGS.trials or (size if is_grid else min(size, _TRIALS))
    if trials > size:
        raise InputError(
            f"--trials: expected at most {size}, the number of different settings, found {trials}"
        )
    return SearchPlan(tuple(axes), tuple(fixed), FLAGS.search, trials)


def open_study(search: SearchPlan, output: pathlib.Path) -> SearchStudy:
    """The trials in the sweep's folder.

    Raises:
      InputError: they are of a search by another metric.
    """
    from tffcxr.sweeps import search_study

    return search_study.SearchStudy(output, search.axes, search.metric, FLAGS.sampler, FLAGS.seed)


def run(
    search: SearchPlan,
    study: SearchStudy,
    recipe: sweep_flags.Answer,
    runner: Runner,
    note: Callable[[str], None],
) -> Iterator[list[Trial]]:
    """Runs the trials; yields all that have begun, at the start and after every trial.

    Args:
      search: what to search.
      study: of `open_study`.
      recipe: how it reads the corners of the space.
      runner: of the recipe.
      note: gets a line for every start and end of a trial.
    """
    from tffcxr.sweeps import search_runs

    def rounds(trial: Trial) -> int:
        settings = {**recipe.settings[0], **dict(trial.settings)}
        return int(settings["rounds"]) + int(settings.get("head_rounds") or 0)

    running = search_runs.Search(study, runner, FLAGS.seed, rounds, FLAGS.prune, note)
    return running.run_all(search.trials)


def found(search: SearchPlan, study: SearchStudy, sweep: Sweep) -> Search:
    """What the report of a search says beside its runs."""
    from tffcxr.sweeps import search_table, search_values

    best = search_table.best(search_table.trials_of(sweep), search.metric)
    if best is None:
        return search_table.Search(search.axes, study.importances())
    folder = sweep.path / best.run(FLAGS.seed).folder
    return search_table.Search(
        search.axes,
        study.importances(),
        split=search_values.measured_split(folder, search.metric),
        keeps_best_round=search_values.keeps_best_round(folder),
        command=[
            *typed.start_of(sweep.experiment),
            *sweep_plan.arguments([*search.fixed, *best.settings]),
            f"--seed={FLAGS.seed}",
            f"--output_dir={sweep.path}_best",
        ],
    )
