r"""Applies the exported model of a run to radiographs.

A model of findings or classes gives a probability of each, a segmentation the share of the image
that it marks. For research. This is not a medical device, and nothing here is a diagnosis: the
numbers hold for images like those that the model was trained and tuned on.

  ./bazelw run //experiments:predict -- --model=RUN_DIR image.dcm more.png folder \
      --csv=scores.csv --heatmaps=heatmaps

--model is a run's folder, whose first model is taken, or an exported .keras file. Models of volumes
are refused: they take prepared slices. Folders are searched for DICOM, PNG and JPEG files. A file
that cannot be read is named, the others are done, and the exit status is 2.
"""

from __future__ import annotations

import pathlib
import sys

from absl import flags

from experiments.flags import command_line
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A run's folder, or the .keras file of an exported model.")
flags.DEFINE_string("csv", None, "Also write the table to this CSV file.")
flags.DEFINE_string(
    "heatmaps",
    None,
    "Also write a Grad-CAM overlay per image and finding or class to this folder.",
)
flags.DEFINE_string(
    "masks",
    None,
    "Also write an overlay of what a segmentation marks in each image to this folder.",
)

OPERANDS = "image files or folders"
OF_PHANTOMS = "The model was trained on phantoms only: what it says of a real image means nothing."


def main(operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.model is None:
        raise InputError("--model: expected a run's folder or a .keras file, found none")
    if not operands:
        raise InputError(f"expected {OPERANDS} after the flags, found none")
    model_path, others = _find_model(pathlib.Path(FLAGS.model))
    from tffcxr.prediction import image_files

    files = list(image_files.find(operands))
    from tffcxr.datasets.imaging import images
    from tffcxr.models.files import export
    from tffcxr.prediction import answers, overlays

    exported = export.load(model_path)
    kind = answers.KINDS[exported.metadata.kind]
    found: list[answers.Row] = []
    failures = []
    flag = next((name for name in ("heatmaps", "masks") if FLAGS[name].value), None)
    pictures = overlays.Overlays(flag, pathlib.Path(FLAGS[flag].value), exported) if flag else None
    for number, file in enumerate(files, 1):
        try:
            picture = images.read_image(file)
            rows = kind.rows(exported, answers.readable(file), picture)
        except InputError as error:
            failures.append(answers.readable(str(error)))
            continue
        found.extend(rows)
        if pictures:
            pictures.write(number, picture, rows)
    if found:
        print(answers.format_table(kind.head, found))
        print()
        if others:
            print(f"Model: {model_path.name}; others of the run: {', '.join(others)}")
        if exported.metadata.phantoms:
            print(OF_PHANTOMS)
        print(overlays.NOTICE)
    if FLAGS.csv:
        answers.write_csv(pathlib.Path(FLAGS.csv), kind.columns, found)
    if failures:
        for failure in failures[:-1]:
            print(f"predict: {failure}", file=sys.stderr)
        raise InputError(failures[-1])


def _find_model(path: pathlib.Path) -> tuple[pathlib.Path, list[str]]:
    """Returns the model of `--model`, and the names of the others in its run's folder.

    Raises:
      InputError: there is none, it takes no radiographs, or a flag is not for it.
    """
    from tffcxr.models.files import metadata, run_models

    try:
        file = run_models.find(path)
        about = metadata.read(file)
        about.check_takes_radiographs()
    except InputError as error:
        raise InputError(f"--model: {error}") from error
    unused = "heatmaps" if about.marks_pixels else "masks"
    if FLAGS[unused].value is not None:
        raise InputError(f"--{unused}: expected another --model with it, found {about.about}")
    models = run_models.in_run(path) if path.is_dir() else {}
    return file, [other.name for other in models if other != file]


if __name__ == "__main__":
    command_line.run(main, OPERANDS)
