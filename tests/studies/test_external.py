"""External sites lose the images and patients that a study trains on or chooses by."""

import dataclasses
import pathlib
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tffcxr.clients.external_sites import ExternalSites
from tffcxr.clients.sites import ClientRecords
from tffcxr.elsewhere import known_images
from tffcxr.errors import InputError
from tffcxr.studies import external


@dataclasses.dataclass(frozen=True)
class _Study:
    clients: ClientRecords
    external: ExternalSites | None
    settings: Any


def _table(patients, split, folder):
    images = [f"{folder}/{number}.png" for number in range(len(patients))]
    return pd.DataFrame({"image": images, "patient": patients, "split": split})


@pytest.fixture(name="study")
def _study(monkeypatch, tmp_path):
    """East's image 0 is a copy of a training image; "p4" and "p5" are names of both sites."""
    splits = ["train"] * 3 + ["validation"] * 2 + ["test"]
    home = _table([f"p{n}" for n in range(6)], splits, tmp_path)
    for image in home["image"]:
        pathlib.Path(image).touch()
    east = _table(["a", "a", "b", "p4", "p5"], "test", "east")

    def same_picture(self, images):
        return [place for place, image in enumerate(images) if image == "east/0.png"]

    monkeypatch.setattr(known_images.KnownImages, "_same_pictures", same_picture)
    return _Study(
        ClientRecords({"home-1": home}, {"home-1": "home"}, {}, {"home": "nih"}),
        ExternalSites(
            ClientRecords({"east": east}, {"east": "east"}, {}, {"east": "rsna"}),
            {"east": ("home",)},
        ),
        types.SimpleNamespace(measured_split="validation", cache_dir=tmp_path),
    )


def _kept(study):
    return external.without_known(study).external.clients.records["east"]["patient"].tolist()


def test_known_pictures_and_patients_are_left_out(study, capsys):
    # The other image of "a" goes, too; "p5" was only tested on.
    assert _kept(study) == ["b", "p5"]
    told = capsys.readouterr().err
    assert "external site east: 3 of 5 images are left out" in told and "missing" not in told
    assert "WARNING: more than half" in told
    assert external.about(external.without_known(study)) == {
        "external_sites": {"east": {"source": "rsna", "images": 2, "patients": 2, "left_out": 3}}
    }


def test_missing_images_are_told(study, capsys, tmp_path):
    (tmp_path / "3.png").unlink()
    (tmp_path / "5.png").unlink()  # Of the test.
    assert _kept(study) == ["b", "p5"]
    told = capsys.readouterr().err
    assert "1 of 5 images that are trained on or chosen by cannot be compared" in told
    assert str(tmp_path / "3.png") in told


def test_ids_of_unrelated_sites_mean_nothing(study):
    related = dataclasses.replace(study.external, same_ids={"east": ()})
    assert _kept(dataclasses.replace(study, external=related)) == ["b", "p4", "p5"]


def test_test_images_that_choose_a_round_are_left_out(study):
    settings = types.SimpleNamespace(**{**vars(study.settings), "measured_split": "test"})
    assert _kept(dataclasses.replace(study, settings=settings)) == ["b"]


def test_a_site_of_known_images_alone_is_refused(study):
    records = {"east": study.external.clients.records["east"][:2]}
    clients = study.external.clients.with_records(records)
    others = dataclasses.replace(study.external, clients=clients)
    with pytest.raises(InputError, match="site east: expected images of patients that the run was"):
        external.without_known(dataclasses.replace(study, external=others))


@pytest.mark.parametrize("name", ["home", "Home_1"])
def test_names_differ_from_those_of_sites_and_clients(study, name):
    records = {name: study.external.clients.records["east"]}
    clients = ClientRecords(records, {name: name}, {}, {name: "rsna"})
    with pytest.raises(InputError, match="--external_site: expected names that differ"):
        external.without_known(dataclasses.replace(study, external=ExternalSites(clients, {})))


def test_without_external_sites_a_study_stays_as_it_is(study):
    alone = dataclasses.replace(study, external=None)
    assert external.without_known(alone) is alone
    assert external.about(alone) == {} == external.tables_of_images(alone)


def test_pictures_are_compared_once(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("known.png", "copy.png", "other.png")]
    for number, path in enumerate(paths):
        path.write_bytes(b"x" * number)
    calls = []

    def find_between(known, others):
        calls.append((known, others))
        return [0]

    monkeypatch.setattr(known_images.image_facts, "measure_all", list)
    monkeypatch.setattr(known_images.duplicates, "find_between", find_between)
    known, *others = map(str, paths)
    for _ in range(2):
        images = known_images.KnownImages([known, "gone.png"], tmp_path / "cache")
        assert np.array_equal(images.among(others), [True, False])
        assert images.missing == ("gone.png",)
    assert calls == [([known], others)]
    pathlib.Path(others[1]).write_bytes(b"changed")
    known_images.KnownImages([known], tmp_path / "cache").among(others)
    assert len(calls) == 2
