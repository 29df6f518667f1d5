"""A damaged checkpoint is recognised, and the one before it is used."""

import collections
import errno
import logging

import numpy as np
import pytest

from tffcxr.errors import InputError
from tffcxr.training import checkpoints as checkpoints_lib
from tffcxr.training.checkpoints import Checkpoints


def _state(value):
    return collections.OrderedDict(
        weights=(np.full([3, 2], value, np.float32), np.float32(value)),
        clients={"b": np.arange(5) + value, "a": (), "c": np.zeros([0, 4])},
    )


def _save(folder, *rounds):
    checkpoints = Checkpoints(folder)
    for number in rounds:
        checkpoints.save(number, _state(number))
    return checkpoints


def _template(number):
    del number
    return _state(0)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_state_comes_back_with_its_structure_and_types(tmp_path):
    number, state = _save(tmp_path, 7).load_latest(_template)
    assert number == 7
    assert list(state) == ["weights", "clients"]
    assert state["weights"][0].dtype == np.float32
    np.testing.assert_array_equal(state["weights"][0], np.full([3, 2], 7))
    np.testing.assert_array_equal(state["clients"]["b"], np.arange(5) + 7)
    assert state["clients"]["a"] == ()


def test_there_is_none_at_the_start(tmp_path):
    assert Checkpoints(tmp_path / "none").load_latest(_template) is None
    assert Checkpoints(tmp_path).load_latest(_template) is None


def test_the_two_latest_are_kept(tmp_path):
    _save(tmp_path, 1, 2, 3, 10)
    assert _names(tmp_path) == ["round_000003.npz", "round_000010.npz"]
    with pytest.raises(ValueError, match="at least 2"):
        Checkpoints(tmp_path, keep=1)


def _truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def _empty(path):
    path.write_bytes(b"")


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    place = data.find(np.full([3, 2], 2, np.float32).tobytes())
    assert place > 0
    data[place] ^= 1
    path.write_bytes(bytes(data))


def _other_shape(path):
    state = _state(2)
    state["weights"] = (np.zeros([3, 3], np.float32), np.float32(2))
    _write(path, state)


def _fewer_arrays(path):
    _write(path, {"weights": np.zeros(2)})


def _write(path, state):
    other = path.parent / "other"
    Checkpoints(other).save(1, state)
    (other / "round_000001.npz").replace(path)


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip_a_bit, _other_shape, _fewer_arrays])
def test_a_damaged_latest_falls_back_to_the_one_before(tmp_path, caplog, damage):
    checkpoints = _save(tmp_path, 1, 2)
    damage(tmp_path / "round_000002.npz")
    with caplog.at_level(logging.WARNING):
        number, state = checkpoints.load_latest(_template)
    assert number == 1
    assert state["weights"][1] == 1
    assert "round_000002.npz is damaged" in caplog.text


def test_none_that_can_be_read_is_an_error_not_a_new_start(tmp_path):
    checkpoints = _save(tmp_path, 1, 2)
    for path in tmp_path.iterdir():
        _truncate(path)
    with pytest.raises(InputError, match="found 2 damaged ones"):
        checkpoints.load_latest(_template)
    assert _names(tmp_path) == ["round_000001.npz", "round_000002.npz"]


def test_a_full_disk_leaves_the_earlier_ones_untouched(tmp_path, monkeypatch):
    checkpoints = _save(tmp_path, 1, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(file, **arrays):
        file.write(b"PK\x03\x04 half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints_lib.np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(3, _state(3))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_a_killed_save_are_ignored_and_removed(tmp_path):
    checkpoints = _save(tmp_path, 1)
    (tmp_path / ".round_000002.npz.99.tmp").write_bytes(b"half")
    assert checkpoints.load_latest(_template)[0] == 1
    assert _names(tmp_path) == ["round_000001.npz"]


def test_the_template_is_that_of_the_checkpoints_own_round(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, (np.zeros(1),))
    checkpoints.save(2, (np.zeros(2), np.ones(2)))
    (tmp_path / "round_000002.npz").write_bytes(b"damaged")
    found = checkpoints.load_latest(lambda number: tuple([np.zeros(number)] * number))
    assert found is not None
    assert (found[0], len(found[1])) == (1, 1)
