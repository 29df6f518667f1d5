"""The fingerprint: statistics by hand, and the same from many clients as from one place."""

import json

import numpy as np
import pytest

from tffcxr.errors import InputError
from tffcxr.nnunet import dataset_fingerprint


def _case(height, width, value=100, left=0):
    """An image of one value, black from the left; the foreground is its last row."""
    image = np.full((height, width), value, np.uint8)
    image[:, :left] = 0
    mask = np.zeros((height, width), bool)
    mask[-1] = True
    return image, mask


def _random_cases(count):
    generator = np.random.default_rng(3)
    cases = []
    for _ in range(count):
        height, width = generator.integers(9, 20, 2)
        image = generator.integers(0, 256, (height, width), np.uint8)
        image[: generator.integers(0, 4)] = 0
        cases.append((image, generator.random((height, width)) < generator.choice([0.0, 0.3])))
    return cases


def _fingerprint(cases, spacing=(1.0, 1.0)):
    return dataset_fingerprint.fingerprint(dataset_fingerprint.summarise(cases, spacing))


def test_the_crop_leaves_what_is_not_zero():
    image = np.zeros((6, 9), np.uint8)
    image[2, 3] = image[4, 7] = 5
    assert dataset_fingerprint.nonzero_box(image) == (slice(2, 5), slice(3, 8))
    whole = dataset_fingerprint.nonzero_box(np.zeros((6, 9), np.uint8))
    assert whole == (slice(0, 6), slice(0, 9))


def test_medians_by_hand():
    found = _fingerprint([_case(10, 8), _case(12, 8, left=2), _case(20, 8), _case(30, 8)])
    assert found.cases == 4
    assert found.spacing == (1.0, 1.0)
    # Heights 10, 12, 20, 30; widths 8, 6, 8, 8.
    assert found.shape_after_crop == found.shape_at_spacing == (16.0, 8.0)
    # Three are whole, one keeps 6 of 8 columns.
    assert found.median_relative_size_after_cropping == 1.0


def test_relative_size_is_rounded_down_to_1_in_1024():
    found = _fingerprint([_case(10, 9, left=3)])
    assert found.median_relative_size_after_cropping == int(2 / 3 * 1024) / 1024


def test_every_image_weighs_the_same_whatever_its_foreground():
    small = np.full((1, 1), 10, np.uint8), np.ones((1, 1), bool)
    large = np.full((40, 40), 20, np.uint8), np.ones((40, 40), bool)
    found = _fingerprint([small, large, large, large]).foreground_intensities
    assert found["mean"] == pytest.approx((10 + 3 * 20) / 4, rel=1e-12)
    assert found["std"] == pytest.approx(np.std([10, 20, 20, 20]), rel=1e-12)
    assert (found["min"], found["max"], found["median"]) == (10.0, 20.0, 20.0)
    assert (found["percentile_00_5"], found["percentile_99_5"]) == (10.0, 20.0)


def test_intensities_are_those_inside_the_mask_and_the_crop():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    image[:2] = 0
    mask = np.zeros((10, 10), bool)
    mask[0] = mask[5] = True  # The first row is cropped away.
    found = _fingerprint([(image, mask)]).foreground_intensities
    values = np.arange(50, 60)
    assert (found["min"], found["max"]) == (50.0, 59.0)
    assert found["mean"] == pytest.approx(values.mean())
    assert found["std"] == pytest.approx(values.std())


def test_sizes_are_taken_at_the_median_spacing():
    fine, coarse = ((1.0, 1.0), [_case(10, 8)] * 2), ((2.0, 1.0), [_case(11, 8)] * 3)
    summary = dataset_fingerprint.merge(
        dataset_fingerprint.summarise(cases, spacing) for spacing, cases in (fine, coarse)
    )
    found = dataset_fingerprint.fingerprint(summary)
    assert found.spacing == (2.0, 1.0)
    assert found.shape_after_crop == (11.0, 8.0)
    # 10 rows of 1 are 5 rows of 2: heights 5, 5, 11, 11, 11.
    assert found.shape_at_spacing == (11.0, 8.0)


@pytest.mark.parametrize("clients", [2, 5])
def test_the_sum_of_clients_is_the_same_to_the_bit(clients):
    cases = _random_cases(20)
    central = dataset_fingerprint.summarise(cases)
    parts = [dataset_fingerprint.summarise(cases[n::clients]) for n in range(clients)]
    for order in (parts, parts[::-1]):
        merged = dataset_fingerprint.merge(order)
        assert merged.to_json() == central.to_json()
        assert dataset_fingerprint.fingerprint(merged) == dataset_fingerprint.fingerprint(central)


def test_a_message_is_counts_alone():
    message = dataset_fingerprint.summarise(_random_cases(5)).to_json()
    flat = json.loads(json.dumps(message))
    assert flat == message
    assert sum(n for *_, n in message["rows"]) == message["cases"] == 5
    assert len(message["foreground"]) == 256
    assert sum(message["foreground"]) == pytest.approx(
        message["foreground_cases"] * 2**40, rel=1e-9
    )


def test_a_client_without_images_changes_nothing():
    cases = _random_cases(4)
    merged = dataset_fingerprint.merge(
        [dataset_fingerprint.summarise([]), dataset_fingerprint.summarise(cases)]
    )
    assert merged.to_json() == dataset_fingerprint.summarise(cases).to_json()


def test_no_image_and_no_foreground_are_refused():
    with pytest.raises(InputError, match="expected training images .*, found none"):
        _fingerprint([])
    image, mask = _case(9, 9)
    with pytest.raises(InputError, match="region in at least one of 2 training images, found none"):
        _fingerprint([(image, mask & False)] * 2)


def test_other_types_are_refused():
    image, mask = _case(9, 9)
    with pytest.raises(ValueError, match="uint8"):
        _fingerprint([(image.astype(np.float32), mask)])
    with pytest.raises(ValueError, match="mask of bool"):
        _fingerprint([(image, mask.astype(np.uint8))])
