"""The fingerprint sees what shards are made from; `test_shards` has the changes to a table."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd

from tests.clients.fixtures import FINDINGS, client_records
from tffcxr.clients.shards import fingerprint
from tffcxr.clients.shards.shard_store import ShardSpec
from tffcxr.datasets.imaging import annotations as regions

SPEC = ShardSpec(16, FINDINGS)


def test_covers_all_code_that_a_decoding_process_imports():
    code = (
        "import sys, tffcxr.clients.shards.decoding, tffcxr.datasets.imaging.annotations\n"
        "print(*(name for name, module in sys.modules.items() if name.startswith('tffcxr.')"
        " and not hasattr(module, '__path__')))"
    )
    imported = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    covered = {module.__name__ for module in fingerprint.CODE}
    # They hold names and errors alone.
    no_code = {"tffcxr.errors", "tffcxr.options", "tffcxr.datasets.imaging.image_error"}
    assert set(imported) - no_code == covered


def test_names_of_clients_count_and_their_order_does_not(tmp_path):
    north, south = client_records(tmp_path / "n"), client_records(tmp_path / "s", first=20)
    both = fingerprint.fingerprint({"north": north, "south": south}, SPEC)
    assert both == fingerprint.fingerprint({"south": south, "north": north}, SPEC)
    assert both != fingerprint.fingerprint({"north": south, "south": north}, SPEC)
    assert len(both) == 16


def test_an_image_inside_an_archive_changes_with_the_archive(tmp_path):
    archive = tmp_path / "a.npz"
    np.savez(archive, images=np.zeros((2, 4, 4), np.uint8))
    records = pd.DataFrame(
        {"image": [f"{archive}#images/0"], "Pneumonia": [1.0], "Effusion": [0.0], "split": "train"}
    )
    before = fingerprint.fingerprint({"north": records}, SPEC)
    os.utime(archive, ns=(0, 1))
    assert fingerprint.fingerprint({"north": records}, SPEC) != before


def test_a_mask_file_counts_where_masks_are_wanted(tmp_path):
    records = client_records(tmp_path / "n")
    mask = tmp_path / "mask.png"
    mask.write_bytes(b"1")
    records["mask"] = [regions.MaskFile(str(mask))] * len(records)
    with_mask = ShardSpec(16, FINDINGS, with_mask=True)
    before = [fingerprint.fingerprint({"north": records}, spec) for spec in (SPEC, with_mask)]
    mask.write_bytes(b"22")
    after = [fingerprint.fingerprint({"north": records}, spec) for spec in (SPEC, with_mask)]
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_every_file_of_a_joined_mask_counts(tmp_path):
    records = client_records(tmp_path / "n")
    paths = [tmp_path / "left.png", tmp_path / "right.png"]
    for path in paths:
        path.write_bytes(b"1")
    records["mask"] = [regions.JoinedMasks(tuple(map(str, paths)))] * len(records)
    spec = ShardSpec(16, FINDINGS, with_mask=True)
    seen = {fingerprint.fingerprint({"north": records}, spec)}
    for path in paths:
        path.write_bytes(b"22")
        seen.add(fingerprint.fingerprint({"north": records}, spec))
    assert len(seen) == 3
