"""Decoding in parallel: in order, no further ahead than needed, and honest about failures."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import textwrap
import time

import numpy as np
from PIL import Image
import pytest

from tests.clients.fixtures import picture
from tffcxr.clients.shards import decoding
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.errors import InputError

_LIMIT = 2 * decoding._CHUNK * decoding._AHEAD  # Images on their way to and from two workers.


@dataclasses.dataclass(frozen=True)
class Crash:
    """An annotation that ends the process which rasterises it."""

    def to_array(self):
        os._exit(7)


@dataclasses.dataclass(frozen=True)
class Bug:
    """An annotation with an error that no reader expects."""

    def to_array(self):
        raise KeyError("unforeseen")


@pytest.fixture(name="paths")
def _paths(tmp_path):
    for number in range(3):
        Image.fromarray(picture(number, 16)).save(tmp_path / f"{number}.png")
    return [str(tmp_path / f"{number}.png") for number in range(3)]


def test_results_come_in_order_and_jobs_are_taken_as_needed(paths):
    taken = 0

    def jobs():
        nonlocal taken
        for number in range(5 * _LIMIT):
            taken += 1
            yield decoding.Job(paths[number % 3], 16, "pad")

    results = decoding.decode_in_order(jobs(), 5 * _LIMIT, workers=2)
    for number in range(2 * _LIMIT):
        result = next(results)
        assert isinstance(result, decoding.Decoded)
        assert result.image == picture(number % 3, 16).tobytes()
        assert taken <= number + 1 + _LIMIT
    results.close()


def test_image_and_annotation_are_fitted_alike(tmp_path):
    image = np.zeros((4, 8), np.uint8)
    image[1:3, 2:6] = 255
    Image.fromarray(image).save(tmp_path / "wide.png")
    box = regions.Boxes(((2, 1, 4, 2),), 4, 8)
    for fit in ("pad", "stretch"):
        result = decoding.decode(decoding.Job(str(tmp_path / "wide.png"), 8, fit, box))
        assert isinstance(result, decoding.Decoded)
        pixels = np.frombuffer(result.image, np.uint8).reshape(8, 8)
        mask = np.frombuffer(result.mask or b"", np.uint8).reshape(8, 8)
        assert mask.sum() == (8 if fit == "pad" else 16)
        np.testing.assert_array_equal(pixels > 127, mask == 1)


def test_what_cannot_be_used_is_rejected_with_a_reason(tmp_path, paths):
    (tmp_path / "text.png").write_text("two\nlines")
    mask = regions.MaskFile(str(tmp_path / "missing.png"))
    for path, region, what in (
        (str(tmp_path / "text.png"), None, "image"),
        (str(tmp_path / "none.png"), None, "image"),
        (paths[0], mask, "annotation"),
        (paths[0], regions.Boxes((), 8, 8), "annotation"),
    ):
        result = decoding.decode(decoding.Job(path, 16, "pad", region))
        assert isinstance(result, decoding.Rejected)
        assert result.what == what
        assert str(tmp_path) in result.reason
        assert "\n" not in result.reason


def test_a_mask_of_several_values_is_rejected_by_name(tmp_path, paths):
    Image.fromarray(np.full((16, 16), 77, np.uint8)).save(tmp_path / "grey.png")
    region = regions.MaskFile(str(tmp_path / "grey.png"))
    result = decoding.decode(decoding.Job(paths[0], 16, "pad", region))
    assert isinstance(result, decoding.Rejected)
    assert result.what == "annotation"
    assert result.reason.startswith(f"{tmp_path}/grey.png: expected a mask of 0 and 1")


def test_a_bug_is_not_taken_for_a_bad_file(paths):
    with pytest.raises(RuntimeError, match="cannot decode .*0.png"):
        decoding.decode(decoding.Job(paths[0], 16, "pad", Bug()))


def test_a_worker_that_dies_names_where(paths):
    jobs = [decoding.Job(paths[0], 16, "pad", Crash())] * 100
    with pytest.raises(InputError, match="a decoding process died near .*0.png"):
        list(decoding.decode_in_order(jobs, len(jobs), workers=2))


def test_workers_end_when_the_parent_is_killed(tmp_path):
    code = """
        import os, sys, time
        from tffcxr.clients.shards import decoding
        def jobs():
            while True:
                yield decoding.Job("missing.png", 8, "pad")
        if __name__ == "__main__":
            results = decoding.decode_in_order(jobs(), 10**6, workers=2)
            next(results)
            children = open(f"/proc/self/task/{os.getpid()}/children").read()
            print(children, flush=True)
            time.sleep(60)
    """
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    run = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.stdout is not None
    children = [int(pid) for pid in run.stdout.readline().split()]
    assert len(children) >= 2
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in children)


def _runs(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
