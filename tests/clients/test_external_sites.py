"""External sites hold what they label of what the models give, and no training image."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from tffcxr.clients import external_sites, sites
from tffcxr.clients.sites import Site
from tffcxr.errors import InputError

OUTPUTS = ("Pneumonia", "Edema")


@pytest.fixture(name="far")
def _far(monkeypatch):
    table = pd.DataFrame(
        {
            **{"image": ["0.png", "1.png", "2.png"], "patient": ["p", "q", "r"], "site": "far"},
            **{"view": None, "age": np.nan, "sex": None, "mask": None, "lungs": None},
            "split": ["train", "validation", "test"],
            "Lung Opacity": [0.0, 1.0, np.nan],
            "Mass": [1.0, 0.0, 1.0],
        }
    )
    monkeypatch.setattr(sites.loaders, "load_records", lambda *unused: table)

    def load(finding="", same=("Pneumonia=Lung Opacity",), trained=()):
        site = Site("far", "rsna", pathlib.Path("far"), finding)
        return external_sites.load_findings([site], trained, OUTPUTS, same)

    return load


@pytest.mark.parametrize("finding", ["", "Lung Opacity", "Pneumonia"])
def test_a_site_has_what_the_models_give_by_their_names(far, finding):
    found = far(finding)
    table = found.clients.records["far"]
    # The image of unknown label says nothing of these models.
    assert table["image"].tolist() == ["0.png", "1.png"]
    assert table["Pneumonia"].tolist() == [0.0, 1.0]
    assert table["Edema"].isna().all() and "Mass" not in table and "Lung Opacity" not in table
    assert set(table["split"]) == {"test"}
    assert (found.clients.site_of, found.clients.source_of) == ({"far": "far"}, {"far": "rsna"})


@pytest.mark.parametrize(
    "given,expected",
    [
        ({"same": ()}, "expected labels of Pneumonia, Edema, found Lung Opacity, Mass"),
        ({"finding": "Mass"}, "expected labels of Pneumonia, Edema, found Mass"),
        ({"finding": "Hernia"}, "expected a finding of site far"),
        ({"same": ("Pneumonia=Hernia",)}, "--same: expected MODEL=SITE"),
        ({"same": ("Lung Opacity",)}, "--same: expected MODEL=SITE"),
        ({"same": ("Mass=Lung Opacity",)}, "--same: expected MODEL=SITE"),
        (
            {"same": ("Pneumonia=Lung Opacity", "Hernia=Mass")},
            "--same: expected MODEL=SITE with one of Pneumonia, Edema as MODEL, found 'Hernia=",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(far, given, expected):
    with pytest.raises(InputError, match=expected):
        far(**given)


def test_models_without_findings_have_no_other_names_of_them(far):
    table = pd.DataFrame({"Mass": [1.0]})
    assert external_sites.with_names_of_model({"far": table}, (), ())["far"] is table
    with pytest.raises(InputError, match="--same: expected none, since .* found 'Lungs=Mass'"):
        external_sites.with_names_of_model({"far": table}, ["Lungs=Mass"], ())


def test_ids_mean_the_same_patients_in_one_folder_and_among_the_nihs(far):
    folder = pathlib.Path("far")
    trained = [
        Site("same", "rsna", folder),
        Site("nih", "nih", pathlib.Path("n")),
        Site("table", "csv", folder),
    ]
    assert far(trained=trained).same_ids == {"far": ("same", "nih")}
