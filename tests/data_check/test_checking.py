"""Every planted fault is found and named with its image; clean data have none."""

import dataclasses
import json

import numpy as np
import pytest

from tests.data_check import planted
from tffcxr.clients.sites import Site
from tffcxr.data_check import (
    burned_in,
    check_report,
    checking,
    duplicates,
    fault,
    image_facts,
    inventory,
)
from tffcxr.datasets.load_options import LoadOptions


def _site(name, folder):
    return Site(name, "csv", folder, options=LoadOptions(views="all"))


def _check(*sites, tolerated=0.01):
    loaded, faults = checking.load(sites, tolerated)
    loaded = [checking.with_facts(site) for site in loaded]
    return loaded, faults + checking.find_faults(loaded, tolerated)


@pytest.fixture(name="planted_faults", scope="module")
def _planted_faults(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "faulty"
    planted.faulty(folder)
    return _check(_site("a", folder))[1]


@pytest.mark.parametrize(
    ("kind", "severity", "names"),
    [
        ("unusable file", fault.WRONG, ["cut_off.png"]),
        ("unusable file", fault.WRONG, ["text.png"]),
        ("unusable file", fault.WRONG, ["grey.png"]),
        ("duplicate image", fault.WARNING, ["image1.png = ", "copied.png"]),
        ("duplicate of two patients", fault.WRONG, ["image1.png = ", "of_another.jpg"]),
        ("duplicate across splits", fault.WRONG, ["image1.png = ", "in_test.png"]),
        ("duplicate with other labels", fault.WRONG, ["image1.png = ", "relabelled.png"]),
        ("patient across splits", fault.WRONG, ["in_test.png"]),
        ("contradicting labels", fault.WRONG, ["both.png"]),
        ("lateral view", fault.WARNING, ["listed_lateral.png"]),
        ("lateral view", fault.WARNING, ["lateral.dcm"]),
        ("no chest radiograph", fault.WRONG, ["knee.dcm"]),
        ("no chest radiograph", fault.WRONG, ["ct.dcm"]),
        ("unusual image", fault.WARNING, ["rotated.png"]),
        ("burned-in text", fault.WARNING, ["named.png"]),
    ],
)
def test_a_planted_fault_is_found(planted_faults, kind, severity, names):
    found = [each for each in planted_faults if each.kind == kind]
    assert {each.severity for each in found} == {severity}
    lines = [line for each in found for line in each.images]
    assert any(all(name in line for name in names) for line in lines), lines


def test_nothing_else_is_found(planted_faults):
    assert len({each.kind for each in planted_faults}) == 12
    (table,) = [each for each in planted_faults if each.kind == "table with faults"]
    assert "expected all images of a patient in one split" in table.sentence
    unusual = next(each for each in planted_faults if each.kind == "unusual image")
    assert len(unusual.images) == 1
    names = {line.rpartition("/")[2] for each in planted_faults for line in each.images}
    untouched = {f"image{number}.png" for number in range(planted.CLEAN)} - {"image1.png"}
    assert not names & untouched


def test_clean_data_have_no_fault(tmp_path):
    planted.write_table(tmp_path, planted.clean(tmp_path))
    (site,), faults = _check(_site("a", tmp_path))
    assert not faults
    lines = check_report.format_terminal([inventory.describe(site)], []).splitlines()
    assert ["a", "Pneumonia", "12", "12", "0"] in [line.split() for line in lines]


def test_sites_that_differ_or_share_patients(tmp_path):
    planted.write_table(tmp_path / "a", planted.clean(tmp_path / "a"))
    rows = planted.clean(tmp_path / "b", first=100)
    for row in rows:
        row["Pneumonia"], row["No Finding"] = 1, 0
    rows[0]["Pneumonia"] = 0
    rows[1]["patient"] = "p1"  # Two hospitals' own numbers, which mean nothing beside each other.
    planted.write_table(tmp_path / "b", rows)
    loaded, faults = _check(_site("a", tmp_path / "a"), _site("b", tmp_path / "b"))
    few, *shifts = faults
    assert (few.kind, few.severity) == ("too few of a class", fault.WARNING)
    assert "b: cheXviz leaves out 2 findings: expected at least 1 patients with" in few.sentence
    assert "expected test images with and without 'Pneumonia', found 8 with and 0" in few.sentence
    assert [each.kind for each in shifts] == ["label shift", "label shift"]
    assert "Pneumonia: 50% of 24 images at a, 96% of 24 at b" in [f.sentence for f in faults]
    named = [
        dataclasses.replace(data, site=Site(data.name, loader, data.site.path))
        for data, loader in zip(loaded, ("nih", "rsna"))
    ]
    (same,) = [each for each in checking.find_faults(named, 0.01) if "patient" in each.kind]
    assert same.severity == fault.WARNING and "1 patient at both a and b" in same.sentence


def test_darker_images_of_a_site_are_a_shift(tmp_path):
    from PIL import Image

    planted.write_table(tmp_path / "a", planted.clean(tmp_path / "a"))
    planted.write_table(tmp_path / "b", planted.clean(tmp_path / "b", first=100))
    for path in (tmp_path / "b").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(path)
    _, faults = _check(_site("a", tmp_path / "a"), _site("b", tmp_path / "b"))
    assert [each.kind for each in faults] == ["intensity shift"]


def test_a_site_that_cannot_be_read_is_a_fault_and_the_others_are_checked(tmp_path):
    planted.write_table(tmp_path, planted.clean(tmp_path))
    sites, faults = _check(_site("none", tmp_path / "none"), _site("a", tmp_path))
    assert [site.name for site in sites] == ["a"]
    assert [(each.kind, each.severity) for each in faults] == [("table with faults", fault.WRONG)]


@pytest.mark.parametrize(
    ("present", "severity", "words"),
    [
        ([1] * 10, fault.WRONG, "found 10 with and 0 without"),
        ([1] * 8 + [0] * 2, fault.WRONG, "found 8 with and 2 without"),
        ([1] * 7 + [0] * 3, None, ""),
    ],
)
def test_a_finding_with_too_few_patients_of_a_class(tmp_path, present, severity, words):
    rows = [
        {"path": row["path"], "patient": row["patient"], "Pneumonia": label}
        for row, label in zip(planted.clean(tmp_path), present)
    ]
    planted.write_table(tmp_path, rows)
    _, faults = checking.load([_site("a", tmp_path)], 0.01)
    assert [each.severity for each in faults] == ([severity] if severity else [])
    for each in faults:
        assert "does not start with 1 finding: expected at least 3 patients" in each.sentence
        assert words in each.sentence


def test_many_findings_with_too_few_patients_are_listed(tmp_path):
    labels = {"Pneumonia": 1, "Effusion": 0, "Mass": 1, "Edema": 0}
    rows = [
        {"path": row["path"], "patient": row["patient"], **labels}
        for row in planted.clean(tmp_path)[:3]
    ]
    planted.write_table(tmp_path, rows)
    _, (found,) = checking.load([_site("a", tmp_path)], 0.01)
    _, effusion, others = found.sentence.split("; ")
    assert effusion.endswith("'Effusion', found 0 with and 3 without")
    assert others == "and too few images also for Mass, Edema"


def test_as_many_unusable_files_as_training_skips_are_a_warning(tmp_path):
    planted.write_table(tmp_path, planted.clean(tmp_path)[:4])
    (tmp_path / "image3.png").write_bytes(b"no image")
    (site,), _ = checking.load([_site("a", tmp_path)], 0.01)
    site = checking.with_facts(site)
    for tolerated, severity, words in (
        (0.25, fault.WARNING, "at most the 25 %"),
        (0.24, fault.WRONG, "more than the 24 %"),
    ):
        (found,) = checking.find_faults([site], tolerated)
        assert (found.kind, found.severity) == ("unusable file", severity)
        assert f"unusable in all: 25.0%, {words} of --max_rejected_fraction" in found.sentence


@pytest.mark.parametrize(("tolerated", "severity"), [(0.01, fault.WRONG), (0.1, fault.WARNING)])
def test_images_of_the_table_that_are_missing_on_disk(tmp_path, tolerated, severity):
    planted.write_table(tmp_path, planted.clean(tmp_path))
    (tmp_path / "image3.png").unlink()
    _, (found,) = checking.load([_site("a", tmp_path)], tolerated)
    assert (found.kind, found.severity, found.images) == ("missing file", severity, ["image3.png"])
    assert f"1 of 24 images of the table are not in {tmp_path}" in found.sentence
    assert f" the {100 * tolerated:g} % of --max_rejected_fraction" in found.sentence


def test_an_image_listed_twice_hides_no_other_fault(tmp_path):
    rows = planted.clean(tmp_path)
    rows.append({**rows[0], "Pneumonia": 1, "No Finding": 0})
    (tmp_path / "image3.png").write_bytes(b"no image")
    planted.write_table(tmp_path, rows)
    _, faults = _check(_site("a", tmp_path))
    assert [each.kind for each in faults] == ["table with faults", "unusable file"]
    assert "expected one row per image, found rows 2 and 26" in faults[0].sentence


def test_the_files_say_what_was_found(tmp_path):
    folder = tmp_path / "data"
    planted.write_table(folder, planted.clean(folder)[:4])
    sites, _ = _check(_site("a", folder))
    faults = [fault.Fault("unusable file", fault.WRONG, "a: <b>", ["x.png"])]
    page = check_report.write(
        tmp_path / "out", [inventory.describe(site) for site in sites], faults, ["prepare"], True
    )
    html = page.read_text("utf-8")
    assert "a: &lt;b&gt;" in html and "x.png" in html and "http:" not in html
    content = json.loads((tmp_path / "out" / "check.json").read_text("utf-8"))
    assert content["faults"][0]["images"] == ["x.png"]
    (about,) = content["sites"]
    assert (about["images"], about["patients"], about["sexes"]) == (4, 4, {"F": 2, "M": 2})
    assert about["together"] == [[2, 0, 0], [0, 2, 0], [0, 0, 0]]
    assert about["sizes"] == {"96x96": 4} and about["bits"] == {"8": 4}


@pytest.mark.parametrize(
    ("text", "back", "ink", "found"),
    [
        ("HUBER, Anna 12.03.54", 40, 255, True),
        ("HUBER, Anna 12.03.54", 210, 0, True),
        ("KLINIKUM 2021-03-04", 210, 120, True),
        ("PORTABLE", 40, 255, False),
        ("PORTABLE", 210, 0, False),
        ("KLINIKUM 2021-03-04", 210, 190, False),  # Fainter than the noise of some images.
    ],
)
def test_text_is_burned_in_white_or_black_and_longer_than_a_marker(text, back, ink, found):
    from PIL import Image, ImageDraw

    noise = np.random.default_rng(0).normal(back, 5, (512, 512))
    picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
    ImageDraw.Draw(picture).text((15, 15), text, fill=ink, font_size=28)
    assert burned_in.is_text(burned_in.count_letters(np.asarray(picture))) is found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sex": "M"}, "a: 1 patient with contradicting sexes"),
        ({"age": 51}, "a: 1 patient with contradicting ages, more than 30 years apart"),
        ({"sex": "", "age": 50}, None),  # Unknown, and a patient who came back after 30 years.
    ],
)
def test_one_id_for_two_people(tmp_path, change, words):
    rows = planted.clean(tmp_path)
    rows[2] = {**rows[2], "patient": "p0", "sex": "F", "age": 20, **change}
    planted.write_table(tmp_path, rows)
    _, faults = _check(_site("a", tmp_path))
    assert [each.sentence for each in faults] == ([words] if words else [])
    for each in faults:
        assert each.severity == fault.WRONG and each.kind == "patient with contradicting sex or age"
        assert [path.rpartition("/")[2] for path in each.images] == ["image0.png", "image2.png"]


def test_two_exposures_are_no_duplicates_and_crops_are():
    one, other = planted.radiograph(3), planted.radiograph(4)
    thumbnails = [_thumbnail(each) for each in (one, other, one[4:-2, 1:-5], 255 - one)]
    assert not duplicates.is_same(thumbnails[0], thumbnails[1])
    assert duplicates.is_same(thumbnails[0], thumbnails[2])
    assert duplicates.is_same(thumbnails[2], thumbnails[0])
    assert not duplicates.is_same(thumbnails[0], thumbnails[3])


def _thumbnail(picture):
    from tffcxr.datasets.imaging import images

    return images.fit_to_square(picture, image_facts.THUMBNAIL, "stretch")
