"""Tests of report.sites_table: which columns the table of data has, and in which order."""

import json

from tests.report import example_run
from tffcxr.report import run_reader, sites_table


def _table(tmp_path, sites):
    (tmp_path / "config.json").write_text(json.dumps({"kind": "findings", "sites": sites}))
    return sites_table.of(run_reader.read(tmp_path))


def test_columns_go_from_names_to_training_to_test(tmp_path):
    names = [
        "client", "finding", "modality", "rejected_files", "site", "source", "test_images",
        "train: Ill", "train_images", "train_patients", "validation_images",
    ]  # fmt: skip
    site = {name: name.upper() for name in names}
    assert _table(tmp_path, [site]).headings == [
        "Client", "Site", "Source", "Finding", "Modality", "Train images", "Train patients",
        "Train: Ill", "Validation images", "Test images", "Rejected files",
    ]  # fmt: skip


def test_a_site_that_is_its_only_client_is_named_once(tmp_path):
    sites = [{"client": name, "site": name, "train_images": 3} for name in "ab"]
    table = _table(tmp_path, sites)
    assert table.headings == ["Client", "Train images"]
    assert [[(cell.text, cell.is_number) for cell in row] for row in table.cells] == [
        [("a", False), ("3", True)],
        [("b", False), ("3", True)],
    ]
    sites[1]["site"] = "a"
    assert _table(tmp_path, sites).headings == ["Client", "Site", "Train images"]


def test_without_a_description_the_results_tell_of_the_sites(tmp_path):
    table = sites_table.of(run_reader.read(example_run.write(tmp_path, 20, 1, 1)))
    assert table is not None
    assert table.headings == ["Site", "Finding", "Images evaluated", "Positive", "Patients"]
    assert [cell.text for cell in table.cells[0]] == [
        "opacity", "Lung Opacity", "20 (test)", "6", "10",
    ]  # fmt: skip


def test_a_count_that_a_hospital_keeps_is_said_to_be_kept(tmp_path):
    north = {"client": "north", "source": "hospital", "test_images": 28, "finding": "Opacity"}
    table = _table(tmp_path, [north, {"client": "south", "source": "hospital"}])
    assert table.headings == ["Client", "Source", "Finding", "Test images"]
    assert [cell.text for cell in table.cells[1]] == ["south", "hospital", "", "not reported"]
    assert table.has_kept
    here = _table(tmp_path, [north, {"client": "south", "source": "rsna"}])
    assert here.cells[1][-1].text == "" and not here.has_kept


def test_positives_of_several_findings_have_a_table_of_their_own(tmp_path):
    several = {
        "client": "a", "site": "a", "finding": "A, B", "train_images": 9,
        "positive": {"A": {"train": 3, "validation": 1, "test": 2},
                     "B": {"train": 5, "validation": 0, "test": None}},
        "negative": {},
    }  # fmt: skip
    one = {"client": "b", "site": "b", "finding": "B", "train_images": 8, "train_positive": 4,
           "validation_positive": 2, "test_positive": 1}  # fmt: skip
    table = _table(tmp_path, [several, one])
    assert table is not None
    assert table.headings == ["Client", "Finding", "Train images"]
    assert [cell.text for cells in table.cells for cell in cells] == [
        "a", "2 findings", "9", "b", "B", "8",
    ]  # fmt: skip
    positives = sites_table.positives_of(run_reader.read(tmp_path))
    assert positives is not None
    assert positives.headings == ["Finding", "a", "b"]
    assert [[cell.text for cell in cells] for cells in positives.cells] == [
        ["A", "3 / 1 / 2", ""],
        ["B", "5 / 0 / –", "4 / 2 / 1"],
    ]


def test_clients_of_one_finding_each_have_one_table(tmp_path):
    site = {"client": "a", "finding": "A", "train_positive": 3}
    assert _table(tmp_path, [site]).headings == ["Client", "Finding", "Train positive"]
    assert sites_table.positives_of(run_reader.read(tmp_path)) is None


def test_nothing_known_no_table(tmp_path):
    assert _table(tmp_path, []) is None
