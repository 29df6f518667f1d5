"""Tests of evaluation.bootstrap: hand values, coverage, patients, and the t-test's known flaw."""

import numpy as np
import pytest
from scipy import stats
from sklearn import exceptions
from sklearn import metrics as sklearn_metrics

from tffcxr.evaluation import bootstrap, delong


def _two_normals(seed, images=100, shift=1.0):
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1], images // 2)
    return labels, generator.normal(shift * labels, 1.0)


def testweighted_auroc_equals_auroc_of_repeated_images():
    generator = np.random.default_rng(0)
    positive = generator.integers(0, 2, 30).astype(bool)
    scores = generator.integers(0, 8, 30).astype(float)  # with ties
    weights = generator.integers(0, 4, (6, 30)).astype(float)
    areas = bootstrap.weighted_auroc(weights, positive, scores)
    for area, times in zip(areas, weights.astype(int)):
        expected = sklearn_metrics.roc_auc_score(
            np.repeat(positive, times), np.repeat(scores, times)
        )
        assert area == pytest.approx(expected)


def test_interval_has_the_width_that_delong_predicts():
    labels, scores = _two_normals(1, images=400)
    low, high = bootstrap.auroc_interval(labels, scores)
    area, variance = delong.delong_variance(labels, scores)
    assert low < area < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)


def test_interval_covers_the_true_auroc_19_times_of_20():
    truth = stats.norm.cdf(1 / np.sqrt(2))
    covered = 0
    for seed in range(200):
        labels, scores = _two_normals(seed)
        low, high = bootstrap.auroc_interval(labels, scores, replicates=200, seed=seed)
        covered += low <= truth <= high
    assert 178 <= covered <= 199  # 190 expected, standard deviation 3


def test_interval_is_a_function_of_the_seed_and_not_of_the_order_of_images():
    labels, scores = _two_normals(2)
    patients = np.array([f"p{index // 2}" for index in range(100)])
    first = bootstrap.auroc_interval(labels, scores, patients, seed=5)
    order = np.random.default_rng(9).permutation(100)
    shuffled = bootstrap.auroc_interval(labels[order], scores[order], patients[order], seed=5)
    assert first == shuffled
    assert first != bootstrap.auroc_interval(labels, scores, patients, seed=6)


def test_images_of_one_patient_are_not_independent():
    labels, scores = _two_normals(3, images=60)
    once = bootstrap.auroc_interval(labels, scores)
    labels, scores = np.tile(labels, 5), np.tile(scores, 5)
    patients = np.tile(np.arange(60), 5)
    naive_low, naive_high = bootstrap.auroc_interval(labels, scores)
    assert bootstrap.auroc_interval(labels, scores, patients) == pytest.approx(once)
    assert naive_high - naive_low < 0.6 * (once[1] - once[0])


def test_rare_finding_stays_in_every_replicate():
    labels = np.zeros(1000)
    labels[:5] = 1
    scores = np.random.default_rng(4).random(1000)
    with_rare = bootstrap.bootstrap_aurocs(
        bootstrap.inputs.known(labels, [scores]), replicates=300, seed=0
    )
    assert with_rare is not None
    assert with_rare.shape == (1, 300)


def test_chunks_do_not_change_the_draw(monkeypatch):
    labels, scores = _two_normals(5)
    whole = bootstrap.auroc_interval(labels, scores, replicates=50)
    monkeypatch.setattr(bootstrap, "_CHUNK", 700)  # 7 replicates at a time
    assert bootstrap.auroc_interval(labels, scores, replicates=50) == whole


def test_perfect_scores_give_an_interval_without_width():
    labels = np.repeat([0, 1], 10)
    assert bootstrap.auroc_interval(labels, labels + 0.0) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        ([1] * 4 + [0] * 20, None, "4 positive and 20 negative patients"),
        ([1] * 24, None, "24 positive and 0 negative"),
        ([1] * 12 + [0] * 12, [0] * 12 + list(range(1, 13)), "1 positive and 12 negative"),
        ([np.nan] * 24, None, "0 positive and 0 negative"),
    ],
)
def test_too_few_patients_give_nan_with_a_warning(labels, groups, message):
    scores = np.linspace(0, 1, 24)
    with pytest.warns(exceptions.UndefinedMetricWarning, match=message):
        interval = bootstrap.auroc_interval(np.array(labels), scores, groups)
    assert np.isnan(interval).all()


def test_replicates_with_one_class_are_left_out_or_counted_as_too_many():
    # All five patients with a negative image have a positive one too, so they share the stratum
    # of 60 patients with a positive image: 0.55 % of the replicates have no negative.
    labels = np.array([1] * 60 + [0] * 5)
    groups = np.array(list(range(60)) + list(range(5)))
    scores = np.random.default_rng(6).random(65)
    data = bootstrap.inputs.known(labels, [scores], groups)
    areas = bootstrap.bootstrap_aurocs(data, replicates=2000, seed=0)
    assert areas is not None
    assert 1950 < areas.shape[1] < 2000
    assert np.isfinite(areas).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "_MINIMUM_USABLE", 1.0)
        with pytest.warns(exceptions.UndefinedMetricWarning, match="one class only"):
            assert bootstrap.bootstrap_aurocs(data, replicates=2000, seed=0) is None


def test_paired_ttest_is_scipys_on_the_same_replicates():
    labels, a = _two_normals(7)
    b = a + np.random.default_rng(8).normal(0, 0.5, 100)
    data = bootstrap.inputs.known(labels, [a, b])
    areas = bootstrap.bootstrap_aurocs(data, replicates=20, seed=1)
    assert areas is not None
    difference = areas[0] - areas[1]
    t = difference.mean() / (difference.std(ddof=1) / np.sqrt(20))
    expected = 2 * stats.t.sf(abs(t), df=19)
    assert bootstrap.paired_ttest(labels, a, b, replicates=20, seed=1) == pytest.approx(expected)


def test_paired_ttest_p_shrinks_with_replicates_and_delongs_does_not():
    labels, a = _two_normals(9)
    b = a + np.random.default_rng(10).normal(0, 0.4, 100)
    few = bootstrap.paired_ttest(labels, a, b, replicates=10)
    many = bootstrap.paired_ttest(labels, a, b, replicates=3000)
    assert many < 1e-6 < few
    assert delong.delong_test(labels, a, b)[1] > 0.05


def test_paired_ttest_of_equal_and_of_separated_models():
    labels, a = _two_normals(11)
    assert bootstrap.paired_ttest(labels, a, 2 * a + 1) == 1.0
    assert bootstrap.paired_ttest(labels, labels, 1 - labels) == 0.0


def test_arguments_are_checked():
    labels, scores = _two_normals(12)
    with pytest.raises(ValueError, match="level between 0 and 1, found 95"):
        bootstrap.auroc_interval(labels, scores, level=95)
    with pytest.raises(ValueError, match="at least 1 replicate, found 0"):
        bootstrap.auroc_interval(labels, scores, replicates=0)
    with pytest.raises(ValueError, match="at least 2 replicates, found 1"):
        bootstrap.paired_ttest(labels, scores, scores, replicates=1)
