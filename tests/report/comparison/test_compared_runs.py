"""Which runs can be compared, and what they are called."""

import json

import numpy as np
import pytest

from tests.report.comparison import tiny_runs
from tffcxr.errors import InputError
from tffcxr.report.comparison import compared_runs


def test_runs_have_letters_and_as_much_of_their_path_as_tells_them_apart(tmp_path):
    paths = [tiny_runs.findings(tmp_path / name / "run") for name in ("south", "north")]
    found = compared_runs.read(paths)
    assert [(one.letter, one.name) for one in found] == [("A", "south/run"), ("B", "north/run")]
    assert len({one.colour for one in found}) == 2
    other = tiny_runs.findings(tmp_path / "other")
    assert [one.name for one in compared_runs.read([paths[0], other])] == ["run", "other"]


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path):
    run = tiny_runs.findings(tmp_path / "run")

    def refused(*others):
        with pytest.raises(InputError) as error:
            compared_runs.read([run, *others])
        return str(error.value)

    assert "found no folder" in refused(tmp_path / "vanished")
    assert "expected different runs" in refused(tmp_path / "run" / ".." / "run")
    assert "at most 26 runs, found 27" in refused(*[run] * 26)
    masks = tiny_runs.masks(tmp_path / "masks", np.ones(4))
    told = refused(masks)
    assert f"runs of one kind, found findings in {run} and masks in {masks}" in told
    other = tiny_runs.findings(tmp_path / "other")
    results = json.loads((other / "metrics.json").read_text())
    (other / "metrics.json").write_text(json.dumps({**results, "complete": False}))
    assert f"found {other}, which has not finished" in refused(other)
    (other / "metrics.json").write_text(json.dumps({**results, "rows": []}))
    assert f"found {other}, which has no results" in refused(other)
    (other / "metrics.json").unlink()
    assert "has not finished" in refused(other)
