"""The page of several runs, its table, and the folder that they are written to."""

from html import unescape
import json
import re

import numpy as np
import pandas as pd
import pytest

from tests.report.comparison import tiny_runs
from tffcxr.errors import InputError
from tffcxr.report import run_files
from tffcxr.report.comparison import compared_resources, compared_runs, comparison_page
from tffcxr.report.figures import panels


@pytest.fixture(autouse=True)
def _small_figures(monkeypatch):
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)


def test_the_page_has_what_differs_and_the_differences(tmp_path):
    first = tiny_runs.findings(tmp_path / "first")
    other = tiny_runs.findings(tmp_path / "other", tiny_runs.WORSE, learning_rate=0.2, fit="pad")
    starts = [{"seconds": 90.0, "processor_seconds": 120.0, "peak_memory_mb": 1500.0}]
    (first / "resources.json").write_text(json.dumps({"starts": starts}))
    path = comparison_page.write([first, other], tmp_path / "new")
    assert path == tmp_path / "new" / "comparison.html"
    html = unescape(" ".join(path.read_text().split()))
    assert "<h1>Comparison of first, other</h1>" in html
    assert "<tr><td>learning_rate</td><td>0.1</td><td>0.2</td></tr>" in html
    assert "<tr><td>fit</td><td>–</td><td>pad</td></tr>" in html
    assert "data_fingerprint" not in html
    assert "<tr><td>rounds</td><td>2</td></tr>" in html.partition("that all runs share")[2]
    assert "p is of DeLong's test. The intervals of differences" in html
    assert "Not paired" not in html
    assert '<th scope="col">B − A</th><th scope="col">p</th>' in html
    assert '<th scope="row">Minutes of the whole run</th><td>1.5</td><td>–</td>' in html
    # Nothing is loaded from elsewhere.
    assert set(re.findall(r'(?:src|href)="(.{21})', html)) == {"data:image/png;base64"}
    table = run_files.read_table(tmp_path / "new", comparison_page.TABLE)
    comparison_page.TABLE.check(list(table))
    aurocs = table[table["metric"] == "auroc"]
    assert list(aurocs["run"]) == ["A", "B"]
    assert aurocs["difference"].iloc[1] == pytest.approx(np.diff(aurocs["value"])[0])
    assert aurocs["p"].iloc[1] == aurocs["p_holm"].iloc[1]
    # A later comparison replaces an earlier one.
    comparison_page.write([other, first], tmp_path / "new")


def test_runs_on_other_images_are_shown_without_differences(tmp_path):
    paths = [
        tiny_runs.findings(tmp_path / name, images=[f"/{name}/{row}.dcm" for row in range(20)])
        for name in ("first", "other")
    ]
    html = comparison_page.write(paths, tmp_path / "new").read_text()
    assert "<td>not paired</td>" in html
    assert "A and B: other test images (0 of 20 and 20 in common)." in html
    assert "intervals of differences" not in html and "No two runs" not in html
    table = pd.read_csv(tmp_path / "new" / "comparison.csv")
    assert table["difference"].isna().all()
    assert table["not_paired"].dropna().nunique() == 1


def test_a_difference_without_an_interval_has_a_dash_and_a_reason(tmp_path):
    # One positive image of ten patients: no interval of the AUROC, but of the loss.
    labels = np.eye(1, 20)[0]
    paths = [
        tiny_runs.findings(tmp_path / name, scores, labels)
        for name, scores in (("A", tiny_runs.SCORES[::-1]), ("worse", tiny_runs.SCORES))
    ]
    html = unescape(comparison_page.write(paths, tmp_path / "new").read_text())
    of_auroc = html.partition("<h3>AUROC</h3>")[2].partition("</table>")[0]
    # The image has the highest score of all in A, and the lowest in the other.
    cells = re.findall(r"<td>(.*?)</td>", of_auroc)
    assert cells[2:] == ['−1.000 <span class="interval">(–)</span>']
    assert "A and B, AUROC" in html and "1 positive and 10 negative patients" in html
    assert "<h3>A</h3>" in html and "<h3>B: worse</h3>" in html


def test_runs_of_other_findings_have_nothing_in_common(tmp_path):
    paths = [tiny_runs.findings(tmp_path / name) for name in ("first", "other")]
    results = (paths[1] / "metrics.json").read_text()
    (paths[1] / "metrics.json").write_text(results.replace("Opacity", "Effusion"))
    html = comparison_page.write(paths, tmp_path / "new").read_text()
    assert "No two runs have results of the same task, site and training" in html


def test_other_files_are_not_written_over(tmp_path):
    paths = [tiny_runs.findings(tmp_path / name) for name in ("first", "other")]
    for target in (paths[0], tmp_path, paths[0] / "config.json"):
        with pytest.raises(InputError, match="--output_dir: expected a new or an empty folder"):
            comparison_page.write(paths, target)
    (tmp_path / "empty").mkdir()
    comparison_page.write(paths, tmp_path / "empty")


def test_what_no_run_tells_of_its_resources_has_no_row(tmp_path):
    runs = compared_runs.read([tiny_runs.findings(tmp_path / name) for name in ("A", "B")])
    assert compared_resources.rows(runs) == [
        ("Rounds", ["2", "2"]),
        ("Images seen in federated training", ["40", "40"]),
        ("Minutes of federated training", ["1.5", "1.5"]),
    ]
