"""Tests of report.roc_figure: which predictions make which curve."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.report import example_run
from tffcxr.report import run_reader
from tffcxr.report.figures import curve_panels, roc_figure


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 60, 2))


def _draw(what):
    figure = roc_figure.draw(what)
    assert figure is not None
    return figure


def _predictions(rows):
    columns = ["task", "training", "client", "split", "label", "score"]
    return pd.DataFrame(rows, columns=columns)


def test_curve_of_four_images(run):
    rows = [
        ("T", "federated", "a", "test", label, score)
        for label, score in [(1, 0.9), (0, 0.8), (1, 0.7), (0, 0.1), (np.nan, 0.5), (1, np.nan)]
    ]
    run = dataclasses.replace(run, rows=[], predictions=_predictions(rows))
    (curve,) = roc_figure.curves(run)
    np.testing.assert_allclose(curve.false_positive_rate, [0, 0, 0.5, 0.5, 1])
    np.testing.assert_allclose(curve.sensitivity, [0, 0.5, 0.5, 1, 1])
    assert curve.auroc == 0.75


def test_curves_agree_with_the_metrics(run):
    curves = roc_figure.curves(run)
    assert len(curves) == 6
    for curve in curves:
        assert curve.auroc == pytest.approx(curve.row["auroc"])


def test_a_row_is_about_all_clients_of_its_site(run):
    predictions = run.predictions.copy()
    predictions["client"] += np.where(np.arange(len(predictions)) % 2, "_0", "_1")
    curves = roc_figure.curves(dataclasses.replace(run, predictions=predictions))
    assert [curve.auroc for curve in curves] == pytest.approx(
        [curve.row["auroc"] for curve in curves]
    )


def test_models_that_differ_in_client_alone_have_their_own_predictions(run):
    predictions = _predictions(
        [("T", "site", "a", "test", 1, 0.9), ("T", "site", "a", "test", 0, 0.1)]
        + [("T", "site", "b", "test", 1, 0.1), ("T", "site", "b", "test", 0, 0.9)]
    )
    rows = [{"task": "T", "training": "site", "split": "test", "client": c} for c in "ab"]
    curves = roc_figure.curves(dataclasses.replace(run, rows=rows, predictions=predictions))
    assert [(curve.row["name"], curve.auroc) for curve in curves] == [
        ("Site alone at a", 1.0), ("Site alone at b", 0.0),
    ]  # fmt: skip
    axes = _draw(curves).axes[0]
    solid, dashed = axes.get_lines()[1], axes.get_lines()[2]
    assert solid.get_color() == dashed.get_color()
    assert solid.get_linestyle() != dashed.get_linestyle()


def test_one_class_has_no_curve(run):
    predictions = _predictions([("T", "site", "a", "test", 1, 0.9)] * 3)
    run = dataclasses.replace(run, rows=[], predictions=predictions)
    assert roc_figure.curves(run) == []
    assert roc_figure.draw([]) is None


def test_panels_legend_and_operating_point(run):
    figure = _draw(roc_figure.curves(run))
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "Lung Opacity at opacity\n60 test images, 20 positive"
    row = next(r for r in run.rows if (r["task"], r["training"]) == ("Lung Opacity", "federated"))
    low, high = row["auroc_low"], row["auroc_high"]
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries[2] == f"Federated: {row['auroc']:.3f} ({low:.3f}–{high:.3f})"
    assert entries[-1] == "Chance"
    dots = [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.get_lines()
        if line.get_marker() == "o"
    ]
    assert dots[-1] == pytest.approx((1 - row["specificity"], row["sensitivity"]))


def test_the_test_set_is_drawn_where_there_are_several(run):
    predictions = pd.concat([run.predictions, run.predictions.assign(split="validation")])
    rows = run.rows + [{**row, "split": "validation"} for row in run.rows]
    curves = roc_figure.curves(dataclasses.replace(run, rows=rows, predictions=predictions))
    assert len(curves) == 12
    titles = [axes.get_title(loc="left") for axes in _draw(curves).axes]
    assert all("test images" in title for title in titles)


def test_seven_tasks_fill_three_rows(run):
    predictions = pd.concat([run.predictions.assign(task=f"task {i}") for i in range(7)])
    curves = roc_figure.curves(dataclasses.replace(run, rows=[], predictions=predictions))
    axes = _draw(curves).axes
    assert [cell.get_visible() for cell in axes] == [True] * 7 + [False] * 2


def test_networks_of_one_run_have_their_own_curves_in_one_panel(run):
    parts = []
    for model, ill, healthy in (("standard", 0.9, 0.1), ("resnet18", 0.1, 0.9)):
        part = _predictions(
            [("T", "site_b", "a", "test", 1, ill), ("T", "site_b", "a", "test", 0, healthy)]
        )
        parts.append(part.assign(model=model))
    curves = roc_figure.curves(dataclasses.replace(run, rows=[], predictions=pd.concat(parts)))
    assert {curve.row["model"]: curve.auroc for curve in curves} == {"standard": 1, "resnet18": 0}
    (axes,) = _draw(curves).axes
    assert axes.get_title(loc="left").split("\n")[0] == "T at a"
    labels = [text.get_text().split(":")[0] for text in axes.get_legend().get_texts()]
    assert labels == ["ResNet18, Trained at b", "standard, Trained at b", "Chance"]
    _, first, second = axes.get_lines()
    assert first.get_color() == second.get_color()
    assert first.get_linestyle() != second.get_linestyle()


def test_curves_of_many_tasks_are_divided_among_sheets(run):
    rows = [
        (f"T{number}", "federated", "a", "test", label, score)
        for number in range(10)
        for label, score in ((1, 0.9), (0, 0.1))
    ]
    curves = roc_figure.curves(dataclasses.replace(run, rows=[], predictions=_predictions(rows)))
    sheets = curve_panels.by_sheet(curves)
    assert [len(sheet) for sheet in sheets] == [9, 1]
    assert [curve for sheet in sheets for curve in sheet] == curves
    assert curve_panels.by_sheet([]) == []
