"""Is a finding there? Models of each finding, compared by their AUROC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tffcxr.evaluation import comparisons, registry
from tffcxr.report import column_builders, results_table, style
from tffcxr.report.kinds import many_findings, remarks_common
from tffcxr.report.kinds.kind import Guess, Kind, Rows

if TYPE_CHECKING:
    from tffcxr.report.figures.roc_figure import Curve
    from tffcxr.report.run_reader import Run

_BASELINES = ("site", "pooled")  # With which federated models are compared.
# On images of sites that were not trained on, these are compared with the federated models.
_COMPARED = (*_BASELINES, "federated")

# Below this many images of a class, one image moves sensitivity or specificity by over 3 %.
_FEW_IMAGES = 30
# Above this width an interval cannot tell a good model from a mediocre one.
_WIDE_INTERVAL = 0.15
_SIGNIFICANT = 0.05
# A larger difference in the part of positive images makes calibrated probabilities wrong.
_OTHER_PREVALENCE = 0.1
_NOTE_ON_T = (
    "t: the paired t-test, whose p shrinks with the number of bootstrap replicates, so trust p; it "
    "is not adjusted."
)
_DECISION_PART, _PROBABILITY_PART = "At the operating point", "Probabilities"
# What runs of earlier versions may lack.
_DECISIONS = (registry.PPV, registry.NPV, registry.F1, registry.ACCURACY)
_PROBABILITIES = (
    registry.BRIER, registry.ECE, registry.CALIBRATION_SLOPE, registry.CALIBRATION_INTERCEPT,
    registry.ACCURACY_HALF,
)  # fmt: skip
# A larger difference than rounding makes between two computations of an AUROC.
_AUROC_TOLERANCE = 1e-3


def _columns(rows: Rows) -> list[column_builders.Column]:
    baselines = _compared_with(rows)
    return [
        column_builders.with_interval(registry.AUROC, rows),
        *column_builders.of_a_backdoor(rows),
        *(_p_value(f"p vs {name}", f"p {name}", "delong", name, rows) for name in baselines),
        column_builders.images(),
        column_builders.plain(registry.SENSITIVITY, rows, part=_DECISION_PART),
        column_builders.plain(registry.SPECIFICITY, rows, part=_DECISION_PART),
        column_builders.plain(registry.AUPR, rows),
        column_builders.plain(registry.LOSS, rows, part=_PROBABILITY_PART),
        *column_builders.where_measured(_DECISIONS, rows, _DECISION_PART),
        *column_builders.where_measured(_PROBABILITIES, rows, _PROBABILITY_PART),
        *(  # Where the federated model is the baseline, at other hospitals, nobody published one.
            _p_value(f"t-test vs {name}", f"t {name}", "ttest", name, rows)
            for name in baselines
            if name != "federated"
        ),
    ]


def _p_value(
    heading: str, short: str, test: str, against: str, rows: Rows
) -> column_builders.Column:
    """The p-value of a test, in brackets the adjusted one where the table has several tests."""
    is_adjusted = test == "delong" and any(_tests(row) > 1 for row in rows)

    def text(row: column_builders.Row) -> str:
        key = _p_key(row, test, against)
        if key is None:
            return style.NOT_COMPARED
        adjusted = row.get(f"{key}{comparisons.SUFFIX}")
        value = style.p_value(row[key])
        return f"{value} ({style.p_value(adjusted)})" if style.is_number(adjusted) else value

    if is_adjusted:
        return column_builders.Column(f"{heading} (Holm)", f"{short} (Holm)", 15, text)
    note = _NOTE_ON_T if test == "ttest" else ""
    return column_builders.Column(
        heading, short, 9, lambda row: style.value_and_interval(text(row))[0], note=note
    )


def _tests(row: column_builders.Row) -> int:
    """How many tests the p-values of a row are adjusted for; 1 if they are not."""
    tests: Any = row.get(comparisons.TESTS)
    return int(tests) if style.is_number(tests) else 1


def _compared_with(rows: Rows) -> list[str]:
    """Returns the trainings that some row was tested against."""
    keys = {key for row in rows for key in row}
    named = {row.get("baseline") for row in rows}
    return [name for name in _COMPARED if name in named or f"p_delong_{name}" in keys]


def _p_key(row: column_builders.Row, test: str, against: str) -> str | None:
    """Returns the name of the p-value of a test, or None if the row was not tested so.

    Args:
      row: of a `metrics.json`.
      test: "delong" or "ttest".
      against: the training of the other model.
    """
    if row.get("baseline") == against:
        return f"p_{test}"
    key = f"p_{test}_{against}"
    return key if key in row else None


def _notes(rows: Rows) -> list[str]:
    without = [row for row in rows if isinstance(row.get("auroc_remark"), str)]
    reasons = dict.fromkeys(f"{row['title']}: {_why_undefined(row)}" for row in without)
    return [*_notes_on_tests(rows), *reasons]


def _notes_on_tests(rows: Rows) -> list[str]:
    if not _compared_with(rows):
        return []
    tests = max(map(_tests, rows))
    note = "p: DeLong's test against the model that is named."
    if tests > 1:
        note += f" In brackets p is adjusted for the {tests} tests of the table by Holm's method."
    return [note]


def _facts(rows: Rows) -> dict[str, Any]:
    return {
        "baselines": _compared_with(rows),
        "tests": max(map(_tests, rows), default=1),
        "backdoor": any(registry.BACKDOOR_SUCCESS.name in row for row in rows),
        "predictive_values": any(registry.PPV.name in row for row in rows),
        "slope": any(registry.CALIBRATION_SLOPE.name in row for row in rows),
        **remarks_common.about_probabilities(rows),
        "elsewhere": any(style.is_elsewhere(row["training"]) for row in rows),
    }


def _guess(unused_rows: Rows) -> Guess:
    return Guess(0.5)


def _summary(rows: Rows) -> list[str]:
    """Returns sentences per federated row: its AUROC, its baselines' AUROCs, and the tests."""
    federated = [
        row for row in rows if row["training"] == "federated" and style.is_number(row.get("auroc"))
    ]
    if len(federated) > many_findings.MOST_SENTENCES:
        return _summary_of_many(federated, rows)
    sentences = []
    for row in federated:
        text = f"{row['title']}: {row['name'].lower()} AUROC {style.with_interval(row, 'auroc')}"
        against = [
            f"{other['name'].lower()} {style.with_interval(other, 'auroc')}; difference "
            f"{style.signed(row['auroc'] - other['auroc'])}. {_verdict(row, other)}"
            for other in _baselines(row, rows)
        ]
        if against:
            sentences.append(f"{text}; {' Against '.join(against)}")
        else:
            sentences.append(f"{text}.")
    return sentences


def _summary_of_many(federated: list[dict[str, Any]], rows: Rows) -> list[str]:
    """Returns a sentence on all federated rows, and one per training that they are compared with.

    Args:
      federated: those of all rows, with a defined AUROC.
      rows: all.
    """
    pairs: dict[str, list[many_findings.Pair]] = {}
    for row in federated:
        for other in _baselines(row, rows):
            key = _p_key(row, "delong", other["training"])
            pairs.setdefault(other["name"], []).append((row, other, row.get(key) if key else None))
    return [
        *many_findings.summary(federated),
        *(many_findings.comparison(name.lower(), of_name) for name, of_name in pairs.items()),
    ]


def _warnings(rows: Rows, run: Run, curves: Sequence[Curve]) -> list[str]:
    """Returns what makes the numbers doubtful, also that they differ from the curves'."""
    result = remarks_common.of_one_client(rows, run) + _left_out(run)
    result += remarks_common.said_once(rows, _problems) + _few_images(rows)
    result += _of_the_prevalence(rows, run)
    for curve in curves:
        stated: Any = curve.row.get("auroc")
        if style.is_number(stated) and abs(stated - curve.auroc) > _AUROC_TOLERANCE:
            result.append(
                f"{curve.title}, {curve.row['name']}: metrics.json states AUROC "
                f"{stated:.3f}, but predictions.csv gives {curve.auroc:.3f}. They are not of the "
                "same evaluation."
            )
    return result


def _baselines(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the rows of the models that a federated row is compared with."""
    found = []
    for training in _BASELINES:
        for other in rows:
            same = all(other.get(key) == row.get(key) for key in ("task", "split", "model"))
            same_client = results_table.client(other) in (
                results_table.client(row),
                "",
            ) or not results_table.client(row)
            if (
                same
                and same_client
                and other["training"] == training
                and style.is_number(other.get("auroc"))
            ):
                found.append(other)
                break
    return found


def _verdict(row: dict[str, Any], other: dict[str, Any]) -> str:
    """Says what DeLong's test of a row against another says."""
    key = _p_key(row, "delong", other["training"])
    if key is None:
        return "The difference was not tested."
    p: Any = row.get(key)
    if not style.is_number(p):
        return "The difference could not be tested."
    text = f"DeLong's test: p {'' if p < 0.001 else '= '}{style.p_value(p)}"
    adjusted: Any = row.get(f"{key}{comparisons.SUFFIX}")
    if _tests(row) > 1 and style.is_number(adjusted):
        p = adjusted
        equals = "" if p < 0.001 else "= "
        text += f", adjusted for {_tests(row)} tests p {equals}{style.p_value(p)}"
    text += ". "
    if p >= _SIGNIFICANT:
        return text + (
            "These images give no evidence that the two differ, which is not proof that they "
            "are equally good."
        )
    return text + (
        f"The federated model is {'better' if row['auroc'] > other['auroc'] else 'worse'}; chance "
        "alone would seldom make such a difference."
    )


def _why_undefined(row: dict[str, Any]) -> str:
    """Says why a row has no AUROC."""
    remark = row.get("auroc_remark")
    if not isinstance(remark, str):
        remark = "the images are of one class, have no label, or the model diverged"
    return f"AUROC is undefined: {remark}."


def _problems(row: dict[str, Any]) -> list[str]:
    """Returns what is wrong with one row, without its name."""
    problems = []
    auroc: Any = row.get("auroc")
    low: Any = row.get("auroc_low")
    high: Any = row.get("auroc_high")
    if not style.is_number(auroc):
        return [_why_undefined(row)]
    # Without an interval, chance alone may have done it.
    if style.is_number(high) and high < 0.5:
        problems.append(
            f"AUROC {style.number(auroc)} is worse than chance. Check that labels and scores "
            "mean the same finding."
        )
    if not (style.is_number(low) and style.is_number(high)):
        problems.append("too few patients for a confidence interval.")
    elif high - low > _WIDE_INTERVAL:
        problems.append(
            f"the interval of the AUROC is wider than {_WIDE_INTERVAL:g}: more test images are "
            "needed to rank models."
        )
    elif high == low:
        problems.append(
            "the scores separate the classes completely, so the bootstrap interval has no width. "
            "It says nothing about harder images."
        )
    problems += remarks_common.not_calibrated(row)
    if "threshold" in row and not style.is_number(row["threshold"]):
        problems.append(
            "no operating point could be chosen, so sensitivity and specificity are undefined."
        )
    return problems


def _of_the_prevalence(rows: Rows, run: Run) -> list[str]:
    """Returns a warning per site whose scores were calibrated at another prevalence of a finding.

    Probabilities are of images like those that scores were scaled on.
    """
    calibrated = {
        (results_table.client(row), str(row["task"])) for row in rows if "temperature" in row
    }
    described = run.config.get("sites")
    clients = [c for c in described if isinstance(c, Mapping)] if calibrated and described else []
    result = []
    for site, task in sorted(calibrated):
        mine = [client for client in clients if client.get("site") == site]
        finding = task.removesuffix(f" at {site}")
        several = any("positive" in client for client in mine)
        before, now = (_prevalence(mine, finding, split) for split in ("validation", "test"))
        if abs(before - now) > _OTHER_PREVALENCE:
            result.append(
                f"{site}: {style.percent(before)} of the validation images, which scores were "
                f"calibrated on, have {finding if several else 'the finding'}, but "
                f"{style.percent(now)} of the test images: "
                f"probabilities tend to be too {'high' if before > now else 'low'} there."
            )
    return result


def _prevalence(clients: Sequence[Mapping[str, Any]], finding: str, split: str) -> float:
    """Returns the part of the clients' images of a split that has the finding, NaN without any."""
    counts = [_counts(client, finding, split) for client in clients]
    known: Any = [both for both in counts if all(map(style.is_number, both))]
    positive, images = np.sum(known, axis=0) if known else (0, 0)
    return positive / images if images else float("nan")


def _counts(client: Mapping[str, Any], finding: str, split: str) -> tuple[Any, Any]:
    """Returns a client's images of a split with a finding, and all that are labelled for it."""
    if "positive" not in client:
        return client.get(f"{split}_positive"), client.get(f"{split}_images")
    positive, negative = (
        client[name].get(finding, {}).get(split) for name in ("positive", "negative")
    )
    known = style.is_number(positive) and style.is_number(negative)
    return positive, positive + negative if known else None


def _left_out(run: Run) -> list[str]:
    """Returns a sentence per site with findings that it could not use."""
    found = run.derived.get("left_out")
    return [
        f"{site}: left out "
        + ", ".join(
            f"{name} ({style.counted(counts['with'], 'patient')} with it, {counts['without']:.0f} "
            "without)"
            for name, counts in findings.items()
        )
        + ", since training, validation and test need images of both kinds."
        for site, findings in (found.items() if isinstance(found, Mapping) else ())
    ]


def _few_images(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a warning per test set with few images of a class."""
    result = {}
    for row in rows:
        if not (style.is_number(row.get("images")) and style.is_number(row.get("positives"))):
            continue
        positives = row["positives"]
        negatives = row["images"] - positives
        if min(positives, negatives) < _FEW_IMAGES:
            key = (row["task"], row["split"], positives, negatives)
            result[key] = (
                f"{row['task']} ({row['split']}): only {positives:.0f} positive and "
                f"{style.counted(negatives, 'negative image')}; every number here is uncertain."
            )
    if len(result) > many_findings.MOST_SENTENCES:
        return [many_findings.few_images(list(result))]
    return list(result.values())


KIND = Kind(
    name="findings",
    main=registry.AUROC,
    of_rounds=(registry.AUROC,),
    loss="Cross-entropy",
    columns=_columns,
    summary=_summary,
    warnings=_warnings,
    guide="guide_findings.html.jinja",
    facts=_facts,
    notes=_notes,
    colours_trainings=False,
    ends_at_one=True,
    guess=_guess,
    has_roc=True,
    lungs_title="Predicted lungs",
    without_lungs="heat in the lungs is undefined",
    lungs_use="heat in the lungs",
    exported=(
        "with the findings, in the order of the outputs, and the image size in the JSON file "
        "beside it. One image in, one probability per finding out."
    ),
    validity="operating point holds for images like those it was chosen",
    rounds_caption=(
        "A validation loss that rises while the training loss falls means overfitting. A dot is "
        "the model of the table."
    ),
)
