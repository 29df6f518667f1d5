"""Tests of training.resources: records of several starts; energy is measured or null."""

import json
import pathlib

import pytest

from tffcxr import run_tables
from tffcxr.training import resources


def _package(folder, number, microjoules, largest=1_000_000_000):
    package = folder / f"intel-rapl:{number}"
    package.mkdir(parents=True, exist_ok=True)
    (package / "energy_uj").write_text(f"{microjoules}\n")
    (package / "max_energy_range_uj").write_text(f"{largest}\n")


def _starts(run_dir):
    return json.loads((run_dir / run_tables.RESOURCES).read_text())["starts"]


def test_every_start_has_a_record_also_one_that_fails(tmp_path):
    with resources.recorded(tmp_path, tmp_path / "none"):
        assert sum(range(100_000)) > 0
    with pytest.raises(KeyError), resources.recorded(tmp_path, tmp_path / "none"):
        raise KeyError
    first, second = _starts(tmp_path)
    assert first["joules"] is second["joules"] is None
    assert first["seconds"] > 0 and first["processor_seconds"] >= 0
    if pathlib.Path("/proc/self/status").exists():
        assert 10 < first["peak_memory_mb"] < 100_000


def test_energy_is_that_of_all_packages_also_over_the_end_of_a_counter(tmp_path):
    counters = tmp_path / "powercap"
    _package(counters, 0, 5_000_000)
    _package(counters, 1, 999_000_000)
    (counters / "intel-rapl:0:0").mkdir()  # A part of a package, which the package counts.
    with resources.recorded(tmp_path, counters):
        _package(counters, 0, 7_500_000)
        _package(counters, 1, 1_000_000)
    assert _starts(tmp_path)[0]["joules"] == pytest.approx(2.5 + 2.0)


def test_readings_in_between_count_a_counter_that_starts_again_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_SECONDS_BETWEEN_READINGS", 1e9)
    counters = tmp_path / "powercap"
    _package(counters, 0, 0, largest=10_000_000)
    meter = resources._Meter(counters)
    for microjoules in (9_000_000, 8_000_000, 7_000_000):
        _package(counters, 0, microjoules, largest=10_000_000)
        meter._add()
    assert meter.stop() == pytest.approx(9 + 9 + 9)


@pytest.mark.parametrize("content", ["", "no number", "-"])
def test_a_counter_that_cannot_be_read_leaves_energy_unknown(tmp_path, content):
    counters = tmp_path / "powercap"
    _package(counters, 0, 5)
    with resources.recorded(tmp_path, counters):
        (counters / "intel-rapl:0" / "energy_uj").write_text(content)
    assert _starts(tmp_path)[0]["joules"] is None


def test_a_damaged_file_is_replaced(tmp_path):
    (tmp_path / run_tables.RESOURCES).write_text("[")
    with resources.recorded(tmp_path, tmp_path / "none"):
        pass
    assert len(_starts(tmp_path)) == 1
