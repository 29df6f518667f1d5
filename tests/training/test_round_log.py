"""The CSV of a run can be taken back to any round, whatever a kill left in it."""

import pytest

from tffcxr.errors import InputError
from tffcxr.training.round_log import RoundLog


def _log(path, rounds=0):
    log = RoundLog(path, ["round", "loss", "note"])
    log.rewind(0)
    for number in range(1, rounds + 1):
        log.append([{"round": number, "loss": number / 3, "note": f'"{number}", high'}])
    return log


def test_rows_come_back_to_the_last_digit(tmp_path):
    rows = _log(tmp_path / "rounds.csv", 3).rewind(3)
    assert [row["round"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["loss"]) == 1 / 3
    assert rows[1]["note"] == '"2", high'


def test_rewinding_drops_later_rounds_in_the_file_too(tmp_path):
    path = tmp_path / "rounds.csv"
    log = _log(path, 12)
    as_of_two = _log(tmp_path / "two.csv", 2).path.read_bytes()
    assert len(log.rewind(2)) == 2
    assert path.read_bytes() == as_of_two
    log.append([{"round": 3, "loss": 1.0, "note": ""}])
    assert path.read_text().splitlines()[-1] == "3,1.0,"


@pytest.mark.parametrize("kept", range(1, 9))
def test_a_torn_last_line_is_dropped(tmp_path, kept):
    path = tmp_path / "rounds.csv"
    log = _log(path, 2)
    whole = path.read_bytes()
    log.append([{"round": 3, "loss": 0.25, "note": "x"}])
    torn = path.read_bytes()[: len(whole) + kept]
    assert torn != path.read_bytes()
    path.write_bytes(torn)
    assert len(log.rewind(3)) == 2
    assert path.read_bytes() == whole


def test_a_header_alone_or_half_of_it_is_no_row(tmp_path):
    path = tmp_path / "rounds.csv"
    for text in ("round,loss,note\n", "round,lo", ""):
        path.write_text(text)
        assert RoundLog(path, ["round", "loss", "note"]).rewind(5) == []
        assert path.read_text() == "round,loss,note\n"


def test_a_file_with_other_columns_is_left_alone(tmp_path):
    path = tmp_path / "rounds.csv"
    path.write_text("round,accuracy\n1,0.5\n")
    with pytest.raises(InputError, match="expected columns round,loss,note, found round,accuracy"):
        RoundLog(path, ["round", "loss", "note"]).rewind(0)
    assert path.read_text() == "round,accuracy\n1,0.5\n"


def test_the_first_column_is_the_round(tmp_path):
    with pytest.raises(ValueError, match="'round', found 'client'"):
        RoundLog(tmp_path / "a.csv", ["client"])


def test_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dict contains fields not in fieldnames"):
        _log(tmp_path / "a.csv").append([{"round": 1, "los": 2}])


def test_a_file_that_was_removed_is_not_begun_in_the_middle(tmp_path):
    log = _log(tmp_path / "rounds.csv", 1)
    log.path.unlink()
    with pytest.raises(FileNotFoundError):
        log.append([{"round": 2, "loss": 1.0, "note": ""}])
    assert not log.path.exists()
