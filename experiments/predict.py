r"""Applies the exported model of a run to images.

A model of findings or classes gives a probability of each, a segmentation the share of the image
that it marks, one of volumes how much it marks in ml. For research. This is not a medical device,
and nothing here is a diagnosis: the numbers hold for images like those that the model was trained
and tuned on. Other images are marked, and refused if their DICOM header says that they are of
another modality or another part of the body.

  ./bazelw run //experiments:predict -- --model=RUN_DIR image.dcm more.png folder \
      --csv=scores.csv --heatmaps=heatmaps

--model is a run's folder, whose first model is taken, or an exported .keras file. Folders are
searched for DICOM, PNG and JPEG files, and for a model of volumes for DICOM series (one folder
each), NIfTI files and cases of MRI. A file that cannot be read is named, the others are done, and
the exit status is 2.
"""

from __future__ import annotations

import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, command_line
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.models.files.metadata import Metadata

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A run's folder, or the .keras file of an exported model.")
flags.DEFINE_string("csv", None, "Also write the table to this CSV file.")
flags.DEFINE_string("json", None, "Also write the answers to this JSON file.")
flags.DEFINE_string(
    "heatmaps",
    None,
    "Also write a Grad-CAM overlay to this folder for each image and finding that is not below its "
    "operating point, or for the class that is named.",
)
flags.DEFINE_string(
    "masks",
    None,
    "Also write what a segmentation marks to this folder: of an image a mask of 0 and 255 and an "
    "overlay, of a volume a NIfTI file of 0 and 1 on the volume's grid.",
)
flags.DEFINE_string(
    "dicom",
    None,
    "Also write DICOM objects to this folder for each DICOM file, in its patient's study: a report "
    "(Structured Report), the Grad-CAM overlays as of --heatmaps (Secondary Capture), and what a "
    "segmentation marks (Segmentation). For radiographs, and for series of CT and PET.",
)
flags.DEFINE_string(
    "node",
    None,
    "For NIfTI files and a model of several kinds of volumes: whose these are like, by the name of "
    "a site of the run.",
)
flags.DEFINE_string(
    "lung_model",
    None,
    "For a model of images whose lungs were cut out: a run's folder or a .keras file of a model "
    "that segments lungs (cxr_fl_segmentation), best the one of its training.",
)
flags.DEFINE_integer("batch_size", 16, "Images or slices that are predicted at once.")
flags.DEFINE_boolean(
    "allow_other_images",
    False,
    "Predict images of another modality or another part of the body, with a warning.",
)
flags.DEFINE_boolean(
    "allow_phantom_model",
    False,
    "Use a model that was trained on phantoms, which knows no image of a patient.",
)

OPERANDS = "image files or folders"


def main(operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.model is None:
        raise InputError("--model: expected a run's folder or a .keras file, found none")
    if not operands:
        raise InputError(f"expected {OPERANDS} after the flags, found none")
    checks.at_least(1, "batch_size")
    model_path, others = _find_model(pathlib.Path(FLAGS.model))
    from tffcxr.prediction import session

    failures = session.predict(
        model_path,
        others,
        operands,
        session.Wanted(
            batch_size=FLAGS.batch_size,
            allow_other_images=FLAGS.allow_other_images,
            node=FLAGS.node,
            lung_model=_find_lung_model(model_path),
            **{
                name: FLAGS[name].value and pathlib.Path(FLAGS[name].value)
                for name in ("csv", "json", "heatmaps", "masks", "dicom")
            },
        ),
    )
    if failures:
        for failure in failures[:-1]:
            print(f"predict: {failure}", file=sys.stderr)
        raise InputError(failures[-1])


def _find_model(path: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """Returns the model of `--model`, and the names of the others in its run's folder.

    Raises:
      InputError: there is none, it does not take the images as they are in files, it was trained
        on phantoms, or a flag is not for it.
    """
    from tffcxr.models.files import metadata, run_models

    try:
        file = run_models.find(path)
        about = metadata.read(file)
        if about.kind != metadata.VOLUMES and not (about.cut_out and FLAGS.lung_model):
            about.check_takes_radiographs()
    except InputError as error:
        raise InputError(f"--model: {error}") from error
    _check_flags(about)
    models = run_models.in_run(path) if path.is_dir() else {}
    return file, [other.name for other in models if other != file]


def _find_lung_model(model: pathlib.Path) -> pathlib.Path | None:
    """Returns the model of `--lung_model`, if it is needed.

    Raises:
      InputError: there is none, it segments no lungs, knows phantoms alone, or has no use.
    """
    if FLAGS.lung_model is None:
        return None
    from tffcxr.models.files import metadata, run_models

    if not metadata.read(model).cut_out:
        raise InputError(
            "--lung_model: expected a --model of images whose lungs were cut out with it, found "
            "one of whole images"
        )
    try:
        file = run_models.find(pathlib.Path(FLAGS.lung_model))
        about = metadata.read(file)
        about.check_marks_lungs()
    except InputError as error:
        raise InputError(f"--lung_model: {error}") from error
    _check_phantoms("lung_model", about)
    return file


def _check_flags(about: Metadata) -> None:
    from tffcxr.models.files import metadata

    unused = ["heatmaps"] if about.marks_pixels else ["masks"]
    unused += [] if about.slices else ["node"]
    if about.kind == metadata.VOLUMES:
        from tffcxr.prediction import volume_files

        unused += [] if volume_files.takes_series(about.slices) else ["dicom"]
    for name in unused:
        if FLAGS[name].value is not None:
            raise InputError(f"--{name}: expected another --model with it, found {about.about}")
    _check_phantoms("model", about)


def _check_phantoms(flag: str, about: Metadata) -> None:
    if about.phantoms and not FLAGS.allow_phantom_model:
        raise InputError(
            f"--{flag}: expected a model trained on images of patients, found one trained on "
            "phantoms: what it says of an image means nothing (--allow_phantom_model uses it)"
        )


if __name__ == "__main__":
    command_line.run(main, OPERANDS)
