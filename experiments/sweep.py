r"""Runs a recipe with many settings and compares the runs.

The sweep runs every combination of the values in --grid, --repeats times with different seeds.
Instead or in addition, --configurations gives a file of named settings. Each run is a process with
a folder of its own below the sweep's. Runs on the same images prepare them once.

  ./bazelw run //experiments:sweep -- --experiment=cheXviz --output_dir=DIR \
      --grid=local_epochs=1,2,3 --grid=clients_per_round=1,2 --repeats=2 --set=rounds=10

The same command resumes a stopped sweep: it skips complete runs, continues interrupted runs from
their last round, and retries failed runs. A failed run does not stop the others.

--configurations=FILE is JSON, an object of flags per name; a list gives a flag several times:

  {"small": {"model": "standard", "image_size": 64},
   "two hospitals": {"site": ["a=rsna:PATH:FINDING", "b=siim:PATH:FINDING"]}}

--search=METRIC looks for the best settings instead of running every combination. The grids are its
space, lists of values or ranges. Optuna proposes --trials settings, one after the other, and stops
bad ones early:

  ./bazelw run //experiments:sweep -- --experiment=cheXviz --output_dir=DIR --search=auroc \
      --trials=20 --grid=learning_rate=1e-4..1e-2 --grid=batch_norm=aggregate,recompute,local

The same command resumes a search, with more --trials it extends it. A failed trial is not retried.

DIR/report.html has the tables and the curves of all runs on one axis; DIR/summary.csv one row per
run; DIR/configurations.csv one row per configuration; DIR/results.csv the final metrics of every
configuration with mean and standard deviation over its repeats. DIR/tensorboard has the runs for
TensorBoard's HParams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import contextlib
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import (
    checks,
    command_line,
    published_flag,
    search_flags,
    sweep_flags,
    training_flags,
    typed,
)
from tffcxr import environment
from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_plan, sweep_progress

if TYPE_CHECKING:
    from tffcxr.sweeps.search_table import Search
    from tffcxr.sweeps.search_trial import Trial
    from tffcxr.sweeps.sweep_results import Run, Sweep
    from tffcxr.sweeps.sweep_runs import Outcome, Runner

FLAGS = flags.FLAGS

flags.DEFINE_string("experiment", None, "The recipe: " + ", ".join(sweep_flags.RECIPES) + ".")
flags.DEFINE_string("output_dir", "runs/sweep", "The sweep's folder; a sweep in it is resumed.")
flags.DEFINE_multi_string(
    "grid",
    [],
    "A flag of the recipe and its values, as NAME=VALUE,VALUE,…; repeatable, all combinations are "
    "run. For values with commas, see --configurations. With --search also a range, as "
    "NAME=LOW..HIGH: of integers if both ends are, on a logarithmic scale if HIGH is 10 times LOW "
    "or more.",
)
flags.DEFINE_string("configurations", None, "A JSON file of named settings; see above.")
flags.DEFINE_multi_string(
    "set",
    [],
    "A flag for all runs, as NAME=VALUE; repeatable. --set=flagfile=NAME gives all runs a preset.",
)
flags.DEFINE_integer("repeats", 1, "Runs per configuration, with the seeds --seed, --seed + 1, …")
flags.DEFINE_integer("seed", 0, "Seed of the first repeat.")
flags.DEFINE_string("cache_dir", None, "Folder for decoded images; default: in the sweep's folder.")
flags.DEFINE_string(
    "metric",
    None,
    "Metric to compare runs by: a column of rounds.csv, such as 'Lung Opacity/auroc', or auroc for "
    "all columns of that name (one per finding, or for full and segmented images), each with its "
    "own row and curve. A loss is best when lowest, any other metric when highest. A wrong name "
    "stops no run, because the columns are known only when a run is complete; the same command "
    "with another name rewrites the tables. Default: Jaccard, accuracy or AUROC, whichever "
    "rounds.csv has first.",
)
search_flags.define()
published_flag.define()
for _module in (search_flags, published_flag):
    flags.adopt_module_key_flags(_module)
flags.DEFINE_float("target", None, "Also count the rounds until the metric reaches this value.")

_NAME = "sweep"
# What runs would spend their first seconds on importing.
PRELOADED = ["tffcxr.studies.preloaded"]
# A sweep reads no images itself; each run has the fingerprint of its own.
_DATA = "in the config.json of each run"


def main(unused_operands: list[str]) -> None:
    """Runs the sweep."""
    _check_recipe()
    search = search_flags.plan()
    plan = _plan() if search is None else search.corners
    command_lines = [[*plan.fixed, *each.settings] for each in plan.configurations]
    recipe = sweep_flags.check(FLAGS.experiment, command_lines)
    _check_distinct(plan, recipe)
    from tffcxr.sweeps import sweep_runs
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    settings = _settings(plan, recipe, search)
    directory = RunDirectory.open(output, _NAME, settings, training_flags.facts())
    directory.record_data(_DATA, [])
    settings_of = _settings_by_configuration(plan, recipe)
    runner = sweep_runs.Runner(
        sweep_flags.RECIPES[FLAGS.experiment],
        plan.fixed,
        output,
        lambda each: _shared_folders(output, settings_of(each), recipe),
        lambda each: environment.of_precision(settings_of(each).get("precision", "")),
        _note,
        sweep_progress.Display(sys.stderr),
        PRELOADED,
    )
    if search is None:
        _sweep(runner, output, plan)
    else:
        _search(runner, output, search, recipe)


def _sweep(runner: Runner, output: pathlib.Path, plan: sweep_plan.Plan) -> None:
    """Runs all configurations, and compares them."""
    from tffcxr.sweeps import sweep_runs, sweep_table

    with _resumable():
        outcomes = _run_all(runner, output, plan)
    sweep, finals = _results(output, plan, outcomes)
    _write_report(sweep, finals, sweep_table.format_summary(sweep, finals))
    failed = sum(outcome.status == sweep_runs.FAILED for outcome in outcomes)
    if failed:
        command_line.fail(
            f"{failed} of {len(outcomes)} runs failed; the same command retries them", 1
        )


def _search(
    runner: Runner,
    output: pathlib.Path,
    search: search_flags.SearchPlan,
    recipe: sweep_flags.Answer,
) -> None:
    """Runs the trials of a search, and compares them."""
    from tffcxr.sweeps import search_table, search_trial

    trials: list[Trial] = []
    study = search_flags.open_study(search, output)
    with _resumable():
        for trials in search_flags.run(search, study, recipe, runner, _note):
            if trials:
                runs = search_table.runs_of(trials, FLAGS.seed)
                sweep, finals = _write_tables(output, runs, search.metric)
    found = search_flags.found(search, study, sweep)
    text = search_table.format_summary(sweep, finals, found)
    _write_report(sweep, finals, text, found)
    if all(trial.status == search_trial.FAILED for trial in trials):
        command_line.fail(
            f"all {len(trials)} trials failed; the same command with more --trials tries others", 1
        )


def _resumable() -> contextlib.AbstractContextManager[None]:
    return command_line.on_interruption(lambda: "the same command resumes the sweep")


def _run_all(runner: Runner, output: pathlib.Path, plan: sweep_plan.Plan) -> Sequence[Outcome]:
    """Runs what is not complete, and writes the tables after every run.

    If the tables cannot be written, as with a wrong --metric, the runs continue: the work is not
    lost, and the tables can be written later.

    Raises:
      InputError: all runs have ended and the tables cannot be written.
    """
    from tffcxr.sweeps import sweep_runs

    outcomes: Sequence[Outcome] = ()
    told = ""
    for outcomes in runner.run_all(plan.runs):
        try:
            _results(output, plan, outcomes)
        except InputError as error:
            if not any(outcome.status == sweep_runs.PENDING for outcome in outcomes):
                failed = sum(outcome.status == sweep_runs.FAILED for outcome in outcomes)
                suffix = f"; {failed} of {len(outcomes)} runs failed" if failed else ""
                raise InputError(f"{error}{suffix}") from error
            if str(error) != told:
                told = str(error)
                _note(f"WARNING: no tables yet, the runs continue: {error}")
    return outcomes


def _check_recipe() -> None:
    if FLAGS.experiment not in sweep_flags.RECIPES:
        known = ", ".join(sorted(sweep_flags.RECIPES))
        raise InputError(f"--experiment: expected one of {known}, found {FLAGS.experiment!r}")
    checks.at_least(0, "seed")
    published_flag.check(FLAGS.experiment)


def _plan() -> sweep_plan.Plan:
    """Reads and checks what can be checked without the recipe."""
    checks.at_least(1, "repeats")
    if FLAGS.target is not None and not math.isfinite(FLAGS.target):
        raise InputError(f"--target: expected a finite number, found {FLAGS.target}")
    named = []
    if FLAGS.configurations is not None:
        named = sweep_plan.read_configurations(pathlib.Path(FLAGS.configurations))
    axes = sweep_plan.parse_grid(FLAGS.grid)
    if "seed" in dict(axes) and FLAGS["seed"].present:
        raise InputError("--seed: expected it once, found a grid over seed with it")
    fixed = sweep_plan.parse_settings(FLAGS.set)
    return sweep_plan.make(named, axes, fixed, FLAGS.repeats, FLAGS.seed)


def _check_distinct(plan: sweep_plan.Plan, recipe: sweep_flags.Answer) -> None:
    """Rejects configurations that differ only in notation, such as 0.1 and 0.10."""
    seen: list[tuple[dict[str, Any], str]] = []
    for configuration, settings in zip(plan.configurations, recipe.settings):
        key = {**settings, "seed": configuration.text("seed")}
        for other, name in seen:
            if other == key:
                raise InputError(
                    f"expected different configurations, found {name} and {configuration.name} "
                    "with the same settings"
                )
        seen.append((key, configuration.name))


def _settings(
    plan: sweep_plan.Plan, recipe: sweep_flags.Answer, search: search_flags.SearchPlan | None
) -> dict[str, Any]:
    """What must stay the same for a sweep to resume."""
    swept = set(plan.swept)
    fixed = {f"--{k}": v for k, v in recipe.settings[0].items() if k not in swept}
    if search is not None:
        return {
            "experiment": FLAGS.experiment, "seed": FLAGS.seed, **fixed, **search.described
        }  # fmt: skip
    return {
        "experiment": FLAGS.experiment,
        "configurations": [each.name for each in plan.configurations],
        "repeats": FLAGS.repeats,
        "seed": FLAGS.seed,
        **fixed,
        **{
            f"{configuration.name}: --{name}": settings.get(name)
            for configuration, settings in zip(plan.configurations, recipe.settings)
            for name in plan.swept
        },
    }


def _settings_by_configuration(
    plan: sweep_plan.Plan, recipe: sweep_flags.Answer
) -> Callable[[sweep_plan.Configuration], Mapping[str, Any]]:
    """The recipe's settings of a configuration, also of one between the corners of a search."""
    known = {each.name: found for each, found in zip(plan.configurations, recipe.settings)}
    first = recipe.settings[0]
    return lambda each: known.get(each.name) or {**first, **dict(each.settings)}


def _shared_folders(
    output: pathlib.Path, settings: Mapping[str, Any], recipe: sweep_flags.Answer
) -> list[str]:
    """The folders that runs share, where the recipe has a flag for them."""
    shared = {"cache_dir": pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else output / "cache"}
    if not settings.get("site"):  # With sites, recipes reject the flag.
        shared["phantom_dir"] = output / "phantoms"
    return [f"--{name}={path}" for name, path in shared.items() if name in recipe.own_flags]


def _note(line: str) -> None:
    """Reports progress."""
    print(line, file=sys.stderr, flush=True)


def _results(
    output: pathlib.Path, plan: sweep_plan.Plan, outcomes: Sequence[Outcome]
) -> tuple[Sweep, list[dict[str, Any]]]:
    """Writes the tables of the results so far; see `_write_tables`."""
    from tffcxr.sweeps import sweep_results

    runs = [
        sweep_results.Run(
            folder=outcome.run.folder,
            configuration=outcome.run.configuration.name,
            flags={name: outcome.run.configuration.text(name) for name in plan.swept},
            repeat=outcome.run.repeat,
            seed=outcome.run.seed,
            status=outcome.status,
            error=outcome.error,
        )
        for outcome in outcomes
    ]
    return _write_tables(output, runs, FLAGS.metric)


def _write_tables(
    output: pathlib.Path, runs: Sequence[Run], metric: str | None
) -> tuple[Sweep, list[dict[str, Any]]]:
    """Reads the results so far, writes the tables, and returns the sweep and its final results.

    Raises:
      InputError: complete runs lack the metric, or a run's file is damaged.
    """
    from tffcxr.sweeps import sweep_finals, sweep_results

    # First, since these do not depend on the metric.
    finals = sweep_finals.rows(output, runs)
    sweep_finals.write(output, finals)
    sweep = sweep_results.read(output, FLAGS.experiment, runs, metric, FLAGS.target)
    sweep_results.write(sweep)
    return sweep, finals


def _write_report(
    sweep: Sweep, finals: Sequence[Mapping[str, Any]], text: str, search: Search | None = None
) -> None:
    """Writes the page and the runs for TensorBoard, which imports TensorFlow; prints the tables."""
    from tffcxr.sweeps import sweep_report

    if sweep.rounds:
        from tffcxr.sweeps import sweep_hparams

        sweep_hparams.write(sweep)
    words = typed.current().words
    report = sweep_report.write_report(sweep, words, finals, search, FLAGS.published)
    print(text)
    print(f"\nreport: {report}")


if __name__ == "__main__":
    command_line.run(main)
