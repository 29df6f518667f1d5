"""Tests of evaluation.delong: brute-force U-statistics, and the values SAS publishes."""

import itertools

import numpy as np
import pytest
from sklearn import exceptions

from tffcxr.evaluation import delong

# The ovarian cancer data of DeLong et al. (1988), as printed in the SAS/STAT User's Guide, "The
# LOGISTIC Procedure", example "Comparing Receiver Operating Characteristic Curves": albumin,
# total protein, K-G score, and whether surgery did the patient good.
_OVARIAN = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0
2.5 5.7  8 0   1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1
4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0
4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1
3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1
2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""


@pytest.fixture(name="ovarian")
def _ovarian():
    table = np.array(_OVARIAN.split(), float).reshape(-1, 4)
    return table[:, 3], {
        "albumin": table[:, 0],
        "total protein": table[:, 1],
        "K-G score": 10 - table[:, 2],
    }


@pytest.mark.parametrize(
    ("name", "auroc", "error"),
    [
        ("albumin", 0.7366, 0.0927),
        ("total protein", 0.6478, 0.1000),
        ("K-G score", 0.7258, 0.1028),
    ],
)
def test_published_auroc_and_standard_error(ovarian, name, auroc, error):
    labels, scores = ovarian
    area, variance = delong.delong_variance(labels, scores[name])
    assert area == pytest.approx(auroc, abs=5e-5)
    assert np.sqrt(variance) == pytest.approx(error, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "chi_square", "p_value"),
    [("albumin", 0.0127, 0.9102), ("total protein", 0.5554, 0.4561)],
)
def test_published_comparison_with_kg_score(ovarian, name, chi_square, p_value):
    labels, scores = ovarian
    z, p = delong.delong_test(labels, scores[name], scores["K-G score"])
    assert z**2 == pytest.approx(chi_square, abs=5e-5)
    assert p == pytest.approx(p_value, abs=5e-5)
    assert np.sign(z) == (1 if name == "albumin" else -1)


def _brute_force(labels, scores, groups):
    """Obuchowski (1997) from the kernel of every pair: areas and covariance of all models."""
    positives, negatives = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    m, n = len(positives), len(negatives)
    kernel = np.array(
        [
            [[(s[i] > s[j]) + 0.5 * (s[i] == s[j]) for j in negatives] for i in positives]
            for s in scores
        ]
    )
    areas = kernel.mean(axis=(1, 2))
    patients = sorted(set(groups))
    x, y = np.zeros((2, len(scores), len(patients)))
    for model, k in itertools.product(range(len(scores)), range(len(patients))):
        mine = [groups[i] == patients[k] for i in positives]
        x[model, k] = (kernel[model].mean(axis=1)[mine] - areas[model]).sum()
        mine = [groups[j] == patients[k] for j in negatives]
        y[model, k] = (kernel[model].mean(axis=0)[mine] - areas[model]).sum()
    i10 = len({groups[i] for i in positives})
    i01 = len({groups[j] for j in negatives})
    i11 = len(patients)
    s10 = i10 / ((i10 - 1) * m) * x @ x.T
    s01 = i01 / ((i01 - 1) * n) * y @ y.T
    s11 = i11 / (i11 - 1) * x @ y.T
    return areas, s10 / m + s01 / n + (s11 + s11.T) / (m * n)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_brute_force_with_ties(seed, clustered):
    generator = np.random.default_rng(seed)
    labels = generator.permutation([1] * 7 + [0] * 9)
    a, b = generator.integers(0, 6, (2, 16)).astype(float)
    groups = generator.integers(0, 6, 16) if clustered else np.arange(16)
    areas, covariance = _brute_force(labels, [a, b], groups)
    area, variance = delong.delong_variance(labels, a, groups)
    assert area == pytest.approx(areas[0])
    assert variance == pytest.approx(covariance[0, 0])
    z, _ = delong.delong_test(labels, a, b, groups, least_patients=2)
    expected = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert z == pytest.approx((areas[0] - areas[1]) / np.sqrt(expected))


def test_of_few_patients_there_is_no_test():
    # Two positives, ranked first and second of 162 by one model, and second and third by the other.
    labels = np.repeat([0.0, 1.0], [160, 2])
    a, b = np.arange(162.0), np.roll(np.arange(162.0), -1)
    with pytest.warns(exceptions.UndefinedMetricWarning, match="needs 5 of each"):
        assert np.isnan(delong.delong_test(labels, a, b)).all()
    assert np.isfinite(delong.delong_test(labels, a, b, least_patients=2)).all()


def test_hand_value():
    # Positives 3, 1; negatives 2, 0. The positives outrank 1 and 1/2 of the negatives, the
    # negatives are outranked by 1/2 and 1 of the positives: AUROC 3/4, both sample variances 1/8,
    # variance 1/8 / 2 + 1/8 / 2 = 1/8.
    area, variance = delong.delong_variance(np.array([1, 1, 0, 0]), np.array([3, 1, 2, 0]))
    assert (area, variance) == (0.75, pytest.approx(0.125))


def test_same_images_twice_add_no_evidence_when_grouped():
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1], 30)
    a = generator.normal(labels, 1.0)
    b = generator.normal(0.3 * labels, 1.0)
    patients = np.arange(60)
    _, once = delong.delong_test(labels, a, b)
    twice = [np.concatenate([array, array]) for array in (labels, a, b, patients)]
    _, grouped = delong.delong_test(*twice)
    _, ungrouped = delong.delong_test(*twice[:3])
    assert grouped == pytest.approx(once)
    assert ungrouped < once / 2


def test_properties_of_the_test():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 80).astype(float)
    a, b = generator.normal(size=(2, 80)) + labels
    z, p = delong.delong_test(labels, a, b)
    assert delong.delong_test(labels, b, a) == (pytest.approx(-z), pytest.approx(p))
    assert delong.delong_test(labels, np.exp(a), b) == (pytest.approx(z), pytest.approx(p))
    assert delong.delong_test(labels, a, np.exp(a)) == (0.0, 1.0)
    labels[:5] = np.nan
    assert delong.delong_test(labels, a, b) == delong.delong_test(labels[5:], a[5:], b[5:])


def test_p_values_are_uniform_when_the_models_are_equal():
    generator = np.random.default_rng(4)
    labels = np.repeat([0, 1], 60)
    p_values = [
        delong.delong_test(labels, *(generator.normal(size=(2, 120)) + labels))[1]
        for _ in range(600)
    ]
    # 5 % of 600 is 30, with a standard deviation of 5.3.
    assert 14 <= np.sum(np.array(p_values) < 0.05) <= 46


@pytest.mark.parametrize(
    ("labels", "a", "b", "groups"),
    [
        ([1, 0, 0], [3.0, 2, 1], [1.0, 2, 3], None),  # one positive image
        ([1, 1, 0, 0], [4.0, 3, 2, 1], [1.0, 2, 3, 4], [7, 7, 8, 9]),  # one positive patient
        ([1, 1, 0, 0], [4.0, 3, 2, np.inf], [1.0, 2, 3, 4], None),  # diverged
        ([1, 1, 0, 0], [4.0, 3, 2, 1], [1.0, 2, 3, 4], None),  # AUROC 1 against 0, no variance
    ],
)
def test_undefined_is_nan_with_a_warning(labels, a, b, groups):
    with pytest.warns(exceptions.UndefinedMetricWarning):
        result = delong.delong_test(np.array(labels), np.array(a), np.array(b), groups)
    assert np.isnan(result).all()


def test_patients_must_be_known():
    with pytest.raises(ValueError, match="found none for image 1"):
        delong.delong_variance(
            np.array([0, 1]), np.array([0.1, 0.2]), np.array(["a", None], dtype=object)
        )
