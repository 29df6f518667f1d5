r"""Rebuilds the report of a run, or writes a copy of the run to share outside the hospital.

  ./bazelw run //experiments:report -- --run=RUN_DIR
  ./bazelw run //experiments:report -- --run=RUN_DIR --share=NEW_DIR

--with_file_names writes the tables of single images again into the run's cache/, which is never
copied, with the file and the patient of every row.

The run may be unfinished. The copy has the results, the curves and the settings. It has no images
of patients, no labels or scores of single images, no paths and no computer names. Models are copied
only with --share_models. NEW_DIR/SHARED.txt lists what was left out. Site names and patient counts
stay in the copy: read it before you send it.
"""

from __future__ import annotations

import pathlib

from absl import flags

from experiments.flags import command_line
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_string("run", None, "The folder of a run, finished or not.")
flags.DEFINE_string("share", None, "Write a copy without patients' data to this new folder.")
flags.DEFINE_boolean(
    "share_models",
    False,
    "Also copy the models. Weights may reveal training images, and those of a site's own model "
    "have never left the site.",
)
flags.DEFINE_boolean(
    "with_file_names",
    False,
    "Write predictions and other tables of single images with files and patients, for use inside "
    "the hospital.",
)


def main(unused_operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.run is None:
        raise InputError("--run: expected the folder of a run, found none")
    if FLAGS.with_file_names and FLAGS.share is not None:
        raise InputError("--with_file_names: expected no --share with it, found both")
    if FLAGS.share_models and FLAGS.share is None:
        raise InputError("--share_models: expected --share with it, found none")
    run_dir = pathlib.Path(FLAGS.run)
    if (run_dir / "sweep.json").exists():
        raise InputError(f"--run: expected the folder of a single run, found a sweep in {run_dir}")
    from tffcxr.report import file_names, run_report

    try:
        if FLAGS.with_file_names:
            for path in file_names.write(run_dir):
                print(f"with file names: {path}")
        elif FLAGS.share is None:
            print(f"report: {run_report.write_report(run_dir)}")
        else:
            _share(run_dir, pathlib.Path(FLAGS.share))
    except OSError as error:
        raise InputError(
            f"expected files that can be read and written, found {error.strerror}: {error.filename}"
        ) from error


def _share(run_dir: pathlib.Path, target: pathlib.Path) -> None:
    from tffcxr.report import shared_copy
    from tffcxr.training import event_files

    print(shared_copy.write(run_dir, target, event_files.copy_scalars, FLAGS.share_models))
    print(f"copy: {target}")


if __name__ == "__main__":
    command_line.run(main)
