r"""Measures a finished model of findings on images of hospitals that it was not trained on.

  ./bazelw run //experiments:evaluate -- --model=RUN_DIR --site=east=csv:/data/east

--model is a run's folder, whose first model is taken, or an exported .keras file. All findings that
the model gives and the site labels are measured, at the operating points of the run. Images that
the run has trained on, or chosen its rounds and operating points by, are left out with all images
of their patients, also where they are in another file, re-encoded, resized or slightly cropped.
That needs the run's cache and its images; without them, one line says that it could not be checked.
The results are metrics.json in --output_dir.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from experiments.flags import checks, command_line, data_flags
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A run's folder, or the .keras file of an exported model.")
flags.DEFINE_multi_string(
    "site", [], "The images of a hospital, as NAME=LOADER:PATH. Repeat the flag for each hospital."
)
flags.DEFINE_multi_string(
    "same",
    [],
    "A finding that sites call otherwise, as THE_MODEL'S=THE_SITE'S, such as "
    'Pneumonia="Lung Opacity".',
)
flags.DEFINE_string("output_dir", "runs/evaluate", "Folder for metrics.json.")
flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates for intervals.")
flags.DEFINE_integer("batch_size", 16, "Images that are predicted at once.")
flags.DEFINE_integer("seed", 0, "Of the bootstrap.")
flags.DEFINE_boolean(
    "leave_out_known", True, "Leave out images that the run has trained on or chosen by."
)
data_flags.define()
flags.adopt_module_key_flags(data_flags)


def main(unused_operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.model is None:
        raise InputError("--model: expected a run's folder or a .keras file, found none")
    if not FLAGS.site:
        raise InputError("--site: expected NAME=LOADER:PATH, found none")
    checks.at_least(1, "batch_size", "bootstrap")
    from tffcxr.clients import sites as sites_lib
    from tffcxr.models.files import run_models

    parsed = [sites_lib.Site.parse(text, with_finding=False) for text in FLAGS.site]
    sites_lib.check_names(parsed)
    try:
        path = run_models.find(pathlib.Path(FLAGS.model))
    except InputError as error:
        raise InputError(f"--model: {error}") from error
    tables = {site.name: site.load() for site in data_flags.with_options(parsed)}
    for text in FLAGS.same:
        ours, _, theirs = text.partition("=")
        if not any(theirs in table and ours not in table for table in tables.values()):
            raise InputError(
                f"--same: expected MODEL=SITE with a finding of a --site that lacks MODEL, found "
                f"{text!r}"
            )
        tables = {
            name: table if ours in table else table.rename(columns={theirs: ours})
            for name, table in tables.items()
        }

    from tffcxr.elsewhere import evaluation_of_run

    folder = pathlib.Path(FLAGS.output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output_dir: {error.strerror}: {error.filename}") from error
    evaluated = evaluation_of_run.evaluate(
        path,
        tables,
        evaluation_of_run.Wanted(
            FLAGS.batch_size, FLAGS.bootstrap, FLAGS.seed, FLAGS.leave_out_known
        ),
    )
    for remark in evaluated.remarks:
        print(remark, file=sys.stderr)
    print(evaluation_of_run.write(folder, evaluated))
    print(f"results: {folder / 'metrics.json'}")


if __name__ == "__main__":
    command_line.run(main)
