"""Deals the patients of a records table to clients, so that no patient is at two clients.

`dirichlet` follows T.-M. H. Hsu, H. Qi and M. Brown, "Measuring the Effects of Non-Identical Data
Distribution for Federated Visual Classification", 2019, arXiv:1909.06335. Skewed quantities are
those of Q. Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022.

Every function takes a records table, deals whole patients, and returns {client id: records}. The
result depends on the set of rows and the seed, not on the order of the rows. The returned tables
together hold each row of the input once; each is sorted by patient and image, with a fresh index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from tffcxr.clients import seeds
from tffcxr.errors import InputError


def iid(records: pd.DataFrame, clients: int, seed: int) -> dict[str, pd.DataFrame]:
    """Deals patients at random, each client the same number of them (give or take one).

    Raises:
      InputError: fewer than one client, or more clients than patients.
    """
    patients = _patients(records, clients)
    generator(seed, "iid").shuffle(patients)
    return _tables(records, [patients[client::clients] for client in range(clients)])


def by_site(records: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One client per value of the column `site`; the client id is the site's name.

    Raises:
      InputError: a patient id occurs at two sites (see `separation`).
    """
    sites_of_patient = records.groupby("patient")["site"].nunique()
    shared = int((sites_of_patient > 1).sum())
    if shared:
        raise InputError(
            f"partition by site: expected each patient at one site, found {shared} at several"
        )
    return {str(site): in_order(table) for site, table in records.groupby("site", sort=True)}


def quantity_shares(clients: int, alpha: float, seed: int) -> list[float]:
    """Draws shares for `by_quantity` from a symmetric Dirichlet distribution (Li et al. 2022).

    Args:
      clients: how many shares.
      alpha: concentration > 0; small values make clients of very different size.
      seed: any integer.

    Returns:
      Shares that sum to 1.
    """
    _check_alpha(alpha)
    return generator(seed, "quantity shares").dirichlet(np.full(clients, float(alpha))).tolist()


def by_quantity(
    records: pd.DataFrame, shares: Sequence[float], seed: int
) -> dict[str, pd.DataFrame]:
    """Deals patients at random, to each client its share of them (largest remainders round up).

    Args:
      records: the table to deal.
      shares: one positive number per client, in any unit: (3, 1) gives the first 75 %.
      seed: any integer.

    Raises:
      InputError: a share that is not positive, or so small that its client would be empty.
    """
    patients = _patients(records, len(shares))
    weights = np.asarray(shares, float)
    if not np.all(np.isfinite(weights)) or np.any(weights <= 0):
        raise InputError(f"partition by quantity: expected positive shares, found {list(shares)}")
    exact = weights / weights.sum() * len(patients)
    counts = np.floor(exact).astype(int)
    largest_remainders = np.argsort(counts - exact, kind="stable")
    counts[largest_remainders[: len(patients) - counts.sum()]] += 1
    if np.any(counts == 0):
        client = int(np.argmin(counts))
        raise InputError(
            f"partition by quantity: {_ids(len(shares))[client]} would be empty, its share is "
            f"{exact[client]:.2g} of {len(patients)} patients"
        )
    generator(seed, "quantity").shuffle(patients)
    return _tables(records, np.split(patients, np.cumsum(counts)[:-1]))


def dirichlet(
    records: pd.DataFrame, clients: int, alpha: float, findings: str | Sequence[str], seed: int
) -> dict[str, pd.DataFrame]:
    """Deals patients so that each client has its own mix of classes (Hsu et al. 2019).

    Each client gets the same number of patients (give or take one). Its class proportions are
    drawn from Dirichlet(alpha * p), p being the proportions of the whole table. A patient's class
    is whether any of the patient's images shows the finding, with "unknown" a class of its own. Of
    several findings, it is the rarest that the patient has, none of them, or unknown.

    As in the paper, one client after the other draws its patients class by class; when a class runs
    out, a client uses its proportions of the remaining classes. So the last client gets the
    patients that the others left.

    Args:
      records: the table to deal.
      clients: how many clients.
      alpha: concentration > 0; small values give clients of one class, large values IID ones.
      findings: the column, or columns, that make the class.
      seed: any integer.

    Raises:
      InputError: more clients than patients, alpha <= 0, or an unknown finding.
    """
    patients = _patients(records, clients)
    _check_alpha(alpha)
    rng = generator(seed, "dirichlet")
    piles = _shuffled_classes(records, findings, rng)
    quotas = [len(patients[client::clients]) for client in range(clients)]
    return _tables(records, _draw(piles, quotas, alpha, rng))


def hybrid(
    records: pd.DataFrame,
    clients: int,
    alpha: float,
    findings: str | Sequence[str],
    seed: int,
    floor: int | float = 1,
) -> dict[str, pd.DataFrame]:
    """`dirichlet` above a stratified floor, so that every client has patients of every class.

    Args:
      records: the table to deal.
      clients: how many clients.
      alpha: concentration of what is dealt above the floor, as in `dirichlet`.
      findings: the column, or columns, that make the class.
      seed: any integer.
      floor: an int is how many patients of every class each client gets first; a float in (0, 1)
        is the fraction of every class that is dealt evenly first (at least one per client).

    Raises:
      InputError: as `dirichlet`; or a class has too few patients for the floor.
    """
    patients = _patients(records, clients)
    _check_alpha(alpha)
    if floor <= 0 or (isinstance(floor, float) and floor >= 1):
        raise InputError(f"partition: expected a floor >= 1 or in (0, 1), found {floor}")
    rng = generator(seed, "hybrid")
    piles = _shuffled_classes(records, findings, rng)
    dealt: list[list[str]] = [[] for _ in range(clients)]
    for label, pile in piles.items():
        each = max(1, int(floor * len(pile) / clients)) if isinstance(floor, float) else floor
        if len(pile) < each * clients:
            raise InputError(
                f"partition: {clients} clients with at least {each} patients each of class "
                f"{label} need {each * clients}, found {len(pile)}"
            )
        for client in range(clients):
            dealt[client].extend(pile.pop() for _ in range(each))
    quotas = [len(patients[client::clients]) - len(dealt[client]) for client in range(clients)]
    above_floor = _draw(piles, quotas, alpha, rng)
    return _tables(records, [low + high for low, high in zip(dealt, above_floor)])


def rarest_first(counts: Mapping[str, int] | pd.Series) -> list[str]:
    """Findings by how many patients have them, the rarest first."""
    return sorted(counts.keys(), key=lambda finding: (counts[finding], finding))


def in_order(records: pd.DataFrame) -> pd.DataFrame:
    """The table sorted by patient and image, with a fresh index."""
    return records.sort_values(["patient", "image"], kind="stable").reset_index(drop=True)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """What draws for one purpose, as the seed says."""
    return np.random.default_rng(seeds.derive_seed(seed, "partition", purpose))


def _draw(
    piles: dict[str, list[str]], quotas: Sequence[int], alpha: float, rng: np.random.Generator
) -> list[list[str]]:
    """Empties the piles of patients; returns one list per client, as long as its quota."""
    labels = [label for label, pile in piles.items() if pile]
    dealt: list[list[str]] = [[] for _ in quotas]
    if not labels:
        return dealt
    left = np.array([len(piles[label]) for label in labels], float)
    prior = left / left.sum()
    proportions = rng.dirichlet(alpha * prior, size=len(quotas))  # [clients, classes]
    for client, quota in enumerate(quotas):
        for _ in range(quota):
            weights = proportions[client] * (left > 0)
            # Of the remaining classes the client may have drawn none; then the prior decides.
            # A Dirichlet draw with a tiny alpha underflows to NaN.
            if not np.isfinite(weights.sum()) or weights.sum() <= 0:
                weights = prior * (left > 0)
            chosen = rng.choice(len(labels), p=weights / weights.sum())
            dealt[client].append(piles[labels[chosen]].pop())
            left[chosen] -= 1
    return dealt


def _shuffled_classes(
    records: pd.DataFrame, findings: str | Sequence[str], rng: np.random.Generator
) -> dict[str, list[str]]:
    """The patients of each class, shuffled; classes and patients sorted before that."""
    columns = [findings] if isinstance(findings, str) else list(findings)
    missing = [column for column in columns if column not in records.columns]
    if missing or not columns:
        raise InputError(f"partition: expected findings of the table, found {missing or 'none'}")
    present = records.groupby("patient", sort=True)[columns].max()  # NaN if never known
    name = columns[0] if len(columns) == 1 else "all findings"
    rarest = rarest_first((present == 1.0).sum())
    piles: dict[str, list[str]] = {}
    for patient, values in zip(present.index, present.to_numpy(float)):
        found = [finding for finding, value in zip(columns, values) if value == 1.0]
        if found:
            label = f"{min(found, key=rarest.index)} present"
        else:
            label = f"{name} {'unknown' if np.isnan(values).all() else 'absent'}"
        piles.setdefault(label, []).append(patient)
    piles = dict(sorted(piles.items()))
    for pile in piles.values():
        rng.shuffle(pile)
    return piles


def _patients(records: pd.DataFrame, clients: int) -> np.ndarray:
    """The sorted patient ids [P], after a check that they suffice for the clients."""
    patients = np.array(sorted(records["patient"].unique()), dtype=object)
    if clients < 1:
        raise InputError(f"partition: expected at least one client, found {clients}")
    if clients > len(patients):
        raise InputError(
            f"partition: expected at most one client per patient, found {clients} clients for "
            f"{len(patients)} patients"
        )
    return patients


def _tables(
    records: pd.DataFrame, patients_of_client: Sequence[Iterable[str]]
) -> dict[str, pd.DataFrame]:
    names = _ids(len(patients_of_client))
    client_of = {
        patient: name for name, patients in zip(names, patients_of_client) for patient in patients
    }
    return {
        str(name): in_order(table)
        for name, table in records.groupby(records["patient"].map(client_of), sort=True)
    }


def _ids(clients: int) -> list[str]:
    digits = max(2, len(str(clients - 1)))
    return [f"client_{client:0{digits}d}" for client in range(clients)]


def _check_alpha(alpha: float) -> None:
    if not (np.isfinite(alpha) and alpha > 0):
        raise InputError(f"partition: expected alpha > 0, found {alpha}")
