"""Tests of report.style: how numbers are written."""

import pytest

from tffcxr import options
from tffcxr.report import style

NAN = float("nan")


@pytest.mark.parametrize("value", [None, NAN, float("inf"), "", "0.5", True])
def test_what_is_no_number_is_a_dash(value):
    assert style.number(value) == "–"
    assert style.p_value(value) == "–"
    assert style.percent(value) == "–"


def test_numbers():
    assert style.number(0.9126) == "0.913"
    assert style.number(12345, 0) == "12345"
    assert style.p_value(0.0009) == "<0.001"
    assert style.p_value(0.001) == "0.001"
    assert style.percent(0.826) == "83 %"


def test_negative_numbers_have_a_minus_sign():
    assert style.number(-0.5) == "\u22120.500"
    assert style.signed(-0.5) == "\u22120.500"
    assert style.signed(0.25, 2) == "+0.25"
    assert style.signed(NAN) == "–"


def test_one_thing_is_singular():
    assert [style.counted(count, "round") for count in (0, 1, 2)] == [
        "0 rounds", "1 round", "2 rounds",
    ]  # fmt: skip


def test_metric_without_interval_has_no_brackets():
    row = {"auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.95}
    assert style.with_interval(row, "auroc") == "0.900 (0.850–0.950)"
    assert style.with_interval({**row, "auroc_low": None}, "auroc") == "0.900"
    assert style.with_interval({**row, "auroc_high": NAN}, "auroc") == "0.900"
    assert style.with_interval({}, "auroc") == "–"
    signed = {"a": -0.5, "a_low": -0.75, "a_high": -0.25}
    assert style.with_interval(signed, "a", 2) == "−0.50 (−0.75 to −0.25)"


def test_level_of_the_interval_is_named_only_if_all_rows_agree():
    rows: list[dict] = [{"interval": "90 % percentile interval"}, {"interval": NAN}, {}]
    assert style.interval_heading("AUROC", rows) == "AUROC (90 % CI)"
    assert style.interval_heading("AUROC", [*rows, {"interval": "95 % percentile"}]) == "AUROC (CI)"


def test_brackets_of_a_heading_are_not_broken():
    assert style.unbroken_brackets("Brier score (95 % CI)") == "Brier score (95\xa0%\xa0CI)"
    assert style.unbroken_brackets("Images") == "Images"


def test_zero_has_no_sign():
    assert style.number(-0.0004) == style.signed(-0.0004) == style.signed(0.0004) == "0.000"
    assert (style.number(-0.0006), style.signed(0.0006)) == ("−0.001", "+0.001")
    assert style.signed(10.0, 0) == "+10"


def test_nnu_net_is_written_as_its_authors_do():
    assert style.model_name("nnunet") == "nnU-Net"


def test_a_variant_is_named_by_its_model_and_images():
    assert style.training_name("resnet50 full") == "ResNet50, full"
    assert style.training_name("densenet121 segmented") == "DenseNet121, segmented"
    assert style.training_name("federated") == "Federated"
    assert style.training_name("leave one out") == "leave one out"


@pytest.mark.parametrize("model", sorted({*options.CLASSIFIERS} - {"standard"}))
def test_models_have_the_names_that_papers_give_them(model):
    assert style.model_name(model).replace("-", "").lower() == model
    assert style.model_name(model) != model


@pytest.mark.parametrize("model", sorted({*options.SEGMENTERS} - {"nnunet"}))
def test_segmenters_are_named_with_their_encoder(model):
    network, _, encoder = model.partition("_")
    expected = {"unet": "U-Net", "unetplusplus": "U-Net++"}[network]
    if encoder:
        expected += f" ({style.model_name(encoder)})"
        assert style.model_name(encoder) != encoder
    assert style.model_name(model) == expected
    assert style.training_name(f"{model} pooled") == f"{expected}, pooled"


def test_trainings_keep_their_colours_and_others_differ():
    colours = style.colours(["a", "federated", "b", "a"])
    assert list(colours) == ["a", "federated", "b"]
    assert colours["federated"] == style.training_colour("federated")
    assert len(set(colours.values())) == 3
    assert len(style.colours(map(str, range(40)))) == 40


def test_slug_is_a_safe_file_name():
    assert style.slug("No Lung Opacity / Not Normal") == "no-lung-opacity-not-normal"
    assert style.slug("../../etc") == "etc"
    assert style.slug("气胸") == "task"


def test_trainings_differ_in_colour_and_the_federated_model_comes_last():
    kinds = ["federated", "pooled", "site"]
    assert sorted(kinds, key=style.training_order) == ["site", "pooled", "federated"]
    colours = {style.training_colour(kind) for kind in kinds}
    assert len(colours) == 3
    assert not colours & set(style.SERIES_COLOURS)


def test_a_model_of_another_site_is_named_by_where_it_was_trained():
    assert style.training_name("site_north") == "Trained at north"
