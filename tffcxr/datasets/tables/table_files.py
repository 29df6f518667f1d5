"""Tables as people have them: CSV of any kind, Excel and Parquet, read as text cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
import csv
import dataclasses
import datetime
import gzip
import io
import itertools
import logging
import pathlib
import re
from typing import Any
import warnings
import zipfile
import zlib

import pandas as pd

from tffcxr.datasets import limits
from tffcxr.errors import InputError, one_line

# What a table's file may end with, and spreadsheets that no package here reads.
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".xlsx", ".xlsm", ".parquet")
NOT_READ = (".xls", ".xlsb", ".ods", ".numbers")
_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)  # Excel's own first line.
_LONGEST_CELL = 1 << 20  # Characters: a report fits, a file without a line break does not.
_LISTED = 12  # Column names in a message.
_TITLES = 20  # Rows with a value, among which the header is looked for: titles may stand above it.


class Date(str):
    """The text of a cell that holds a date, in ISO 8601."""


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
      where: the file, and the sheet if there are several, for messages.
      cells: a str per cell, empty without a value, `Date` for a date; the columns have the header's
        names, and the index is the row's number as a spreadsheet or an editor shows it.
      likelier_header: number of the row that looks more like the header than the one that is taken
        for it; None without any.
    """

    where: str
    cells: pd.DataFrame
    likelier_header: int | None = None


def is_table(path: pathlib.Path) -> bool:
    """Whether a file's name is that of a table, and not of one that Excel has open."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith((".", "~$"))


@dataclasses.dataclass(frozen=True)
class Header:
    """How the header of a table is known.

    Attributes:
      fits: whether names of columns are those of the table that is looked for.
      row: its number, where the user says it; None for the first row that fits, or the first one.
    """

    fits: Callable[[Sequence[str]], bool]
    row: int | None = None

    def place(self, filled: Sequence[tuple[int, list[str]]]) -> int:
        """Its place among the rows that have a value; 0 where none is it."""
        if self.row:
            places = (place for place, (number, _) in enumerate(filled) if number == self.row)
            return next(places, 0)
        for place, (_, row) in enumerate(filled[:_TITLES]):
            # A row of values may have the name of a column in it, such as "DICOM".
            if self.fits([cell.strip() for cell in row]) and (not place or _has_only_names(row)):
                return place
        return 0


def read(path: pathlib.Path, header: Header, sheet: str = "") -> Table:
    """Reads a table.

    CSV may be in UTF-8, UTF-16 with its mark, or Windows-1252 (a superset of Latin-1), with commas,
    semicolons, tabs or bars between the fields. Rows without any value are left out, and
    so are rows above the header, such as a title, with a warning.

    Args:
      path: the file.
      header: chooses the header's row, and the sheet of a workbook.
      sheet: its name, where several sheets have such columns; empty to choose.

    Raises:
      InputError: the file is no such table, or damaged, a row is longer than the header, a column
        is there twice, no sheet or several have the columns, or the header's row is empty.
    """
    name = path.name.lower()
    try:
        if path.stat().st_size > limits.MAXIMUM_BYTES:
            raise InputError(f"{path}: expected at most {limits.MAXIMUM_BYTES} bytes, found more")
        if name.endswith((".xlsx", ".xlsm")):
            return _read_workbook(path, header, sheet)
        if sheet:
            raise InputError(f"{path}: expected a workbook of Excel with sheets, found {name!r}")
        if name.endswith(".parquet"):
            return _read_parquet(path, header)
        if name.endswith(SUFFIXES):
            return _read_text(path, header)
    except OSError as error:
        raise InputError(f"{path}: expected a table to read, found {error.strerror}") from None
    raise InputError(
        f"{path}: expected a table in a file that ends with {', '.join(SUFFIXES)}"
        + ("; save it as .xlsx or .csv" if name.endswith(NOT_READ) else "")
    )


def _read_text(path: pathlib.Path, header: Header) -> Table:
    text = _decoded(path)
    skipped = 0
    match = _SEPARATOR.match(text)
    if match is not None:
        delimiters: Sequence[str] = (match[1],)
        text, skipped = text[match.end() :], 1
    else:
        delimiters = _DELIMITERS
    delimiter = max(delimiters, key=lambda each: _fitness(text, each, skipped, header))
    csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(_numbered(reader, skipped))
    except csv.Error as error:
        line = reader.line_num + skipped
        raise InputError(
            f"{path}: expected a CSV file, found in line {line}: {one_line(error)}"
        ) from None
    return _table(str(path), rows, header)


def _decoded(path: pathlib.Path) -> str:
    data = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(limits.MAXIMUM_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise InputError(
                f"{path}: expected a compressed table, found: {one_line(error)}"
            ) from None
        if len(data) > limits.MAXIMUM_BYTES:
            raise InputError(f"{path}: expected at most {limits.MAXIMUM_BYTES} bytes, found more")
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        if is_utf16 or b"\0" in data:
            raise InputError(f"{path}: expected a table as text, found other bytes") from None
    logging.getLogger(__name__).warning("%s is not in UTF-8; read as Windows-1252", path)
    # The five bytes that Windows-1252 lacks are control characters in Latin-1.
    return data.decode("cp1252", errors="replace")


def _numbered(reader: Any, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The rows of `csv.reader`, with the line that each begins in."""
    line = skipped + 1
    for row in reader:
        yield line, row
        line = skipped + reader.line_num + 1


def _fitness(text: str, delimiter: str, skipped: int, header: Header) -> tuple[bool, int]:
    """How well a delimiter divides the header."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    most = max(_TITLES, header.row or 0)
    try:
        rows = list(itertools.islice(_numbered(reader, skipped), most))
    except csv.Error:
        return False, 0
    filled = [(number, row) for number, row in rows if any(row)]
    if not filled:
        return False, 0
    names = [cell.strip() for cell in filled[header.place(filled)][1]]
    return header.fits(names), len(names)


def _read_workbook(path: pathlib.Path, header: Header, wanted: str) -> Table:
    sheets = {
        name: rows for name, rows in _sheets(path).items() if any(any(row) for _, row in rows)
    }
    if wanted and wanted not in sheets:
        raise InputError(f"{path}: expected a sheet named {wanted!r} with a table, found none")
    if not sheets:
        raise InputError(f"{path}: expected a table, found only empty sheets")
    if wanted:
        fitting = [wanted]
    else:
        filled = {name: [each for each in rows if any(each[1])] for name, rows in sheets.items()}
        fitting = [
            name for name, rows in filled.items() if header.fits(rows[header.place(rows)][1])
        ]
    if len(fitting) > 1:
        raise InputError(
            f"{path}: expected one sheet with a column of images, found {', '.join(fitting)}; name "
            "one as sheet in the file of --columns"
        )
    name = fitting[0] if fitting else next(iter(sheets))  # Where the message says what is missing.
    return _table(f"{path}, sheet {name!r}", sheets[name], header)


def _sheets(path: pathlib.Path) -> dict[str, list[tuple[int, list[str]]]]:
    """The rows of every sheet, with their numbers."""
    # openpyxl takes a third of a second to import, which CSV files do not need.
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Of extensions that openpyxl does not keep.
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            found = {}
            for sheet in book.worksheets:
                sheet.reset_dimensions()  # Some programs write wrong ones.
                found[sheet.title] = [
                    (number, [_text(value) for value in row])
                    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1)
                ]
            book.close()
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, SyntaxError) as error:
        raise InputError(
            f"{path}: expected a workbook of Excel, found: {one_line(error):.200}"
        ) from None
    return found


def _read_parquet(path: pathlib.Path, header: Header) -> Table:
    import pyarrow as pa

    if header.row:
        raise InputError(f"{path}: expected no header_row for Parquet, which has names of columns")
    try:
        df = pd.read_parquet(path, engine="pyarrow")
    except (pa.ArrowException, ValueError) as error:
        raise InputError(
            f"{path}: expected a Parquet file, found: {one_line(error):.200}"
        ) from None
    if any(name is not None for name in df.index.names):
        df = df.reset_index()
    names = (1, [str(name) for name in df.columns])
    values = df.astype(object).itertuples(index=False, name=None)
    rows = [(number, [_text(value) for value in row]) for number, row in enumerate(values, start=2)]
    return _table(str(path), [names, *rows], header)


def _table(where: str, rows: Iterable[tuple[int, list[str]]], header: Header) -> Table:
    """Makes a table of numbered rows."""
    filled = [(number, row) for number, row in rows if any(cell.strip() for cell in row)]
    place = header.place(filled)
    if header.row and (not filled or filled[place][0] != header.row):
        raise InputError(f"{where}: expected the header in row {header.row}, found it empty")
    if len(filled) < place + 2:
        found = f"nothing below row {filled[place][0]}" if filled else "no row with a value"
        raise InputError(f"{where}: expected a header and at least one row below it, found {found}")
    likelier = _likelier_header(filled, place)
    if place:
        logging.getLogger(__name__).warning(
            "%s: the header is row %d; what stands above it is left out",
            *(where, filled[place][0]),
        )
    names = [name.strip() for name in filled[place][1]]
    body = []
    for number, row in filled[place + 1 :]:
        extra = [cell for cell in row[len(names) :] if cell.strip()]
        if extra:
            raise InputError(
                f"{where}: expected rows as long as the header, {len(names)} fields, found "
                f"{extra[0]!r:.60} beyond in row {number}{other_header(likelier)}"
            )
        # A `Date` has no spaces, and stays one.
        cells = [cell if isinstance(cell, Date) else cell.strip() for cell in row[: len(names)]]
        body.append(cells + [""] * (len(names) - len(cells)))
    index = [number for number, _ in filled[place + 1 :]]
    df = pd.DataFrame(body, index=index, columns=names, dtype=object)
    df = df.loc[:, [bool(name) for name in names]]  # Such as the index that pandas writes.
    twice = df.columns[df.columns.duplicated()].unique().tolist()
    if twice:
        raise InputError(f"{where}: expected each column once, found several named {twice[0]!r}")
    return Table(where, df, likelier)


def _likelier_header(filled: Sequence[tuple[int, list[str]]], place: int) -> int | None:
    """The number of the first row below the header that is fuller, and of names alone."""
    of_header = sum(bool(cell.strip()) for cell in filled[place][1])
    for number, row in filled[place + 1 : _TITLES]:
        if sum(bool(cell.strip()) for cell in row) > of_header and _has_only_names(row):
            return number
    return None


def _has_only_names(row: Sequence[str]) -> bool:
    """Whether a row may be a header: its cells differ, and none is a number or a date."""
    names = [cell.strip().casefold() for cell in row if cell.strip()]
    is_value = any(re.fullmatch(r"[-+]?[\d.,:/-]+", name) for name in names)
    return not is_value and len(set(names)) == len(names)


def other_header(row: int | None) -> str:
    """What a message says where another row looks like the header; empty for None."""
    if row is None:
        return ""
    return f"; if the header is row {row}, write header_row = {row} in a file for --columns"


def _text(value: Any) -> str:
    """The text of a cell; whole numbers have no decimals."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (datetime.date, datetime.time)):  # pandas' timestamps are among them.
        return "" if value is pd.NaT else Date(value.isoformat())
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if pd.api.types.is_bool(value):
        return "true" if value else "false"
    if pd.api.types.is_float(value) and float(value).is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def listed(names: Iterable[str]) -> str:
    """Names of columns for a message, the first dozen of them."""
    names = list(names)
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return (", ".join(map(repr, names[:_LISTED])) + more) or "none"
