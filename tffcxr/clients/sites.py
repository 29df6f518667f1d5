"""From `--site` flags to every client's records: load, select, split, partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import itertools
import pathlib

import pandas as pd

from tffcxr import files
from tffcxr.clients import partition
from tffcxr.datasets import load_options, loaders, splits
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.errors import InputError


@dataclasses.dataclass(frozen=True)
class Site:
    """A hospital: its name, the folder of its images, and the findings that it labels.

    The finding is as a user writes it, several joined by "+". It is empty for all that the source
    labels, or if all hospitals have the same task.
    """

    name: str
    loader: str
    path: pathlib.Path
    finding: str = ""
    options: LoadOptions = load_options.DEFAULT

    def load(self) -> pd.DataFrame:
        """Returns the site's records table; see `loaders.load_records`."""
        return loaders.load_records(self.loader, self.path, self.name, self.options)

    @classmethod
    def parse(
        cls,
        text: str,
        with_finding: bool = True,
        known: Sequence[str] = tuple(loaders.LOADERS),
        flag: str = "site",
    ) -> Site:
        """Reads NAME=LOADER:PATH or, where sites have findings, NAME=LOADER:PATH:FINDING.

        A path that exists as it stands has no finding after it, though it may hold colons.

        Args:
          text: of the flag.
          with_finding: whether a finding may follow, or several joined by "+".
          known: the loaders that may be named.
          flag: its name, for errors.

        Raises:
          InputError: another form, or an unknown loader.
        """
        name, _, source = text.partition("=")
        loader, _, path = source.partition(":")
        finding = None
        if with_finding and ":" in path and not pathlib.Path(path).exists():
            path, _, finding = path.rpartition(":")
        if not (name and loader and path and finding != ""):
            form = "NAME=LOADER:PATH"
            form += " or NAME=LOADER:PATH:FINDING" if with_finding else ""
            raise InputError(f"--{flag}: expected {form}, found {text!r}")
        if loader not in known:
            raise InputError(
                f"--{flag}: expected one of the loaders {', '.join(known)}, "
                f"found {loader!r} in {text!r}"
            )
        return cls(name, loader, pathlib.Path(path), (finding or "").strip().strip('"'))


@dataclasses.dataclass(frozen=True)
class Division:
    """How the images of a site are divided among clients.

    Attributes:
      partition: one of `options.PARTITIONS`; with "none" the site is the client.
      clients_per_site: how many clients a site is cut into, unless the partition is "none".
      alpha: concentration of the Dirichlet and quantity partitions.
    """

    partition: str = "none"
    clients_per_site: int = 1
    alpha: float = 0.5


@dataclasses.dataclass(frozen=True)
class ClientRecords:
    """What every client holds.

    Attributes:
      records: client id to its records table with a "split" column, labels of other sites NaN.
      site_of: client id to the name of its site.
      findings_of: site to the findings that it labels; empty if all sites have the same task.
      source_of: site to the loader that read it.
      left_out: site to the findings that its source labels and that it cannot train or test, each
        with the numbers of patients with it and without it.
      outputs: the model's, where that has findings of hospitals elsewhere; empty otherwise.
    """

    records: Mapping[str, pd.DataFrame]
    site_of: Mapping[str, str]
    findings_of: Mapping[str, tuple[str, ...]]
    source_of: Mapping[str, str]
    left_out: Mapping[str, Mapping[str, tuple[int, int]]] = dataclasses.field(default_factory=dict)
    outputs: tuple[str, ...] = ()

    @property
    def findings(self) -> tuple[str, ...]:
        """All findings in the order of the sites, each once: the model's outputs."""
        return self.outputs or tuple(
            dict.fromkeys(finding for of_site in self.findings_of.values() for finding in of_site)
        )

    def labelled_by(self, finding: str) -> list[str]:
        """The sites that label a finding, in order."""
        return [site for site, findings in self.findings_of.items() if finding in findings]

    def among(self, outputs: Sequence[str]) -> ClientRecords:
        """The same clients where the model also has outputs for findings of other hospitals.

        Args:
          outputs: all findings, those of these sites among them.
        """
        records = {
            client: table.assign(
                **{name: float("nan") for name in outputs if name not in table.columns}
            )
            for client, table in self.records.items()
        }
        return dataclasses.replace(self, records=records, outputs=tuple(outputs))

    def with_records(self, records: Mapping[str, pd.DataFrame]) -> ClientRecords:
        """The same clients with other tables, such as those with predicted lungs."""
        return dataclasses.replace(self, records=records)

    def clients_of(self, site: str) -> list[str]:
        """The ids of a site's clients, sorted."""
        return sorted(client for client, owner in self.site_of.items() if owner == site)


def load_shared_task(
    sites: Sequence[Site],
    keep: Callable[[pd.DataFrame, Site], pd.DataFrame],
    *,
    fractions: Mapping[str, float],
    seed: int,
    stratify: str | None,
    division: Division,
    own_test: bool = False,
    test_images: Mapping[str, int] | None = None,
) -> ClientRecords:
    """Loads sites that have the same task, and divides their images among clients.

    Patients never cross a split or a client. The test images are also divided among the clients;
    together they are the server's test set, whatever the number of clients.

    Args:
      sites: at least one, with different names; they share no patient, see `have_same_patients`.
      keep: selects the rows and columns of a site's table that the task needs.
      fractions: of the patients, by split.
      seed: of splits and partitions.
      stratify: the finding that splits are stratified by, and uneven partitions are made from.
      division: of each site.
      own_test: whether a source's own test images stay test images; then `fractions` divide the
        others. Otherwise a source's own splits are ignored.
      test_images: class to each site's number of test images; then `fractions` give the share of
        "validation" in the others. None or empty for the share of "test" in `fractions`.

    Raises:
      InputError: see `Site.parse` and the loaders; two sites share a patient; a
        partition by a finding without one; too few images for `test_images`.
    """
    check_names(sites)
    if stratify is None and division.partition in ("dirichlet", "hybrid"):
        raise InputError(
            f"--partition: expected none, iid or quantity where there are no classes, "
            f"found {division.partition}"
        )
    tables = {site.name: keep(site.load(), site) for site in sites}
    _check_patients(sites, tables)
    clients, site_of = {}, {}
    for site in sites:
        table = tables[site.name]
        try:
            if test_images:
                validation = fractions.get("validation", 0.0)
                table = splits.split_with_test_counts(
                    table, test_images, validation, seed, stratify
                )
            else:
                table = _split_shared(table, fractions, own_test, seed, stratify)
        except InputError as error:
            raise InputError(f"site {site.name}: {error}") from None
        by = (stratify,) if stratify else ()
        for client, part in cut(table, site.name, by, division, seed).items():
            clients[client] = part.reset_index(drop=True)
            site_of[client] = site.name
    return ClientRecords(clients, site_of, {}, {site.name: site.loader for site in sites})


def _check_patients(sites: Sequence[Site], tables: Mapping[str, pd.DataFrame]) -> None:
    """Raises InputError if sites share a patient, who would be in several splits."""
    for one, other in itertools.combinations(sites, 2):
        if not have_same_patients(one, other):
            continue
        common = set(tables[one.name]["patient"]) & set(tables[other.name]["patient"])
        if common:
            where = f"{one.path}" if are_of_one_folder(one, other) else f"{len(common)} in common"
            raise InputError(
                "--site: expected a folder or a table of its own for each site, since patients "
                f"would otherwise be counted twice, found {where} for {one.name} and {other.name}"
            )


def have_same_patients(one: Site, other: Site) -> bool:
    """Whether equal ids of patients mean the same patient at two sites.

    That is if they are cut from one folder or table, or both name patients as the NIH does, from
    which RSNA's images come too. Equal ids in unrelated folders mean nothing.
    """
    return are_of_one_folder(one, other) or name_patients_alike(one.loader, other.loader)


def name_patients_alike(loader: str, other: str) -> bool:
    """Whether two sources name the same patients in the same way, wherever their folders are."""
    return {loader, other} <= {"nih", "rsna"}


def are_of_one_folder(one: Site, other: Site) -> bool:
    """Whether two sites are cut from one folder or table."""
    return one.loader == other.loader and one.path.resolve() == other.path.resolve()


def check_names(sites: Sequence[Site]) -> None:
    """Raises InputError unless the names of sites also differ as file names."""
    check_different([site.name for site in sites])


def check_different(names: Sequence[str], flag: str = "--site") -> None:
    """Raises InputError unless names also differ as file names."""
    if not files.differ_as_names(names):
        raise InputError(
            f"{flag}: expected names that differ in letters or digits, found {', '.join(names)}"
        )


def _split_shared(
    table: pd.DataFrame,
    fractions: Mapping[str, float],
    own_test: bool,
    seed: int,
    stratify: str | None,
) -> pd.DataFrame:
    """Divides patients among splits; the source's own test images may stay test images."""
    if not own_test or "split" not in table or "test" not in set(table["split"]):
        return splits.split_patients(table, fractions, seed, stratify)
    is_test = table["split"] == "test"
    others = table[~is_test].drop(columns="split")
    validation = fractions.get("validation", 0.0)
    shares = {"train": 1.0 - validation, "validation": validation}
    others = splits.split_patients(others, shares, seed, stratify)
    return pd.concat([others, table[is_test]], ignore_index=True)


def cut(
    table: pd.DataFrame, site: str, findings: Sequence[str], division: Division, seed: int
) -> dict[str, pd.DataFrame]:
    """Divides a site into clients, each split separately, so that every client has all splits.

    Args:
      table: the site's images, with a "split" column.
      site: its name.
      findings: those that uneven partitions are made from.
      division: how.
      seed: of the partitions.

    Raises:
      InputError: there are too few patients.
    """
    if division.partition == "none":
        return {site: table}
    parts: dict[str, list[pd.DataFrame]] = {}
    for split, images in table.groupby("split", sort=True):
        try:
            dealt = _deal(images, str(split), findings, division, seed)
        except InputError as error:
            raise InputError(
                f"site {site}, {split} images: {error}; see --partition and --clients_per_site"
            ) from None
        for client, part in dealt.items():
            parts.setdefault(f"{site}-{client}", []).append(part)
    return {client: pd.concat(tables, ignore_index=True) for client, tables in parts.items()}


def _deal(
    images: pd.DataFrame, split: str, findings: Sequence[str], division: Division, seed: int
) -> dict[str, pd.DataFrame]:
    name, clients, alpha = division.partition, division.clients_per_site, division.alpha
    if split != "train":  # As many clients as there are patients may do without.
        return partition.iid(images, min(clients, images["patient"].nunique()), seed)
    if name == "iid":
        return partition.iid(images, clients, seed)
    if name == "quantity":
        return partition.by_quantity(images, partition.quantity_shares(clients, alpha, seed), seed)
    if name == "dirichlet":
        return partition.dirichlet(images, clients, alpha, findings, seed)
    return partition.hybrid(images, clients, alpha, findings, seed)
