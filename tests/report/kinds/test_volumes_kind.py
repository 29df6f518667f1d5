"""Reports of models across domains: sentences, columns, figures, and the page."""

import dataclasses

import pandas as pd
import pytest

from tests.report import example_volumes
from tffcxr.report import remarks, results_table, run_reader, run_report
from tffcxr.report.figures import rounds_figure
from tffcxr.report.kinds.volumes_kind import KIND

NAN = float("nan")


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_volumes.write(tmp_path_factory.mktemp("run")))


def _summary(rows):
    return KIND.summary(results_table.in_order(rows, KIND))


def test_summary_of_each_task(run):
    first, second = _summary(run.rows)
    assert first == (
        "Kidneys in CT (U-Net model, test images): federated Dice 0.800 (0.750–0.850); each node "
        "alone 0.450 (0.400–0.500); Federated, private batch norm \u22120.100; missed entirely in "
        "0 of 6 cases."
    )
    assert second.startswith("Kidneys in PET")
    alone = [row for row in run.rows if row["training"] == "federated"]
    assert "alone" not in _summary(alone)[0]


def test_strata_are_told_where_they_are_known(run):
    rows = [dict(row) for row in run.rows]
    for row in rows:
        row["strata"] = {
            "HGG": {"cases": 4, "dice": 0.85, "missed": 0},
            "LGG": {"cases": 1, "dice": 0.6, "missed": 1},
        }
    first, _ = _summary(rows)
    assert first.endswith(
        "of 6 cases; HGG: Dice 0.850, missed 0 of 4 cases; LGG: Dice 0.600, missed 1 of 1 case."
    )


def test_the_overlap_of_boundaries_comes_before_that_of_areas(run):
    values = {"boundary_overlap": 0.91, "boundary_overlap_low": 0.8, "boundary_overlap_high": 0.95}
    text = run_report.format_table([{**row, **values} for row in run.rows], "volumes")
    heading, *_ = text.splitlines()
    assert " ".join(heading.split()) == (
        "Dice (95 % CI) b. overlap (CI) boxed missed cases differ. loss"
    )
    assert "0.910 (0.800–0.950)" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_few_patients_and_undefined_dice_are_warned_of(run):
    warnings = remarks.warnings(run, [])
    assert sum("only 6 patients; another sample" in warning for warning in warnings) == 2
    weak = [warning for warning in warnings if "more than twice what is found" in warning]
    assert len(weak) == 2 and all("Site alone: Dice is below 0.5" in warning for warning in weak)
    run.rows[0]["dice"] = NAN
    try:
        assert any("the model diverged" in warning for warning in remarks.warnings(run, []))
    finally:
        run.rows[0]["dice"] = 0.8


def test_the_table_tells_the_difference(run):
    text = run_report.format_table(run.rows, "volumes")
    lines = {line.strip().split("  ")[0]: line for line in text.splitlines()[3:7]}
    assert "0.450 (0.400–0.500)" in lines["Site alone"]
    assert "\u22120.100" in lines["Site alone"]
    assert "0.800 (0.750–0.850)" in lines["Federated"]
    assert "missed" in text.splitlines()[0]
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "Federated, private" in text


def test_the_page_has_its_figures(tmp_path):
    run_dir = example_volumes.write(tmp_path)
    html = run_report.write_report(run_dir).read_text(encoding="utf-8")
    names = {path.name for path in (run_dir / "figures").iterdir()}
    assert names == {
        "rounds.png", "dice.png", "masks_kidneys-in-ct.png", "masks_kidneys-in-pet.png",
    }  # fmt: skip
    assert "Interval of the difference" in html
    assert "\u22120.200 to +0.050" in html
    assert "Overlap with boxes" in html
    assert "volumes drawn by a program" in " ".join(html.split())
    assert "Dice and overlap at a picture are of this slice alone" in " ".join(html.split())
    assert "Federated, private batch norm" in html


def test_five_panels_of_rounds_stand_in_rows_of_three(run):
    overlaps = {f"{task}/boundary_overlap": 0.5 for task in example_volumes.TASKS}
    clients = pd.DataFrame(
        {"round": [1], "client": "ct", "images": 9, "train_loss": 0.5, "status": "ok"}
    )
    more = dataclasses.replace(run, rounds=run.rounds.assign(**overlaps), clients=clients)
    three, five = rounds_figure.draw(run), rounds_figure.draw(more)
    assert three is not None and five is not None
    assert [len(figure.axes) for figure in (three, five)] == [3, 5]
    assert five.get_figwidth() == three.get_figwidth()
    assert five.get_figheight() == 2 * three.get_figheight()


def test_a_round_chosen_on_the_test_images_is_optimistic(run):
    rows = [{**row, "chosen": "largest Dice on the test images"} for row in run.rows]
    warnings = remarks.warnings(dataclasses.replace(run, rows=rows), [])
    assert sum("so they are optimistic" in warning for warning in warnings) == 2
    assert not any("optimistic" in warning for warning in remarks.warnings(run, []))
