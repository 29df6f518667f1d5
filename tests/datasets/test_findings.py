"""Names of findings as users and datasets write them."""

from __future__ import annotations

import pytest

from tffcxr.datasets import findings
from tffcxr.errors import InputError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Pleural_Thickening", "Pleural Thickening"),
        ("pleural thickening", "Pleural Thickening"),
        (" Lung-Opacity ", "Lung Opacity"),
        ("Opacity", "Lung Opacity"),
        ("opacity", "Lung Opacity"),
        ("Pleural Effusion", "Effusion"),
        ("PTX", "Pneumothorax"),
        ("No Lung Opacity / Not Normal", "No Lung Opacity / Not Normal"),
        ("No Lung Opacity/Not Normal", "No Lung Opacity / Not Normal"),
        ("covid_19", "COVID-19"),
        ("Covid19", "COVID-19"),
        ("COVID", "COVID-19"),
    ],
)
def test_spellings(written, meant):
    assert findings.canonical(written) == meant


def test_every_name_means_itself_and_nothing_else():
    assert len(set(findings.NAMES)) == len(findings.NAMES) == 39
    assert [findings.canonical(name) for name in findings.NAMES] == list(findings.NAMES)


@pytest.mark.parametrize(
    ("written", "hint"), [("Pneumothorx", "Pneumothorax"), ("Infiltrations", "Infiltration")]
)
def test_similar_name_is_suggested(written, hint):
    with pytest.raises(InputError, match=f"found '{written}'; did you mean '{hint}'"):
        findings.canonical(written)


@pytest.mark.parametrize(
    ("written", "available"),
    [
        ("Pneumonia", ["Pneumothorax"]),  # Another disease.
        ("Pneumonai", ["Pneumothorax"]),  # A misspelt other disease.
        ("Pneumonia", ["Viral Pneumonia"]),
        ("Mass", ["Cardiomegaly", "Mast"]),
        ("Nodule", ["Module"]),
        ("Edema", ["Eczema"]),
        ("Effusion", ["Infusion"]),
        ("ILD", ["ILS"]),
        ("Consolidation", ["Calcification"]),
    ],
)
def test_another_disease_is_never_suggested(written, available):
    with pytest.raises(InputError, match=f"found '{written}'$"):
        findings.find(written, available)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Edmea", "Edema"), ("Noodule", "Nodule"), ("Pleural Thicking", "Pleural Thickening")],
)
def test_typing_errors(written, meant):
    with pytest.raises(InputError, match=f"did you mean '{meant}'?"):
        findings.find(written, [meant, "Mass"])


def test_too_many_typing_errors_for_a_short_name():
    with pytest.raises(InputError, match="found 'Hrnai'$"):
        findings.find("Hrnai", ["Hernia"])


def test_only_what_is_available_is_found_and_suggested():
    with pytest.raises(InputError) as error:
        findings.find("Pneumonia", ["Lung Opacity", "Normal"], "site opacity")
    assert "a finding of site opacity (Lung Opacity, Normal), found 'Pneumonia'" in str(error.value)
    assert "did you mean" not in str(error.value)


def test_alias_works_in_both_directions():
    assert findings.find("Effusion", ["Pleural Effusion", "Edema"]) == "Pleural Effusion"


def test_names_outside_the_vocabulary_are_found_where_available():
    assert findings.find("rib_fracture", ["Rib Fracture"]) == "Rib Fracture"
