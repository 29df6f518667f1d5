"""What a hospital learns of its kit and its images before it joins."""

import dataclasses

import pytest

from tests.datasets import source_folders
from tests.hospitals import studies
from tffcxr.clients import sites
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.phantoms import phantom
from tffcxr.errors import InputError
from tffcxr.hospitals import kits, local_check


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    return studies.make_kits(tmp_path_factory.mktemp("study"))


@pytest.fixture(name="images", scope="module")
def _images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rsna")
    phantom.write_rsna(folder, 8, 0)
    return folder


def _describe(made, text):
    return local_check.describe_data(kits.read(made / "north"), sites.Site.parse(text))


def test_a_hospitals_kit(made):
    lines = local_check.describe_kit(kits.read(made / "north"))
    assert lines[:3] == [
        "study: opacity",
        "site: north",
        "address of the coordinator: study.example.org:443",
    ]
    assert lines[3].endswith(", 29 days left")
    assert "policy: most_rounds = 200" in lines and "policy: recipes = *" in lines
    assert "policy: scores_per_image = false" in lines


def test_the_coordinators_kit(made):
    lines = local_check.describe_kit(kits.read(made / "coordinator"))
    assert "sites: north (Lung Opacity), south (Pneumothorax)" in lines
    assert lines[-1] == "revoked certificates: 0"


def test_what_is_in_the_data(made, images):
    lines = _describe(made, f"north=rsna:{images}:Lung Opacity")
    assert f"data: {images}, read as rsna" in lines
    assert "images: 8 of 8 patients" in lines
    assert "Lung Opacity: 4 present, 4 absent, 0 unknown, a finding of this site" in lines
    assert "Normal: 2 present, 6 absent, 0 unknown" in lines
    assert "readable: all of 8 images that were tried" in lines
    assert lines[-1] == "no update would leave: the policy wants at least 20 training images"


def test_a_table_of_ones_own_and_its_options(made):
    folder = source_folders.TESTDATA / "csv"
    site = sites.Site.parse(f"north=csv:{folder}:Effusion")
    site = dataclasses.replace(site, options=LoadOptions(uncertain="positive"))
    lines = local_check.describe_data(kits.read(made / "north"), site)
    assert "images: 5 of 4 patients" in lines
    assert "Effusion: 3 present, 2 absent, 0 unknown, a finding of this site" in lines


def test_a_folder_without_labels(made):
    folder = source_folders.TESTDATA / "rsna/stage_2_train_images"
    lines = _describe(made, f"north=csv:{folder}")
    assert "images: 12 of 12 patients" in lines
    assert "labels: none, so that nothing can be trained or tested here" in lines


def test_nothing_is_changed(made, images):
    def state():
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for folder in (made, images)
            for path in [folder, *folder.rglob("*")]
        }

    before = state()
    local_check.describe_kit(kits.read(made / "north"))
    _describe(made, f"north=rsna:{images}")
    assert state() == before


def test_an_image_that_cannot_be_read(made, tmp_path):
    phantom.write_rsna(tmp_path, 4, 0)
    broken = sorted((tmp_path / "stage_2_train_images").iterdir())[2]
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(InputError, match=broken.name):
        _describe(made, f"north=rsna:{tmp_path}")


def test_wrong_sites(made, images):
    with pytest.raises(InputError, match="--site: expected north, .* found south"):
        _describe(made, f"south=rsna:{images}")
    with pytest.raises(InputError, match="expected a finding of site north .* found 'Edema'"):
        _describe(made, f"north=rsna:{images}:Edema")
    with pytest.raises(InputError, match="expected a dataset at"):
        _describe(made, f"north=rsna:{images}/none")
    with pytest.raises(InputError, match="expected coordinator"):
        site = sites.Site.parse(f"north=rsna:{images}")
        local_check.describe_data(kits.read(made / "coordinator"), site)


def test_a_finding_that_all_images_have(made, tmp_path):
    phantom.write_rsna(tmp_path / "rsna", 4, 0)
    labels = tmp_path / "rsna" / "stage_2_train_labels.csv"
    details = tmp_path / "rsna" / "stage_2_detailed_class_info.csv"
    head, *rows = labels.read_text().splitlines()
    keep = [row for row in rows if row.endswith(",1")]
    patients = {row.split(",")[0] for row in keep}
    labels.write_text("\n".join([head, *keep, ""]))
    head, *rows = details.read_text().splitlines()
    details.write_text("\n".join([head, *(r for r in rows if r.split(",")[0] in patients), ""]))
    with pytest.raises(InputError, match="expected images with and without 'Lung Opacity'"):
        _describe(made, f"north=rsna:{tmp_path / 'rsna'}:Lung Opacity")
