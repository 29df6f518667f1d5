"""A hospital's own table: CSV, Excel or Parquet, a row per image, a column per finding.

    table.csv              or .tsv, .xlsx, .parquet; the path, or that of the folder with it alone
    **/*                   the images that the table names: DICOM, PNG, JPEG

Columns are known by their usual names or by the file of `--columns`, see `tables.columns`. All
other columns that hold labels (`tables.label_values`) are findings, unless `--columns` names the
one that lists the findings of each image (`tables.listed_findings`); a name of the vocabulary in
another spelling becomes the vocabulary's. A column `class` gives a finding for each of its values.
`mask` and `lungs` are PNG files of the image's size. `mask` outlines the finding, of which a table
with masks has one; where it is absent there is an empty region. What the table does not say of
patient, age, sex, view and scanner comes from the headers of DICOM files.

A folder of images without a table gives records without findings.

Records: the rows whose image is on disk. Rows of other sites are left out if the column `site` has
the name of this one.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib

import pandas as pd

from tffcxr.datasets import records
from tffcxr.datasets.imaging import annotations as areas
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.sources import dicom_header, mask_folders, source_files
from tffcxr.datasets.tables import cells, columns, finding_columns, named_images, table_files
from tffcxr.errors import InputError

_SOURCE = "csv"
_BITMAPS = (".png", ".jpg", ".jpeg")


def load_records(root: pathlib.Path, options: LoadOptions, site: str = "") -> pd.DataFrame:
    """Returns the records table of the images that are on disk.

    Args:
      root: the table, the folder with it, or a folder of images.
      options: how to read it.
      site: the name of the hospital whose rows are meant, if the table has several.

    Raises:
      InputError: there are several tables or none, a column is missing or ambiguous, a value is not
        what it should be, or no image is on disk.
    """
    path = _table_of(root)
    if path is None:
        return _without_table(root, options)
    own = options.columns
    table = table_files.read(path, columns.header(own), own.sheet)
    roles = columns.find_roles(table, own)
    table = _of_site(table, roles.get("site"), site)
    folder = pathlib.Path(own.images) if own.images else path.parent
    source_files.require_folder(folder, _SOURCE)
    finder = named_images.ImageFiles(folder)
    table, images = _images(table, roles[columns.IMAGE], finder, folder, options.lenient)
    found = finding_columns.find(table, roles, own, options.uncertain)
    headers = _headers(images.tolist())
    about = cells.read(table, roles)
    patients = _patients(table, about["patient"], headers, own)
    split = {records.SPLIT: about["split"]} if "split" in roles else {}
    df = pd.DataFrame(
        {
            "image": images,
            "patient": patients,
            "view": _either(about["view"], [header.view for header in headers]),
            "age": _either(about["age"], [header.age for header in headers]),
            "sex": _either(about["sex"], [header.sex for header in headers]),
            "scanner": _either(about["scanner"], [header.scanner for header in headers]),
            **_regions(table, roles, finder, images, headers, found),
            **split,
        }
    ).join(found)
    if split and not options.lenient:
        _check_splits(table, df)
    if len(found.columns) == 0 and "lungs" not in roles and "mask" in roles:
        logging.getLogger(__name__).warning(
            "%s: no findings, so the masks are taken as those of the lungs", _SOURCE
        )
        df["lungs"] = df["mask"]
    return records.build(df.to_dict("records"), list(found.columns), _SOURCE)


def _table_of(root: pathlib.Path) -> pathlib.Path | None:
    """The table at a path, None where it is a folder without one."""
    if not root.is_dir():
        return root
    others = sorted(path for path in root.iterdir() if path.is_file())
    tables = [path for path in others if table_files.is_table(path)]
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables[:5])
        raise InputError(
            f"{_SOURCE}: expected one table in {root}, found {names}; give the path of one of them"
        )
    unread = [path for path in others if path.name.lower().endswith(table_files.NOT_READ)]
    if unread and not tables:
        return unread[0]  # Reading it says what to do.
    return tables[0] if tables else None


def _without_table(root: pathlib.Path, options: LoadOptions) -> pd.DataFrame:
    own = options.columns
    if own != columns.Columns():
        raise InputError(f"{own.path}: expected a table that it describes, found none in {root}")
    images = named_images.ImageFiles(root).all_images()
    if not images:
        raise InputError(
            f"{_SOURCE}: expected a table ({', '.join(table_files.SUFFIXES)}) or images in {root}, "
            "found neither"
        )
    headers = _headers(images)
    rows = [
        {
            "image": image,
            # Nothing is trained on these, so nobody is divided among splits.
            "patient": cells.patient(header.patient or "") or image,
            "view": header.view,
            "age": header.age,
            "sex": header.sex,
            "scanner": header.scanner,
        }
        for image, header in zip(images, headers)
    ]
    return records.build(rows, [], _SOURCE)


def _of_site(table: table_files.Table, column: str | None, site: str) -> table_files.Table:
    """The rows of a site, if the table has rows of it; otherwise all."""
    if column is None:
        return table
    values = table.cells[column]
    of_site = values.str.casefold() == site.casefold()
    sites = sorted(set(values) - {""})
    if not of_site.any():
        if len(sites) > 1:
            logging.getLogger(__name__).warning(
                "%s: %s has rows of %s, all of which are taken; a --site of one of these names "
                "takes its rows alone",
                *(_SOURCE, table.where, table_files.listed(sites)),
            )
        return table
    if not of_site.all():
        logging.getLogger(__name__).warning(
            "%s: %d of %d rows of %s are of the site %s; the others are left out",
            *(_SOURCE, int(of_site.sum()), len(values), table.where, site),
        )
    return dataclasses.replace(table, cells=table.cells[of_site])


def _images(
    table: table_files.Table,
    column: str,
    finder: named_images.ImageFiles,
    folder: pathlib.Path,
    lenient: bool,
) -> tuple[table_files.Table, pd.Series]:
    """The rows whose image is on disk, and the paths of their images."""
    written = table.cells[column]
    for bad, what in (
        (written == "", "an image in every row, found none"),
        (written.map(lambda cell: isinstance(cell, table_files.Date)), "an image, found a date"),
    ):
        if bad.any():
            raise cells.error(table, column, bad, what)
    try:
        paths = pd.Series(finder.find(written.tolist(), _SOURCE), written.index, dtype=object)
    except InputError as error:
        raise InputError(f"{table.where}: {error}") from None
    kept = records.drop_missing_images(
        table.cells.assign(image=None), paths, _SOURCE, folder, example=written
    )["image"]
    if lenient:
        kept = kept[~kept.duplicated()]
    twice = kept.duplicated(keep=False)
    if twice.any():
        rows = kept.index[kept == kept[twice].iloc[0]]
        raise InputError(
            f"{table.where}: expected one row per image, found rows {rows[0]} and {rows[1]} for "
            f"{kept[twice].iloc[0]}"
        )
    return dataclasses.replace(table, cells=table.cells.loc[kept.index]), kept


def _headers(images: list[str]) -> list[dicom_header.Header]:
    """The headers of DICOM files; empty ones of others."""
    files = [image for image in images if not image.lower().endswith(_BITMAPS)]
    found = dict(zip(files, dicom_header.read_headers(files, _SOURCE)))
    return [found.get(image, dicom_header.Header()) for image in images]


def _either(values: pd.Series, others: list) -> pd.Series:
    return values.where(values.notna(), pd.Series(others, values.index, dtype=object))


def _patients(
    table: table_files.Table,
    written: pd.Series,
    headers: list[dicom_header.Header],
    own: columns.Columns,
) -> pd.Series:
    of_headers = pd.Series(
        [cells.patient(header.patient or "") or None for header in headers],
        written.index,
        dtype=object,
    )
    differs = written.notna() & of_headers.notna() & (written != of_headers)
    is_filled = written.isna() & of_headers.notna()
    if differs.any() and is_filled.any():  # Under two names, one patient would be in two splits.
        raise InputError(
            f"{table.where}: expected a patient in every row, since DICOM headers name patients "
            f"otherwise than the table does (row {differs.idxmax()}), found none in row "
            f"{is_filled.idxmax()}"
        )
    known = written.where(written.notna(), of_headers)
    unknown = known.isna()
    if not unknown.any():
        return known
    if not own.every_image_another_patient:
        raise InputError(
            f"{table.where}: expected whose each image is, in a column such as 'Patient ID' or in "
            f"DICOM headers, found {int(unknown.sum())} images without (the first in row "
            f"{unknown.idxmax()}); if every image is of another patient, say "
            "every_image_another_patient = true in a file for --columns"
        )
    logging.getLogger(__name__).warning(
        "%s: %d images without a patient count as one patient each, as %s says",
        *(_SOURCE, int(unknown.sum()), own.path),
    )
    numbers = pd.Series([f"row {row}" for row in known.index], known.index, dtype=object)
    return known.where(~unknown, numbers)


def _check_splits(table: table_files.Table, df: pd.DataFrame) -> None:
    splits = df.groupby("patient")[records.SPLIT].nunique()
    shared = splits.index[splits > 1]
    if len(shared):
        rows = df.index[df["patient"] == shared[0]]
        of_first = df[records.SPLIT][rows]
        other = of_first.index[of_first != of_first.iloc[0]][0]
        raise InputError(
            f"{table.where}: expected all images of a patient in one split, found rows {rows[0]} "
            f"and {other} of one patient in {of_first.iloc[0]} and {of_first[other]} "
            f"({len(shared)} such patients)"
        )


def _regions(
    table: table_files.Table,
    roles: dict[str, str],
    finder: named_images.ImageFiles,
    images: pd.Series,
    headers: list[dicom_header.Header],
    found: pd.DataFrame,
) -> dict[str, list]:
    """The columns `mask` and `lungs`."""
    lungs = _mask_files(table, roles.get("lungs"), finder, images)
    masks: list[areas.MaskFile | areas.Boxes | None] = [
        *_mask_files(table, roles.get("mask"), finder, images)
    ]
    if "mask" not in roles or found.empty:
        return {"mask": masks, "lungs": lungs}
    if len(found.columns) > 1:
        raise InputError(
            f"{table.where}: {roles['mask']}: expected masks of one finding, found the findings "
            f"{', '.join(found.columns)}; write findings with the one that is outlined, or ignore "
            f'= ["{roles["mask"]}"], in a file for --columns'
        )
    finding = found.columns[0]
    is_absent = found[finding] == 0
    for place, (row, image) in enumerate(images.items()):
        mask = masks[place]
        if not is_absent[row]:
            continue
        if mask is None:
            masks[place] = _empty_region(image, headers[place])
        elif _is_marked(mask):
            bad = pd.Series(images.index == row, images.index)
            raise cells.error(table, roles["mask"], bad, f"no outline where {finding} is absent")
    return {"mask": masks, "lungs": lungs}


def _mask_files(
    table: table_files.Table,
    column: str | None,
    finder: named_images.ImageFiles,
    images: pd.Series,
) -> list[areas.MaskFile | None]:
    """The files of a column of masks, None where there is no mask."""
    if column is None:
        return [None] * len(images)
    written = table.cells[column]
    given = written[written != ""]
    try:
        paths = dict(zip(given.index, finder.find(given.tolist(), _SOURCE)))
    except InputError as error:
        raise InputError(f"{table.where}: {error}") from None
    missing = written.index.map(lambda row: row in paths and paths[row] is None)
    if missing.any():
        raise cells.error(table, column, pd.Series(missing, written.index), "a file on disk")
    for row, path in paths.items():
        mask_folders.check_sizes(images[row], [str(path)], _SOURCE)
    return [areas.MaskFile(str(paths[row])) if row in paths else None for row in images.index]


def _is_marked(mask: areas.MaskFile | areas.Boxes) -> bool:
    """Whether a mask has any pixel; decoding will say what is wrong with a file."""
    try:
        return bool(mask.to_array().any())
    except (InputError, OSError):
        return False


def _empty_region(image: str, header: dicom_header.Header) -> areas.Boxes | None:
    size = (header.height, header.width) if header.height else mask_folders.size(image)
    if size is None or size[0] is None or size[1] is None:
        return None  # Decoding the image will say what is wrong with it.
    return areas.Boxes((), int(size[0]), int(size[1]))
