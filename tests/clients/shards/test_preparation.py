"""Shards hold what the files hold, are reused only if nothing changed, and never half done."""

import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.clients.fixtures import FINDINGS, client_records, picture
from tests.real_data import real_data
from tffcxr.clients.shards import decoding, preparation, shard_writer
from tffcxr.clients.shards.preparation import ShardSpec, ShardStore, prepare
from tffcxr.datasets import loaders
from tffcxr.datasets.imaging import annotations as regions
from tffcxr.datasets.imaging import images
from tffcxr.errors import InputError

SPEC = ShardSpec(16, FINDINGS)


def _examples(store, client, split):
    """{row: (image, labels)} as stored, parsed without the code under test."""
    found = {}
    for serialized in tf.data.TFRecordDataset(store.files(client, split)):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        image = np.frombuffer(feature["image"].bytes_list.value[0], np.uint8).reshape(16, 16)
        found[feature["row"].int64_list.value[0]] = image, list(feature["labels"].float_list.value)
    return found


def test_shards_hold_pixels_labels_and_rows(tmp_path):
    records = {"north": client_records(tmp_path / "north")}
    store = prepare(records, SPEC, tmp_path / "cache")
    assert store.client_ids == ["north"]
    assert (store.count("north", "train"), store.count("north", "validation")) == (7, 3)
    train = _examples(store, "north", "train")
    assert sorted(train) == list(range(7))
    assert list(train) != list(range(7))  # In a fixed random order.
    for row, (image, labels) in train.items():
        np.testing.assert_array_equal(image, picture(row))
        np.testing.assert_array_equal(labels, [row % 2, np.nan if row % 3 == 0 else 0])
    assert list(_examples(store, "north", "validation")) == [7, 8, 9]
    assert store.label_counts("north", "train") == {
        "Pneumonia": {"present": 3, "absent": 4, "unknown": 0},
        "Effusion": {"present": 0, "absent": 4, "unknown": 3},
    }
    store.verify()


def test_progress_names_the_client_and_the_split(tmp_path, monkeypatch):
    told = []

    class Bar(shard_writer.tqdm.tqdm):
        def update(self, n=1):
            told.append(self.desc)

    monkeypatch.setattr(shard_writer.tqdm, "tqdm", Bar)
    records = {name: client_records(tmp_path / name) for name in ("north", "south")}
    preparation.prepare(records, SPEC, tmp_path / "cache")
    expected = [
        f"decoding {split} images of {client}: "
        for client in records
        for split, images in (("train", 7), ("validation", 3))
        for _ in range(images)
    ]
    assert told == expected


def test_real_radiographs(tmp_path):
    records = loaders.load_records("rsna", real_data("rsna"), "opacity")
    records = records[records["Lung Opacity"] == 1].head(3).reset_index(drop=True)
    records["split"] = "train"
    spec = ShardSpec(64, ("Lung Opacity",), with_mask=True)
    store = prepare({"opacity": records}, spec, tmp_path)
    for serialized in tf.data.TFRecordDataset(store.files("opacity", "train")):
        feature = tf.train.Example.FromString(serialized.numpy()).features.feature
        record = records.iloc[feature["row"].int64_list.value[0]]
        for name, array, is_mask in (
            ("image", images.read_image(record["image"]), False),
            ("mask", record["mask"].to_array().astype(np.uint8), True),
        ):
            expected = images.fit_to_square(array, 64, is_mask=is_mask).tobytes()
            assert feature[name].bytes_list.value[0] == expected


def test_a_split_without_images_is_empty_but_training_must_have_some(tmp_path):
    records = client_records(tmp_path / "north", validation=0)
    store = prepare({"north": records}, SPEC, tmp_path / "cache")
    assert (store.count("north", "test"), store.files("north", "test")) == (0, [])
    records["split"] = "test"
    with pytest.raises(InputError, match="client north: expected images for training"):
        prepare({"north": records}, SPEC, tmp_path / "cache")


def test_masks_are_fitted_like_images(tmp_path):
    records = client_records(tmp_path / "north", images=2, validation=0)
    spec = ShardSpec(8, FINDINGS, with_mask=True)
    store = prepare({"north": records}, spec, tmp_path / "cache")
    serialized = next(iter(tf.data.TFRecordDataset(store.files("north", "train")))).numpy()
    mask = tf.train.Example.FromString(serialized).features.feature["mask"].bytes_list.value[0]
    expected = np.zeros((8, 8), np.uint8)
    expected[4:8, 2:4] = 1  # The box of the fixture at half size.
    np.testing.assert_array_equal(np.frombuffer(mask, np.uint8).reshape(8, 8), expected)


def test_masks_are_wanted_but_missing(tmp_path):
    records = client_records(tmp_path / "north")
    records.at[4, "mask"] = None
    spec = ShardSpec(8, FINDINGS, with_mask=True)
    with pytest.raises(InputError, match="found none for 1 of 10"):
        prepare({"north": records}, spec, tmp_path / "cache")


def test_an_annotation_of_another_size_is_rejected(tmp_path):
    records = client_records(tmp_path / "north")
    records.at[4, "mask"] = regions.Boxes(((0, 0, 1, 1),), 32, 32)
    spec = ShardSpec(8, FINDINGS, with_mask=True)
    store = prepare({"north": records}, spec, tmp_path / "cache", max_rejected_fraction=0.1)
    assert store.rejected("north") == [{"row": 4, "split": "train", "what": "annotation"}]
    assert store.count("north", "train") == 6


def test_workers_and_one_process_write_the_same_bytes(tmp_path):
    records = {
        "north": client_records(tmp_path / "north", 50),
        "south": client_records(tmp_path / "south", 30, first=50),
    }
    one = prepare(records, SPEC, tmp_path / "one", workers=1)
    two = prepare(records, SPEC, tmp_path / "two", workers=2)
    assert one.manifest == two.manifest
    for path in one.root.rglob("*.tfrecord"):
        assert path.read_bytes() == (two.root / path.relative_to(one.root)).read_bytes()


def _stamps(root: pathlib.Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def test_reused_when_nothing_changed(tmp_path, monkeypatch):
    records = {"north": client_records(tmp_path / "north")}
    store = prepare(records, SPEC, tmp_path / "cache")
    before = _stamps(store.root)
    monkeypatch.setattr(decoding, "decode", None)  # Whoever decodes now, fails.
    again = prepare(records, SPEC, tmp_path / "cache")
    assert again.root == store.root
    assert _stamps(store.root) == before


def _touch(records, folder):
    os.utime(records["image"][0], ns=(0, 12345))


def _label(records, folder):
    records.at[0, "Pneumonia"] = np.nan


def _split(records, folder):
    records.at[0, "split"] = "test"


def _order(records, folder):
    records.loc[[0, 1]] = records.loc[[1, 0]].to_numpy()


def _remove(records, folder):
    records.drop(index=9, inplace=True)


@pytest.mark.parametrize("change", [_touch, _label, _split, _order, _remove])
def test_made_anew_when_something_changed(tmp_path, change):
    records = client_records(tmp_path / "north")
    before = prepare({"north": records}, SPEC, tmp_path / "cache")
    change(records, tmp_path)
    after = prepare({"north": records}, SPEC, tmp_path / "cache")
    assert after.root != before.root


@pytest.mark.parametrize(
    "spec",
    [
        ShardSpec(17, FINDINGS),
        ShardSpec(16, FINDINGS[::-1]),
        ShardSpec(16, FINDINGS, fit="stretch"),
        ShardSpec(16, FINDINGS, with_mask=True),
    ],
)
def test_made_anew_for_another_specification(tmp_path, spec):
    records = {"north": client_records(tmp_path / "north")}
    before = prepare(records, SPEC, tmp_path / "cache")
    assert prepare(records, spec, tmp_path / "cache").root != before.root
    assert ShardStore.open(before.root).spec == SPEC


def test_an_annotation_counts_only_where_masks_are_wanted(tmp_path):
    records = client_records(tmp_path / "north")
    roots = []
    for with_mask in (False, True):
        spec = ShardSpec(16, FINDINGS, with_mask=with_mask)
        for boxes in ((), ((0, 0, 3, 3),)):
            records.at[0, "mask"] = regions.Boxes(boxes, 16, 16)
            roots.append(prepare({"north": records}, spec, tmp_path / "cache").root)
    assert roots[0] == roots[1]
    assert roots[2] != roots[3]


def test_rejected_files_are_counted_by_row_and_listed_without_their_names(tmp_path):
    records = client_records(tmp_path / "north", 20)
    pathlib.Path(records["image"][2]).write_text("not an image")
    pathlib.Path(records["image"][19]).unlink()
    store = prepare({"north": records}, SPEC, tmp_path / "cache", max_rejected_fraction=0.1)
    assert store.rejected("north") == [
        {"row": 2, "split": "train", "what": "image"},
        {"row": 19, "split": "validation", "what": "image"},
    ]
    assert 2 not in _examples(store, "north", "train")
    assert store.count("north", "train") == 16
    listed = pd.read_csv(store.root / "north" / "rejected.csv")
    assert list(listed.columns) == ["row", "split", "what", "reason"]
    assert listed["row"].tolist() == [2, 19]
    assert listed["reason"].str.contains("FILE").all() and listed["reason"].str.len().min() > 20
    # A stricter limit is enforced on shards that were made under a looser one.
    with pytest.raises(InputError, match="2 of 20 images were rejected, at most 5.0% .*patient-2"):
        prepare({"north": records}, SPEC, tmp_path / "cache", max_rejected_fraction=0.05)


def test_too_many_rejected_files_stop_with_their_names(tmp_path):
    records = client_records(tmp_path / "north")
    pathlib.Path(records["image"][2]).write_text("not an image")
    with pytest.raises(InputError, match=r"client north: more than 1.0% of 10 .*patient-2\.png"):
        prepare({"north": records}, SPEC, tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock"]


def test_a_client_that_nobody_trains_on_needs_no_training_images(tmp_path):
    records = client_records(tmp_path / "far", images=3).assign(split="test")
    with pytest.raises(InputError, match="client far: expected images for training, found none"):
        prepare({"far": records}, SPEC, tmp_path / "cache")
    store = prepare({"far": records}, SPEC, tmp_path / "cache", for_training=False)
    assert [store.count("far", split) for split in ("train", "test")] == [0, 3]
    for path in records["image"]:
        pathlib.Path(path).write_text("not an image")
    with pytest.raises(InputError, match="client far: every image was rejected"):
        prepare({"far": records}, SPEC, tmp_path / "c", max_rejected_fraction=1, for_training=False)


def test_all_training_images_rejected(tmp_path):
    records = client_records(tmp_path / "north", images=4, validation=3)
    pathlib.Path(records["image"][0]).write_text("not an image")
    with pytest.raises(InputError, match="every training image was rejected"):
        prepare({"north": records}, SPEC, tmp_path / "cache", max_rejected_fraction=0.5)


def test_no_patient_in_shards_or_manifest(tmp_path):
    records = client_records(tmp_path / "north", 20)
    pathlib.Path(records["image"][2]).write_text("not an image")
    store = prepare({"north": records}, SPEC, tmp_path / "cache", max_rejected_fraction=0.1)
    for path in store.root.rglob("*"):
        if path.is_file():
            assert b"secret" not in path.read_bytes()


def test_damage_is_found(tmp_path):
    records = {"north": client_records(tmp_path / "north")}
    store = prepare(records, SPEC, tmp_path / "cache")
    shard = pathlib.Path(store.files("north", "train")[0])
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    ShardStore.open(store.root)  # The size is right …
    with pytest.raises(InputError, match="expected checksum"):
        store.verify()  # … the content is not.
    shard.write_bytes(content[:-1])
    with pytest.raises(InputError, match=f"expected {len(content)} bytes, found"):
        prepare(records, SPEC, tmp_path / "cache")


def test_open_needs_shards_of_this_format(tmp_path):
    with pytest.raises(InputError, match="expected shards with a manifest"):
        ShardStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"format_version": 99}))
    with pytest.raises(InputError, match="format 1, found 99"):
        ShardStore.open(tmp_path)


def test_unknown_client_and_split(tmp_path):
    store = prepare({"north": client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")
    with pytest.raises(InputError, match="'south'"):
        store.count("south", "train")
    with pytest.raises(InputError, match="'dev'"):
        store.files("north", "dev")


_SLOW_RUN = """
    import sys, time
    from tests.clients.fixtures import client_records, FINDINGS
    from tffcxr.clients.shards import decoding, preparation
    import pathlib
    folder = pathlib.Path(sys.argv[1])
    decode = decoding.decode
    def slow(job):
        print("decoding", flush=True)
        time.sleep(0.2)
        return decode(job)
    decoding.decode = slow
    records = {"north": client_records(folder / "north", 40)}
    preparation.prepare(records, preparation.ShardSpec(16, FINDINGS), folder / "cache")
"""


def test_a_killed_run_leaves_nothing_that_is_trusted(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_SLOW_RUN), str(tmp_path)], stdout=subprocess.PIPE
    )
    assert run.stdout is not None
    for _ in range(3):
        run.stdout.readline()
    run.send_signal(signal.SIGKILL)
    run.wait()
    cache = tmp_path / "cache"
    mine = cache / "notes"  # Not made by a run: it must stay.
    mine.mkdir()
    left = [path.name for path in cache.iterdir() if path.name.startswith(".preparing-")]
    assert len(left) == 1
    records = {"north": client_records(tmp_path / "north", 40)}
    store = prepare(records, SPEC, cache)
    assert store.count("north", "train") == 37
    assert {path.name for path in cache.iterdir()} == {".lock", "notes", store.root.name}


def test_a_worker_that_imports_an_unguarded_program_does_not_wait_for_its_parent(
    tmp_path, monkeypatch
):
    # This is how such a worker looks to the code that it runs while it starts.
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match="__main__"):
        prepare({"north": client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")


def test_disk_too_small(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="MB of free space for 10 images, found 0 MB"):
        prepare({"north": client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")


def test_disk_full_while_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(
        tf.io.TFRecordWriter,
        "write",
        lambda self, record: (_ for _ in ()).throw(
            tf.errors.ResourceExhaustedError(None, None, "No space left on device")
        ),
    )
    with pytest.raises(InputError, match="cannot write the shards to cache .*No space left"):
        prepare({"north": client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [".lock"]


def test_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(InputError, match="cannot write the shards to cache"):
        prepare({"north": client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.drop(columns="Effusion"), r"expected columns \['Effusion'\]"),
        (lambda r: r.drop(columns="split"), r"expected columns \['split'\]"),
        (lambda r: r.assign(split="dev"), r"found \['dev'\]"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        prepare({"n": change(client_records(tmp_path / "n"))}, SPEC, tmp_path / "cache")


@pytest.mark.parametrize("client", ["", "..", "a/b", ".a", "a b"])
def test_client_ids_are_folder_names(tmp_path, client):
    with pytest.raises(InputError, match="can name a folder"):
        prepare({client: client_records(tmp_path / "n")}, SPEC, tmp_path / "cache")


@pytest.mark.parametrize(
    "arguments", [(4, FINDINGS), (16, ()), (16, ("a", "a")), (16, FINDINGS, "crop")]
)
def test_specifications_that_make_no_sense(arguments):
    with pytest.raises(InputError):
        ShardSpec(*arguments)
