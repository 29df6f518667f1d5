"""The plan: rules by hand, and field by field that of the package nnunetv2 where it is there."""

import copy
import dataclasses
import json
import types

import numpy as np
import pytest

from tests import nnunetv2_package
from tests.real_data import real_data
from tffcxr.datasets.imaging import images
from tffcxr.datasets.sources import rsna
from tffcxr.errors import InputError
from tffcxr.nnunet import dataset_fingerprint, planning

# nnunetv2 draws foreground pixels at random.
_DRAWN = "foreground_intensity_properties_per_channel"


def _fingerprint(shape, cases=1000, spacing=(1.0, 1.0), relative_size=1.0):
    return types.SimpleNamespace(
        cases=cases,
        spacing=spacing,
        shape_after_crop=shape,
        shape_at_spacing=shape,
        median_relative_size_after_cropping=relative_size,
        foreground_intensities={"mean": 1.0},
    )


def _plan(*args, gpu_memory_gb=8.0, **kwargs):
    plan = planning.make_plan(_fingerprint(*args, **kwargs), "D", gpu_memory_gb)
    assert json.loads(json.dumps(plan)) == plan
    return plan["configurations"]["2d"]


class TestRules:
    def test_rsna(self):
        plan = _plan((1024.0, 1024.0))
        assert plan["patch_size"] == [1024, 1024]
        network = plan["architecture"]["arch_kwargs"]
        assert network["n_stages"] == 9
        assert network["features_per_stage"] == [32, 64, 128, 256] + [512] * 5
        # Four times the pixels of the reference, whose batch is 12.
        assert plan["batch_size"] == 3

    def test_a_given_batch_size_changes_nothing_else(self):
        plan = planning.make_plan(_fingerprint((1024.0, 1024.0)), "D", batch_size=12)
        assert plan["configurations"]["2d"] == {**_plan((1024.0, 1024.0)), "batch_size": 12}

    def test_a_patch_for_less_memory(self):
        # Two images of 1024x1024 need less than 6 GB, but not less than 2 GB.
        assert _plan((1024.0, 1024.0), gpu_memory_gb=6)["patch_size"] == [1024, 1024]
        small = _plan((1024.0, 1024.0), gpu_memory_gb=2)
        assert max(small["patch_size"]) < 1024
        assert small["batch_size"] == 2

    def test_the_longer_axis_shrinks_first(self):
        rows, columns = _plan((2000.0, 1000.0), gpu_memory_gb=2)["patch_size"]
        assert rows / columns == pytest.approx(2, rel=0.2)

    def test_a_batch_holds_at_most_a_twentieth_of_the_data(self):
        assert _plan((64.0, 64.0), cases=1000)["batch_size"] == 50
        assert _plan((64.0, 64.0), cases=100)["batch_size"] == 5
        assert _plan((64.0, 64.0), cases=3)["batch_size"] == 2

    def test_a_large_empty_border_stays_out_of_the_normalisation(self):
        assert _plan((64.0, 64.0), relative_size=0.75)["use_mask_for_norm"] == [False]
        assert _plan((64.0, 64.0), relative_size=0.74)["use_mask_for_norm"] == [True]

    def test_no_memory_and_small_images_are_refused(self):
        with pytest.raises(InputError, match="memory above 0 GB, found 0"):
            _plan((64.0, 64.0), gpu_memory_gb=0)
        with pytest.raises(InputError, match="found 7x7"):
            _plan((7.0, 7.0))


class TestTopology:
    def test_is_read_back(self):
        plan = planning.make_plan(_fingerprint((100.0, 200.0)), "D")
        found = planning.planned_topology(json.loads(json.dumps(plan)))
        network = plan["configurations"]["2d"]["architecture"]["arch_kwargs"]
        assert found.features == tuple(network["features_per_stage"])
        assert list(found.patch_size) == plan["configurations"]["2d"]["patch_size"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda plan: plan.pop("configurations"),
            lambda plan: plan["configurations"]["2d"].update(patch_size=[9, 9]),
            lambda plan: plan["configurations"]["2d"]["architecture"]["arch_kwargs"].update(
                n_conv_per_stage=[3, 3, 3, 3, 3]
            ),
        ],
    )
    def test_another_file_is_refused(self, change):
        plan = planning.make_plan(_fingerprint((64.0, 64.0)), "D")
        change(plan)
        with pytest.raises(InputError, match="expected a plan of nnU-Net for 2-D images, found"):
            planning.planned_topology(plan)


def _phantoms(count, height, width, border=0):
    """Noise with a brighter box in two of three images; sizes differ from image to image."""
    generator = np.random.default_rng(5)
    cases = []
    for number in range(count):
        shape = height + 3 * (number % 4), width - 5 * (number % 3)
        image = generator.integers(1, 120, shape, np.uint8)
        mask = np.zeros(shape, bool)
        if number % 3:
            top, left = generator.integers(0, height // 2, 2)
            mask[top : top + height // 4, left : left + width // 5] = True
            image[mask] += 100
        if border:
            image[:border] = image[:, -border:] = 0
        cases.append((image, mask))
    return cases


def _compare(folder, cases, gpu_memory_gb, spacing=None, drawn=1e7):
    """Asserts that nnunetv2 plans the same, but for its error of drawing pixels."""
    theirs = nnunetv2_package.plan(folder, cases, gpu_memory_gb, spacing, drawn)
    summary = dataset_fingerprint.merge(
        dataset_fingerprint.summarise(cases[n::3], spacing or (1.0, 1.0)) for n in range(3)
    )
    found = dataset_fingerprint.fingerprint(summary)
    ours = planning.make_plan(found, theirs["plan"]["dataset_name"], gpu_memory_gb)
    drawn_theirs, drawn_ours = (
        copy.deepcopy(plan.pop(_DRAWN)["0"]) for plan in (theirs["plan"], ours)
    )
    assert ours == theirs["plan"]
    assert found.median_relative_size_after_cropping == pytest.approx(
        theirs["relative_size"], abs=1 / 1024
    )
    assert sorted(drawn_ours) == sorted(drawn_theirs)
    for name, value in drawn_theirs.items():
        # Five standard errors of the mean of what is drawn; a percentile may fall on either side.
        tolerance = 5 * drawn_theirs["std"] / np.sqrt(drawn) if name in ("mean", "std") else 1
        assert drawn_ours[name] == pytest.approx(value, abs=tolerance), name
    return ours


class TestAgainstNnunetv2:
    @pytest.mark.parametrize(
        ("shape", "gpu_memory_gb", "spacing", "border"),
        [
            ((64, 64), 8.0, None, 0),
            ((300, 410), 0.25, None, 0),
            ((90, 70), 8.0, None, 24),
            ((64, 256), 8.0, (4.0, 1.0), 0),
            ((500, 200), 0.25, (0.5, 0.9), 0),
        ],
    )
    def test_phantoms(self, tmp_path, shape, gpu_memory_gb, spacing, border):
        _compare(tmp_path, _phantoms(9, shape[0], shape[1], border), gpu_memory_gb, spacing)

    def test_rsna(self, tmp_path):
        records = rsna.load_records(real_data("rsna"))
        cases = [
            (images.read_image(image)[:, :, 0], mask.to_array())
            for image, mask in zip(records["image"], records["mask"])
        ]
        plan = _compare(tmp_path, cases, 8.0)
        assert plan["configurations"]["2d"]["patch_size"] == [1024, 1024]


def test_the_fingerprint_fits_the_plan():
    """The two packages do not import each other; what one gives, the other takes."""
    found = dataset_fingerprint.fingerprint(dataset_fingerprint.summarise(_phantoms(5, 40, 40)))
    assert {field.name for field in dataclasses.fields(found)} == {
        name for name in vars(planning.Fingerprint) if not name.startswith("_")
    }
    assert planning.make_plan(found, "D")["configurations"]["2d"]["patch_size"] == [48, 40]
