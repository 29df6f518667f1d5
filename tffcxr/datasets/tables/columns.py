"""What the columns of a table are: by their usual names, or by a file that says so.

The file of `--columns` is TOML; every key is optional:

    image = "Dateiname"     # Also patient, view, age, sex, scanner, site, split, class,
                            # mask, lungs, labels.
    patient = "Fallnummer"
    findings = ["Nodule"]   # Default: all columns that hold labels. Or a table, to rename:
    # findings = {Erguss = "Effusion", Infiltrat = "Consolidation"}
    ignore = ["ICU"]        # Labels that are no findings.
    images = "/data/files"  # Where images are; default: the table's folder.
    labels = "Finding Labels"   # A column that lists the findings: "Effusion|Mass", "No Finding".
    sheet = "2023"          # Of a workbook.
    header_row = 4          # Of the table, where it is not known by its names.
    every_image_another_patient = true    # Where nothing says whose an image is, and you know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
import dataclasses
import pathlib
import re
from typing import Any

from tffcxr import toml_files
from tffcxr.datasets.tables import table_files
from tffcxr.errors import InputError, did_you_mean

IMAGE = "image"
PATIENT = "patient"
# Usual names by what a column is, in small letters, with spaces alone between the words.
_NAMES = {
    IMAGE: (
        *("image", "image path", "path", "image file", "image name", "image index", "image id"),
        *("imageid", "imagepath", "img", "file", "file name", "filename", "file path", "filepath"),
        *("dicom", "dicom path", "dicom file", "dicom id", "bild", "datei", "dateiname"),
    ),
    PATIENT: (
        *("patient", "patient id", "patientid", "patient no", "patient number", "pat id", "patid"),
        *("subject", "subject id", "subjectid", "pid", "mrn", "patienten id", "patientennummer"),
    ),
    "view": ("view", "view position", "viewposition", "projection", "projektion"),
    "age": ("age", "patient age", "patientage", "age years", "alter"),
    "sex": ("sex", "gender", "patient sex", "patientsex", "patient gender", "geschlecht"),
    "scanner": (
        *("scanner", "scanner model", "device model", "gerät", "manufacturermodelname"),
        *("manufacturer model name", "manufacturer's model name", "manufacturer model"),
    ),
    "site": ("site", "hospital", "institution", "centre", "center"),
    "split": ("split", "subset"),
    "class": ("class", "klasse"),
    "mask": ("mask", "mask path", "mask file", "maske"),
    "lungs": ("lungs", "lung mask", "lungs mask", "lung masks"),
    "labels": (),  # Only where the user says so: a column of this name may hold reports.
}
ROLES = tuple(_NAMES)
# Columns that many tables have, and that are neither used nor findings though they may hold 0 or 1.
_NOT_USED = (
    *("study", "study id", "studyid", "series", "series id", "accession", "accession number"),
    *("index", "id", "row", "no", "nr", "follow up", "follow up #"),
)


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a user says about a table; see the file above.

    Attributes:
      path: the file, for messages; empty without one.
      roles: (role, name of the column), roles as of `ROLES`.
      findings: (name of the column, or in the lists of the column of labels, name of the finding);
        None for all.
      ignore: columns that are no findings.
      images: the folder of the images; empty for the table's.
      sheet: of a workbook; empty for the one that fits.
      header_row: number of the header's row; None to look for it.
      every_image_another_patient: whether images without a patient have each one of their own.
    """

    path: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    findings: tuple[tuple[str, str], ...] | None = None
    ignore: tuple[str, ...] = ()
    images: str = ""
    sheet: str = ""
    header_row: int | None = None
    every_image_another_patient: bool = False


def read(path: pathlib.Path) -> Columns:
    """Reads the file of `--columns`.

    Raises:
      InputError: it cannot be read, or a key or value is none of those above.
    """
    content = toml_files.read(path)
    others = ("findings", "ignore", "images", "sheet", "header_row", "every_image_another_patient")
    toml_files.check_keys(path, "", content, (*ROLES, *others))
    row = content.get("header_row")
    if row is not None and (not isinstance(row, int) or isinstance(row, bool) or row < 1):
        raise InputError(f"{path}: header_row: expected the number of a row, found {row!r:.60}")
    images = _string(path, "images", content.get("images", ""))
    return Columns(
        path=str(path),
        roles=tuple((key, _string(path, key, content[key])) for key in ROLES if key in content),
        findings=_findings(path, content["findings"]) if "findings" in content else None,
        ignore=_strings(path, "ignore", content.get("ignore", [])),
        images=str(path.parent / pathlib.Path(images).expanduser()) if images else "",
        sheet=_string(path, "sheet", content.get("sheet", "")),
        header_row=row,
        every_image_another_patient=_boolean(
            path, "every_image_another_patient", content.get("every_image_another_patient", False)
        ),
    )


def header(columns: Columns) -> table_files.Header:
    """The header of the table: it has a column of images, and another one."""
    given = dict(columns.roles).get(IMAGE)

    def fits(names: Sequence[str]) -> bool:
        if sum(bool(name) for name in names) < 2:
            return False  # A title.
        if given is not None:
            return given in names
        return any(_plain(name) in _NAMES[IMAGE] for name in names)

    return table_files.Header(fits, columns.header_row)


def find_roles(table: table_files.Table, columns: Columns) -> dict[str, str]:
    """Returns the name of the column of each role that the table has.

    Raises:
      InputError: a column that the user named is not there, two columns have a usual name of one
        role, or there is none of images.
    """
    names = list(table.cells.columns)
    given = dict(columns.roles)
    for role, name in given.items():
        _require(table, columns, f"{role} = ", [name])
    if len(set(given.values())) < len(given):
        raise InputError(f"{columns.path}: expected different columns for {', '.join(given)}")
    of_columns = [] if "labels" in given else [name for name, _ in columns.findings or ()]
    _require(table, columns, "findings: ", of_columns)
    _require(table, columns, "ignore: ", columns.ignore)
    taken = {*given.values(), *columns.ignore, *of_columns}
    roles = dict(given)
    for role, usual in _NAMES.items():
        found = [name for name in names if _plain(name) in usual and name not in taken]
        if role in roles or not found:
            continue
        if len(found) > 1:
            raise InputError(
                f"{table.where}: expected one column as {role}, found "
                f'{table_files.listed(found)}; write {role} = "{found[0]}" in a file for --columns'
            )
        roles[role] = found[0]
    if IMAGE not in roles:
        raise InputError(
            f"{table.where}: expected a column with the images, such as 'File name', found the "
            f'columns {table_files.listed(names)}; write image = "…" in a file for --columns'
            f"{table_files.other_header(table.likelier_header)}"
        )
    return roles


def is_never_a_finding(name: str) -> bool:
    """Whether a column by its usual name says something else, such as a study's number."""
    return _plain(name) in _NOT_USED


def _require(table: table_files.Table, columns: Columns, what: str, wanted: Iterable[str]) -> None:
    names = list(table.cells.columns)
    for name in wanted:
        if name not in names:
            raise InputError(
                f"{columns.path}: {what}expected a column of {table.where}, found {name!r}"
                f"{did_you_mean(name, names) or '; it has ' + table_files.listed(names)}"
            )


def _plain(name: str) -> str:
    """The words of a name in small letters: "Patient_ID", "patient id" and "Age (years)"."""
    return " ".join(re.split(r"[\s_.,:()\[\]/-]+", name.casefold())).strip()


def _findings(path: pathlib.Path, value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        found = tuple((key, _string(path, f"findings.{key}", value[key])) for key in value)
    else:
        found = tuple((name, "") for name in _strings(path, "findings", value))
    if not found:
        raise InputError(f"{path}: findings: expected at least one column, found none")
    return found


def _strings(path: pathlib.Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputError(f"{path}: {key}: expected a list of names, found {value!r:.60}")
    return tuple(_string(path, key, each) for each in value)


def _string(path: pathlib.Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{path}: {key}: expected a text in quotes, found {value!r:.60}")
    return value


def _boolean(path: pathlib.Path, key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"{path}: {key}: expected true or false, found {value!r:.60}")
    return value
