"""The log names all that is sent, before it is sent, and shows when it was changed."""

import concurrent.futures
import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tffcxr.errors import InputError
from tffcxr.hospitals import outgoing, wire
from tffcxr.hospitals.outgoing import OutgoingLog
from tffcxr.hospitals.wire import Field, Message


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "outgoing.jsonl"


def _entries(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _fill(path, messages=4):
    log = OutgoingLog(path)
    for number in range(messages):
        log.record(Message("update", {"round": number}, (Field("w", np.arange(number)),)))
    log.close()


def test_a_line_says_all_of_a_message(path):
    log = OutgoingLog(path)
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    log.record(Message("update", {"round": 3, "n": [1]}, (Field("dense", weights),)))
    log.record(Message("poll"))
    first, second = path.read_bytes().splitlines()
    entry = json.loads(first)
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "number": 1,
        "kind": "update",
        "about": {"round": 3, "n": [1]},
        "fields": [
            {
                "name": "dense",
                "dtype": "float32",
                "shape": [2, 3],
                "bytes": 24,
                "sha256": hashlib.sha256(weights.tobytes()).hexdigest(),
            }
        ],
        "previous": "",
    }
    assert json.loads(second)["previous"] == hashlib.sha256(first).hexdigest()
    assert json.loads(second)["number"] == 2
    assert outgoing.verify(path) == 2


@pytest.mark.parametrize(
    "array",
    [
        np.float64(2.5).reshape(()),
        np.zeros((0, 3), np.int64),
        np.array([True, False]),
        np.arange(12, dtype=np.float16).reshape(3, 4).T,
        np.arange(12, dtype=np.uint8)[::2],
        np.arange(5, dtype=">i4"),
    ],
)
def test_the_hash_is_of_the_bytes_that_are_sent(path, array):
    message = Message("update", {}, (Field("a", array),))
    sent = b"".join(wire.encode(message))
    OutgoingLog(path).record(message)
    (field,) = _entries(path)[0]["fields"]
    content = sent[len(sent) - field["bytes"] :]
    assert field["sha256"] == hashlib.sha256(content).hexdigest()
    assert field["shape"] == list(array.shape) and field["bytes"] == array.nbytes
    assert field["dtype"] == array.dtype.name


def test_a_log_continues_its_chain(path):
    for expected in (4, 8, 12):
        _fill(path)
        assert outgoing.verify(path) == expected
    assert [entry["number"] for entry in _entries(path)] == list(range(1, 13))


def test_a_last_line_longer_than_a_block_is_continued(path):
    log = OutgoingLog(path)
    log.record(Message("update", {"long": "x" * 200_000}))
    log.close()
    _fill(path)
    assert outgoing.verify(path) == 5


@pytest.mark.parametrize("half", [b"{", b'{"number": 3, "time": "', b"x" * 200_000])
@pytest.mark.parametrize("lines", [0, 2])
def test_half_a_line_is_cut_off(path, lines, half):
    _fill(path, lines)
    whole = path.read_bytes()
    path.write_bytes(whole + half)
    with pytest.raises(InputError, match=f"line {lines + 1}: expected a whole line"):
        outgoing.verify(path)
    OutgoingLog(path).close()
    assert path.read_bytes() == whole
    _fill(path)
    assert outgoing.verify(path) == lines + 4


@pytest.mark.parametrize("line", [0, 1, 2, 3])
def test_a_changed_line_is_found(path, line):
    _fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"kind": "update"', b'"kind": "metric"')
    path.write_bytes(b"".join(lines))
    if line == 3:  # The last has none after it: its hash has to be kept elsewhere.
        assert outgoing.verify(path) == 4
    else:
        with pytest.raises(InputError, match=f"line {line + 2}: expected message {line + 2}"):
            outgoing.verify(path)


@pytest.mark.parametrize("order", [[1, 2, 3], [0, 2, 3], [0, 2, 1, 3], [0, 1, 1, 2, 3]])
def test_missing_exchanged_and_doubled_lines_are_found(path, order):
    _fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    wrong = next(n for n, found in enumerate(order) if n != found) + 1
    with pytest.raises(InputError, match=f"line {wrong}: expected message {wrong}"):
        outgoing.verify(path)


def test_other_files_are_no_log(path):
    path.write_text("notes\n")
    with pytest.raises(InputError, match="line 1: expected a message"):
        outgoing.verify(path)
    with pytest.raises(InputError, match="expected a log of messages, found other lines"):
        OutgoingLog(path)
    assert path.read_text() == "notes\n"
    with pytest.raises(InputError, match="expected a log to read"):
        outgoing.verify(path.parent / "none")
    with pytest.raises(InputError, match="expected a log to write"):
        OutgoingLog(path.parent / "none" / "outgoing.jsonl")


def test_one_program_at_a_time_writes(path):
    log = OutgoingLog(path)
    with pytest.raises(InputError, match="expected to be its only writer"):
        OutgoingLog(path)
    log.close()
    OutgoingLog(path).close()


def test_threads_share_a_log(path):
    log = OutgoingLog(path)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log.record(Message("poll", {"n": n})), range(200)))
    assert outgoing.verify(path) == 200
    assert sorted(entry["about"]["n"] for entry in _entries(path)) == list(range(200))


class _FullDisk(io.FileIO):
    """Takes part of a line, and then no more until there is space."""

    space = 10

    def write(self, content):
        if self.space <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(content[: self.space])
        self.space -= written
        return written


def test_a_full_disk_leaves_no_half_line(monkeypatch, path):
    _fill(path, 2)
    with monkeypatch.context() as patch:
        patch.setattr(outgoing.io, "FileIO", _FullDisk)
        log = OutgoingLog(path)
    for lines in (2, 3, 4):
        with pytest.raises(OSError, match="No space left"):
            log.record(Message("poll"))
        assert outgoing.verify(path) == lines
        monkeypatch.setattr(log._file, "space", 10_000)
        log.record(Message("poll"))
        assert outgoing.verify(path) == lines + 1
        monkeypatch.setattr(log._file, "space", 10)


_WRITER = """
import pathlib, sys
from tffcxr.hospitals import outgoing, wire
log = outgoing.OutgoingLog(pathlib.Path(sys.argv[1]))
while True:
    log.record(wire.Message("poll", {"long": "x" * 3000}))
    print("sent", flush=True)
"""


def test_after_a_kill_the_log_has_all_that_was_sent(path):
    for _ in range(3):
        before = outgoing.verify(path) if path.exists() else 0
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout
        for _ in range(50):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        sent = 50 + len(writer.stdout.read().splitlines())
        writer.wait()
        OutgoingLog(path).close()
        assert outgoing.verify(path) - before in (sent, sent + 1)
