r"""Applies the multi-task model of a run to radiographs: a probability per finding and image.

For research. This is not a medical device, and nothing here is a diagnosis: probabilities and
operating points hold for images like those that the model was trained and tuned on.

  ./bazelw run //experiments:predict -- --model=RUN_DIR image.dcm more.png folder \
      --csv=scores.csv --heatmaps=heatmaps

--model is a run's folder or an exported .keras file. Folders are searched for DICOM, PNG and JPEG
files. A file that cannot be read is named, the others are done, and the exit status is 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
import csv
import io
import math
import os
import pathlib
import sys
from typing import TYPE_CHECKING, NamedTuple

from absl import flags

from experiments.flags import command_line
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

    from tffcxr.models.files.export import Exported, Metadata

FLAGS = flags.FLAGS

flags.DEFINE_string("model", None, "A run's folder, or the .keras file of an exported model.")
flags.DEFINE_string("csv", None, "Also write the table to this CSV file.")
flags.DEFINE_string(
    "heatmaps", None, "Also write a Grad-CAM overlay per image and finding to this folder."
)

OPERANDS = "image files or folders"
NOTICE = "For research only: not a medical device, not for diagnosis."
_IN_RUN = pathlib.PurePath("models", "multi_task.keras")
_SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg"})
_COLUMNS = ("file", "finding", "probability", "operating_point", "call")


class Finding(NamedTuple):
    """What the model says of one finding in one image.

    Attributes:
      file: the image's path, see `readable`.
      finding: its name.
      probability: in 0..1.
      operating_point: the probability at or above which it is called present, NaN if the run has
        none.
    """

    file: str
    finding: str
    probability: float
    operating_point: float

    @property
    def call(self) -> str:
        """Where the probability lies: "above" or "below" the operating point, or "-"."""
        if math.isnan(self.operating_point):
            return "-"
        return "above" if self.probability >= self.operating_point else "below"


def main(operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.model is None:
        raise InputError("--model: expected a run's folder or a .keras file, found none")
    if not operands:
        raise InputError(f"expected {OPERANDS} after the flags, found none")
    model_path = _model_path(pathlib.Path(FLAGS.model))
    files = list(_files(operands))
    from tffcxr.models.files import export

    exported = export.load_exported(model_path)
    found: list[Finding] = []
    failures = []
    overlays = _Overlays(pathlib.Path(FLAGS.heatmaps), exported) if FLAGS.heatmaps else None
    for number, file in enumerate(files, 1):
        try:
            image = _read(file, exported.metadata)
        except InputError as error:
            failures.append(readable(str(error)))
            continue
        findings = _predict(exported, file, image)
        found.extend(findings)
        if overlays:
            overlays.write(number, image, findings)
    if found:
        print(format_table(found))
        print(f"\n{NOTICE}")
    if FLAGS.csv:
        _write_csv(pathlib.Path(FLAGS.csv), found)
    if failures:
        for failure in failures[:-1]:
            print(f"predict: {failure}", file=sys.stderr)
        raise InputError(failures[-1])


def format_table(found: Sequence[Finding]) -> str:
    """An aligned table with a line per image and finding; a file's name stands in its first."""
    head = ("file", "finding", "probability", "operating point")
    lines = [head]
    before = None
    for row in found:
        point = "none" if math.isnan(row.operating_point) else f"{row.operating_point:.3f}"
        call = point if row.call == "-" else f"{row.call} {point}"
        name = row.file if row.file != before else ""
        lines.append((name, row.finding, f"{row.probability:.3f}", call))
        before = row.file
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = [
        "  ".join(
            (
                line[0].ljust(widths[0]),
                line[1].ljust(widths[1]),
                line[2].rjust(widths[2]),
                line[3],
            )
        ).rstrip()
        for line in lines
    ]
    return "\n".join([texts[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *texts[1:]])


def readable(path: str | os.PathLike[str]) -> str:
    r"""Returns a path as text of one line that UTF-8 can encode.

    Bytes that are not UTF-8 and characters that are not printable become \x and two digits, or \u
    and four: `caf\xe9.png`.
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )


def logits_of(model: tf.keras.Model) -> tf.keras.Model:
    """The same multi-task model without its last activation.

    It is what Grad-CAM explains: the gradient of a probability vanishes where the model is sure.
    """
    import tensorflow as tf

    return tf.keras.Model(model.input, model.get_layer("probabilities").input)


def _model_path(path: pathlib.Path) -> pathlib.Path:
    if path.is_dir():
        if not (path / _IN_RUN).is_file():
            raise InputError(
                f"--model: expected a complete run with {_IN_RUN}, found none in {path}"
            )
        return path / _IN_RUN
    if path.suffix != ".keras" or not path.is_file():
        raise InputError(f"--model: expected a run's folder or a .keras file, found {path}")
    return path


def _files(operands: Iterable[str]) -> Iterator[pathlib.Path]:
    """Files as they were named, and the image files below the folders, sorted."""
    for operand in operands:
        path = pathlib.Path(operand)
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in _SUFFIXES)
        if not inside:
            raise InputError(
                f"expected images ({', '.join(sorted(_SUFFIXES))}) below the folder {path}, "
                "found none"
            )
        yield from inside


def _read(file: pathlib.Path, metadata: Metadata) -> np.ndarray:
    """Returns float32 [S, S, 1] in 0..1."""
    from tffcxr.datasets.imaging import images

    pixels = images.fit_to_square(images.read_image(file), metadata.image_size, metadata.fit)
    return pixels.astype("float32") / 255.0


def _predict(exported: Exported, file: pathlib.Path, image: np.ndarray) -> list[Finding]:
    probabilities = exported.keras(image[None], training=False).numpy()[0]
    points = exported.metadata.operating_points
    return [
        Finding(readable(file), name, float(probability), points.get(name, math.nan))
        for name, probability in zip(exported.metadata.findings, probabilities)
    ]


def _write_csv(path: pathlib.Path, found: Sequence[Finding]) -> None:
    from tffcxr import files

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in found:
        point = "" if math.isnan(row.operating_point) else row.operating_point
        writer.writerow((row.file, row.finding, row.probability, point, row.call))
    try:
        files.write_text(path, text.getvalue())
    except OSError as error:
        raise InputError(f"--csv: cannot write {path}: {error.strerror}") from error


class _Overlays:
    """Draws Grad-CAM of every finding's logit over the image that the model saw."""

    def __init__(self, folder: pathlib.Path, exported: Exported):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--heatmaps: cannot make {folder}: {error.strerror}") from error
        self._folder = folder
        self._metadata = exported.metadata
        self._model = logits_of(exported.keras)

    def write(self, number: int, image: np.ndarray, findings: Sequence[Finding]) -> None:
        """Writes a PNG per finding of image [S, S, 1], with the image's number in its name."""
        from tffcxr.explanation import gradcam
        from tffcxr.report import style

        for column, finding in enumerate(findings):
            layer = self._metadata.gradcam_layers[finding.finding]
            heat = gradcam.grad_cam(self._model, layer, image[None], column)[0]
            stem = pathlib.Path(finding.file).stem
            slug = style.slug(finding.finding)
            self._draw(self._folder / f"{number:04d}_{stem}_{slug}.png", image, heat, finding)

    def _draw(
        self, path: pathlib.Path, image: np.ndarray, heat: np.ndarray, finding: Finding
    ) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.5 * heat)
        axes.set_title(f"{finding.finding}: {finding.probability:.3f}\n{NOTICE}", fontsize=7)
        axes.axis("off")
        partial = path.with_name(f".{path.name}")
        try:
            figure.savefig(partial, dpi=100, format="png")
            os.replace(partial, path)
        except OSError as error:
            raise InputError(f"--heatmaps: cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    command_line.run(main, OPERANDS)
