"""The results on images of hospitals that were not trained on, and what a reader must know of them.

`report.html`, the page of `evaluate` and the terminal have the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from tffcxr.evaluation import comparisons
from tffcxr.report import column_builders, results_table, style
from tffcxr.report.kinds import many_findings
from tffcxr.report.kinds.kind import Kind

TITLE = "Elsewhere: external test images"


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """The part of a page about these hospitals.

    Attributes:
      summary: a sentence for each test set.
      parts: the tables, see `column_builders.parts`.
      results: their rows, see `results_table.blocks`.
      notes: how to read them.
    """

    summary: Sequence[str]
    parts: Sequence[tuple[str, Sequence[column_builders.Column]]]
    results: Sequence[tuple[str, Sequence[dict[str, Any]]]]
    notes: Sequence[str]


def of(
    rows: Sequence[Mapping[str, Any]], kind: Kind, derived: Mapping[str, Any]
) -> Elsewhere | None:
    """Returns what a page says of rows of other hospitals; None without any.

    Args:
      rows: of `metrics.json`, of these hospitals alone.
      kind: of study.
      derived: as in the run's `config.json`.
    """
    if not rows:
        return None
    ordered = results_table.in_order(rows, kind)
    blocks = results_table.blocks(ordered)
    return Elsewhere(
        summary=_summary(blocks, kind),
        parts=column_builders.parts(kind.columns(ordered)),
        results=blocks,
        notes=[*_left_out(derived), *_names(ordered), *_methods(ordered)],
    )


def _summary(blocks: Sequence[tuple[str, Sequence[dict[str, Any]]]], kind: Kind) -> list[str]:
    """Returns a sentence per test set: the main metric of all models, the federated ones first."""
    if len(blocks) > many_findings.MOST_SENTENCES:
        return []
    metric, sentences = kind.main, []
    for title, block in blocks:
        models = [
            f"{row['name'][:1].lower()}{row['name'][1:]} "
            f"{style.with_interval(row, metric.name, metric.digits)}"
            for row in sorted(block, key=lambda row: not row["training"].startswith("federated"))
        ]
        sentences.append(f"{title.partition(' (')[0]}: {metric.title} {'; '.join(models)}.")
    return sentences


def _left_out(derived: Mapping[str, Any]) -> list[str]:
    """Returns, of each site, how many images are measured, and how many are left out."""
    sites = derived.get("external_sites")
    found = []
    for site, counts in sites.items() if isinstance(sites, Mapping) else ():
        text = (
            f"{site}: {style.counted(counts['images'], 'image')} of "
            f"{style.counted(counts['patients'], 'patient')}"
        )
        if counts["left_out"]:
            text += (
                f"; {style.counted(counts['left_out'], 'other')} left out, since the models were "
                "trained or chosen on them or on other images of their patients"
            )
        found.append(f"{text}.")
    return found


def _names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what the names of the models mean."""
    trainings = {str(row["training"]) for row in rows}
    found = []
    if any(style.is_elsewhere(name) for name in trainings):
        found.append("“Trained at” a hospital is that hospital's own model.")
    if any(style.is_federated_as_at(name) for name in trainings):
        found.append(
            "“Federated, as at” a hospital is the federated model with the layers that this "
            "hospital keeps to itself."
        )
    return found


def _methods(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns what the numbers are."""
    found = []
    for heading, key in (
        ("Operating point", "operating_point"),
        ("Round", "chosen"),
        ("Intervals", "interval"),
        ("Intervals of proportions", "proportion_interval"),
    ):
        texts = sorted({row[key] for row in rows if isinstance(row.get(key), str)})
        if texts:
            found.append(f"{heading}: {'; '.join(texts)}.")
    if any(key.startswith("p_delong_federated") for row in rows for key in row):
        tests: list[Any] = [row.get(comparisons.TESTS) for row in rows]
        most = max((int(n) for n in tests if style.is_number(n)), default=1)
        adjusted = f", in brackets adjusted for the {most} tests of this table" if most > 1 else ""
        found.append(
            f"“p vs federated” is of DeLong's test of a model against the federated one{adjusted}. "
            f"“{style.NOT_COMPARED}” marks the federated model itself, which the others are "
            "compared with."
        )
    return found
