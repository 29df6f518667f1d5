"""The flags that say how the images and labels of `--site` are read."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, federation_flags
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.load_options import LoadOptions

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_multi_string(
        "columns",
        [],
        "TOML file that says what the columns of a csv: table are, where their names do not; "
        'NAME=FILE for the site NAME alone. See README, "A table of your own".',
    )
    flags.DEFINE_enum(
        "uncertain",
        "ignore",
        list(options.UNCERTAIN),
        "What an uncertain label (-1) counts as: ignore (unknown), positive or negative.",
    )
    flags.DEFINE_enum(
        "views",
        "frontal",
        list(options.VIEWS),
        "Radiographs that are read: frontal, or all with lateral and oblique ones.",
    )


def define_rejected() -> None:
    """Defines the flag of files that may be unusable, where radiographs are read."""
    flags.DEFINE_float(
        "max_rejected_fraction",
        0.01,
        "Maximum fraction of unreadable files per client; these are skipped.",
    )


def check_rejected() -> None:
    """Raises InputError unless the flag of `define_rejected` is a fraction."""
    if not 0 <= FLAGS.max_rejected_fraction <= 1:
        raise InputError(
            f"--max_rejected_fraction: expected 0 to 1, found {FLAGS.max_rejected_fraction}"
        )


def with_options(sites: Sequence[Site]) -> list[Site]:
    """Returns sites with what the flags say of their images and labels.

    Args:
      sites: of `--site` or of `--external_site`.

    Raises:
      InputError: see `columns.read`; two files for a site; a flag has no effect, or names a site
        that there is not. A coordinator has no sites, and its hospitals have its `--uncertain`.
    """
    if sites or not federation_flags.is_hospitals():
        _check(sites)
    return [dataclasses.replace(site, options=_load_options(site)) for site in sites]


def _load_options(site: Site) -> LoadOptions:
    from tffcxr.datasets.load_options import LoadOptions
    from tffcxr.datasets.tables import columns

    own = [file for name, file in _column_files() if name == site.name]
    of_all = [file for name, file in _column_files() if not name]
    files = own or of_all
    if len(files) > 1:
        raise InputError(f"--columns: expected one file for {site.name}, found {', '.join(files)}")
    is_table = site.loader == "csv"
    return LoadOptions(
        columns=columns.read(pathlib.Path(files[0])) if files and is_table else columns.Columns(),
        uncertain=FLAGS.uncertain,
        views=FLAGS.views,
    )


def _check(sites: Sequence[Site]) -> None:
    """Raises InputError if a flag has no effect, or names a site that there is not."""
    from tffcxr.datasets import loaders

    by_name = {**_loaders_of("site"), **_loaders_of("external_site")}
    by_name.update({site.name: site.loader for site in sites})
    for name, file in _column_files():
        if name and by_name.get(name) != "csv":
            found = f"the loader {by_name[name]}" if name in by_name else "no such site"
            raise InputError(f"--columns={name}={file}: expected a site of csv:, found {found}")
    has_columns = any("columns" in loaders.OPTIONS.get(each, ()) for each in by_name.values())
    checks.used(has_columns, "columns", "a --site of csv:", "site")
    has_uncertain = any("uncertain" in loaders.OPTIONS.get(each, ()) for each in by_name.values())
    known = [name for name, taken in loaders.OPTIONS.items() if "uncertain" in taken]
    checks.used(has_uncertain, "uncertain", f"a --site of {' or '.join(known)}", "site")


def _loaders_of(flag: str) -> dict[str, str]:
    """The loader of each site of a flag, by its name; none if the program has no such flag."""
    parts = [text.partition("=") for text in (FLAGS[flag].value if flag in FLAGS else ())]
    return {name: source.partition(":")[0] for name, _, source in parts}


def _column_files() -> list[tuple[str, str]]:
    """(name of a site or "", file) of each `--columns`."""
    found = []
    for text in FLAGS.columns:
        name, separator, file = text.partition("=")
        # A file's name may have the sign, too.
        is_for_all = not separator or pathlib.Path(text).exists()
        found.append(("", text) if is_for_all else (name, file))
    return found
