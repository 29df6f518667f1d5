"""Membership inference on models that are trained under each protection, as rows of a table."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
import dataclasses
import pathlib
import sys
from typing import Any

import numpy as np

from tffcxr.audit import membership, protected_training
from tffcxr.audit.audited_run import AuditedRun, Images
from tffcxr.audit.seen import Protection
from tffcxr.audit.wanted import Wanted
from tffcxr.evaluation import undefined
from tffcxr.report.audit_page import UNTRAINED

_MOST_MEMBERS = 2000


def rows(
    run: AuditedRun,
    trained_on: Images,
    protections: Sequence[Protection],
    folder: pathlib.Path,
    wanted: Wanted,
) -> Iterator[dict[str, Any]]:
    """Infers who was trained on, before any training and after one under each protection.

    Args:
      run: the audited one.
      trained_on: the training images of its clients.
      protections: that its network can be trained with.
      folder: for the trainings, which a later start takes up.
      wanted: of the audit.

    Yields:
      A row of the table for each protection and attack.

    Raises:
      loop.TrainingFailed: a training broke off.
    """
    others = Images.join([run.images(client, "test") for client in run.clients])
    members = _alike(
        trained_on,
        others,
        np.random.default_rng([wanted.seed, 2]),
    )
    patients = np.concatenate([members.patients, others.patients])
    model = run.plan.model.measuring_model().keras
    # A private task block is of the client; that of the first one stands for all.
    before = [
        membership.losses(model, run.plan.initial_weights(), run.plan.loss_fn, images)
        for images in (members, others)
    ]
    rounds = wanted.rounds or run.plan.rounds
    about = {"members": len(members), "others": len(others)}
    with undefined.named("membership before any training"):
        control = membership.measure(before[0], before[1], patients, wanted.replicates, wanted.seed)
    yield {
        "protection": UNTRAINED,
        "attack": "loss",
        **about,
        "rounds": 0,
        "utility_name": "",
        "utility": np.nan,
        "epsilon": 0.0,
        **dataclasses.asdict(control),
    }
    for protection in protections:
        print(f"model under {protection.title}: {rounds} rounds", file=sys.stderr, flush=True)
        trained = protected_training.train(run, protection, rounds, folder, wanted.seed)
        after = [
            membership.losses(model, trained.weights, run.plan.loss_fn, images)
            for images in (members, others)
        ]
        for name, of_members, of_others in (
            ("loss", *after),
            ("calibrated", *(now - then for now, then in zip(after, before))),
        ):
            with undefined.named(f"membership under {protection.title}"):
                found = membership.measure(
                    of_members, of_others, patients, wanted.replicates, wanted.seed
                )
            yield {
                "protection": protection.name,
                "attack": name,
                **about,
                "rounds": rounds,
                "utility_name": trained.utility_name,
                "utility": trained.utility,
                "epsilon": trained.epsilon,
                **dataclasses.asdict(found),
            }


def _alike(members: Images, others: Images, random: np.random.Generator) -> Images:
    """Members in the mix of labels of the others, about `_MOST_MEMBERS` of them at most.

    Where members have the finding more often than others, its loss would tell them apart.
    """
    wanted = collections.Counter(map(_key, others.labels))
    places: dict[bytes, list[int]] = collections.defaultdict(list)
    for place in random.permutation(len(members)):
        places[_key(members.labels[place])].append(int(place))
    times = min(
        (len(places[key]) / count for key, count in wanted.items() if places[key]), default=0.0
    )
    times = min(times, _MOST_MEMBERS / max(1, len(others)))
    chosen = [place for key, n in wanted.items() for place in places[key][: round(times * n)]]
    return members.take(np.array(sorted(chosen), int))


def _key(labels: np.ndarray) -> bytes:
    """Equal for equal labels, also where some are unknown."""
    return np.nan_to_num(labels, nan=-1.0).tobytes()
