"""Datasets by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.datasets import source_folders
from tffcxr.datasets import loaders, records
from tffcxr.datasets.imaging import images
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError

_WITH_UNKNOWN_LABELS = ("chexpert", "csv", "mimic_cxr", "padchest")


@pytest.mark.parametrize("loader", sorted(loaders.LOADERS))
def test_every_loader_gives_valid_records_whose_images_can_be_read(loader):
    table = loaders.load_records(loader, source_folders.TESTDATA / loader, "north")
    assert (table["site"] == "north").all()
    records.validate(table)
    for path in table["image"]:
        image = images.read_image(path)
        assert image.std() > 10
    for finding in records.findings(table):
        known = table[finding].dropna()
        assert known.isin([0, 1]).all()
        assert len(known) == len(table) or loader in _WITH_UNKNOWN_LABELS


@pytest.mark.parametrize("loader", ["covid_radiography", "lungs", "montgomery", "shenzhen"])
def test_lung_masks_lie_where_the_lungs_are(loader):
    table = loaders.load_records(loader, source_folders.TESTDATA / loader, "north")
    table = table[table["mask"].notna()]
    assert len(table) > 1
    for row in table.to_dict("records"):
        image = images.read_image(row["image"])[:, :, 0]
        lungs = row["mask"].to_array()
        assert row["lungs"] == row["mask"]
        assert lungs.dtype == bool
        assert lungs.shape == image.shape
        assert 0.2 < lungs.mean() < 0.4
        # Both lungs, darker than what is around them.
        assert lungs[:, : image.shape[1] // 2].mean() > 0.1
        assert lungs[:, image.shape[1] // 2 :].mean() > 0.1
        assert image[lungs].mean() < image[~lungs].mean() - 60


def test_path_may_be_text():
    assert len(loaders.load_records("nih", str(source_folders.TESTDATA / "nih"), "s")) == 12


def test_unknown_loader_and_missing_folder(tmp_path):
    with pytest.raises(InputError, match="lungs, medmnist, .*, siim, .*found 'rnsa'"):
        loaders.load_records("rnsa", tmp_path, "s")
    with pytest.raises(InputError, match="rsna: expected a dataset at .*absent, found nothing"):
        loaders.load_records("rsna", tmp_path / "absent", "s")


def test_columns_of_another_loader():
    options = LoadOptions(Columns(path="c.toml"))
    with pytest.raises(InputError, match="c.toml: expected a table of the loader csv .* found nih"):
        loaders.load_records("nih", source_folders.TESTDATA / "nih", "s", options)


def test_site_must_have_a_name():
    with pytest.raises(InputError, match="to have a site"):
        loaders.load_records("nih", source_folders.TESTDATA / "nih", "")


def test_no_module_imports_tensorflow():
    code = "import sys, tffcxr.datasets.loaders as l, importlib\n"
    code += "[importlib.import_module(name) for name in l.LOADERS.values()]\n"
    code += "import tffcxr.datasets.imaging.images, tffcxr.datasets.splits\n"
    code += "assert not any(name.startswith('tensorflow') for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=source_folders.TESTDATA.parent)


def test_testdata_is_small():
    assert sum(path.stat().st_size for path in source_folders.TESTDATA.rglob("*.*")) < 500_000
