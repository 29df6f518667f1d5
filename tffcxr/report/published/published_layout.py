"""Sets the numbers of a run or of a sweep beside the published ones, in the paper's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

from tffcxr.report import style
from tffcxr.report.published import published_tables
from tffcxr.report.published.published_tables import Measure, Table

NOT_AT_HAND = "—"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text, and whether it is the best of its column where the paper has that in bold."""

    text: str
    is_best: bool = False


@dataclasses.dataclass(frozen=True)
class Heading:
    """What stands over the columns of a measure, of which there is one for each of `sources`."""

    text: str
    sources: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A table as it stands on a page.

    Attributes:
      title: see `Table`.
      names: headings of the columns that say what a row is of.
      headings: of the columns of numbers.
      rows: of each, the texts of `names` and the cells of numbers.
      notes: sentences below.
    """

    title: str
    names: Sequence[str]
    headings: Sequence[Heading]
    rows: Sequence[tuple[Sequence[str], Sequence[Cell]]]
    notes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Own:
    """The numbers of a run or of a sweep.

    Attributes:
      rows: a mapping per trained model and test set, as in `metrics.json`, with the flags of its
        run; `<metric>_sd` where it is a mean over runs.
      called: "This run" or "This sweep".
      is_synthetic: whether images are phantoms.
    """

    rows: Sequence[Mapping[str, Any]]
    called: str
    is_synthetic: bool


def of_run(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], synthetic: bool) -> Own:
    """Returns the numbers of a single run.

    Args:
      config: of its `config.json`.
      rows: of its `metrics.json`.
      synthetic: see `Own`.
    """
    return Own([about(config, _spread(row)) for row in rows], "This run", synthetic)


def about(config: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of results with what `config.json` says of its run and of its network.

    Where networks have flags of their own, the number of rounds is none of the run.
    """
    settings = dict(config.get("settings", {}))
    if settings.get("only"):
        settings.pop("rounds", None)
    parameters = config.get("derived", {}).get("parameters", {}).get(row.get("model"))
    if style.is_number(parameters):
        settings["parameters_in_millions"] = parameters / 1e6
    return {**settings, **row}


def layouts(names: Any, own: Own) -> list[Layout]:
    """Lays out the tables of a run or a sweep.

    Args:
      names: of the tables, as `config.json` has them; those that this version does not know, and
        anything but a list, are left out.
      own: the numbers to be set beside the published ones.

    Raises:
      InputError: a file of published numbers is damaged.
    """
    known = [name for name in names if name in published_tables.BY_NAME] if _is_list(names) else []
    return [_layout(published_tables.BY_NAME[name], own) for name in known]


def _layout(table: Table, own: Own) -> Layout:
    published = published_tables.rows(table)
    columns: list[list[Cell]] = []
    headings = []
    found = [_matching(row, table, own) for row in published]
    for measure in table.measures:
        sources = []
        if measure.is_published:
            columns.append(_published_column(published, measure))
            sources.append("paper")
        columns.append(_own_column(found, measure))
        headings.append(Heading(measure.heading, [*sources, "here"]))
    names = [[_name(row[key.name], key) for key in table.keys] for row in published]
    rows = [(of_row, list(cells)) for of_row, cells in zip(names, zip(*columns))]
    used = [row for matching in found for row in matching]
    return Layout(
        table.title,
        [key.heading for key in table.keys],
        headings,
        rows,
        _notes(table, published, own, used),
    )


def _matching(row: Mapping[str, str], table: Table, own: Own) -> list[Mapping[str, Any]]:
    """The run's rows, one per split, of what a published row is of."""
    wanted = {
        **{name: [value] for name, value in table.of.items()},
        **{
            key.name: row[key.name].split(published_tables.BETWEEN_ALTERNATIVES)
            for key in table.keys
        },
    }
    return [
        mine
        for mine in own.rows
        if all(str(mine.get(name, "")) in values for name, values in wanted.items())
    ]


def _published_column(rows: Sequence[Mapping[str, str]], measure: Measure) -> list[Cell]:
    texts = []
    for row in rows:
        text, spread = row[measure.name], row.get(f"{measure.name}_sd", "")
        texts.append(f"{text} ± {spread}" if text and spread else text or NOT_AT_HAND)
    return _cells(texts, [_number(row[measure.name]) for row in rows], measure)


def _own_column(found: Sequence[Sequence[Mapping[str, Any]]], measure: Measure) -> list[Cell]:
    texts, values = [], []
    name = measure.own or measure.name
    for matching in found:
        row = next((r for r in matching if r.get("split", measure.split) == measure.split), {})
        value, spread = row.get(name), row.get(f"{name}_sd")
        if isinstance(value, str):
            texts.append(value)
        elif name.startswith("p_"):
            texts.append(style.p_value(value))
        elif style.is_number(spread):
            digits = max(1, measure.digits)  # Means of counts have decimals.
            texts.append(f"{style.number(value, digits)} ± {style.number(spread, digits)}")
        else:
            texts.append(style.number(value, measure.digits))
        values.append(_number(value))
    return _cells(texts, values, measure)


def _cells(texts: Sequence[str], values: Sequence[float | None], measure: Measure) -> list[Cell]:
    """Cells, of which the best are marked where the paper marks them and there is a choice."""
    defined = [value for value in values if value is not None]
    best = None
    if measure.best and len(defined) > 1:
        best = max(defined) if measure.best == published_tables.HIGHEST else min(defined)
    return [Cell(text, value is not None and value == best) for text, value in zip(texts, values)]


def _notes(
    table: Table,
    published: Sequence[Mapping[str, str]],
    own: Own,
    used: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Where the numbers come from, and why they may differ."""
    numbers = [
        row[measure.name] for row in published for measure in table.measures if measure.is_published
    ]
    file = published_tables.numbers_file(table.name).name
    notes = []
    if not any(numbers):
        notes.append(
            f"No published number of this table is at hand ({NOT_AT_HAND}); {file} in the package "
            "tffcxr/report/published takes them."
        )
    else:
        source = f"read in {table.source}" if table.source else f"as entered in {file}"
        notes.append(f"Published numbers: {source}.")
        if not all(numbers):
            notes.append(f"{NOT_AT_HAND}: not at hand; {file} takes it.")
    if table.remark:
        notes.append(table.remark)
    if any(measure.best for measure in table.measures):
        notes.append("Bold: the best number of a column.")
    notes.append(_data(own, used))
    return notes


def _data(own: Own, used: Sequence[Mapping[str, Any]]) -> str:
    """What the numbers of this run were measured on, and that it is not the paper's."""
    if not used:
        return f"{own.called} has no number of this table yet."
    sizes = {"images": "test images", "image_size": "pixels", "rounds": "rounds"}
    known = {what: _range(used, name) for name, what in sizes.items()}
    told = ", ".join(f"{number} {what}" for what, number in known.items() if number)
    told = f"{own.called}: {told}."
    if own.is_synthetic:
        return f"{told} Phantom images: the numbers cannot be compared with the published ones."
    return (
        f"{told} Images, splits and seeds are not those of the paper, so numbers differ even where "
        "all settings are its own."
    )


def _range(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """The least and the greatest of a number, once if they are the same; empty if none is known."""
    known = [row for row in rows if row.get("split", "test") == "test"]
    values = sorted({float(r[name]) for r in known if _number(r.get(name)) is not None})
    ends = dict.fromkeys(f"{value:.0f}" for value in (values[:1] + values[-1:]))
    return " to ".join(ends)


def _name(text: str, key: published_tables.Key) -> str:
    value = text.split(published_tables.BETWEEN_ALTERNATIVES)[0]
    return key.shown.get(value) or style.model_name(value)


def _number(value: Any) -> float | None:
    """A number, also one in a text such as "0.84"; None of anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if style.is_number(number) else None


def _spread(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `metrics.json` with its sensitivities by class beside the other metrics."""
    by_class = row.get("sensitivity_by_class")
    spread = by_class.items() if isinstance(by_class, Mapping) else ()
    return {**row, **{f"sensitivity_by_class/{name}": value for name, value in spread}}


def _is_list(names: Any) -> bool:
    return isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
