"""A phantom is a function of its seed, and its truth is where its disease is."""

import numpy as np
import pytest
from scipy import ndimage

from tffcxr.datasets.phantoms import phantom
from tffcxr.datasets.phantoms.chest import anatomy, radiograph, vessels
from tffcxr.errors import InputError

SIZE = 128
SEEDS = range(20, 28)


def _difference(seed, **findings):
    healthy = phantom.draw(seed, SIZE)
    diseased = phantom.draw(seed, SIZE, **findings)
    change = diseased.image.astype(int) - healthy.image
    return healthy, diseased, change


def test_same_seed_gives_the_same_image_and_another_seed_another():
    first = phantom.draw(3, SIZE, pneumonia=0.6, pneumothorax=0.5)
    again = phantom.draw(3, SIZE, pneumonia=0.6, pneumothorax=0.5)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.opacity, again.opacity)
    assert first.boxes == again.boxes
    assert (first.pixels != phantom.draw(4, SIZE, pneumonia=0.6).pixels).mean() > 0.5


def test_image_is_twelve_bits_and_its_upper_eight():
    drawn = phantom.draw(5, SIZE)
    assert drawn.pixels.dtype == np.uint16 and drawn.pixels.max() <= 4095
    np.testing.assert_array_equal(drawn.image, drawn.pixels // 16)


@pytest.mark.parametrize("seed", SEEDS)
def test_healthy_chest_has_dark_lungs_of_plausible_size_on_both_sides(seed):
    drawn = phantom.draw(seed, SIZE)
    assert not drawn.opacity.any() and not drawn.pneumothorax.any() and drawn.boxes == ()
    assert 0.12 < drawn.lungs.mean() < 0.5
    labels, count = ndimage.label(drawn.lungs)
    sizes = np.sort(np.bincount(labels.ravel())[1:])[::-1]
    assert count >= 2 and sizes[1] > 0.5 * sizes[0]  # Two lungs of similar size.
    body = drawn.image > 10
    assert drawn.image[drawn.lungs].mean() < drawn.image[body & ~drawn.lungs].mean() - 20


@pytest.mark.parametrize("seed", SEEDS)
def test_opacity_lies_in_the_lungs_and_boxes_fit_it_tightly(seed):
    drawn = phantom.draw(seed, SIZE, pneumonia=0.7)
    assert drawn.opacity.any() and not (drawn.opacity & ~drawn.lungs).any()
    covered = np.zeros_like(drawn.opacity)
    for x, y, width, height in drawn.boxes:
        assert x >= 0 and y >= 0 and x + width <= SIZE and y + height <= SIZE
        inside = drawn.opacity[int(y) : int(y + height), int(x) : int(x + width)]
        covered[int(y) : int(y + height), int(x) : int(x + width)] = True
        # Every side of the box touches opacity: a box one pixel smaller would cut some off.
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()
    assert not (drawn.opacity & ~covered).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_pneumothorax_lies_in_one_lung_field_and_reaches_its_apex(seed):
    drawn = phantom.draw(seed, SIZE, pneumothorax=0.5)
    assert drawn.pneumothorax.any() and not (drawn.pneumothorax & ~drawn.lungs).any()
    labels, _ = ndimage.label(drawn.lungs)
    # A lung field may have a stray pixel; nearly all of the air must be in one of them.
    shares = np.bincount(labels[drawn.pneumothorax])
    assert shares.max() > 0.97 * shares.sum()
    field = labels == shares.argmax()
    top = np.flatnonzero(field.any(1))[0]
    assert np.flatnonzero(drawn.pneumothorax.any(1))[0] == top


@pytest.mark.parametrize("seed", SEEDS)
def test_pneumonia_whitens_its_mask_and_leaves_the_rest_alone(seed):
    _, diseased, change = _difference(seed, pneumonia=0.7)
    far = ~ndimage.binary_dilation(diseased.opacity, iterations=SIZE // 6)
    assert change[diseased.opacity].mean() > 8
    assert np.abs(change[far]).mean() < 0.5 and np.abs(change[far]).max() <= 8


@pytest.mark.parametrize("seed", SEEDS)
def test_pneumothorax_blackens_its_mask_and_leaves_the_other_lung_alone(seed):
    healthy, diseased, change = _difference(seed, pneumothorax=0.6)
    assert change[diseased.pneumothorax].mean() < -8
    columns = np.flatnonzero(diseased.pneumothorax.any(0))
    on_left_of_image = columns.mean() < SIZE / 2
    labels, _ = ndimage.label(healthy.lungs)
    centres = ndimage.center_of_mass(healthy.lungs, labels, range(1, labels.max() + 1))
    middle = SIZE / 2
    others = [i + 1 for i, (_, x) in enumerate(centres) if (x < middle) != on_left_of_image]
    assert np.abs(change[np.isin(labels, others)]).mean() < 1.0


def _fine(image):
    return image - ndimage.gaussian_filter(image.astype(float), 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_pleural_air_has_no_markings(seed):
    """Beyond the pleura exactly the vessels' pattern is taken out of the healthy image."""
    _, diseased, change = _difference(seed, pneumothorax=0.8)
    person = anatomy.draw_person(radiograph.random(seed, 0))
    pose = anatomy.draw_pose(radiograph.random(seed, 1, 0), SIZE)
    tree = vessels.grow(person, pose)
    thorax = anatomy.make_thorax(person, pose)
    visible = vessels.visibility(tree, thorax.outer_table, thorax)
    pattern = vessels.draw(tree, visible, pose.frame)
    inner = ndimage.binary_erosion(diseased.pneumothorax, iterations=3)
    assert np.corrcoef(_fine(change)[inner], _fine(pattern)[inner])[0, 1] < -0.5


def test_severity_grades_how_much_is_seen():
    faint, dense, sliver, collapsed = [], [], [], []
    for seed in SEEDS:
        _, drawn, change = _difference(seed, pneumonia=0.1)
        faint.append(np.abs(change[drawn.lungs]).sum())
        _, drawn, change = _difference(seed, pneumonia=0.9)
        dense.append(np.abs(change[drawn.lungs]).sum())
        sliver.append(phantom.draw(seed, SIZE, pneumothorax=0.0).pneumothorax.sum())
        collapsed.append(phantom.draw(seed, SIZE, pneumothorax=1.0).pneumothorax.sum())
    assert np.mean(dense) > 2 * np.mean(faint)
    assert min(sliver) > 10
    assert (np.array(collapsed) > 2.5 * np.array(sliver)).all()


def test_both_findings_in_one_patient_do_not_overlap():
    drawn = phantom.draw(31, SIZE, pneumonia=0.8, pneumothorax=0.6)
    assert drawn.opacity.any() and drawn.pneumothorax.any()
    assert not (drawn.opacity & drawn.pneumothorax).any()


def test_another_acquisition_is_another_image_of_the_same_patient():
    first = phantom.draw(9, SIZE, pneumothorax=0.6)
    second = phantom.draw(9, SIZE, pneumothorax=0.6, acquisition=1)
    assert (first.age, first.sex) == (second.age, second.sex)
    assert (first.pixels != second.pixels).mean() > 0.5
    sides = [np.argwhere(p.pneumothorax)[:, 1].mean() < SIZE / 2 for p in (first, second)]
    assert sides[0] == sides[1]


def test_cardiomegaly_widens_the_heart():
    narrow = phantom.draw(6, SIZE, view="PA").lungs.sum()
    wide = phantom.draw(6, SIZE, view="PA", incidental="cardiomegaly").lungs.sum()
    assert wide < 0.97 * narrow


def test_patients_and_exposures_vary():
    drawn = [phantom.draw(seed, 64) for seed in range(60)]
    assert {p.sex for p in drawn} == {"F", "M"} and {p.view for p in drawn} == {"PA", "AP"}
    ages = [p.age for p in drawn]
    assert min(ages) >= 18 and max(ages) <= 92 and np.std(ages) > 10
    assert np.std([p.image.mean() for p in drawn]) > 8
    assert np.std([p.lungs.mean() for p in drawn]) > 0.02


def test_sex_and_view_can_be_asked_for():
    for sex in "FM":
        for view in ("PA", "AP"):
            drawn = phantom.draw(2, 64, sex=sex, view=view)
            assert (drawn.sex, drawn.view) == (sex, view)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"size": 32}, "at least 64"),
        ({"pneumonia": 1.5}, "severity in 0..1, found 1.5"),
        ({"pneumothorax": float("nan")}, "severity in 0..1, found nan"),
        ({"incidental": "fracture"}, "found fracture"),
        ({"sex": "X"}, "found X"),
        ({"view": "LL"}, "found LL"),
    ],
)
def test_bad_arguments_are_refused(arguments, complaint):
    with pytest.raises(InputError, match=complaint):
        phantom.draw(1, **arguments)


@pytest.mark.parametrize("seed", SEEDS)
def test_covid_is_in_both_lungs_near_the_chest_wall_and_denser_where_severe(seed):
    healthy, diseased, change = _difference(seed, covid=0.8)
    opacity = diseased.opacity
    assert not (opacity & ~diseased.lungs).any()
    half = SIZE // 2
    assert opacity[:, : half - 4].any() and opacity[:, half + 4 :].any()
    assert len(diseased.boxes) >= 2
    assert change[opacity].mean() > 4
    # The outer half of each lung, by its borders in each row, gains more than the inner one.
    outer = np.zeros_like(opacity)
    for row in range(SIZE):
        columns = np.flatnonzero(healthy.lungs[row])
        left, right = columns[columns < half], columns[columns >= half]
        outer[row, left[: left.size // 2]] = True
        outer[row, right[right.size // 2 :]] = True
    assert change[outer].mean() > change[healthy.lungs & ~outer].mean()
    _, _, faint = _difference(seed, covid=0.1)
    assert faint[opacity].mean() < change[opacity].mean()


def test_pneumonia_and_covid_exclude_each_other():
    with pytest.raises(InputError, match="expected pneumonia or covid, found both"):
        phantom.draw(1, SIZE, pneumonia=0.5, covid=0.5)
    with pytest.raises(InputError, match="covid: expected a severity in 0..1, found 2"):
        phantom.draw(1, SIZE, covid=2)
    both = phantom.draw(1, SIZE, covid=0.5, pneumothorax=0.8)
    assert both.opacity.any() and not (both.opacity & both.pneumothorax).any()
