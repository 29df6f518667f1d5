"""Tests of report.gradcam_figure: rows, columns and captions."""

import dataclasses
import warnings

import numpy as np
import pytest

from tffcxr.report import run_cases
from tffcxr.report.figures import gradcam_figure, panels

NAN = float("nan")


@pytest.fixture(name="case")
def _case():
    annotation = np.zeros((20, 20), bool)
    annotation[5:10, 5:10] = True  # 25 of 400 pixels
    lungs = np.zeros((20, 20), bool)
    lungs[2:18, 2:18] = True
    return run_cases.Explanation(
        task="Pneumothorax",
        case="7",
        image=np.full((20, 20), 90, np.uint8),
        seen={},
        heat={"federated": np.eye(20), "site": np.eye(20) / 2},
        scores={"federated": 0.914, "site": 0.7},
        in_lungs={"federated": 0.8, "site": 0.6},
        in_annotation={"federated": 0.25, "site": NAN},
        annotation=annotation,
        lungs=lungs,
    )


def _captions(figure):
    return [axes.get_xlabel() for axes in figure.axes if axes.images]


def test_baseline_stands_beside_the_federated_model(case):
    figure = gradcam_figure.draw([case])
    titles = [axes.get_title(loc="center") for axes in figure.axes if axes.images]
    assert titles == ["Image", "Site alone", "Federated"]
    assert _captions(figure) == [
        "case 7\nannotated: 6 % of the image",
        "probability 0.70\n60 % of heat in lungs",
        "probability 0.91\n80 % of heat in lungs\n25 % of heat in annotation",
    ]


def test_federated_models_stand_above_pooled_ones(case):
    names = [
        f"{model} {way}" for model in ("resnet18", "covidnet") for way in ("pooled", "federated")
    ]  # fmt: skip
    both = dataclasses.replace(
        case,
        heat=dict.fromkeys(names, np.eye(20)),
        scores={name: position / 10 for position, name in enumerate(names)},
        in_lungs=dict.fromkeys(names, NAN),
        in_annotation=dict.fromkeys(names, NAN),
    )
    figure = gradcam_figure.draw([both])
    cells = [axes for axes in figure.axes if axes.images]
    titles = [axes.get_title(loc="center") for axes in cells]
    assert titles == ["Image", "COVID-Net", "ResNet18", "", "", ""]
    assert [axes.get_ylabel() for axes in cells[::3]] == ["Federated", "All sites pooled"]
    scores = [axes.get_xlabel()[-4:] for axes in cells]
    assert [scores[i] for i in (1, 2, 4, 5)] == ["0.30", "0.10", "0.20", "0.00"]


def test_heat_lies_over_what_the_model_was_shown(case):
    seen = np.zeros((20, 20), np.uint8)
    figure = gradcam_figure.draw([dataclasses.replace(case, seen={"federated": seen})])
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    for found, expected in zip(shown, (case.image, case.image, seen)):
        np.testing.assert_array_equal(found, expected)


def test_variants_stand_side_by_side(case):
    variants = [
        f"{model} {kind}"
        for model in ("resnet50", "densenet121")
        for kind in ("full", "segmented")
    ]  # fmt: skip
    four = dataclasses.replace(
        case,
        heat=dict.fromkeys(variants, np.eye(20)),
        scores=dict.fromkeys(variants, 0.5),
        in_lungs=dict.fromkeys(variants, 0.8),
        in_annotation=dict.fromkeys(variants, NAN),
    )
    figure = gradcam_figure.draw([four])
    titles = [axes.get_title(loc="center") for axes in figure.axes if axes.images]
    assert titles == [
        "Image", "DenseNet121, full", "DenseNet121, segmented", "ResNet50, full",
        "ResNet50, segmented",
    ]  # fmt: skip
    assert _captions(figure)[1:] == ["probability 0.50\n80 % of heat in lungs"] * 4


def test_a_heat_map_of_zeros_is_said_to_be_one(case):
    cold = dataclasses.replace(
        case,
        heat={**case.heat, "federated": np.zeros((20, 20))},
        in_lungs={**case.in_lungs, "federated": NAN},
        in_annotation={**case.in_annotation, "federated": NAN},
    )
    caption = _captions(gradcam_figure.draw([cold]))[2]
    assert caption == "probability 0.91\nno heat: no region raised the score"


def test_heat_is_drawn_over_the_image_and_outlined(case):
    axes = gradcam_figure.draw([case]).axes[2]
    image, heat = axes.images
    np.testing.assert_array_equal(image.get_array(), case.image)
    np.testing.assert_array_equal(heat.get_array(), case.heat["federated"])
    assert heat.get_alpha().max() < 1  # the image shines through
    assert heat.get_alpha()[0, 1] == 0  # no heat, no colour
    assert len(axes.collections) == 2  # lungs and annotation


@pytest.mark.parametrize("region", [None, np.zeros((20, 20), bool), np.ones((20, 20), bool)])
def test_without_outline_nothing_is_drawn_and_nothing_warns(case, region):
    bare = dataclasses.replace(case, annotation=region, lungs=region)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = gradcam_figure.draw([bare])
        panels.png(figure)
    assert not figure.axes[0].collections
    assert bool(figure.legends) == (region is not None)


def test_a_model_without_heat_map_leaves_its_cell_empty(case):
    other = dataclasses.replace(case, heat={"federated": np.full((20, 20), NAN)})
    figure = gradcam_figure.draw([case, other])
    cells = [axes.get_xlabel() for axes in figure.axes[:6]]
    assert cells[4] == "no heat map"
    assert panels.png(figure).startswith(b"\x89PNG")


def test_only_so_many_cases_are_drawn(case):
    figure = gradcam_figure.draw([case] * 30)
    assert len(_captions(figure)) == 3 * gradcam_figure.MAXIMUM_CASES
