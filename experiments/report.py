r"""Rebuilds the report of a run, compares runs, or writes a copy to share outside the hospital.

  ./bazelw run //experiments:report -- --run=RUN_DIR
  ./bazelw run //experiments:report -- --run=RUN_DIR --run=OTHER_RUN_DIR --output_dir=DIR
  ./bazelw run //experiments:report -- --run=RUN_DIR --share=NEW_DIR

Several --run are compared on one page, DIR/comparison.html: which settings differ, all metrics side
by side, learning curves over one another, time and resources. The others are compared with the
first. Where they were measured on the same test images, differences have intervals and tests.
DIR/comparison.csv has all numbers. The runs must be complete and of one kind.

--with_file_names writes the tables of single images again into the run's cache/, which is never
copied, with the file and the patient of every row.

The run may be unfinished. The copy has the results, the curves and the settings. It has no images
of patients, no labels or scores of single images, no paths and no computer names. Models are copied
only with --share_models. NEW_DIR/SHARED.txt lists what was left out. Site names and patient counts
stay in the copy: read it before you send it.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib

from absl import flags

from experiments.flags import checks, command_line
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_multi_string(
    "run", [], "The folder of a run, finished or not; repeatable: complete runs to compare."
)
flags.DEFINE_string("output_dir", "runs/comparison", "Folder for the comparison of several --run.")
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
    if not FLAGS.run:
        raise InputError("--run: expected the folder of a run, found none")
    checks.used(len(FLAGS.run) > 1, "output_dir", "several --run", "run")
    if FLAGS.with_file_names and FLAGS.share is not None:
        raise InputError("--with_file_names: expected no --share with it, found both")
    if FLAGS.share_models and FLAGS.share is None:
        raise InputError("--share_models: expected --share with it, found none")
    if len(FLAGS.run) > 1 and (FLAGS.with_file_names or FLAGS.share is not None):
        flag = "with_file_names" if FLAGS.with_file_names else "share"
        raise InputError(f"--{flag}: expected a single --run with it, found {len(FLAGS.run)}")
    run_dirs = [pathlib.Path(run) for run in FLAGS.run]
    for run_dir in run_dirs:
        if (run_dir / "sweep.json").exists():
            raise InputError(
                f"--run: expected the folder of a single run, found a sweep in {run_dir}"
            )
    try:
        _write(run_dirs)
    except OSError as error:
        raise InputError(
            f"expected files that can be read and written, found {error.strerror}: {error.filename}"
        ) from error


def _write(run_dirs: Sequence[pathlib.Path]) -> None:
    if len(run_dirs) > 1:
        from tffcxr.report.comparison import comparison_page

        print(f"comparison: {comparison_page.write(run_dirs, FLAGS.output_dir)}")
        return
    from tffcxr.report import file_names, run_report

    (run_dir,) = run_dirs
    if FLAGS.with_file_names:
        for path in file_names.write(run_dir):
            print(f"with file names: {path}")
    elif FLAGS.share is None:
        print(f"report: {run_report.write_report(run_dir)}")
    else:
        _share(run_dir, pathlib.Path(FLAGS.share))


def _share(run_dir: pathlib.Path, target: pathlib.Path) -> None:
    from tffcxr.report import shared_copy
    from tffcxr.training import event_files

    print(shared_copy.write(run_dir, target, event_files.copy_scalars, FLAGS.share_models))
    print(f"copy: {target}")


if __name__ == "__main__":
    command_line.run(main)
