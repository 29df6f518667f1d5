r"""Measures a finished model on images of hospitals that it was not trained on.

  ./bazelw run //experiments:evaluate -- --model=RUN_DIR --site=east=csv:/data/east

--model is a run's folder, whose first model is taken, or an exported .keras file: of findings, of
classes or of masks. All findings that the model gives and the site labels are measured, at the
operating points of the run; of classes, the images that are in one of them; of masks, the images
that are outlined, at the model's resolution. Images that
the run has trained on, or chosen its rounds and operating points by, are left out with all images
of their patients, also where they are in another file, re-encoded, resized or slightly cropped.
That needs the run's cache and its images. If some of these are missing, nothing is measured unless
--noleave_out_known is given; without the cache's table, the results say that it is unknown.
The results are metrics.json and report.html in --output_dir.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from experiments.flags import checks, command_line, data_flags, typed
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A run's folder, or the .keras file of an exported model.")
flags.DEFINE_multi_string(
    "site", [], "The images of a hospital, as NAME=LOADER:PATH. Repeat the flag for each hospital."
)
flags.DEFINE_multi_string(
    "same",
    [],
    "A finding or class that sites call otherwise, as THE_MODEL'S=THE_SITE'S, such as "
    'Pneumonia="Lung Opacity".',
)
flags.DEFINE_string(
    "output_dir",
    "runs/evaluate",
    "New or empty folder, or that of an earlier evaluation, for metrics.json and report.html.",
)
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
    from tffcxr.clients import external_sites, site_tables
    from tffcxr.clients import sites as sites_lib
    from tffcxr.models.files import metadata, run_models
    from tffcxr.report import elsewhere_page

    folder = pathlib.Path(FLAGS.output_dir)
    elsewhere_page.check_folder(folder)
    parsed = [sites_lib.Site.parse(text, with_finding=False) for text in FLAGS.site]
    sites_lib.check_names(parsed)
    try:
        path = run_models.find(pathlib.Path(FLAGS.model))
    except InputError as error:
        raise InputError(f"--model: {error}") from error
    sites = data_flags.with_options(parsed)
    loaded = {site.name: site.load() for site in sites}
    outputs = [name for name in metadata.read(path).outputs if name != site_tables.LUNGS]
    tables = external_sites.with_names_of_model(loaded, FLAGS.same, outputs)

    from tffcxr.elsewhere import evaluation_of_run

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output_dir: {error.strerror}: {error.filename}") from error
    evaluated = evaluation_of_run.evaluate(
        path,
        {site: tables[site.name] for site in sites},
        evaluation_of_run.Wanted(
            FLAGS.batch_size, FLAGS.bootstrap, FLAGS.seed, FLAGS.leave_out_known
        ),
    )
    for remark in evaluated.remarks:
        print(remark, file=sys.stderr)
    print(evaluation_of_run.write(folder, evaluated, path, typed.current().words))
    print(f"report: {folder / 'report.html'}")


if __name__ == "__main__":
    command_line.run(main)
