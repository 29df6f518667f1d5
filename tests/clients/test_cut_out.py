"""Shards of images whose lungs are cut out: black outside, whole where no lungs are known."""

import os
import re

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from tests.clients.fixtures import FINDINGS, client_records, picture
from tffcxr import options
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.shards import decoding, fingerprint, preparation
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError

WHOLE = preparation.ShardSpec(16, FINDINGS)
CUT = preparation.ShardSpec(16, FINDINGS, cut_out=True)
LUNGS = regions.Boxes(((2, 3, 10, 9),), 16, 16)  # x 2..11, y 3..11


def _inside():
    inside = np.zeros((16, 16), bool)
    inside[3:12, 2:12] = True
    return inside


def _records(folder, lungs=LUNGS):
    records = client_records(folder)
    records["lungs"] = [lungs] * len(records)
    return records


def _stored(store, split="train"):
    """{row: (image, mask or None)} as stored, parsed without the code under test."""
    found = {}
    for serialized in tf.data.TFRecordDataset(store.files("north", split)):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        arrays = [
            np.frombuffer(feature[name].bytes_list.value[0], np.uint8).reshape(16, 16)
            if name in feature
            else None
            for name in ("image", "mask")
        ]
        found[feature["row"].int64_list.value[0]] = arrays
    return found


def test_outside_of_the_lungs_is_black_and_inside_is_as_before(tmp_path):
    store = preparation.prepare({"north": _records(tmp_path / "n")}, CUT, tmp_path / "cache")
    for split in ("train", "validation"):
        for row, (image, mask) in _stored(store, split).items():
            np.testing.assert_array_equal(image, np.where(_inside(), picture(row), 0))
            assert mask is None
    assert preparation.ShardStore.open(store.root).spec == CUT


def test_an_image_without_lungs_stays_whole(tmp_path):
    records = _records(tmp_path / "n")
    records["lungs"] = [None if row % 2 else LUNGS for row in range(len(records))]
    store = preparation.prepare({"north": records}, CUT, tmp_path / "cache")
    for row, (image, _) in _stored(store).items():
        kept = np.ones((16, 16), bool) if row % 2 else _inside()
        np.testing.assert_array_equal(image, np.where(kept, picture(row), 0))


def test_the_annotation_is_not_cut(tmp_path):
    spec = preparation.ShardSpec(16, FINDINGS, with_mask=True, cut_out=True)
    store = preparation.prepare({"north": _records(tmp_path / "n")}, spec, tmp_path / "cache")
    box = regions.Boxes(((4, 8, 4, 8),), 16, 16).to_array()  # as of `client_records`
    assert (box & ~_inside()).any()
    for row, (image, mask) in _stored(store).items():
        np.testing.assert_array_equal(image, np.where(_inside(), picture(row), 0))
        np.testing.assert_array_equal(mask, box)
    batch = next(iter(ClientData(store, 7, 0).train_dataset("north", 0, 1)))
    assert batch["images"].shape == batch["masks"].shape == (7, 16, 16, 1)


@pytest.mark.parametrize("fit", options.FITS)
@pytest.mark.parametrize("shape", [(12, 30), (30, 12)])
def test_lungs_lie_on_the_image_however_it_is_fitted(tmp_path, shape, fit):
    region = np.zeros(shape, bool)
    region[shape[0] // 3 : -2, shape[1] // 3 : -2] = True
    Image.fromarray(np.where(region, 200, 90).astype(np.uint8)).save(tmp_path / "image.png")
    lungs = regions.RunLengths(regions.encode_runs(region), *shape)
    found = decoding.decode(decoding.Job(str(tmp_path / "image.png"), 60, fit, lungs=lungs))
    assert isinstance(found, decoding.Decoded)
    assert (found.height, found.width) == shape
    pixels = np.frombuffer(found.image, np.uint8).reshape(60, 60)
    mask = images.fit_to_square(region, 60, fit, is_mask=True)
    assert not pixels[~mask].any()
    assert pixels[mask].mean() > 190  # nothing but the blurred edge is of the surroundings


def test_lungs_that_cannot_be_used_are_rejected_and_never_leave_black(tmp_path):
    Image.fromarray(picture(0)).save(tmp_path / "image.png")
    for lungs, reason in (
        (regions.Boxes((), 16, 16), "image.png that can be cut out, found an empty mask"),
        (regions.Boxes((), 8, 16), "expected an annotation of .16, 16. pixels"),
        (regions.MaskFile(str(tmp_path / "none.png")), "none.png"),
    ):
        job = decoding.Job(str(tmp_path / "image.png"), 16, "pad", lungs=lungs)
        found = decoding.decode(job)
        assert isinstance(found, decoding.Rejected)
        assert found.what == "annotation"
        assert re.search(reason, found.reason)
    records = _records(tmp_path / "n", regions.Boxes((), 16, 16))
    with pytest.raises(InputError, match="client north: more than 1.0% of 10 images"):
        preparation.prepare({"north": records}, CUT, tmp_path / "cache")


def test_a_table_without_lungs_is_refused(tmp_path):
    with pytest.raises(InputError, match="client north: expected columns .'lungs'."):
        preparation.prepare({"north": client_records(tmp_path / "n")}, CUT, tmp_path / "cache")


def test_lungs_count_in_the_fingerprint_where_they_are_cut_out(tmp_path):
    def prints(records):
        return [fingerprint.fingerprint({"north": records}, spec) for spec in (WHOLE, CUT)]

    files = [tmp_path / f"{name}.png" for name in "ab"]
    for file in files:
        file.write_bytes(b"1")
    one, other, partly = (
        _records(tmp_path / "n", regions.FittedMask(str(file), 16, 16, "pad"))
        for file in (*files, files[0])
    )
    partly["lungs"] = [None, *one["lungs"][1:]]
    seen = [prints(one), prints(other), prints(partly)]
    os.utime(files[0], ns=(0, 1))
    seen.append(prints(one))
    assert len({whole for whole, _ in seen}) == 1
    assert len({cut for _, cut in seen}) == 4
    assert not {cut for _, cut in seen} & {whole for whole, _ in seen}
