r"""Runs a recipe with many settings and compares the runs.

Every combination of the values in --grid is run, --repeats times with different seeds; instead or
besides, --configurations names a file of settings with names. Each run is a process of its own with
a folder of its own, below the sweep's; runs that use the same images prepare them once.

  ./bazelw run //experiments:sweep -- --experiment=cheXviz --output_dir=DIR \
      --grid=local_epochs=1,2,3 --grid=clients_per_round=1,2 --repeats=2 --set=rounds=10

The same command goes on where a sweep was stopped: complete runs are skipped, interrupted ones go
on from their last round, failed ones are tried again. A failed run does not stop the others.

--configurations=FILE is JSON, an object of flags per name; a list gives a flag several times:

  {"small": {"model": "standard", "image_size": 64},
   "two hospitals": {"site": ["a=rsna:PATH:FINDING", "b=siim:PATH:FINDING"]}}

DIR/report.html has the tables and the curves of all runs on one axis, DIR/summary.csv a row per
run, DIR/configurations.csv a row per configuration; DIR/tensorboard is for TensorBoard's HParams.
"""

from __future__ import annotations

from collections.abc import Sequence
import math
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import command_line, sweep_flags, sweep_plan, training_flags
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from experiments.sweep_runs import Outcome
    from tffcxr.report.sweep_results import Sweep

FLAGS = flags.FLAGS

flags.DEFINE_string("experiment", None, "The recipe: " + ", ".join(sweep_flags.RECIPES) + ".")
flags.DEFINE_string("output_dir", "runs/sweep", "The sweep's folder; an earlier sweep goes on.")
flags.DEFINE_multi_string(
    "grid",
    [],
    "A flag of the recipe and the values that it takes in turns, as NAME=VALUE,VALUE,…; of several "
    "such flags all combinations are run. Values with commas: see --configurations.",
)
flags.DEFINE_string("configurations", None, "A JSON file of named settings; see above.")
flags.DEFINE_multi_string(
    "set",
    [],
    "A flag that all runs get, as NAME=VALUE; may be given several times. --set=flagfile=FILE "
    "gives them a preset.",
)
flags.DEFINE_integer("repeats", 1, "Runs per configuration, with the seeds --seed, --seed + 1, …")
flags.DEFINE_integer("seed", 0, "Seed of the first repeat.")
flags.DEFINE_string("cache_dir", None, "Folder for decoded images; default: in the sweep's folder.")
flags.DEFINE_string(
    "metric",
    None,
    "What runs are compared by: a column of rounds.csv, such as 'Lung Opacity/auroc', or auroc for "
    "the first such column of each run. Default: the first Jaccard, accuracy or AUROC. Of a loss "
    "the least is best, otherwise the highest.",
)
flags.DEFINE_float("target", None, "Also count the rounds until the metric is as good as this.")

_NAME = "sweep"
# A sweep reads no images itself; each run has the fingerprint of its own.
_DATA = "in the config.json of each run"


def main(unused_operands: list[str]) -> None:
    """Runs the sweep."""
    plan = _plan()
    command_lines = [[*plan.fixed, *each.settings] for each in plan.configurations]
    recipe = sweep_flags.check(FLAGS.experiment, command_lines)
    _check_distinct(plan, recipe)
    from experiments import sweep_runs
    from tffcxr.report import sweep_report, sweep_table
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    directory = RunDirectory.open(output, _NAME, _settings(plan, recipe), training_flags.facts())
    directory.record_data(_DATA, [])
    runner = sweep_runs.Runner(
        sweep_flags.RECIPES[FLAGS.experiment],
        plan.fixed,
        output,
        _shared_folders(output, plan, recipe),
        lambda line: print(line, file=sys.stderr, flush=True),
    )
    for outcomes in runner.run_all(plan.runs):
        sweep = _results(output, plan, outcomes)
    _write_hparams(sweep)
    report = sweep_report.write_report(sweep, [f"//experiments:{_NAME}", *sys.argv[1:]])
    print(sweep_table.format_summary(sweep))
    print(f"\nreport: {report}")
    failed = sum(outcome.status == sweep_runs.FAILED for outcome in outcomes)
    if failed:
        command_line.fail(
            f"{failed} of {len(outcomes)} runs failed; the same command tries them again", 1
        )


def _plan() -> sweep_plan.Plan:
    """Reads and checks what can be checked without the recipe."""
    if FLAGS.experiment not in sweep_flags.RECIPES:
        known = ", ".join(sorted(sweep_flags.RECIPES))
        raise InputError(f"--experiment: expected one of {known}, found {FLAGS.experiment!r}")
    training_flags.check_at_least(1, "repeats")
    training_flags.check_at_least(0, "seed")
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
    """Refuses configurations that differ in writing alone, such as 0.1 and 0.10."""
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
    """What must stay the same for a sweep to go on."""
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
        if not settings.get("site"):  # Otherwise no phantoms are made, and the flag is refused.
            shared["phantom_dir"] = output / "phantoms"
        folders[configuration.name] = [
            f"--{name}={path}" for name, path in shared.items() if name in recipe.own_flags
        ]
    return folders


def _results(output: pathlib.Path, plan: sweep_plan.Plan, outcomes: Sequence[Outcome]) -> Sweep:
    """Reads what there is by now and writes the tables."""
    from tffcxr.report import sweep_results

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
    sweep = sweep_results.read(output, FLAGS.experiment, runs, FLAGS.metric, FLAGS.target)
    sweep_results.write(sweep)
    return sweep


def _write_hparams(sweep: Sweep) -> None:
    """Writes the complete runs for TensorBoard; this is what imports TensorFlow."""
    if not sweep.rounds:
        return
    from tffcxr.report import sweep_results
    from tffcxr.training import hparams

    trials = []
    for run, row in zip(sweep.runs, sweep_results.run_rows(sweep)):
        if run.status != sweep_results.COMPLETE:
            continue
        numbers = ("best", "best_round", "last", "best_loss", "rounds_to_target")
        trials.append(
            hparams.Trial(
                name=run.folder.partition("/")[2],
                hparams={
                    **{name: text for name, text in run.flags.items() if text is not None},
                    "configuration": run.configuration,
                    "seed": str(run.seed),
                },
                results={f"sweep/{name}": row[name] for name in numbers if name in row},
                curves={
                    column: dict(sweep.values(run, column))
                    for column in dict.fromkeys((sweep.metric, sweep.loss))
                    if column is not None
                },
            )
        )
    hparams.write(sweep.path / "tensorboard", trials)


if __name__ == "__main__":
    command_line.run(main)
