"""What a report has to know of one kind of study; nothing else in it differs between kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import TYPE_CHECKING, Any

from tffcxr.evaluation.registry import Metric

if TYPE_CHECKING:
    from tffcxr.report.column_builders import Column
    from tffcxr.report.figures.roc_figure import Curve
    from tffcxr.report.run_reader import Run

Rows = Sequence[dict[str, Any]]  # Of `table.in_order`.


@dataclasses.dataclass(frozen=True)
class Guess:
    """What a model that looks at no image reaches.

    Attributes:
      value: of the main metric; None if it is not known.
      label: in the legend, None for no entry.
    """

    value: float | None = None
    label: str | None = None


def _no_guess(unused_rows: Rows) -> Guess:
    return Guess()


def _nothing(unused_rows: Rows) -> list[str]:
    return []


def _no_facts(unused_rows: Rows) -> dict[str, Any]:
    return {}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of question that a run asks.

    Attributes:
      name: in `config.json` and `metrics.json`.
      main: by which its models are compared.
      of_rounds: what has a panel by round, besides the losses.
      loss: what its loss is, where a run names no other.
      columns: of the table.
      summary: a few sentences on what the run was made for.
      warnings: of rows, the run that they are of and its ROC curves: what makes the numbers
        doubtful.
      guide: the template in `templates/` that says how to read the table; None for none.
      facts: what that template has to know of the rows, besides what all pages know.
      notes: sentences below the table on the terminal.
      compares_models: whether models and kinds of images are compared with each other, and not the
        trainings of one model alone.
      colours_trainings: whether by round the trainings of a single task have their own colours, not
        that of the task.
      ends_at_one: whether the axis of a metric does, whatever the values.
      guess: what guessing gives.
      has_roc: whether its scores make ROC curves.
      pictures: what the images are.
      rounds_caption: of the curves by round; `{split}` is what they were measured on.
      masks_caption: what is to be known of single masks, besides what is the same for all.
      lungs_title: the heading above what is said of the lungs.
      without_lungs: what is done where an image's predicted lungs are implausible.
      lungs_use: what is doubtful where they are wrong.
      exported: what goes into an exported model and comes out, and what is in the file beside it.
      takes_images: whether `predict` takes its models, which need single images.
      validity: what of a model is valid for which images: "its … on".
    """

    name: str
    main: Metric
    of_rounds: tuple[Metric, ...]
    loss: str
    columns: Callable[[Rows], list[Column]]
    summary: Callable[[Rows], list[str]] = _nothing
    warnings: Callable[[Rows, Run, Sequence[Curve]], list[str]] = lambda rows, run, curves: []
    guide: str | None = None
    facts: Callable[[Rows], Mapping[str, Any]] = _no_facts
    notes: Callable[[Rows], list[str]] = _nothing
    compares_models: bool = False
    colours_trainings: bool = True
    ends_at_one: bool = False
    guess: Callable[[Rows], Guess] = _no_guess
    has_roc: bool = False
    pictures: str = "radiographs"
    rounds_caption: str = (
        "After every round the model was measured on the {split} images. A loss that rises again "
        "there means overfitting. A dot is the model of the table."
    )
    masks_caption: str = ""
    lungs_title: str = "Lungs cut out"
    without_lungs: str = "the full image was used"
    lungs_use: str = "a result on segmented images: the model never saw what is outside an outline"
    exported: str = "with the image size in the JSON file beside it."
    takes_images: bool = True
    validity: str = "numbers hold for images like those it was tested"
