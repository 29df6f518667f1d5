"""Tests of report.kinds: a kind of study is one object, and all of a report comes from it."""

import json

import pytest

from tests.report import example_run
from tffcxr import errors
from tffcxr.evaluation.registry import Metric
from tffcxr.report import column_builders, run_reader, run_report
from tffcxr.report.figures import panels, rounds_figure
from tffcxr.report.kinds import kinds
from tffcxr.report.kinds.kind import Guess, Kind

_COUNT = Metric("count_error", "Error of the count", "lower", short="error", digits=1)
_NODULES = Kind(
    name="nodules",
    main=_COUNT,
    of_rounds=(_COUNT,),
    loss="Poisson loss",
    columns=lambda rows: [column_builders.with_interval(_COUNT, rows), column_builders.images()],
    summary=lambda rows: [f"{rows[0]['name']} counts nodules."],
    warnings=lambda rows, run, curves: [f"Of {len(rows)} models on {run.measured_split} images."],
    notes=lambda rows: ["error: nodules too many or too few."],
    guess=lambda rows: Guess(2.5, "always the mean"),
    pictures="drawings",
    rounds_caption="Counted on {split} images.",
    exported="One drawing in, one count out.",
)


@pytest.fixture(name="run_dir")
def _run_dir(tmp_path, monkeypatch):
    """A run of a kind that is not in the tree."""
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)
    monkeypatch.setitem(kinds.KINDS, "nodules", _NODULES)
    row = {"task": "Nodules", "training": "federated", "split": "test", "count_error": 1.25,
           "count_error_low": 1.0, "count_error_high": 1.5, "images": 40}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"kind": "nodules", "synthetic": True}))
    (tmp_path / "metrics.json").write_text(
        json.dumps({"recipe": "count", "kind": "nodules", "rows": [row], "complete": True})
    )
    (tmp_path / "rounds.csv").write_text(
        "round,seconds,Nodules/loss,Nodules/count_error\n1,1,0.5,2\n2,1,0.4,1.25\n"
    )
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "count.keras").write_bytes(b"only its name is read")
    return tmp_path


def test_the_page_of_a_made_up_kind_has_its_table_and_its_words(run_dir):
    html = run_report.write_report(run_dir).read_text(encoding="utf-8")
    assert '<th scope="col">Error of the count (CI)</th>' in html
    assert '<td>1.2 <span class="interval">(1.0–1.5)</span></td>' in html
    assert "Federated counts nodules." in html
    assert "Of 1 models on validation images." in html
    assert "drawings drawn by a program" in " ".join(html.split())
    assert "Counted on validation images." in html
    assert "One drawing in, one count out. In Python:" in html
    assert "Kind(" not in html
    assert 'alt="Loss and Error of the count by round"' in html


def test_the_figure_of_a_made_up_kind_has_its_metric(run_dir):
    figure = rounds_figure.draw(run_reader.read(run_dir))
    assert figure is not None
    losses, count = figure.axes
    assert losses.get_ylabel() == "Poisson loss"
    assert count.get_title(loc="left") == "Error of the count on validation images"
    assert "always the mean" in count.get_legend_handles_labels()[1]


def test_the_terminal_has_the_columns_of_a_made_up_kind(run_dir):
    rows = run_reader.read(run_dir).rows
    lines = run_report.format_table(rows, "nodules").splitlines()
    assert lines[0].split() == ["error", "(CI)", "images"]
    assert lines[3].split() == ["Federated", "1.2", "(1.0–1.5)", "40"]
    assert lines[-1] == "error: nodules too many or too few."


def test_the_kind_is_that_of_the_configuration_whatever_the_rows_have(tmp_path):
    example_run.write(tmp_path, 20, 1, 1)
    results = json.loads((tmp_path / "metrics.json").read_text())
    for row in results["rows"]:
        row.update(jaccard=0.5, classes=["a"], missed=0)
    (tmp_path / "metrics.json").write_text(json.dumps(results))
    assert run_reader.read(tmp_path).kind is kinds.KINDS["findings"]


def test_an_unknown_kind_is_one_line():
    with pytest.raises(errors.InputError, match="of findings, masks, classes, volumes, found 'x'"):
        kinds.named("x")


def test_every_kind_compares_models_by_what_it_draws_by_round():
    for name, kind in kinds.KINDS.items():
        assert kind.name == name
        assert kind.main in kind.of_rounds
