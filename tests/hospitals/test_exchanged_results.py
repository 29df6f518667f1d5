"""A run over hospitals is not over before its results were exchanged."""

import pytest

from experiments.flags import federation_flags
from tffcxr.hospitals import exchanged_results


@pytest.fixture(name="at")
def _at(monkeypatch):
    def at(side):
        monkeypatch.setattr(federation_flags, "is_hospitals", lambda: side != "local")
        monkeypatch.setattr(federation_flags, "is_coordinator", lambda: side == "coordinator")

    return at


def test_a_coordinator_lacks_the_results_of_who_has_joined(tmp_path, at):
    said = tmp_path / "hospitals"
    said.mkdir()
    for name in ("north.clients.json", "north.rows.json", "south.clients.json"):
        (said / name).write_text("{}")
    assert exchanged_results.missing(said) == ["south"]
    for side, is_settled in (("coordinator", False), ("local", True)):
        at(side)
        assert federation_flags.is_settled(tmp_path) == is_settled
    (said / "south.rows.json").write_text("{}")
    at("coordinator")
    assert exchanged_results.missing(said) == [] and federation_flags.is_settled(tmp_path)


def test_a_hospital_has_to_send_its_results(tmp_path, at):
    at("hospital")
    assert not federation_flags.is_settled(tmp_path)
    exchanged_results.note_reported(tmp_path / "states")
    assert federation_flags.is_settled(tmp_path)
