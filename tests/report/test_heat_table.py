"""Tests of report.heat_table: rows, headings and texts of the table of heat."""

import pandas as pd
import pytest

from tests.report import example_run
from tffcxr import run_tables
from tffcxr.report import heat_table, run_files


@pytest.fixture(name="heat", scope="module")
def _heat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    example_run.write_heat(folder)
    return run_files.read_table(folder, run_tables.HEAT)


def test_table_has_models_then_the_difference_then_even_heat(heat):
    one, other = heat_table.blocks(heat)
    assert one.title == "Lung Opacity: true positives at opacity"
    assert other.title == "Pneumothorax: true positives at pneumothorax"
    assert [(line.name, line.images, line.cells) for line in one.lines] == [
        ("Site alone", "20, 2 without heat", ["50.0 (25.0 to 56.2)", "7.50"]),
        ("Federated", "20, 2 without heat", ["60.0 (35.0 to 66.2)", "7.50"]),
        ("Federated − site alone", "20", ["+12.5 (−12.5 to +18.8)", "+7.50"]),
        ("Evenly spread heat", "", ["25.0", "8.32"]),  # ln 64² = 8.318.
    ]
    assert one.lines[0].colour and not one.lines[2].colour


def test_a_difference_has_its_adjusted_p_value(heat):
    (block, _) = heat_table.blocks(heat.assign(heat_in_lungs_p_holm=0.012, entropy_p_holm=0.0))
    assert block.lines[2].cells == ["+12.5 (−12.5 to +18.8), p = 0.012", "+7.50, p <0.001"]
    assert block.lines[0].cells == ["50.0 (25.0 to 56.2)", "7.50"]


def test_images_of_which_none_is_called_positive_have_no_block(heat):
    one = heat["task"] == "Pneumothorax"
    none = heat.assign(images=heat["images"].mask(one, 0))
    assert len(heat_table.blocks(none)) == 2  # Heat maps without heat are told.
    (block,) = heat_table.blocks(none.assign(without_heat=heat["without_heat"].mask(one, 0)))
    assert block.title == "Lung Opacity: true positives at opacity"


def test_even_heat_is_of_the_first_model_with_heat(heat):
    cold = heat["training"] == "site"
    (block, _) = heat_table.blocks(heat.assign(lungs_area=heat["lungs_area"].mask(cold)))
    assert block.lines[-1].cells == ["25.0", "8.32"]


def test_only_measures_with_a_value_have_a_column(heat):
    assert heat_table.headings(heat) == ["Heat in the lungs, %", "Entropy, nats"]
    assert heat_table.has_lungs(heat)
    unknown = heat.assign(heat_in_lungs=float("nan"))
    assert heat_table.headings(unknown) == ["Entropy, nats"]
    assert not heat_table.has_lungs(unknown)


def test_several_networks_are_named_and_a_run_without_heat_has_no_table(heat):
    both = pd.concat([heat, heat.assign(model="resnet50")])
    titles = [block.title for block in heat_table.blocks(both)]
    assert titles[0] == "Lung Opacity, standard: true positives at opacity"
    assert titles[2] == "Lung Opacity, ResNet50: true positives at opacity"
    assert heat_table.blocks(heat[:0]) == []
    assert heat_table.headings(heat[:0]) == []
