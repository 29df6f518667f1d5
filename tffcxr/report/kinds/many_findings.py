"""Sentences for studies of so many findings that one for each would not be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import re
import statistics
from typing import Any

from tffcxr.report import results_table, style

# Row of a federated model, row of another, and the p-value of a test between them, if there is one.
Pair = tuple[Mapping[str, Any], Mapping[str, Any], "float | None"]

MOST_SENTENCES = 6  # With more of a kind, one says all.
_FOUND = re.compile(r", found \d+(\.\d+)?")
_SIGNIFICANT = 0.05


def condensed(problems: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """Returns a warning per problem; one for all tasks of a problem that many have.

    Args:
      problems: (title of a block, problem) to the names of the models that have it.
    """
    blocks: dict[str, list[str]] = {}
    for title, problem in problems:
        blocks.setdefault(_FOUND.sub("", problem), []).append(title)
    found = []
    said = set()
    for (title, problem), models in problems.items():
        kind = _FOUND.sub("", problem)
        if len(blocks[kind]) <= MOST_SENTENCES:
            found.append(f"{title}, {'; '.join(models)}: {problem}")
        elif kind not in said:
            said.add(kind)
            tasks = dict.fromkeys(_task(title) for title in blocks[kind])
            found.append(f"{', '.join(tasks)}: {kind}")
    return found


def counted(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many findings rows are of, and at how many sites; a task may name its site."""
    clients = [results_table.client(row) for row in rows]
    findings = {str(row["task"]).removesuffix(f" at {of}") for row, of in zip(rows, clients)}
    sites = {*clients} - {""}
    text = style.counted(len(findings), "finding")
    return f"{text} at {len(sites)} sites" if len(sites) > 1 else text


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the AUROCs of the federated models in a sentence per network.

    An AUROC of too few patients for an interval is left out, if others have one.

    Args:
      rows: of federated models, in the order of the table, each with a defined AUROC.
    """
    by_network: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_network.setdefault(str(row["title"]).partition(" (")[2], []).append(row)
    return [_of_network(about, of_network) for about, of_network in by_network.items()]


def _of_network(about: str, rows: Sequence[Mapping[str, Any]]) -> str:
    known = [row for row in rows if style.is_number(row.get("auroc_low"))] or rows
    text = f"{len(rows)} results of the federated model ({about}"
    if len(known) < len(rows):
        text += f". Of the {len(known)} with patients enough for an interval"
    return (
        f"{text}: median AUROC {style.number(statistics.median(row['auroc'] for row in known))}, "
        f"{_named(min(known, key=_auroc))} to {_named(max(known, key=_auroc))}."
    )


def comparison(name: str, pairs: Sequence[Pair]) -> str:
    """Returns a sentence on many federated models and those that they are compared with.

    Args:
      name: of the training that the others are of.
      pairs: of all findings.
    """
    higher, lower = (
        sum(sign * (row["auroc"] - other["auroc"]) > 0 for row, other, _ in pairs)
        for sign in (1, -1)
    )
    text = f"Against {name}, its AUROC is higher in {higher} of {len(pairs)} and lower in {lower}"
    tested = [(row, other, p) for row, other, p in pairs if style.is_number(p)]
    if not tested:
        return f"{text}; no difference could be tested."
    clear = [
        f"{_task(row['title'])} ({'better' if row['auroc'] > other['auroc'] else 'worse'})"
        for row, other, p in tested
        if p is not None and p < _SIGNIFICANT
    ]
    text += f". DeLong's test gives p below {_SIGNIFICANT:g} in {len(clear)} of {len(tested)}"
    text += f": {', '.join(clear)}" if clear else ""
    expected = style.number(_SIGNIFICANT * len(tested), 1)
    return f"{text}; chance alone would give {expected}, were the models equally good."


def few_images(counts: Sequence[tuple[str, str, float, float]]) -> str:
    """Returns a warning of test sets with few images of a class.

    Args:
      counts: task, split, positive and negative images of each.
    """
    named = [
        f"{task} ({positives:.0f} positive, {negatives:.0f} negative)"
        for task, _, positives, negatives in counts
    ]
    splits = " and ".join(dict.fromkeys(split for _, split, _, _ in counts))
    return f"Few {splits} images of a class, so every number is uncertain: {', '.join(named)}."


def _task(title: Any) -> str:
    """What the title of a block is about, without its model and images."""
    return str(title).partition(" (")[0]


def _named(row: Mapping[str, Any]) -> str:
    return f"{style.number(row['auroc'])} ({_task(row['title'])})"


def _auroc(row: Mapping[str, Any]) -> float:
    return float(row["auroc"])
