"""The table, the sentences, the figures and the page of a search, from hand-made trials."""

import json
import math
import re

import pandas as pd
import pytest

from tests.sweeps import fake_search
from tffcxr.sweeps import (
    search_figure,
    search_space,
    search_table,
    search_trial,
    sweep_report,
    sweep_results,
)

AXES = tuple(search_space.parse(fake_search.GRID))


def _trial(number, rate, norm, status="complete", value=math.nan, values=(), error=""):
    settings = (("rate", rate), ("norm", norm))
    by_round = dict(enumerate(values, 1))
    return search_trial.Trial(number, settings, status, value, by_round, error)


TRIALS = [
    _trial(1, "0.001", "good", value=0.7, values=(0.5, 0.6, 0.7)),
    _trial(2, "0.1", "bad", "failed", error="every <client> failed"),
    _trial(3, "0.01", "good", value=0.8, values=(0.6, 0.9, 0.8)),
    _trial(4, "0.0002", "bad", "pruned", values=(0.55,)),
    _trial(5, "0.0003", "bad", "pruned", values=(0.54, 0.4)),
    _trial(6, "0.02", "good", "pending", values=(0.5,)),
]


def _sweep(path, trials, metric="auroc"):
    """A sweep with two columns of the metric in the runs of its complete trials."""
    runs = search_table.runs_of(trials, 0)
    for run, trial in zip(runs, trials):
        if trial.status == "complete":
            (path / run.folder).mkdir(parents=True)
            values = pd.Series(trial.values)
            table = {
                "round": values.index,
                f"x/{metric}": values - 0.1,
                f"y/{metric}": values + 0.1,
            }
            pd.DataFrame(table).to_csv(path / run.folder / "rounds.csv", index=False)
    return sweep_results.read(path, "cheXviz", runs, metric)


def _search(**changes):
    about = {
        "axes": AXES,
        "split": "validation",
        "keeps_best_round": False,
        "importances": {"rate": 0.8, "norm": 0.2},
        "command": ["//experiments:cheXviz", "--rate=0.01", "--seed=0"],
    }
    return search_table.Search(**{**about, **changes})


def _best(sweep, rows):
    row = sweep_results.best_row(sweep, rows)
    assert row is not None
    return row["trial"]


def _axes(figure):
    assert figure is not None
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.fixture(name="sweep", scope="module")
def _made(tmp_path_factory):
    return _sweep(tmp_path_factory.mktemp("search"), TRIALS)


def test_best_first_then_the_latest_that_were_pruned(sweep):
    table = search_table.of_trials(sweep)
    assert table.headings == ["trial", "rate", "norm", "status", "auroc"]
    assert table.cells == [
        ["3 (best)", "0.01", "good", "complete", "0.800"],
        ["1", "0.001", "good", "complete", "0.700"],
        ["5", "0.0003", "bad", "pruned after round 2", "(0.540)"],
        ["4", "0.0002", "bad", "pruned after round 1", "(0.550)"],
        ["2", "0.1", "bad", "failed", "–"],
        ["6", "0.02", "good", "pending", "–"],
    ]


def test_of_losses_the_least_is_best(tmp_path):
    table = search_table.of_trials(_sweep(tmp_path, TRIALS, "loss"))
    assert [row[0] for row in table.cells] == ["1 (best)", "3", "5", "4", "2", "6"]
    assert table.cells[2][-1] == "(0.400)"


def test_best_run_is_that_of_the_trial_not_of_a_column_or_round(sweep):
    # Trial 3 has the best mean after the last round.
    rows = sweep_results.run_rows(sweep)
    assert len(rows) == 2 * 2 + 4
    assert _best(sweep, rows) == 3
    assert _best(sweep, [row for row in rows if row["trial"] != 3]) == 1
    sweep_results.write(sweep)
    assert sweep_results.best_run(sweep.path).parent.name == "trial_0003"
    summary = pd.read_csv(sweep.path / "summary.csv")
    pruned = summary[summary["status"] == "pruned"].drop_duplicates("trial")
    assert list(pruned["pruned_round"]) == [1, 2]
    assert not json.loads((sweep.path / "sweep.json").read_text())["complete"]


def test_search_is_complete_when_all_trials_have_ended(tmp_path):
    sweep_results.write(_sweep(tmp_path, TRIALS[:5]))
    assert sweep_results.best_run(tmp_path, of_all=True).parent.name == "trial_0003"


@pytest.mark.parametrize(
    "changes,expected",
    [
        ({}, "of 2 columns of rounds.csv, on the validation images after its last round"),
        ({}, "biased; its final results on the test images are not."),
        ({"split": "test"}, "biased, and so are its final results, which are of these images too."),
        ({"keeps_best_round": True}, "in its best round: that is the model that the recipe keeps"),
    ],
)
def test_sentences(sweep, changes, expected):
    told = " ".join(search_table.legend(sweep, _search(**changes)))
    assert expected in told.replace("the mean over 2", "of 2")


def test_text(sweep):
    text = search_table.format_summary(sweep, [], _search())
    assert "failed: runs/trial_0002/repeat_1: every <client> failed" in text
    assert text.endswith(
        "best settings:\n./bazelw run //experiments:cheXviz -- --rate=0.01 --seed=0"
    )


def test_figure_of_trials(sweep):
    history, rate, norm, importance = _axes(search_figure.draw_trials(sweep, _search()))
    *_, best = history.get_lines()
    assert list(best.get_xdata()) == [1, 3, 6]
    assert list(best.get_ydata()) == [0.7, 0.8, 0.8]
    assert rate.get_xscale() == "log" and norm.get_xscale() == "linear"
    marks = {(float(m.get_xdata()[0]), float(m.get_ydata()[0])) for m in rate.get_lines()}
    assert {(0.001, 0.7), (0.01, 0.8), (0.0002, 0.55), (0.0003, 0.54)} < marks
    assert len(marks) == 5  # The fifth has failed; what is pending is not there.
    assert [text.get_text() for text in norm.get_xticklabels()] == ["good", "bad"]
    assert importance.get_title(loc="left") == "Importance"
    assert len(_axes(search_figure.draw_trials(sweep, _search(importances="Too few.")))) == 3
    assert search_figure.draw_trials(_sweep(sweep.path, TRIALS[1:2]), _search()) is None


def test_curves_end_where_trials_were_pruned(sweep):
    (axes,) = _axes(search_figure.draw_curves(sweep))
    lines = [line for line in axes.get_lines() if line.get_marker() == "None"]
    assert [list(line.get_xdata()) for line in lines] == [[1, 2, 3], [1, 2, 3], [1], [1, 2]]
    assert search_figure.draw_curves(_sweep(sweep.path, TRIALS[1:2])) is None


def test_losses_that_diverge_are_on_a_logarithmic_scale(tmp_path):
    trials = [
        _trial(1, "0.1", "bad", value=900.0, values=(700.0, 900.0)),
        _trial(2, "0.01", "bad", value=0.5, values=(0.6, 0.5)),
    ]
    sweep = _sweep(tmp_path, trials, "loss")
    (axes,) = _axes(search_figure.draw_curves(sweep))
    assert axes.get_yscale() == "log"


def test_page(sweep):
    search = _search(importances="There are <8.")
    path = sweep_report.write_report(sweep, ["//experiments:sweep"], (), search)
    page = path.read_text(encoding="utf-8")
    assert "2 of\n6 runs are complete" in page
    assert '<a href="runs/trial_0003/repeat_1/report.html">trial\n3</a>: 0.800' in page
    assert "-- --rate=0.01 --seed=0</pre>" in page
    assert "pruned after round 2" in page and "every &lt;client&gt; failed" in page
    assert "<h2>Configurations</h2>" not in page
    assert len(re.findall(r'src="data:image/png', page)) == 2
    assert (sweep.path / "figures" / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert "There are &lt;8." in page
