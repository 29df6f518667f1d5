"""What the remarks on several kinds of studies say alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tffcxr.evaluation import calibration, registry
from tffcxr.report import results_table, style
from tffcxr.report.kinds import many_findings

if TYPE_CHECKING:
    from tffcxr.report.run_reader import Run

# A percentile interval of fewer patients is known to be too narrow.
_FEW_PATIENTS = 30


def compared(
    rows: Sequence[dict[str, Any]], metric: str
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yields each block's title, and its rows with a defined metric, by their training.

    A block whose federated row has none is passed over: there is nothing to compare.

    Args:
      rows: of `results_table.in_order`.
      metric: such as "dice".
    """
    for title, block in results_table.blocks(rows):
        known = {row["training"]: row for row in block if style.is_number(row.get(metric))}
        if "federated" in known:
            yield title, known


def said_once(
    rows: Sequence[dict[str, Any]], problems: Callable[[dict[str, Any]], Iterable[str]]
) -> list[str]:
    """Returns a warning per block and problem, or per problem of many blocks.

    It has the names of all models that have the problem.

    Args:
      rows: of `results_table.in_order`.
      problems: what is wrong with one row, without its name.
    """
    names: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for problem in problems(row):
            names.setdefault((row["title"], problem), []).append(row["name"])
    return many_findings.condensed(names)


def chosen_on_the_same_images(title: str, block: Sequence[dict[str, Any]]) -> list[str]:
    """Returns a warning if the round was chosen on the images that the results are of.

    Args:
      title: of the block.
      block: its rows.
    """
    chosen = [row for row in block if f"{row['split']} images" in str(row.get("chosen", ""))]
    if not chosen:
        return []
    return [
        f"{title}: the round of a model was chosen on the same images that its numbers are of "
        f"({chosen[0]['chosen']}), so they are optimistic."
    ]


def of_one_client(rows: Sequence[dict[str, Any]], run: Run) -> list[str]:
    """Returns a warning if there is nobody to federate with, so that all trainings are one.

    Args:
      rows: of `results_table.in_order`.
      run: that they are of.
    """
    sites = run.config.get("sites")
    is_alone = isinstance(sites, list) and len(sites) == 1
    is_among_hospitals = run.config.get("engine") == "hospitals"  # It knows its own clients alone.
    if not is_alone or is_among_hospitals or all(row["training"] == "federated" for row in rows):
        return []
    return [
        "There is one client only, so the federated model is trained as that of the site alone is: "
        "their comparison says nothing. A second --site, or --partition, makes more clients."
    ]


def about_probabilities(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns what a guide has to know of Brier score and calibration error."""
    return {
        "probabilities": any(registry.ECE.name in row for row in rows),
        "bins": calibration.BINS,
    }


def not_calibrated(row: dict[str, Any]) -> list[str]:
    """Returns why the scores of a row were not calibrated though they should have been."""
    remark = row.get("calibration_remark")
    if not isinstance(remark, str):
        return []
    return [f"the scores are not calibrated, so they are no probabilities: {remark}."]


def few_patients(rows: Sequence[dict[str, Any]], with_images: bool = False) -> list[str]:
    """Returns a warning per test set of few patients.

    Args:
      rows: of `results_table.in_order`; those that do not count their patients are passed over.
      with_images: whether the warning counts the images, too; then rows must.
    """
    few = set()
    for row in rows:
        patients: Any = row.get("patients")
        images: Any = row.get("images")
        if not style.is_number(patients) or patients >= _FEW_PATIENTS:
            continue
        if with_images and not style.is_number(images):
            continue
        of_images = f" ({style.counted(images, 'image')})" if with_images else ""
        has_interval = any(style.is_number(row[name]) for name in row if name.endswith("_low"))
        about = "intervals of so few are too narrow" if has_interval else "no interval can be given"
        few.add(
            f"{row['title']}: only {style.counted(patients, 'patient')}{of_images}; another "
            f"sample may give quite other numbers, and {about}."
        )
    return sorted(few)
