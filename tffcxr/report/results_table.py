"""The paper's tables as aligned text, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
import itertools
import textwrap
from typing import Any

from tffcxr.report import column_builders, style
from tffcxr.report.kinds.kind import Kind

_WIDTH = 100
_NAME_WIDTH = 23


def format_table(rows: Iterable[Mapping[str, Any]], kind: Kind) -> str:
    """Returns the results as text for a terminal: a block per task and test set.

    Args:
      rows: of `metrics.json`; an undefined number may be NaN or None.
      kind: of study.

    Returns:
      Lines of at most 100 columns, without a final line break; undefined numbers are dashes, and
      what was not to be compared is left out.
    """
    ordered = in_order(rows, kind)
    if not ordered:
        return "No results."
    shown, hidden = _fitting(kind.columns(ordered))
    heading = _line("", [column.short for column in shown], shown)
    lines = [heading, "-" * len(heading)]
    for title, block in blocks(ordered):
        lines += textwrap.wrap(title, _WIDTH)
        for row in block:
            lines += _row_lines(row, shown)
    lines += ["", *textwrap.wrap(_footnote(ordered, kind, shown, hidden), _WIDTH)]
    return "\n".join(line.rstrip() for line in lines)


def in_order(rows: Iterable[Mapping[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Returns the rows with titles, names and colours, in the order in which they are read.

    Sorted by task, test set first, model, baselines before the federated model. A row's `title` is
    what it shares with the rows that it is compared with, its `name` is what tells them apart.
    Only some kinds compare different models with each other.
    """
    ordered = [dict(row) for row in rows]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in sorted(ordered, key=lambda row: (*_block(row, kind), *_place(row))):
        groups.setdefault(_block(row, kind), []).append(row)
    name = _name_models if kind.compares_models else _name_trainings
    for group in groups.values():
        name(group)
    return [row for group in groups.values() for row in group]


def blocks(
    ordered: Iterable[dict[str, Any]],
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Groups the rows of `in_order` by title."""
    groups = itertools.groupby(ordered, key=lambda row: row["title"])
    return [(title, list(block)) for title, block in groups]


def client(row: Mapping[str, Any]) -> str:
    """Returns the client that a row is about, "" if it is about all of them."""
    value = row.get("client")
    # A null of the file is NaN, which is no name.
    return value if isinstance(value, str) else ""


def variant(row: Mapping[str, Any]) -> str:
    """Returns the name of a row's model and images in other files, such as "resnet50 full"."""
    return " ".join(str(row[key]) for key in ("model", "images_kind") if key in row)


def commonest_share(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """Returns the accuracy of naming the commonest class always, None if no class is counted."""
    for row in rows:
        if "confusion" in row:
            counts = [sum(of_class) for of_class in row["confusion"]]
            if sum(counts) > 0:
                return max(counts) / sum(counts)
    return None


def colours(names: Sequence[str], rows: Iterable[Mapping[str, Any]], kind: Kind) -> dict[str, str]:
    """Returns the colours (#RRGGBB) that models have in the table, by their names in other files.

    Args:
      names: trainings, or variants with their training, such as "resnet50 full pooled".
      rows: of the table.
      kind: of study.
    """
    if not kind.compares_models:
        return style.colours(names)
    parts = {name: style.split_training(name) for name in names}
    variants = {of for of, _ in parts.values()} | {variant(row) for row in rows}
    if len(variants) == 1:
        return {name: style.training_colour(of or "federated") for name, (_, of) in parts.items()}
    by_variant = style.colours(sorted(variants))
    return {name: by_variant[of] for name, (of, _) in parts.items()}


def _block(row: Mapping[str, Any], kind: Kind) -> tuple:
    """Returns what the rows that are compared with each other have in common."""
    model = "" if kind.compares_models else str(row.get("model", ""))
    return str(row["task"]), style.split_order(str(row["split"])), model


def _place(row: Mapping[str, Any]) -> tuple:
    """Returns the sort key of a row within its block."""
    return variant(row), style.training_order(str(row["training"])), client(row)


def _name_trainings(block: list[dict[str, Any]]) -> None:
    """Names rows that differ in their training, and perhaps in their client."""
    clients = {client(row) for row in block}
    for row in block:
        name = style.training_name(str(row["training"]))
        place = f" at {client(row)}" if client(row) else ""
        if len(clients) > 1:
            name, place = f"{name}{place}", ""
        # A task that several sites label carries the site's name already.
        task = str(row["task"])
        network = row.get("model")
        model = f"{style.model_name(network)} model, " if isinstance(network, str) else ""
        row["name"] = name
        row["title"] = f"{task.removesuffix(place)}{place} ({model}{row['split']} images)"
        row["colour"] = style.training_colour(str(row["training"]))


def _name_models(block: list[dict[str, Any]]) -> None:
    """Names rows that differ in their model and images, and perhaps in their training."""
    trainings = {str(row["training"]) for row in block}
    variants = {variant(row) for row in block}
    colours = style.colours(sorted(variants))
    for row in block:
        name = style.training_name(variant(row))
        if len(trainings) > 1:
            name += f", {row['training']}"
        row["name"] = name
        row["title"] = f"{row['task']} ({row['split']} images)"
        training = str(row["training"])
        only = len(variants) == 1
        row["colour"] = style.training_colour(training) if only else colours[variant(row)]


def _footnote(
    rows: list[dict[str, Any]],
    kind: Kind,
    shown: list[column_builders.Column],
    hidden: list[column_builders.Column],
) -> str:
    """Explains the columns that need it."""
    notes = []
    points = sorted({str(row["operating_point"]) for row in rows if row.get("operating_point")})
    if points:
        notes.append(f"Operating point of sensitivity and specificity: {'; '.join(points)}.")
    chosen = sorted({row["chosen"] for row in rows if isinstance(row.get("chosen"), str)})
    if chosen:
        notes.append(f"The round of the models: {'; '.join(chosen)}.")
    notes += [*kind.notes(rows), *dict.fromkeys(column.note for column in shown if column.note)]
    if hidden:
        notes.append(
            f"Not shown for want of room: {', '.join(column.short for column in hidden)}; see "
            "report.html."
        )
    return " ".join(notes)


def _fitting(all_columns: list[column_builders.Column]) -> tuple[list[column_builders.Column], ...]:
    """Splits the columns into those that fit on a line and the rest."""
    width, count = _NAME_WIDTH, 0
    for column in all_columns:
        width += 1 + column.width
        if width > _WIDTH:
            break
        count += 1
    return all_columns[:count], all_columns[count:]


def _row_lines(row: Mapping[str, Any], shown: list[column_builders.Column]) -> list[str]:
    """Returns a row's numbers, after further lines if its name is long."""
    names = textwrap.wrap(row["name"], _NAME_WIDTH - 2)
    texts = [column.text(row) for column in shown]
    cells = ["" if text == style.NOT_COMPARED else text for text in texts]
    numbers = _line(f"  {names[-1]}", cells, shown)
    return [f"  {line}" for line in names[:-1]] + [numbers]


def _line(name: str, cells: list[str], shown: list[column_builders.Column]) -> str:
    """Aligns the cells of a line."""
    aligned = [cell.rjust(column.width) for cell, column in zip(cells, shown)]
    return " ".join([name.ljust(_NAME_WIDTH), *aligned])
