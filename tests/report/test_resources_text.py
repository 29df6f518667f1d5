"""Tests of report.resources_text: what was measured is added up, and what was not is said."""

import json

import pytest

from tests.report import example_run
from tffcxr import errors
from tffcxr.report import resources_text, run_report, shared_copy

_START = {"seconds": 90.0, "processor_seconds": 150.0, "peak_memory_mb": 1500.0, "joules": None}


def test_starts_are_added_up():
    text = resources_text.sentence([_START, {**_START, "peak_memory_mb": 2500.0}])
    assert text == (
        "Time of the whole run in 2 starts of the program, with preparation, baselines and "
        "measuring: 3.0 minutes, 5.0 minutes of processor time, 2.5 GB of memory at most. Energy: "
        "not measured, as this computer shows the program no counter of it (RAPL)."
    )


def test_energy_is_told_where_every_start_measured_it():
    measured = {**_START, "joules": 1.8e5}
    text = resources_text.sentence([measured, measured])
    assert text is not None
    assert "Energy: 0.1 kWh, of the processor packages" in text
    text = resources_text.sentence([measured, {**_START, "peak_memory_mb": None}])
    assert text is not None
    assert "not measured" in text
    assert resources_text.sentence([]) is None


@pytest.mark.parametrize("content", ["[]", "{}", '{"starts": [1]}', '{"starts": [{"a": "b"}]}'])
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "resources.json").write_text(content)
    with pytest.raises(errors.InputError, match="resources.json"):
        resources_text.starts(tmp_path)
    assert resources_text.starts(tmp_path / "nowhere") == []


def test_the_page_and_the_copy_of_a_run(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    example_run.write(run_dir, 60, 2, 1)
    (run_dir / "resources.json").write_text(json.dumps({"starts": [_START]}))
    html = run_report.write_report(run_dir).read_text()
    assert "measuring: 1.5 minutes" in html
    assert "All clients took part in every round." in html
    shared_copy.write(run_dir, tmp_path / "copy", lambda source, copy: None)
    assert "measuring: 1.5 minutes" in (tmp_path / "copy" / "report.html").read_text()
