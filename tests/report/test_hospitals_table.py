"""What the coordinator's report says of its hospitals."""

import html
import json
import shutil

import pytest

from tests.report import example_run
from tffcxr.report import hospitals_table, run_reader, run_report, shared_copy
from tffcxr.report.figures import panels

HEADER = "round,site,took_part,work_seconds,wait_seconds,received_bytes,sent_bytes"
ROWS = (
    "1,north,yes,3,1,1500000,1000000",
    "1,south,no,0,4,20,30",
    "2,north,yes,5,2,1500000,1000000",
    "2,south,yes,1,6,499980,469970",
    "3,north,no,0,9,0,0",
    "3,south,yes,2,7,500000,500000",
)


@pytest.fixture(name="run_dir", scope="module")
def _run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    return example_run.write(folder, images=20, rounds=3, cases=1)


@pytest.fixture(name="coordinator")
def _coordinator(run_dir, tmp_path, monkeypatch):
    """The folder of a coordinator, which has no images."""
    monkeypatch.setattr(panels, "png", lambda figure: b"\x89PNG")
    folder = shutil.copytree(run_dir, tmp_path / "run")
    (folder / "hospitals.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    return folder


def change_rounds(folder, column, values):
    header, *lines = (folder / "rounds.csv").read_text().splitlines()
    place = header.split(",").index(column)
    rows = [line.split(",") for line in lines]
    for row, value in zip(rows, values):
        row[place] = value
    (folder / "rounds.csv").write_text("\n".join([header, *map(",".join, rows)]) + "\n")


def change_results(folder, change):
    results = json.loads((folder / "metrics.json").read_text())
    change(results)
    (folder / "metrics.json").write_text(json.dumps(results))


def of(folder):
    return hospitals_table.of(run_reader.read(folder))


def test_a_run_without_hospitals_has_none(run_dir):
    assert of(run_dir) is None
    assert "<h2>Hospitals</h2>" not in run_report.write_report(run_dir).read_text()


def test_means_are_of_the_rounds_with_the_hospital_and_bytes_of_all(coordinator):
    north, south = of(coordinator).hospitals
    assert north == hospitals_table.Hospital("north", 2, 3, 4.0, 1.5, 3.0, 2.0)
    assert south == hospitals_table.Hospital("south", 2, 3, 1.5, 6.5, 1.0, 0.97)


def test_a_hospital_that_never_took_part_has_no_means(coordinator):
    text = (coordinator / "hospitals.csv").read_text().replace("south,yes", "south,no")
    (coordinator / "hospitals.csv").write_text(text)
    south = of(coordinator).hospitals[1]
    assert (south.took_part, south.work_seconds, south.wait_seconds) == (0, None, None)
    assert "<td>0 of 3</td>" in run_report.write_report(coordinator).read_text()


def test_rounds_of_several_networks_add_up(coordinator):
    rows = [f"{row},{variant}" for variant in ("a", "b") for row in ROWS]
    (coordinator / "hospitals.csv").write_text("\n".join([f"{HEADER},variant", *rows]) + "\n")
    north = of(coordinator).hospitals[0]
    assert (north.took_part, north.rounds, north.received_megabytes) == (4, 6, 6.0)


def test_columns_that_no_or_only_some_rounds_have(coordinator):
    assert of(coordinator).empty_columns == of(coordinator).partly_empty_columns == []
    change_rounds(coordinator, "Lung Opacity/auroc", ["nan", "nan", "nan"])
    change_rounds(coordinator, "Pneumothorax/auroc", ["0.5", "nan", "0.7"])
    found = of(coordinator)
    assert found.empty_columns == ["Lung Opacity/auroc"]
    assert found.partly_empty_columns == ["Pneumothorax/auroc"]
    page = run_report.write_report(coordinator).read_text()
    assert "<code>Lung Opacity/auroc</code>." in page and "scores_per_image" in page


def test_hospitals_that_reported_no_result_are_named_in_a_complete_run(coordinator):
    def of_north(results):
        for row in results["rows"]:
            row["client"] = "north"

    change_results(coordinator, of_north)
    assert of(coordinator).without_results == ["south"]
    page = run_report.write_report(coordinator).read_text()
    assert "No result was reported by south:" in page
    change_results(coordinator, lambda results: results.update(complete=False))
    assert of(coordinator).without_results == []


def test_the_page_says_why_there_are_no_results(coordinator):
    change_results(coordinator, lambda results: results.update(rows=[]))
    page = html.unescape(run_report.write_report(coordinator).read_text())
    assert hospitals_table.NO_RESULTS in page and "The results above" not in page
    change_results(coordinator, lambda results: results.update(complete=False))
    assert "There are no results yet." in run_report.write_report(coordinator).read_text()


def test_a_copy_to_share_has_them_too(coordinator, tmp_path):
    shared_copy.write(coordinator, tmp_path / "copy", lambda *_: None)
    assert of(tmp_path / "copy") == of(coordinator)
    assert "<h2>Hospitals</h2>" in (tmp_path / "copy" / "report.html").read_text()
