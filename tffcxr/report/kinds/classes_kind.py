"""Which one of several classes? Models and kinds of images, compared by their accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import functools
from typing import TYPE_CHECKING, Any

from tffcxr.evaluation import registry
from tffcxr.report import column_builders, results_table, style
from tffcxr.report.kinds import remarks_common
from tffcxr.report.kinds.kind import Guess, Kind, Rows

if TYPE_CHECKING:
    from tffcxr.report.figures.roc_figure import Curve
    from tffcxr.report.run_reader import Run

_RECALIBRATED = (registry.CALIBRATION_SLOPE, registry.CALIBRATION_INTERCEPT)
# Below this many images of a class, one image moves its sensitivity by over 3 %.
_FEW_IMAGES = 30
# One training that saw so many times the images of another is told from it.
_MORE_IMAGES = 1.2


def _columns(rows: Rows) -> list[column_builders.Column]:
    return [
        column_builders.with_interval(registry.ACCURACY, rows),
        *(
            column_builders.of_round(metric)
            for metric in (registry.MAXIMUM_ACCURACY, registry.MINIMUM_LOSS)
            if _tells_rounds(rows)
        ),
        column_builders.images(),
        *column_builders.of_a_backdoor(rows),
        *column_builders.where_measured((registry.BRIER, registry.ECE), rows, "Probabilities"),
        *column_builders.where_measured((registry.F1, registry.KAPPA), rows),
        *column_builders.where_measured(_losses(rows), rows, "Probabilities"),
        *_by_class(registry.SENSITIVITY, rows, "Classes"),
        *(
            column
            for metric in _RECALIBRATED
            if any(f"{metric.name}_by_class" in row for row in rows)
            for column in _by_class(metric, rows, "Calibration of classes")
        ),
    ]


def _tells_rounds(rows: Rows) -> bool:
    """Whether the rows tell of the rounds of their trainings; elsewhere they do not."""
    return any(registry.MAXIMUM_ACCURACY.name in row for row in rows)


def _losses(rows: Rows) -> tuple[registry.Metric, ...]:
    """The loss of the reported model, where it has an interval: not in earlier versions."""
    return (registry.LOSS,) if any("loss_low" in row for row in rows) else ()


def _by_class(metric: registry.Metric, rows: Rows, part: str) -> list[column_builders.Column]:
    """Returns a column for each class of a metric that rows have by class."""
    return [
        column_builders.Column(
            _heading(metric, name, rows),
            f"{metric.heading} {_letter(position)}",
            len(metric.heading) + 2,
            functools.partial(_text, metric, name),
            functools.partial(_text_with_interval, metric, name),
            part=part,
        )
        for position, name in enumerate(_class_names(rows))
    ]


def _heading(metric: registry.Metric, name: str, rows: Rows) -> str:
    title = f"{metric.title}, {name}"
    has_intervals = any(f"{metric.name}_by_class_low" in row for row in rows)
    return style.interval_heading(title, rows) if has_intervals else title


def _text(metric: registry.Metric, name: str, row: column_builders.Row) -> str:
    return style.number(_of_class(metric, name, row)[metric.name], metric.digits)


def _text_with_interval(metric: registry.Metric, name: str, row: column_builders.Row) -> str:
    return style.with_interval(_of_class(metric, name, row), metric.name, metric.digits)


def _of_class(metric: registry.Metric, name: str, row: column_builders.Row) -> dict[str, Any]:
    """Returns the metric of a class and the ends of its interval."""
    found = {}
    for end in ("", "_low", "_high"):
        by_class = row.get(f"{metric.name}_by_class{end}")
        found[f"{metric.name}{end}"] = by_class.get(name) if isinstance(by_class, Mapping) else None
    return found


def _class_names(rows: Rows) -> list[str]:
    """Returns the classes of all rows, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.get("classes", ())))


def _letter(position: int) -> str:
    """Returns the letter that stands for a class where its name is too long: "A" for the first."""
    return chr(ord("A") + position)


def _notes(rows: Rows) -> list[str]:
    names = _class_names(rows)
    if not names:
        return []
    legend = ", ".join(f"{_letter(i)} {name}" for i, name in enumerate(names))
    rounds = "In brackets after maximum and minimum: the round. " if _tells_rounds(rows) else ""
    return [f"{rounds}Classes: {legend}."]


def _facts(rows: Rows) -> dict[str, Any]:
    return {
        "backdoor": any(registry.BACKDOOR_SUCCESS.name in row for row in rows),
        "agreement": any(registry.KAPPA.name in row for row in rows),
        "commonest": results_table.commonest_share(rows),
        "slope": any(f"{metric.name}_by_class" in row for metric in _RECALIBRATED for row in rows),
        **remarks_common.about_probabilities(rows),
    }


def _guess(rows: Rows) -> Guess:
    return Guess(results_table.commonest_share(rows), "always the commonest class")


def _summary(rows: Rows) -> list[str]:
    """Returns the best model, what guessing gives, and what federation and lungs alone changed."""
    sentences = []
    for title, block in results_table.blocks(rows):
        known = [row for row in block if style.is_number(row.get("accuracy"))]
        if not known or known[0]["split"] == "train":
            continue
        largest = max(row["accuracy"] for row in known)
        best = [row for row in known if row["accuracy"] == largest]
        sentences.append(
            f"{title}: the most accurate {'models are' if len(best) > 1 else 'model is'} "
            f"{' and '.join(row['name'] for row in best)}, "
            f"{style.with_interval(best[0], 'accuracy')}."
        )
        share = results_table.commonest_share(known)
        if share is not None:
            sentences.append(
                f"Naming the commonest class always would be right in {style.percent(share)} of "
                "the images; accuracy has to be read against that."
            )
        sentences += _differences(known, "training", "federated", "pooled")
        sentences += _differences(known, "images_kind", "segmented", "full")
    return sentences


def _warnings(rows: Rows, run: Run, unused_curves: Sequence[Curve]) -> list[str]:
    result = []
    result += _of_the_images_seen(rows, run)
    if any(row.get("images_kind") == "segmented" for row in rows):
        result += _of_the_lungs(run)
    for title, block in results_table.blocks(rows):
        result += _of_the_block(title, block, run.measured_split)
    return result + remarks_common.said_once(rows, _problems)


def _differences(known: Sequence[dict[str, Any]], key: str, one: str, reference: str) -> list[str]:
    """Returns a sentence per pair of models that differ in `key` alone, in these two values."""
    alike = {"model", "images_kind", "training"} - {key}
    return [
        f"{row['name']} against {other['name']}: difference in accuracy "
        f"{style.signed(row['accuracy'] - other['accuracy'])}."
        for row in known
        for other in known
        if (row.get(key), other.get(key)) == (one, reference)
        and all(row.get(name) == other.get(name) for name in alike)
    ]


def _of_the_images_seen(rows: Sequence[dict[str, Any]], run: Run) -> list[str]:
    """Returns a warning if models of one training saw more images, in all rounds, than others."""
    seen = {}
    for training, rounds in (("federated", run.rounds), ("pooled", run.rounds_pooled)):
        models = {
            (row.get("model"), row.get("images_kind"))
            for row in rows
            if row.get("training") == training
        }
        if models and "images" in rounds and rounds["images"].sum() > 0:
            # The tables of rounds count the images of all models together.
            seen[training] = float(rounds["images"].sum()) / len(models)
    if len(seen) < 2 or max(seen.values()) < _MORE_IMAGES * min(seen.values()):
        return []
    return [
        f"In its training a federated model saw {seen['federated']:.0f} images, each counted as "
        f"often as it was seen, a pooled one {seen['pooled']:.0f}: some of their difference may "
        "come from that."
    ]


def _of_the_lungs(run: Run) -> list[str]:
    """Returns a warning if lungs could not be cut out of every image."""
    lungs = run.lungs
    images, implausible = lungs.get("images"), lungs.get("implausible")
    result = []
    if style.is_number(images) and style.is_number(implausible) and images and implausible:
        what = (
            "the predicted lungs were implausible" if lungs.get("model") else "no lungs are known"
        )
        result.append(
            f"In {implausible} of {style.counted(images, 'image')} {what}. The full image was used "
            "there, so models of the lungs were partly trained and tested on full images."
        )
    if style.is_number(lungs.get("unreadable")) and lungs["unreadable"]:
        result.append(
            f"{style.counted(lungs['unreadable'], 'image')} could not be read, so there are no "
            "lungs to cut out."
        )
    return result


def _of_the_block(title: str, block: Sequence[dict[str, Any]], measured: str) -> list[str]:
    """Returns what is doubtful about all models on one test set."""
    result = remarks_common.chosen_on_the_same_images(title, block)
    is_best_told = any("maximum_accuracy" in row for row in block)
    if not result and measured == block[0]["split"] and is_best_told:
        result.append(
            f"{title}: maximum accuracy and minimum loss are the best of all rounds on these very "
            "images, as the paper reports them, so they are optimistic."
        )
    if len({row["images"] for row in block if style.is_number(row.get("images"))}) > 1:
        result.append(f"{title}: the models were not measured on the same images.")
    # Models that saw the same images have the same counts.
    few: dict[str, int] = {}
    for row in block:
        for name, counts in zip(row.get("classes", ()), row.get("confusion", ())):
            if sum(counts) < _FEW_IMAGES:
                few.setdefault(name, sum(counts))
    return result + [
        f"{title}: images of class “{name}”: only {count}; its sensitivity is uncertain."
        for name, count in few.items()
    ]


def _problems(row: dict[str, Any]) -> list[str]:
    """Returns what is wrong with one row, without its name."""
    accuracy: Any = row.get("accuracy")
    if not style.is_number(accuracy):
        return ["accuracy is undefined: there is no labelled image, or the model diverged."]
    problems = []
    low: Any = row.get("accuracy_low")
    if not (style.is_number(low) and style.is_number(row.get("accuracy_high"))):
        problems.append("too few patients for a confidence interval.")
    share = results_table.commonest_share([row])
    if share is not None and (low if style.is_number(low) else accuracy) <= share:
        problems.append(
            f"the accuracy is not shown to be better than naming the commonest class always "
            f"({share:.3f})."
        )
    problems += remarks_common.not_calibrated(row)
    confusion = row.get("confusion", [])
    for position, name in enumerate(row.get("classes", ())):
        if confusion and not any(counts[position] for counts in confusion):
            problems.append(f"no image was called “{name}”.")
    return problems


KIND = Kind(
    name="classes",
    main=registry.ACCURACY,
    of_rounds=(registry.ACCURACY,),
    loss="Cross-entropy",
    columns=_columns,
    summary=_summary,
    warnings=_warnings,
    guide="guide_classes.html.jinja",
    facts=_facts,
    notes=_notes,
    compares_models=True,
    guess=_guess,
    exported=(
        "with the classes, in the order of the outputs, and the image size in the JSON file beside "
        "it. One image in, one probability per class out."
    ),
)
