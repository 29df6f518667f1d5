"""Sites whose images are measured at the end and used for nothing else: `--external_site`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses

import pandas as pd

from tffcxr.clients.sites import ClientRecords, Site, have_same_patients
from tffcxr.datasets import findings as finding_names
from tffcxr.datasets import records
from tffcxr.errors import InputError

_Tables = Mapping[str, pd.DataFrame]


@dataclasses.dataclass(frozen=True)
class ExternalSites:
    """What sites hold that nobody trains on.

    Attributes:
      clients: a client for each site; all of its images are test images.
      same_ids: external site to the sites that are trained on and whose ids of patients mean the
        same patients as its own.
      left_out: external site to the number of its images that are left out, since a training has
        them or another image of their patients.
    """

    clients: ClientRecords
    same_ids: Mapping[str, tuple[str, ...]]
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)


def load(sites: Sequence[Site], trained: Sequence[Site], tables: _Tables) -> ExternalSites:
    """Makes external sites of tables.

    Args:
      sites: at least one.
      trained: those that are trained on.
      tables: the records of each site, with what is measured.
    """
    return ExternalSites(
        ClientRecords(
            {name: table.assign(**{records.SPLIT: "test"}) for name, table in tables.items()},
            {site.name: site.name for site in sites},
            {},
            {site.name: site.loader for site in sites},
        ),
        {
            site.name: tuple(other.name for other in trained if have_same_patients(site, other))
            for site in sites
        },
    )


def with_names_of_model(
    tables: _Tables, same: Sequence[str], outputs: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The tables of sites with findings as the model calls them.

    Args:
      tables: by site.
      same: of `--same`: MODEL=SITE, for findings that sites call otherwise.
      outputs: the findings or classes of the model; none if it finds lungs.

    Raises:
      InputError: one of `same` has another form, is no output of the model, or is of no use.
    """
    if same and not outputs:
        raise InputError(
            f"--same: expected none, since the model has no findings or classes, found {same[0]!r}"
        )
    found = dict(tables)
    for text in same:
        ours, _, theirs = text.partition("=")
        if ours and theirs and ours not in outputs:
            raise InputError(
                f"--same: expected MODEL=SITE with one of {', '.join(outputs)} as MODEL, found "
                f"{text!r}"
            )
        renamed = {
            name: table.rename(columns={theirs: ours})
            for name, table in found.items()
            if theirs in records.findings(table) and ours not in table
        }
        if not ours or not renamed:
            raise InputError(
                f"--same: expected MODEL=SITE with a finding of a site that lacks MODEL, found "
                f"{text!r}"
            )
        found.update(renamed)
    return found


def load_findings(
    sites: Sequence[Site], trained: Sequence[Site], outputs: Sequence[str], same: Sequence[str]
) -> ExternalSites:
    """Loads external sites of a study of findings.

    A site that names no finding has all that it labels and the models give.

    Args:
      sites: at least one.
      trained: those that are trained on.
      outputs: the findings that the models give.
      same: see `with_names_of_model`.

    Raises:
      InputError: see the loaders and `with_names_of_model`; a site labels none of the findings, or
        names one that the models do not give.
    """
    loaded = {site.name: site.load() for site in sites}
    tables = with_names_of_model(loaded, same, outputs)
    kept = {}
    for site in sites:
        table = tables[site.name]
        wanted = _named(site, loaded[site.name], table) or records.findings(table)
        found = [name for name in outputs if name in wanted]
        foreign = [name for name in wanted if name not in outputs]
        if not found or (site.finding and foreign):
            raise InputError(
                f"site {site.name}: expected labels of {', '.join(outputs)}, found "
                f"{', '.join(foreign or wanted) or 'none'}"
            )
        table = table[table[found].notna().any(axis=1)].reset_index(drop=True)
        if table.empty:
            raise InputError(
                f"site {site.name}: expected images with a known label of {', '.join(found)}, "
                f"found none in {site.path}"
            )
        table = table.drop(columns=[name for name in records.findings(table) if name not in found])
        kept[site.name] = table.assign(
            **{name: float("nan") for name in outputs if name not in found}
        )
    return load(sites, trained, kept)


def _named(site: Site, loaded: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """The findings that a site names, by its own words or by the model's, as the table has them."""
    if not site.finding:
        return []
    before, after = records.findings(loaded), records.findings(table)
    ours = dict(zip(before, after))
    known = list(dict.fromkeys([*before, *after]))
    named = finding_names.find_several(site.finding, known, f"site {site.name}")
    return [ours.get(name, name) for name in named]


def load_shared_task(
    sites: Sequence[Site],
    trained: Sequence[Site],
    keep: Callable[[pd.DataFrame, Site], pd.DataFrame],
    same: Sequence[str],
    outputs: Sequence[str],
) -> ExternalSites:
    """Loads external sites of a study where all sites have the same task.

    Args:
      sites: at least one.
      trained: those that are trained on.
      keep: selects the rows and columns of a site's table that the task needs.
      same: see `with_names_of_model`.
      outputs: see there.

    Raises:
      InputError: see the loaders, `keep` and `with_names_of_model`.
    """
    tables = with_names_of_model({site.name: site.load() for site in sites}, same, outputs)
    return load(sites, trained, {site.name: keep(tables[site.name], site) for site in sites})
