"""Lungs are predicted once, cleaned and judged, and an image is never left without reason black."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import tensorflow as tf

from tffcxr import run_tables
from tffcxr.clients.shards import decoding, fingerprint, preparation
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError
from tffcxr.models.files import export
from tffcxr.models.files.metadata import Metadata
from tffcxr.report.figures import contact_sheet
from tffcxr.studies import predicted_lungs

SIZE = 64
HEIGHT, WIDTH = 100, 80


def _lungs():
    """Two lungs, bool [100, 80]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    one, other = (((rows - 50) / 32) ** 2 + ((columns - x) / 14) ** 2 < 1 for x in (20, 60))
    return one | other


def _write(path, region, island=True):
    """Writes an image that is bright in the region, and in an island that is none of it."""
    image = np.where(region, 200, 40).astype(np.uint8)
    if island:
        image[:8, 36:44] = 220
    PIL.Image.fromarray(image).save(path)


def _model(path, brightness=0.5):
    """A model that takes for lung whatever is brighter."""
    inputs = tf.keras.Input((SIZE, SIZE, 1))
    layer = tf.keras.layers.Conv2D(1, 1)
    model = tf.keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 1, 1), 20.0), np.array([-20.0 * brightness])])
    about = Metadata(
        "masks", ("Lungs",), SIZE, "pad", "tiny", "unet", phantoms=False, threshold=0.5
    )
    exported = export.Exported(export.with_probabilities(model, "sigmoid"), about)
    export.save(path / "models" / "segmentation.keras", exported)
    return path


@pytest.fixture(name="model")
def _run(tmp_path):
    return _model(tmp_path / "run")


@pytest.fixture(name="records")
def _records(tmp_path):
    """Two clients: two good images and one that is dark; one good and one that is no image."""
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"secret-patient-{number}.png" for number in range(5)]
    for path in paths[:2] + paths[3:4]:
        _write(path, _lungs())
    _write(paths[2], np.zeros((HEIGHT, WIDTH), bool), island=False)
    paths[4].write_text("no image")
    known = regions.RunLengths(regions.encode_runs(_lungs()), HEIGHT, WIDTH)
    table = pd.DataFrame({"image": [str(path) for path in paths], "mask": None, "Mass": 1.0})
    table["lungs"] = pd.Series([known, None, known, None, known], dtype=object)
    table["split"] = "train"
    return {"south": table.iloc[3:].reset_index(drop=True), "north": table.iloc[:3]}


def _overlap(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.fixture(name="decoded")
def _decoded(monkeypatch):
    """The paths of the images that were decoded since the test began."""
    paths = []
    decode = decoding.decode

    def recorded(job):
        paths.append(job.path)
        return decode(job)

    monkeypatch.setattr(decoding, "decode", recorded)
    return paths


def test_plausible_lungs_take_the_place_of_what_was_known(tmp_path, model, records):
    found = predicted_lungs.segment(records, model, tmp_path / "cache", batch_size=2)
    assert list(found.records) == ["north", "south"]
    north, south = found.records["north"], found.records["south"]
    for mask in (*north["lungs"][:2], south["lungs"][0]):
        assert isinstance(mask, regions.FittedMask)
        assert mask.to_array().shape == (HEIGHT, WIDTH)
        assert _overlap(mask.to_array(), _lungs()) > 0.93
        assert not mask.to_array()[:10].any()  # the island is gone
    assert north["lungs"][2] is None
    assert south["lungs"][1] is None
    for client, table in records.items():  # nothing else changes, nor does what was given
        left = found.records[client].drop(columns="lungs")
        pd.testing.assert_frame_equal(left, table.drop(columns="lungs"))
    assert isinstance(records["north"]["lungs"][0], regions.RunLengths)


def test_summary_says_what_became_of_every_image(tmp_path, model, records):
    found = predicted_lungs.segment(records, model, tmp_path / "cache")
    summary = found.summary
    assert list(zip(summary["client"], summary["row"])) == [
        ("north", 0), ("north", 1), ("north", 2), ("south", 0), ("south", 1),
    ]  # fmt: skip
    assert summary["plausible"].tolist() == [True, True, False, True, False]
    assert summary["reason"].tolist() == [None, None, "empty", None, "unreadable"]
    assert found.counts == {"total": 5, "plausible": 3, "implausible": 1, "unreadable": 1}
    share = _lungs().mean()
    np.testing.assert_allclose(summary["area"], [share, share, 0, share, np.nan], atol=0.01)
    assert summary["jaccard"][0] > 0.93
    np.testing.assert_array_equal(summary["jaccard"][1:], [np.nan, 0, np.nan, np.nan])


def test_what_was_predicted_is_not_predicted_again(tmp_path, model, records, decoded):
    first = predicted_lungs.segment(records, model, tmp_path / "cache")
    assert len(decoded) == 5
    masks = list((tmp_path / "cache").rglob("*.png"))
    assert len(masks) == 4
    assert not any("patient" in str(mask.relative_to(tmp_path)) for mask in masks)
    times = {mask: mask.stat().st_mtime_ns for mask in masks}
    decoded.clear()
    second = predicted_lungs.segment(records, model, tmp_path / "cache")
    assert decoded == [records["south"]["image"][1]]  # what cannot be read is tried again
    pd.testing.assert_frame_equal(first.summary, second.summary)
    assert times == {mask: mask.stat().st_mtime_ns for mask in masks}


def test_a_changed_image_and_a_damaged_mask_are_predicted_again(tmp_path, model, records, decoded):
    first = predicted_lungs.segment(records, model, tmp_path / "cache")
    unreadable = records["south"]["image"][1]
    os.utime(records["north"]["image"][0], ns=(0, 1))
    mask = first.summary["mask"][1]
    with open(mask.path, "wb") as file:
        file.write(b"damaged")
    decoded.clear()
    again = predicted_lungs.segment(records, model, tmp_path / "cache")
    assert set(decoded) == {*records["north"]["image"][:2], unreadable}
    assert again.counts == first.counts
    assert _overlap(mask.to_array(), _lungs()) > 0.93


def test_a_killed_run_goes_on(tmp_path, model, records, decoded, monkeypatch):
    records = {"north": records["north"]}
    recorded = decoding.decode

    def killed(job):
        if len(decoded) == 2:
            raise KeyboardInterrupt
        return recorded(job)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(decoding, "decode", killed)
        predicted_lungs.segment(records, model, tmp_path / "cache", batch_size=1)
    done = decoded.copy()
    assert len(done) == 2
    decoded.clear()
    found = predicted_lungs.segment(records, model, tmp_path / "cache")
    assert len(decoded) == 1
    assert not set(decoded) & set(done)
    whole = predicted_lungs.segment(records, model, tmp_path / "other").summary
    pd.testing.assert_frame_equal(found.summary.drop(columns="mask"), whole.drop(columns="mask"))


def test_another_model_makes_masks_and_shards_of_its_own(tmp_path, model, records, decoded):
    def prints(path):
        found = predicted_lungs.segment(records, path, tmp_path / "cache")
        spec = preparation.ShardSpec(16, ("Mass",), cut_out=True)
        return fingerprint.fingerprint(found.records, spec)

    first = prints(model)
    decoded.clear()
    other = prints(_model(tmp_path / "other", brightness=0.4))
    assert len(decoded) == 5
    assert first != other
    assert prints(model) == first


def test_only_what_is_outside_of_plausible_lungs_becomes_black(tmp_path, model, records):
    found = predicted_lungs.segment({"north": records["north"]}, model, tmp_path / "cache")
    spec = preparation.ShardSpec(SIZE, ("Mass",), cut_out=True)
    store = preparation.prepare(found.records, spec, tmp_path / "cache", progress=False)
    for serialized in tf.data.TFRecordDataset(store.files("north", "train")):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        row = feature["row"].int64_list.value[0]
        image = np.frombuffer(feature["image"].bytes_list.value[0], np.uint8).reshape(SIZE, SIZE)
        whole = images.fit_to_square(images.read_image(records["north"]["image"][row]), SIZE)
        whole = whole[..., 0]
        if row == 2:  # implausible
            np.testing.assert_array_equal(image, whole)
        else:
            np.testing.assert_array_equal(image > 0, whole * (image > 0) > 120)
            np.testing.assert_array_equal(image[image > 0], whole[image > 0])
            assert 0.2 < (image > 0).mean() < 0.4


def test_a_model_of_another_region_is_refused(tmp_path, model, records):
    path = model / "models" / "segmentation.json"
    path.write_text(path.read_text().replace('"Lungs"', '"Heart"'))
    with pytest.raises(
        InputError, match="a model that segments lungs, found a model that marks Heart"
    ):
        predicted_lungs.segment(records, model, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, model, records):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the masks to .*file/lungs") as raised:
        predicted_lungs.segment(records, model, tmp_path / "file")
    assert "\n" not in str(raised.value)


def test_run_file_and_sweep_mean_a_model(tmp_path, model):
    file = model / "models" / "segmentation.keras"
    sweep = tmp_path / "sweep"
    _model(sweep / "run-1")
    (sweep / "sweep.json").write_text(json.dumps({"best_run": "run-1", "complete": True}))
    assert predicted_lungs.find_model(model) == predicted_lungs.find_model(str(file)) == file
    assert predicted_lungs.find_model(sweep) == sweep / "run-1" / "models" / "segmentation.keras"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"best_run": null, "complete": true}', "with a complete run, found none"),
        ('{"best_run": "gone", "complete": true}', "best run in gone, found no such folder"),
        ('{"best_run": "gone", "complete": false}', "one that is not finished"),
        ("[]", "sweep.json: expected a sweep"),
        ("{}", "sweep.json: expected a sweep"),
        ("{", "sweep.json: expected a sweep"),
    ],
)
def test_a_sweep_without_a_best_run_is_refused(tmp_path, content, message):
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=message) as raised:
        predicted_lungs.find_model(tmp_path)
    assert "\n" not in str(raised.value)


def test_the_contact_sheet_has_what_was_predicted(tmp_path, model, records):
    found = predicted_lungs.segment(records, model, tmp_path / "cache")
    predicted_lungs.write(tmp_path / "out", found)
    table, examples = contact_sheet.read(tmp_path / "out")
    assert len(table) == 5
    assert "secret" not in (tmp_path / "out" / run_tables.LUNGS.file).read_text()
    assert [(one.kind, one.name, one.reason) for one in examples] == [
        ("implausible", "north 2", "empty"),
        ("sample", "north 0", None),
        ("sample", "north 1", None),
        ("sample", "south 0", None),
    ]
    for one in examples[1:]:
        assert one.image.shape == one.lungs.shape
        assert one.image[one.lungs].mean() > 190
        assert one.image[~one.lungs].mean() < 60
    assert not examples[0].lungs.any()
