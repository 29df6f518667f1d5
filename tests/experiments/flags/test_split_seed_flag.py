"""Runs that differ in their training alone."""

import pathlib
import types

import pytest

from experiments.flags import fraction_flags, split_seed_flag, study_flags
from tffcxr.clients import sites


@pytest.fixture(name="seeds")
def _seeds(monkeypatch):
    """Sets a run's seeds; returns its folder of phantoms and the seed of its splits."""
    used = []
    monkeypatch.setattr(
        sites, "load_shared_task", lambda *unused, **settings: used.append(settings["seed"])
    )

    def of(seed, split_seed):
        flags = types.SimpleNamespace(
            seed=seed,
            split_seed=split_seed,
            phantom_dir=None,
            phantom_patients=5,
            validation_fraction=0,
            test_fraction=0.5,
            partition="iid",
            clients_per_site=2,
            alpha=1.0,
        )
        for module in (fraction_flags, split_seed_flag, study_flags):
            monkeypatch.setattr(module, "FLAGS", flags)
        study_flags.load_shared_task([], lambda table, site: table, stratify=None)
        return study_flags.phantom_dir(pathlib.Path("run")).name, used[-1]

    return of


def test_images_and_splits_stay_while_the_seed_changes(seeds):
    assert seeds(1, 7) == seeds(2, 7) == ("5_patients_seed_7", 7)


def test_without_it_they_follow_the_seed(seeds):
    assert [seeds(seed, None) for seed in (1, 2)] == [
        ("5_patients_seed_1", 1),
        ("5_patients_seed_2", 2),
    ]
    assert seeds(3, 0) == ("5_patients_seed_0", 0)
