"""The page, the figure and the text of a sweep, drawn from hand-made runs."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.report import example_sweep
from tffcxr.report.figures import panels
from tffcxr.sweeps import sweep_figure, sweep_finals, sweep_report, sweep_results, sweep_table

FAILED = 11


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory):
    """Nine configurations, two runs of each, one of which has failed."""
    made = example_sweep.runs(failed=(FAILED,))
    path = example_sweep.write(tmp_path_factory.mktemp("sweep"), made)
    return sweep_results.read(path, "cxr_fl_segmentation", made, target=0.92)


def _draw(sweep):
    figure = sweep_figure.draw(sweep)
    assert figure is not None
    return figure


def test_page(sweep):
    path = sweep_report.write_report(sweep, ["//experiments:sweep", "--set=site=a=csv:/x"])
    page = path.read_text(encoding="utf-8")
    assert "./bazelw run //experiments:sweep -- &#39;--set=site=a=csv:[path]&#39;" in page
    assert "17 of\n18 runs are complete" in page
    assert "every &lt;client&gt; failed" in page
    links = re.findall(r'href="([^"]+)"', page)
    assert len(links) == 1 + 17  # The best run, and all that are complete.
    assert f'{sweep.runs[FAILED].folder}/report.html"' not in page
    assert all("%3D" in link and "=" not in link for link in links)
    # Nothing is loaded from elsewhere.
    assert re.findall(r'src="([^",]+)', page) == ["data:image/png;base64"]
    assert "http" not in page.replace("http-equiv", "")
    png = (sweep.path / "figures" / "curves.png").read_bytes()
    assert png.startswith(b"\x89PNG")


def test_same_sweep_gives_the_same_bytes(sweep):
    first = sweep_report.write_report(sweep, ["x"]).read_bytes()
    assert sweep_report.write_report(sweep, ["x"]).read_bytes() == first


def test_page_of_a_sweep_without_a_complete_run(tmp_path):
    runs = [dataclasses.replace(run, status="pending") for run in example_sweep.runs()]
    sweep = sweep_results.read(tmp_path, "recipe", runs)
    page = sweep_report.write_report(sweep, []).read_text(encoding="utf-8")
    assert "18 have not run yet" in page
    assert "<img" not in page
    assert "No run is complete yet." in sweep_table.format_summary(sweep)


def test_lines_are_means_and_shades_are_ranges(sweep):
    figure = _draw(sweep)
    metric, loss = figure.axes
    assert (metric.get_title(loc="left"), loss.get_title(loc="left")) == (
        "Lungs: Jaccard",
        "Lungs: Loss",
    )
    *lines, target = metric.get_lines()
    assert len(lines) == len(loss.get_lines()) == 9
    assert set(target.get_ydata()) == {0.92}
    runs = [
        sweep.rounds[f"runs/local_epochs=1,clients_per_round=1/repeat_{repeat}"]["Lungs/jaccard"]
        for repeat in (1, 2)
    ]
    np.testing.assert_allclose(lines[0].get_ydata(), (runs[0] + runs[1]) / 2)
    shade = metric.collections[0].get_paths()[0].vertices[:, 1]
    assert shade.min() == pytest.approx(np.minimum(*runs).min())
    assert shade.max() == pytest.approx(np.maximum(*runs).max())
    # The configuration of which one run is complete has no range.
    assert len(metric.collections) == 8


def test_colour_tells_one_flag_and_dashes_the_other(sweep):
    lines = _draw(sweep).axes[0].get_lines()[:9]
    colours = [line.get_color() for line in lines]
    assert colours[0] == colours[1] == colours[2] != colours[3]
    dashes = [str(line._unscaled_dash_pattern) for line in lines]
    assert dashes[0] == dashes[3] == dashes[6] and len(set(dashes)) == 3
    assert len(set(zip(colours, dashes))) == 9
    (legend,) = _draw(sweep).legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"local_epochs = {n}" for n in (1, 2, 3)),
        *(f"clients_per_round = {n}" for n in (1, 2, 3)),
    ]


def test_other_sweeps_have_an_entry_per_configuration(sweep):
    named = [
        dataclasses.replace(run, configuration=f"n{i}", flags={"model": "$x$"})
        for i, run in enumerate(sweep.runs[:10])
    ]
    figure = _draw(dataclasses.replace(sweep, runs=named, target=None))
    lines = figure.axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == len(lines) == 10
    texts = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert [text for text in texts if text] == [f"n{i}" for i in range(10)]
    assert panels.png(figure).startswith(b"\x89PNG")


def test_undefined_round_of_one_run_is_a_gap_of_the_mean(sweep):
    folder = sweep.runs[0].folder
    table = sweep.rounds[folder].copy()
    table.loc[table["round"] == 3, "Lungs/jaccard"] = np.nan
    changed = dataclasses.replace(sweep, rounds={**sweep.rounds, folder: table})
    line = _draw(changed).axes[0].get_lines()[0]
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [2]


def test_text(sweep):
    text = sweep_table.format_summary(sweep)
    lines = text.splitlines()
    assert all(len(line) <= 100 for line in lines)
    assert lines[0].split()[:3] == ["local_epochs", "clients_per_round", "seed"]
    assert len([line for line in lines if " complete " in line]) == 17
    assert len([line for line in lines if "±" in line and "0." in line]) == 8
    assert lines[-1] == f"failed: {sweep.runs[FAILED].folder}: every <client> failed"
    assert "1 of 2" in text
    assert sweep_table.BIAS in " ".join(text.split())


@pytest.mark.parametrize(
    "target,expected", [(0.95, "1 of 2 reached"), (0.999, "not reached"), (0.3, "1.0 ± 0.0")]
)
def test_target_that_is_not_always_reached(sweep, target, expected):
    changed = dataclasses.replace(sweep, target=target)
    rows = sweep_results.run_rows(changed)
    cells = [line[-1] for line in sweep_table.of_configurations(changed, rows).cells]
    assert expected in cells


@pytest.fixture(name="two_models")
def _two_models(tmp_path):
    """One run of each of two configurations, with two models."""
    made = example_sweep.runs(epochs=(1,), clients=(1, 2), repeats=1)
    example_sweep.write(tmp_path, made)
    for run in made:
        file = tmp_path / run.folder / "rounds.csv"
        table = pd.read_csv(file).drop(columns=["train_loss"])
        table["Heart/jaccard"] = 1 - table["Lungs/jaccard"]
        table["Heart/loss"] = 0.125
        table.to_csv(file, index=False)
    return sweep_results.read(tmp_path, "recipe", made, target=0.5)


def test_every_model_has_panels(two_models):
    axes = _draw(two_models).axes
    assert [each.get_title(loc="left") for each in axes] == [
        "Lungs: Jaccard",
        "Lungs: Loss",
        "Heart: Jaccard",
        "Heart: Loss",
    ]
    lungs, _, heart, loss = [each.get_lines()[0].get_ydata() for each in axes]
    np.testing.assert_allclose(heart, 1 - lungs)
    assert set(loss) == {0.125}


def test_every_model_has_rows_and_a_best_run(two_models):
    page = sweep_report.write_report(two_models, []).read_text(encoding="utf-8")
    assert "The best run by Lungs/jaccard is" in page
    assert "The best run by Heart/jaccard is" in page
    assert page.count(sweep_table.BIAS) == 1
    assert page.count(">report</a>") == 4
    text = sweep_table.format_summary(two_models).splitlines()
    assert text[0].split()[2:5] == ["jaccard", "of", "seed"]
    first = text.index(next(line for line in text if line.startswith("---"))) + 1
    rows = text[first : first + 4]
    assert [line.split()[2] for line in rows] == ["Lungs", "Heart", "Lungs", "Heart"]


def _with_finals(sweep):
    """Results of the complete runs, two models each; the loss is undefined in second repeats."""
    for run in sweep.runs:
        if run.status != sweep_results.COMPLETE:
            continue
        row = {"task": "Lungs", "model": "unet", "split": "test", "auroc": 0.5 + 0.25 * run.seed}
        rows = [
            {**row, "training": training, "loss": None if run.seed else 0.5, "images": 7}
            for training in ("federated", "pooled")
        ]
        metrics = {"recipe": "r", "rows": rows, "complete": True}
        (sweep.path / run.folder / "metrics.json").write_text(json.dumps(metrics))
    return sweep_finals.rows(sweep.path, sweep.runs)


def test_final_results_on_the_page(sweep):
    finals = _with_finals(sweep)
    page = sweep_report.write_report(sweep, [], finals).read_text(encoding="utf-8")
    _, _, section = page.partition("<h2>Final results</h2>")
    section = section.partition("<h2>Curves</h2>")[0]
    assert re.findall(r'<th scope="col">([^<]*)', section) == [
        *("local_epochs", "clients_per_round", "training", "runs", "AUROC", "Loss"),
    ]
    rows = re.findall(r"<tr>(<th scope=.row.*?)</tr>", section, re.DOTALL)
    cells = [re.findall(r">([^<]+)</t[hd]>", row) for row in rows]
    assert len(cells) == 18
    assert cells[1] == [
        *("1", "1", "pooled", "2"),
        *("0.625 ± 0.177", "0.500 ± – (1 of 2)"),
    ]
    assert cells[4][-3:] == ["1", "0.500 ± –", "0.500 ± –"]  # Its second run has failed.
    assert "sample standard deviation" in section
    without = sweep_report.write_report(sweep, []).read_text(encoding="utf-8")
    assert "Final results" not in without


def test_final_results_in_the_terminal(sweep):
    text = sweep_table.format_summary(sweep, _with_finals(sweep))
    assert all(len(line) <= 100 for line in text.splitlines())
    heading = next(line for line in text.splitlines() if "AUROC" in line)
    assert heading.split() == [
        *("local_epochs", "clients_per_round", "training", "runs", "AUROC", "Loss")
    ]
    assert "All rows: task Lungs, model unet, split test. All metrics: results.csv." in " ".join(
        text.split()
    )
    assert len([line for line in text.splitlines() if "0.625 ± 0.177" in line]) == 16


def test_needs_no_tensorflow():
    code = "import sys; import tffcxr.sweeps.sweep_report; print('tensorflow' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
