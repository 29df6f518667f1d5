"""When an image of one run is an image of another."""

import pathlib
import shutil

import pandas as pd
import pytest

from tests.report.comparison import tiny_runs
from tffcxr.report import run_reader
from tffcxr.report.comparison import image_names
from tffcxr.report.comparison.image_names import ImageNames, NotPairedError

_PLACE = pathlib.Path("phantoms", "9_patients_seed_0", "rsna")


def _names(run):
    names = ImageNames(run_reader.read(run))
    return list(names.of_rows(["north"] * 2, ["1", "0"])["name"])


def _with_phantoms(run, contents):
    (run / _PLACE).mkdir(parents=True)
    paths = [run / _PLACE / f"{number}.dcm" for number in range(len(contents))]
    for path, content in zip(paths, contents):
        path.write_text(content)
    table = pd.DataFrame({"client": "north", "row": range(len(paths))})
    tiny_runs.write_images(run, table, [str(path) for path in paths])
    return run


def test_images_are_known_by_their_path_and_patients_by_their_site(tmp_path):
    run = tiny_runs.findings(tmp_path / "run")
    found = ImageNames(run_reader.read(run)).of_rows(["north"] * 2, ["3", "0"])
    assert found.to_dict("list") == {
        "name": ["/data/3.dcm", "/data/0.dcm"], "person": ["north/p1", "north/p0"],
    }  # fmt: skip


def test_phantoms_are_known_by_their_place_and_content_wherever_the_run_is(tmp_path):
    one, other, changed = (
        _with_phantoms(tiny_runs.findings(tmp_path / name), contents)
        for name, contents in (("one", "ab"), ("other", "ab"), ("changed", "ax"))
    )
    assert _names(one) == _names(other) != _names(changed)
    assert _names(one)[1] == _names(changed)[1]
    shutil.move(other, tmp_path / "moved")
    assert _names(one) == _names(tmp_path / "moved")
    # Phantoms that are not there any more are no one's.
    shutil.rmtree(other.with_name("moved") / "phantoms")
    image_names._digest.cache_clear()
    assert not {*_names(one)} & {*_names(tmp_path / "moved")}


def test_a_run_that_does_not_name_its_images_is_not_paired(tmp_path):
    run = tiny_runs.findings(tmp_path / "run")
    names = ImageNames(run_reader.read(run))
    with pytest.raises(NotPairedError, match="one by one"):
        names.of_rows(["north"], ["20"])
    shutil.rmtree(run / "cache")
    with pytest.raises(NotPairedError, match=r"not known without cache/images\.csv"):
        ImageNames(run_reader.read(run)).of_rows(["north"], ["0"])
    with pytest.raises(NotPairedError, match="twice"):
        image_names.order_of(["a", "b", "a"])
