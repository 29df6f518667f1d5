"""What a call of `predict` writes, also if it is interrupted, and for volumes."""

import csv
import json

import numpy as np
from PIL import Image
import pytest

from tests.datasets import volume_files as volumes
from tests.models.files import exported_models
from tffcxr.clients.shards.volume_slices import SliceSpec
from tffcxr.datasets.volumes import nifti
from tffcxr.models.files import export
from tffcxr.prediction import overlays, session


def _rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_volumes_come_out_as_masks_and_in_tables(tmp_path, capsys):
    slices = SliceSpec(exported_models.SIZE, volumes.FIELD_OF_VIEW)
    described = slices.describe(dict.fromkeys(("T1", "T1ce", "T2"), "mri"))
    exported = exported_models.exported(
        "volumes", slices={"brain": {"loader": "brats", **described}}
    )
    model = tmp_path / "run" / "models" / "m.keras"
    export.save(model, exported)
    for name in ("x", "y"):
        volumes.write_mri(tmp_path / "cases", name, ("t1", "t1ce", "t2"))
    (tmp_path / "cases" / "y" / "y_t2.nii.gz").write_bytes(b"damaged")
    wanted = session.Wanted(
        csv=tmp_path / "a.csv", json=tmp_path / "a.json", masks=tmp_path / "masks"
    )
    (failure,) = session.predict(model, [], [str(tmp_path / "cases")], wanted)
    assert "y_t2.nii.gz: expected a NIfTI file" in failure
    good, bad = _rows(tmp_path / "a.csv")
    assert (bad["file"], bad["status"], bad["error"]) == (
        str(tmp_path / "cases" / "y"), "unreadable", failure,
    )  # fmt: skip
    (name,) = (path.name for path in (tmp_path / "masks").iterdir())
    mask = nifti.read(tmp_path / "masks" / name)
    assert name == "0001_x_brain-lesions.nii.gz"
    assert float(good["ml"]) == pytest.approx(mask.array.sum() * 0.08)  # Voxels of 80 mm³.
    assert float(good["share"]) == pytest.approx(mask.array.mean())
    assert (good["file"], good["region"]) == (str(tmp_path / "cases" / "x"), "Brain lesions")
    written = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [file["status"] for file in written["files"]] == ["ok", "unreadable"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:3] == ["file", "region", "ml"]
    assert printed[-1] == overlays.NOTICE


def test_what_was_done_before_an_interruption_is_written(tmp_path, monkeypatch):
    model = tmp_path / "m.keras"
    export.save(model, exported_models.exported("classes"))
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    predicted = session._predicted

    def interrupted(*arguments):
        for number, one in enumerate(predicted(*arguments)):
            if number == 2:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(session, "_predicted", interrupted)
    wanted = session.Wanted(batch_size=1, csv=tmp_path / "a.csv")
    with pytest.raises(KeyboardInterrupt):
        session.predict(model, [], [str(tmp_path)], wanted)
    assert {row["file"] for row in _rows(tmp_path / "a.csv")} == {
        str(tmp_path / "0.png"),
        str(tmp_path / "1.png"),
    }
