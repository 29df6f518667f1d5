"""What recipes take of a site's table: images whose answer is known, and nothing else."""

import pathlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from tffcxr.clients import site_tables
from tffcxr.clients.sites import Site
from tffcxr.datasets.imaging import annotations
from tffcxr.errors import InputError


def _with_classes(*rows):
    numbers = [str(number) for number in range(len(rows))]
    about = pd.DataFrame({"image": [f"{n}.png" for n in numbers], "patient": numbers, "mask": None})
    return about.join(pd.DataFrame(np.array(rows, float), columns=["A", "B", "Other"]))


def test_images_of_no_class_are_left_out(caplog):
    table = _with_classes([1, 0, 0], [0, 0, 1], [np.nan, np.nan, 1], [0, 1, 1])
    kept = site_tables.keep_classes(table, Site("a", "nih", pathlib.Path("a")), ("A", "B"))
    assert kept["patient"].tolist() == ["0", "3"]
    assert "Other" not in kept
    assert "2 of 4 images are in none of the classes A, B and are left out" in caplog.text


@pytest.mark.parametrize(
    ("rows", "classes", "message"),
    [
        ([[1, 1, 0]], ("A", "B"), "expected each image in one class, found 0.png in 2"),
        ([[0, 0, 1]], ("A", "B"), "expected images of known class, found none"),
        ([[1, 0, 0]], ("A", "C"), "expected the classes A, C, found A, B, Other"),
    ],
)
def test_what_has_no_classes_is_refused(rows, classes, message):
    with pytest.raises(InputError, match=message):
        site_tables.keep_classes(_with_classes(*rows), Site("a", "nih", pathlib.Path("a")), classes)


class TestRegion:
    """Images 0 to 3: outlined, known to be free, with the finding but not outlined, unknown."""

    SITE = Site("a", "rsna", pathlib.Path("a"))

    def _table(self):
        table = _with_classes([1, 0, 0], [0, 1, 0], [1, 0, 0], [np.nan, 0, 0])
        boxes = [annotations.Boxes(found, 9, 9) for found in (((1, 1, 2, 2),), ())]
        table["mask"] = pd.Series([*boxes, None, None], dtype=object)
        return table

    def test_images_that_are_outlined_or_free_of_it_stay(self, caplog):
        kept = site_tables.keep_region(self._table(), self.SITE, "A")
        assert kept["patient"].tolist() == ["0", "1"]
        assert [mask.empty for mask in kept["mask"]] == [False, True]
        assert "B" not in kept
        assert "2 of 4 images are not outlined" in caplog.text

    def test_a_site_without_the_finding_is_refused(self):
        with pytest.raises(InputError, match="the finding 'C', found A, B, Other from the loader"):
            site_tables.keep_region(self._table(), self.SITE, "C")

    def test_a_site_without_outlines_is_refused(self):
        with pytest.raises(InputError, match="images with 'A' outlined in a, found none among 3"):
            site_tables.keep_region(self._table()[1:].reset_index(drop=True), self.SITE, "A")


class TestOwnTable:
    """A hospital's own table gives each kind of recipe what it needs."""

    SITE = Site("north", "csv", pathlib.Path("t"))

    def _load(self, folder, *lines):
        for name in "abcm":
            PIL.Image.fromarray(np.full((3, 4), 255 * (name == "m"), np.uint8)).save(
                folder / f"{name}.png"
            )
        (folder / "t.csv").write_text("\n".join(lines) + "\n")
        return Site("north", "csv", folder).load()

    def test_lungs(self, tmp_path):
        table = self._load(tmp_path, "File,Patient,Lung mask,Mass", "a,1,m.png,1", "b,2,,0")
        (mask,) = site_tables.keep_lungs(table, self.SITE)["mask"]
        assert mask.to_array().all()

    def test_region(self, tmp_path):
        header = "File,Patient,Mask,Lung Opacity"
        table = self._load(tmp_path, header, "a,1,m.png,1", "b,2,,0", "c,3,,1")
        kept = site_tables.keep_region(table, self.SITE, "Lung Opacity")
        assert [mask.to_array().mean() for mask in kept["mask"]] == [1.0, 0.0]

    def test_classes(self, tmp_path):
        table = self._load(tmp_path, "File,Patient,Class", "a,1,normal", "b,2,Pneumonia", "c,3,")
        kept = site_tables.keep_classes(table, self.SITE, ["Normal", "Pneumonia"])
        assert kept[["Normal", "Pneumonia"]].to_numpy().tolist() == [[1, 0], [0, 1]]
        with pytest.raises(InputError, match="classes Normal, COVID-19, found Normal, Pneumonia"):
            site_tables.keep_classes(table, self.SITE, ["Normal", "COVID-19"])
