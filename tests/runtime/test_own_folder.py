"""A folder lives as long as its program, and no longer than until the next one starts."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

from tffcxr.runtime.own_folder import OwnFolder

_HOLD = """
import pathlib, sys, time
sys.path[:0] = sys.argv[2:]
from tffcxr.runtime import own_folder
folder = own_folder.OwnFolder(sys.argv[1])
(folder.path / "socket").write_text("x")
print(folder.path, flush=True)
time.sleep(120)
"""


def test_a_folder_is_private_and_goes(tmp_path):
    folder = OwnFolder(str(tmp_path))
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_program_leaves_is_removed_by_the_next(tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path), *filter(None, sys.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        left = program.stdout.readline().strip()
        first = OwnFolder(str(tmp_path))
        assert os.path.isdir(left)  # Its program lives.
        program.kill()
    assert os.path.isdir(left)
    second = OwnFolder(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted([first.path, second.path])
    first.remove()
    second.remove()


def test_folders_of_others_stay(tmp_path):
    (tmp_path / "tffcxr-unlocked").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "owner.lock").touch()
    (tmp_path / "tffcxr-link").symlink_to(tmp_path / "else")
    OwnFolder(str(tmp_path)).remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("else", "tffcxr-link", "tffcxr-unlocked")
    ]
    assert (tmp_path / "else" / "owner.lock").exists()
