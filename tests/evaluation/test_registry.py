"""Tests of evaluation.registry: which way is better, and what models are compared by."""

import pytest

from tffcxr.evaluation import registry


def test_names_are_names_of_one_metric():
    assert len(registry.BY_NAME) == len(registry.METRICS)
    assert registry.BY_NAME["auroc"] is registry.AUROC


def test_a_task_may_have_a_slash_in_its_name():
    column = registry.JACCARD.column("No Lung Opacity / Not Normal")
    assert column == "No Lung Opacity / Not Normal/jaccard"
    assert registry.of_column(column) is registry.JACCARD
    assert registry.JACCARD.is_of(column)
    assert registry.of_column("round") is None


def test_of_losses_less_is_better():
    lower = ("train_loss", "A/loss", "resnet50 full/train_loss", "missed")
    assert all(map(registry.is_lower_better, lower))
    assert not any(map(registry.is_lower_better, ("A/accuracy", "loss of hair/auroc")))
    with pytest.raises(ValueError, match="found 'seconds'"):
        registry.is_lower_better("seconds")


def test_a_metric_has_a_better_direction():
    with pytest.raises(ValueError, match="expected 'higher' or 'lower', found 'largest'"):
        registry.Metric("mine", "Mine", "largest")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["round", "A/loss", "A/aupr", "A/auroc", "B/auroc"], "A/auroc"),
        # Dice only where there is nothing else.
        (["Lungs/loss", "Lungs/dice", "Lungs/jaccard"], "Lungs/jaccard"),
        (["CT/loss", "CT/overlap", "CT/dice"], "CT/dice"),
        (["round", "train_loss", "A/loss"], None),
    ],
)
def test_what_models_are_compared_by(columns, expected):
    assert registry.main_column(columns) == expected
