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

DIR/report.html has the tables and the curves of all runs on one axis; DIR/summary.csv one row per
run; DIR/configurations.csv one row per configuration; DIR/results.csv the final metrics of every
configuration with mean and standard deviation over its repeats. DIR/tensorboard has the runs for
TensorBoard's HParams.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import checks, command_line, sweep_flags, training_flags, typed
from tffcxr import environment
from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_plan, sweep_progress

if TYPE_CHECKING:
    from tffcxr.sweeps.sweep_results import Run, Sweep
    from tffcxr.sweeps.sweep_runs import Outcome, Runner

FLAGS = flags.FLAGS

flags.DEFINE_string("experiment", None, "The recipe: " + ", ".join(sweep_flags.RECIPES) + ".")
flags.DEFINE_string("output_dir", "runs/sweep", "The sweep's folder; a sweep in it is resumed.")
flags.DEFINE_multi_string(
    "grid",
    [],
    "A flag of the recipe and its values, as NAME=VALUE,VALUE,…; repeatable, all combinations are "
    "run. For values with commas, see --configurations.",
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
flags.DEFINE_float("target", None, "Also count the rounds until the metric reaches this value.")

_NAME = "sweep"
# What runs would spend their first seconds on importing.
PRELOADED = ["tffcxr.studies.preloaded"]
# A sweep reads no images itself; each run has the fingerprint of its own.
_DATA = "in the config.json of each run"


def main(unused_operands: list[str]) -> None:
    """Runs the sweep."""
    plan = _plan()
    command_lines = [[*plan.fixed, *each.settings] for each in plan.configurations]
    recipe = sweep_flags.check(FLAGS.experiment, command_lines)
    _check_distinct(plan, recipe)
    from tffcxr.sweeps import sweep_report, sweep_runs, sweep_table
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    directory = RunDirectory.open(output, _NAME, _settings(plan, recipe), training_flags.facts())
    directory.record_data(_DATA, [])
    runner = sweep_runs.Runner(
        sweep_flags.RECIPES[FLAGS.experiment],
        plan.fixed,
        output,
        _shared_folders(output, plan, recipe),
        {
            configuration.name: environment.of_precision(settings.get("precision", ""))
            for configuration, settings in zip(plan.configurations, recipe.settings)
        },
        _note,
        sweep_progress.Display(sys.stderr),
        PRELOADED,
    )
    with command_line.on_interruption(lambda: "the same command resumes the sweep"):
        outcomes = _run_all(runner, output, plan)
    sweep, finals = _results(output, plan, outcomes)
    _write_hparams(sweep)
    command = typed.current().words
    report = sweep_report.write_report(sweep, command, finals)
    print(sweep_table.format_summary(sweep, finals))
    print(f"\nreport: {report}")
    failed = sum(outcome.status == sweep_runs.FAILED for outcome in outcomes)
    if failed:
        command_line.fail(
            f"{failed} of {len(outcomes)} runs failed; the same command retries them", 1
        )


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


def _plan() -> sweep_plan.Plan:
    """Reads and checks what can be checked without the recipe."""
    if FLAGS.experiment not in sweep_flags.RECIPES:
        known = ", ".join(sorted(sweep_flags.RECIPES))
        raise InputError(f"--experiment: expected one of {known}, found {FLAGS.experiment!r}")
    checks.at_least(1, "repeats")
    checks.at_least(0, "seed")
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


def _settings(plan: sweep_plan.Plan, recipe: sweep_flags.Answer) -> dict[str, Any]:
    """What must stay the same for a sweep to resume."""
    swept = set(plan.swept)
    return {
        "experiment": FLAGS.experiment,
        "configurations": [each.name for each in plan.configurations],
        "repeats": FLAGS.repeats,
        "seed": FLAGS.seed,
        **{f"--{k}": v for k, v in recipe.settings[0].items() if k not in swept},
        **{
            f"{configuration.name}: --{name}": settings.get(name)
            for configuration, settings in zip(plan.configurations, recipe.settings)
            for name in plan.swept
        },
    }


def _shared_folders(
    output: pathlib.Path, plan: sweep_plan.Plan, recipe: sweep_flags.Answer
) -> dict[str, list[str]]:
    """The folders that runs share, by configuration, where the recipe has a flag for them."""
    cache = pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else output / "cache"
    folders = {}
    for configuration, settings in zip(plan.configurations, recipe.settings):
        shared = {"cache_dir": cache}
        if not settings.get("site"):  # With sites, recipes reject the flag.
            shared["phantom_dir"] = output / "phantoms"
        folders[configuration.name] = [
            f"--{name}={path}" for name, path in shared.items() if name in recipe.own_flags
        ]
    return folders


def _note(line: str) -> None:
    """Reports progress."""
    print(line, file=sys.stderr, flush=True)


def _results(
    output: pathlib.Path, plan: sweep_plan.Plan, outcomes: Sequence[Outcome]
) -> tuple[Sweep, list[dict[str, Any]]]:
    """Reads the results so far, writes the tables, and returns the sweep and its final results.

    Raises:
      InputError: complete runs lack the --metric, or a run's file is damaged.
    """
    from tffcxr.sweeps import sweep_finals, sweep_results

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
    # First, since these do not depend on the metric.
    finals = sweep_finals.rows(output, runs)
    sweep_finals.write(output, finals)
    sweep = sweep_results.read(output, FLAGS.experiment, runs, FLAGS.metric, FLAGS.target)
    sweep_results.write(sweep)
    return sweep, finals


def _write_hparams(sweep: Sweep) -> None:
    """Writes the complete runs for TensorBoard; imports TensorFlow."""
    if not sweep.rounds:
        return
    from tffcxr.sweeps import sweep_results
    from tffcxr.training import hparams

    rows: dict[str, list[Mapping[str, Any]]] = {}
    for row in sweep_results.run_rows(sweep):
        rows.setdefault(row["folder"], []).append(row)
    hparams.write(
        sweep.path / "tensorboard",
        [
            hparams.Trial(
                name=run.folder.partition("/")[2],
                hparams={
                    **{name: text for name, text in run.flags.items() if text is not None},
                    "configuration": run.configuration,
                    "seed": str(run.seed),
                },
                results=_hparams_results(rows[run.folder]),
                curves=_hparams_curves(sweep, run),
            )
            for run in sweep.runs
            if run.status == sweep_results.COMPLETE
        ],
    )


def _hparams_results(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The numbers of a run; with the column's name where it is compared by several."""
    numbers = ("best", "best_round", "last", "best_loss", "rounds_to_target")
    return {
        f"sweep/{name}" + (f"/{row['metric']}" if len(rows) > 1 else ""): row[name]
        for row in rows
        for name in numbers
        if name in row
    }


def _hparams_curves(sweep: Sweep, run: Run) -> dict[str, dict[int, float]]:
    """The metric and the loss of a run by round."""
    from tffcxr.sweeps import sweep_results

    curves = {}
    for column in sweep.compared_of(run.configuration):
        curves[column] = dict(sweep.values(run, column))
        curves[sweep_results.loss_of(column)] = dict(sweep.losses(run, column))
    return curves


if __name__ == "__main__":
    command_line.run(main)
