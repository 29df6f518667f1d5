"""The external sites of a study, whose images are measured at the end, and do nothing else."""

from __future__ import annotations

from collections.abc import Iterator
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd

from tffcxr.clients import sites as sites_lib
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore, prepare
from tffcxr.elsewhere import known_images
from tffcxr.evaluation import result_rows

if TYPE_CHECKING:
    from tffcxr.studies.study import Study

_Study = TypeVar("_Study", bound="Study")
_CACHE = "known_images"


def without_known(study: _Study) -> _Study:
    """The study without those images of external sites that it trains on or chooses by.

    All images of such a patient are left out, which one line says for each site. Images whose files
    are missing cannot be compared. They train nothing either, since no shard has them; one line
    says how many they are.

    Raises:
      InputError: none is left at a site; a site has the name of a client.
    """
    external = study.external
    if external is None:
        return study
    _check_names(study)
    seen = known_images.seen(pd.concat(_trained(study)), study.settings.measured_split)
    known = known_images.KnownImages(seen["image"].tolist(), study.settings.cache_dir / _CACHE)
    if known.missing:
        print(
            f"external sites: {len(known.missing)} of {len(seen)} images that are trained on or "
            f"chosen by cannot be compared, since their files are missing, such as "
            f"{known.missing[0]}",
            file=sys.stderr,
        )
    records, left_out = {}, {}
    for site, table in external.clients.records.items():
        ids = seen["patient"][seen["trained_at"].isin(external.same_ids[site])]
        kept = known_images.leave_out(site, table, known, set(ids))
        if kept.remark:
            print(f"external site {kept.remark}", file=sys.stderr)
        records[site], left_out[site] = kept.table, kept.left_out
    clients = external.clients.with_records(records)
    return dataclasses.replace(
        study, external=dataclasses.replace(external, clients=clients, left_out=left_out)
    )


def _trained(study: Study) -> Iterator[pd.DataFrame]:
    for client, table in study.clients.records.items():
        columns = table[["image", "patient", "split"]]
        yield columns.assign(trained_at=study.clients.site_of[client])


def _check_names(study: Study) -> None:
    assert study.external is not None
    mine = list(study.external.clients.records)
    taken = {*study.clients.site_of, *study.clients.site_of.values()}
    for name in sorted(taken):
        sites_lib.check_different([*mine, name], "--external_site")


def open_shards(study: Study, spec: ShardSpec) -> ShardStore | None:
    """Decodes the images of external sites once, or finds them decoded; None without any.

    Raises:
      InputError: see `preparation.prepare`.
    """
    if study.external is None:
        return None
    store = prepare(
        study.external.clients.records,
        spec,
        study.settings.cache_dir,
        max_rejected_fraction=study.settings.max_rejected_fraction,
        for_training=False,
    )
    store.verify()
    return store


def fingerprint(*stores: ShardStore | None) -> str:
    """The name of the data of several stores."""
    return "+".join(store.root.name for store in stores if store is not None)


def about(study: Study) -> dict[str, Any]:
    """For `config.json`: how many images and patients are measured at each site."""
    if study.external is None:
        return {}
    clients = study.external.clients
    return {
        "external_sites": {
            site: {
                "source": clients.source_of[site],
                "images": len(table),
                "patients": int(table["patient"].nunique()),
                "left_out": study.external.left_out[site],
            }
            for site, table in clients.records.items()
        }
    }


def tables_of_images(study: Study) -> dict[str, pd.DataFrame]:
    """The records of external sites as the run's table of images names them."""
    if study.external is None:
        return {}
    return {
        site: table.assign(split=result_rows.EXTERNAL)
        for site, table in study.external.clients.records.items()
    }


def patients(study: Study, site: str, rows: np.ndarray) -> np.ndarray:
    """The patients of rows of an external site's table: object [N]."""
    assert study.external is not None
    return study.external.clients.records[site]["patient"].to_numpy(object)[rows]
