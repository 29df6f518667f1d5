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

from collections.abc import Callable, Iterable, Iterator, Sequence
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

    from tffcxr.models.files.export import Exported

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
NOTICE = "For research only: not a medical device, not for diagnosis."
OF_PHANTOMS = "The model was trained on phantoms only: what it says of a real image means nothing."
_SUFFIXES = frozenset({".dcm", ".dicom", ".png", ".jpg", ".jpeg"})


class Row(NamedTuple):
    """What the model says of one finding, class or region in one image.

    Attributes:
      file: the image's path, see `readable`.
      name: of the finding, class or region.
      number: its probability, or the share of the image that is marked, in 0..1.
      remark: for the table in the terminal.
      others: the further columns of the CSV file.
    """

    file: str
    name: str
    number: float
    remark: str
    others: tuple[object, ...] = ()


class _Kind(NamedTuple):
    """How the answers of a kind of model are shown.

    Attributes:
      head: of the table in the terminal.
      columns: of the CSV file.
      rows: from the model, the file and the image, uint8 [H, W, 1].
    """

    head: tuple[str, str, str, str]
    columns: tuple[str, ...]
    rows: Callable[[Exported, str, np.ndarray], list[Row]]


def main(operands: list[str]) -> None:
    """Runs the program."""
    if FLAGS.model is None:
        raise InputError("--model: expected a run's folder or a .keras file, found none")
    if not operands:
        raise InputError(f"expected {OPERANDS} after the flags, found none")
    model_path, others = _find_model(pathlib.Path(FLAGS.model))
    files = list(_files(operands))
    from tffcxr.datasets.imaging import images
    from tffcxr.models.files import export

    exported = export.load(model_path)
    kind = _KINDS[exported.metadata.kind]
    found: list[Row] = []
    failures = []
    flag = next((name for name in ("heatmaps", "masks") if FLAGS[name].value), None)
    overlays = _Overlays(flag, exported) if flag else None
    for number, file in enumerate(files, 1):
        try:
            picture = images.read_image(file)
            rows = kind.rows(exported, readable(file), picture)
        except InputError as error:
            failures.append(readable(str(error)))
            continue
        found.extend(rows)
        if overlays:
            overlays.write(number, picture, rows)
    if found:
        print(format_table(kind.head, found))
        print()
        if others:
            print(f"Model: {model_path.name}; others of the run: {', '.join(others)}")
        if exported.metadata.phantoms:
            print(OF_PHANTOMS)
        print(NOTICE)
    if FLAGS.csv:
        _write_csv(pathlib.Path(FLAGS.csv), kind.columns, found)
    if failures:
        for failure in failures[:-1]:
            print(f"predict: {failure}", file=sys.stderr)
        raise InputError(failures[-1])


def format_table(head: tuple[str, str, str, str], found: Sequence[Row]) -> str:
    """An aligned table with a line per row; a file's name stands in its first."""
    lines = [head]
    before = None
    for row in found:
        name = row.file if row.file != before else ""
        lines.append((name, row.name, f"{row.number:.3f}", row.remark))
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
    """The same exported model without its last activation.

    It is what Grad-CAM explains: the gradient of a probability vanishes where the model is sure.
    """
    import tensorflow as tf

    return tf.keras.Model(model.input, model.get_layer("probabilities").input)


def call(probability: float, operating_point: float) -> str:
    """Where a probability lies: "above" or "below" the operating point, or "-" without one."""
    if math.isnan(operating_point):
        return "-"
    return "above" if probability >= operating_point else "below"


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


def _findings(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    rows = []
    for name, probability in exported.probabilities(exported.fitted(picture)).items():
        point = exported.metadata.operating_points.get(name, math.nan)
        where = call(probability, point)
        is_there = not math.isnan(point)
        remark = f"{where} {point:.3f}" if is_there else "none"
        rows.append(Row(file, name, probability, remark, (point if is_there else "", where)))
    return rows


def _classes(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    by_class = exported.probabilities(exported.fitted(picture))
    named = max(by_class, key=lambda name: by_class[name])
    return [
        Row(file, name, probability, "named" if name == named else "", (named,))
        for name, probability in by_class.items()
    ]


def _masks(exported: Exported, file: str, picture: np.ndarray) -> list[Row]:
    share = float(exported.mask(picture).mean())
    return [Row(file, exported.metadata.outputs[0], share, "" if share else "nothing is marked")]


# By `metadata.KINDS`.
_KINDS = {
    "findings": _Kind(
        ("file", "finding", "probability", "operating point"),
        ("file", "finding", "probability", "operating_point", "call"),
        _findings,
    ),
    "classes": _Kind(
        ("file", "class", "probability", ""),
        ("file", "class", "probability", "named"),
        _classes,
    ),
    "masks": _Kind(
        ("file", "region", "share of the image", ""),
        ("file", "region", "share"),
        _masks,
    ),
}


def _write_csv(path: pathlib.Path, columns: Sequence[str], found: Sequence[Row]) -> None:
    from tffcxr import files

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in found:
        writer.writerow((row.file, row.name, row.number, *row.others))
    try:
        files.write_text(path, text.getvalue())
    except OSError as error:
        raise InputError(f"--csv: cannot write {path}: {error.strerror}") from error


class _Overlays:
    """Writes pictures of what the model looks at, or of what it marks, into a folder.

    Args:
      flag: that names the folder, "heatmaps" or "masks".
      exported: the model.
    """

    def __init__(self, flag: str, exported: Exported):
        self._flag = flag
        self._folder = pathlib.Path(FLAGS[flag].value)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--{flag}: cannot make {self._folder}: {error.strerror}") from error
        self._exported = exported
        self._logits = None if exported.metadata.marks_pixels else logits_of(exported.keras)

    def write(self, number: int, picture: np.ndarray, rows: Sequence[Row]) -> None:
        """Writes a PNG file per row of an image, uint8 [H, W, 1], with its number in the name."""
        from tffcxr.explanation import gradcam
        from tffcxr.report import style

        pixels = self._exported.fitted(picture)
        for column, row in enumerate(rows):
            if self._logits is None:
                image, heat = picture[..., 0] / 255.0, self._exported.mask(picture)
                title = f"{row.name}: {100 * row.number:.1f} % of the image"
            else:
                layer = self._exported.metadata.gradcam_layers[row.name]
                image = pixels[..., 0]
                heat = gradcam.grad_cam(self._logits, layer, pixels[None], column)[0]
                title = f"{row.name}: {row.number:.3f}"
            stem = pathlib.Path(row.file).stem
            path = self._folder / f"{number:04d}_{stem}_{style.slug(row.name)}.png"
            self._draw(path, image, heat.astype("float32"), title)

    def _draw(self, path: pathlib.Path, image: np.ndarray, heat: np.ndarray, title: str) -> None:
        """Draws the heat [H, W] over the image [H, W], both in 0..1."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4, 4.5), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.5 * heat)
        axes.set_title(f"{title}\n{NOTICE}", fontsize=7)
        axes.axis("off")
        partial = path.with_name(f".{path.name}")
        try:
            figure.savefig(partial, dpi=100, format="png")
            os.replace(partial, path)
        except OSError as error:
            raise InputError(f"--{self._flag}: cannot write {path}: {error.strerror}") from error


if __name__ == "__main__":
    command_line.run(main, OPERANDS)
