"""Heat over many images: which are measured, means, and paired differences, counted by hand."""

import math
import pathlib

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tffcxr import run_tables
from tffcxr.errors import InputError
from tffcxr.studies import heat_tables
from tffcxr.studies.study import Settings

SETTINGS = Settings("cheXviz", 4, 1, pathlib.Path("cache"), replicates=10)
LUNGS = np.zeros((4, 4), bool)
LUNGS[:, :2] = True  # Half of the image.
UNIFORM = np.full((4, 4), 0.5, np.float32)
ONE_PIXEL = np.eye(4, dtype=np.float32) * [0, 1, 0, 0]  # In the lungs.
MIXED = UNIFORM + 8 * ONE_PIXEL  # 4.0 of 8.0 + 8.0 in the lungs, and the pixel's 8.0.


def _group(training, images, task="Opacity", site="north"):
    return heat_tables.Group(
        task,
        "standard",
        training,
        site,
        heat_tables.TRUE_POSITIVES,
        images,
        np.full(len(images), 0.9),
        np.array([row // 2 for _, row in images]),  # Two images of every patient.
    )


def _values(heats, lungs=LUNGS):
    return [heat_tables.measure(heat, {"lungs": lungs, "annotation": None}) for heat in heats]


def _row(table, **keys):
    (found,) = table[np.all([table[name] == value for name, value in keys.items()], axis=0)].index
    return table.loc[found]


def test_measures_of_one_image():
    found = heat_tables.measure(MIXED, {"lungs": LUNGS})
    assert found["heat_in_lungs"] == pytest.approx(12 / 16)
    assert (found["lungs_area"], found["half_area"]) == (0.5, 1 / 16)
    assert math.isnan(found["heat_in_annotation"]) and math.isnan(found["annotation_area"])
    # A pixel with 8.5 of 16 and fifteen with 0.5 each.
    share, rest = 8.5 / 16, 0.5 / 16
    expected = -share * math.log(share) - 15 * rest * math.log(rest)
    assert found["entropy"] == pytest.approx(expected)


IMAGES = [("a", row) for row in range(12)]


def test_means_of_each_model_and_paired_differences_on_the_images_of_both():
    # Sites alone call the first ten positive, the federated model the last ten: eight are of both.
    own = [UNIFORM] * 10
    federated = [MIXED] * 8 + [ONE_PIXEL] * 2
    groups = [
        (_group("federated", IMAGES[2:]), _values(federated)),
        (_group("site", IMAGES[:10]), _values(own)),
    ]
    table = heat_tables.summarise(groups, [("federated", "site"), ("federated", "pooled")], 16, 50)
    run_tables.HEAT.check(list(table.columns))
    assert len(table) == 3
    row = _row(table, training="federated", compared_with="")
    assert (row["images"], row["patients"], row["lungs_images"]) == (10, 5, 10)
    assert row["heat_in_lungs"] == pytest.approx((8 * 0.75 + 2 * 1) / 10)
    assert row["lungs_area"] == 0.5
    assert row["heat_in_lungs_low"] < row["heat_in_lungs"] < row["heat_in_lungs_high"]
    row = _row(table, training="site")
    assert row["half_area"] == row["half_area_low"] == row["half_area_high"] == 0.5
    assert row["entropy"] == pytest.approx(math.log(16))
    row = _row(table, compared_with="site")
    assert (row["images"], row["patients"]) == (8, 4)
    assert row["heat_in_lungs"] == pytest.approx(0.25)
    assert row["half_area"] == pytest.approx(1 / 16 - 0.5)
    assert math.isnan(row["heat_in_lungs_low"])  # Four patients are too few.
    assert math.isnan(row["heat_in_lungs_p"]) and math.isnan(row["heat_in_lungs_p_holm"])


def test_models_that_are_equal_differ_by_nothing_whatever_the_order_of_images():
    generator = np.random.default_rng(0)
    heats = generator.uniform(size=(12, 4, 4)).astype(np.float32)
    order = generator.permutation(12)
    shuffled = [IMAGES[place] for place in order]
    groups = [
        (_group("federated", IMAGES), _values(heats)),
        (_group("site", shuffled), _values(heats[order])),
    ]
    table = heat_tables.summarise(groups, [("federated", "site")], 16, 50)
    row = _row(table, compared_with="site")
    for name in ("heat_in_lungs", "entropy", "half_area"):
        assert row[name] == row[f"{name}_low"] == row[f"{name}_high"] == 0
        assert row[f"{name}_p"] == row[f"{name}_p_holm"] == 1
    means = list(run_tables.HEAT_MEANS)
    one, other = _row(table, training="federated", compared_with=""), _row(table, training="site")
    np.testing.assert_allclose(one[means].astype(float), other[means].astype(float))


def test_p_values_of_differences_are_adjusted_together():
    generator = np.random.default_rng(1)
    heats = generator.uniform(size=(2, 12, 4, 4)).astype(np.float32)
    heats[0, :, :2] += 0.2
    groups = [
        (_group(training, IMAGES), _values(of_training))
        for training, of_training in zip(("federated", "site"), heats)
    ]
    table = heat_tables.summarise(groups, [("federated", "site")], 16, 50)
    row = _row(table, compared_with="site")
    p_values = {name: row[f"{name}_p"] for name in ("heat_in_lungs", "entropy", "half_area")}
    least = min(p_values, key=lambda name: p_values[name])
    assert 0 < p_values[least] < 1
    assert row[f"{least}_p_holm"] == pytest.approx(min(1, 3 * p_values[least]))
    assert table[table["compared_with"] == ""]["entropy_p"].isna().all()


def test_no_heat_and_no_lungs_are_nan_with_a_warning(tmp_path, caplog):
    cold = [np.zeros((4, 4), np.float32), UNIFORM, UNIFORM]
    groups = [(_group("federated", IMAGES[:3]), _values(cold, lungs=None))]
    heat_tables.write(tmp_path, groups, SETTINGS)
    assert "1 of 3 heat maps have no heat" in caplog.text
    assert "no segmentation model predicted them" in caplog.text
    table = pd.read_csv(tmp_path / run_tables.HEAT_IMAGES.file)
    assert table["row"].tolist() == [0, 1, 2]
    assert table["half_area"].isna().tolist() == [True, False, False]
    (row,) = pd.read_csv(tmp_path / run_tables.HEAT.file).to_dict("records")
    assert (row["images"], row["without_heat"], row["lungs_images"]) == (3, 1, 0)
    assert math.isnan(row["heat_in_lungs"]) and row["half_area"] == 0.5


def test_a_model_that_calls_nothing_positive_has_a_row_without_numbers(tmp_path):
    groups: list = [(_group(training, []), []) for training in ("federated", "site")]
    heat_tables.write(tmp_path, groups, SETTINGS)
    table = pd.read_csv(tmp_path / run_tables.HEAT.file)
    assert table["images"].tolist() == [0, 0, 0]
    assert table["entropy"].isna().all()


def test_images_are_explained_in_batches_across_clients():
    pixels = np.arange(50, dtype=np.float32).reshape(50, 1, 1, 1)
    dataset = tf.data.Dataset.from_tensor_slices({"images": pixels, "rows": np.arange(50)[::-1]})
    wanted = [(client, row) for client in "ab" for row in range(0, 50, 2)]
    sizes = []

    def heat_of(batch):
        sizes.append(len(batch))
        return batch[..., 0]

    datasets = {client: dataset.batch(8) for client in "abc"}
    found = dict(heat_tables.explain(datasets.__getitem__, wanted, heat_of))
    assert sizes == [32, 18]
    assert {image: float(heat[0, 0]) for image, heat in found.items()} == {
        (client, row): 49 - row for client, row in wanted
    }


def test_a_damaged_mask_is_named_once_and_left_out(caplog):
    def read(annotation):
        if annotation == "damaged":
            raise InputError("expected a mask, found none")
        return LUNGS

    reader = heat_tables.RegionReader(read, lambda image: {"lungs": image[0], "annotation": "box"})
    for _ in range(2):
        regions = reader(("damaged", 0))
        assert regions["lungs"] is None
        np.testing.assert_array_equal(regions["annotation"], LUNGS)
    assert caplog.text.count("expected a mask, found none") == 1
