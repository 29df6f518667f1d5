"""Tables as aligned text of a terminal's width, in which nothing is cut off.

A text that is too long goes on in the next line of its cell. Columns for which there is no room
stand in a block of their own below, beside the names of the rows again; where these leave no room
for others, the rows have numbers instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import itertools
import re

_WIDTH = 100
_BETWEEN = 2
# Names are broken so that they take no more than this each, and all of them no more than that.
_NARROWEST = 12
_NAMES = 60
# A text is broken after one of these, if it has one.
_PIECES = re.compile(r"[^ _/,=]*[ _/,=]|[^ _/,=]+")


@dataclasses.dataclass(frozen=True)
class _Column:
    """A column of texts, which are broken to `width`; numbers stand on the right."""

    heading: str
    cells: Sequence[str]
    is_name: bool
    width: int

    def lines(self, text: str) -> list[str]:
        """A text as it stands in this column."""
        lines = _broken(text, self.width)
        return [
            line.ljust(self.width) if self.is_name else line.rjust(self.width) for line in lines
        ]


def format_table(headings: Sequence[str], cells: Sequence[Sequence[str]], names: int) -> str:
    """Returns the table as lines of at most 100 columns, unless a number is longer.

    Args:
      headings: of the columns.
      cells: a list of texts per row.
      names: how many columns, from the left, name the row; the others hold numbers.
    """
    by_column = [[row[i] for row in cells] for i in range(len(headings))]
    columns = [
        _column(heading, texts, i < names)
        for i, (heading, texts) in enumerate(zip(headings, by_column))
    ]
    columns = _narrowed(columns)
    if _width(columns) <= _WIDTH:
        return _block(columns)
    named, others = columns[:names], columns[names:]
    if _width(named) > _NAMES:
        numbers = [str(number) for number in range(1, len(cells) + 1)]
        named, others = [_column("row", numbers, is_name=True)], columns
    return "\n\n".join(_block([*named, *block]) for block in _blocks(named, others))


def _column(heading: str, cells: Sequence[str], is_name: bool) -> _Column:
    """A column in which nothing is broken."""
    return _Column(heading, cells, is_name, max(map(len, [heading, *cells])))


def _narrowed(columns: Sequence[_Column]) -> list[_Column]:
    """Breaks headings of numbers, then the widest names, until all fit or there are no more."""
    if _width(columns) <= _WIDTH:
        return list(columns)
    result = [column if column.is_name else _with_words_below(column) for column in columns]
    while _width(result) > _WIDTH:
        names = [i for i, c in enumerate(result) if c.is_name and c.width > _NARROWEST]
        if not names:
            break
        widest = max(names, key=lambda i: result[i].width)
        result[widest] = dataclasses.replace(result[widest], width=result[widest].width - 1)
    return result


def _with_words_below(column: _Column) -> _Column:
    """A column with the words of its heading below one another, as far as that narrows it."""
    width = max(map(len, [*column.heading.split(" "), *column.cells]))
    return dataclasses.replace(column, width=width)


def _blocks(named: Sequence[_Column], others: Sequence[_Column]) -> Iterable[list[_Column]]:
    """Deals the columns to blocks that fit beside the names, at least one to each."""
    block: list[_Column] = []
    for column in others:
        if block and _width([*named, *block, column]) > _WIDTH:
            yield block
            block = []
        block.append(column)
    yield block


def _block(columns: Sequence[_Column]) -> str:
    rows = list(zip(*(column.cells for column in columns)))
    heading = _row(columns, [column.heading for column in columns])
    rule = (" " * _BETWEEN).join("-" * column.width for column in columns)
    return "\n".join([*heading, rule, *(line for row in rows for line in _row(columns, row))])


def _row(columns: Sequence[_Column], texts: Sequence[str]) -> Iterable[str]:
    """The lines of a row, as many as its longest text needs."""
    parts = [column.lines(text) for column, text in zip(columns, texts)]
    for line in itertools.zip_longest(*parts):
        filled = [part or " " * column.width for part, column in zip(line, columns)]
        yield (" " * _BETWEEN).join(filled).rstrip()


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + _BETWEEN * (len(columns) - 1)


def _broken(text: str, width: int) -> list[str]:
    """A text in lines of at most `width`."""
    if len(text) <= width:
        return [text]
    lines = [""]
    for piece in _PIECES.findall(text):
        for start in range(0, len(piece), width):
            part = piece[start : start + width]
            if len(lines[-1]) + len(part.rstrip()) > width:
                lines.append("")
            lines[-1] += part
    return [line.rstrip() for line in lines]
