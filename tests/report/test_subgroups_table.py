"""Tests of report.subgroups_table: sentences on gaps, small groups, and what a copy may have."""

import numpy as np
import pandas as pd

from tests.report import example_run
from tffcxr import run_tables
from tffcxr.report import run_files, run_report, shared_copy, subgroups_table

_NAMES = ("auroc", "auroc_gap", "sensitivity", "specificity")


def _row(attribute, group, auroc, gap=None, **more):
    row = {
        "task": "Mass", "model": "standard", "training": "federated", "client": "a",
        "attribute": attribute, "group": group, "images": 60, "patients": 50, "positives": 20,
        "too_small": 0,
    }  # fmt: skip
    row.update({f"{name}{end}": np.nan for name in _NAMES for end in ("", "_low", "_high")})
    row.update(auroc=auroc, auroc_low=auroc - 0.05, auroc_high=auroc + 0.05)
    if gap is not None:
        row.update(auroc_gap=gap[0], auroc_gap_low=gap[1], auroc_gap_high=gap[2])
    return {**row, **more}


_ROWS = (
    _row("sex", "female", 0.75, (0.125, 0.0625, 0.1875)),
    _row("sex", "male", 0.875),
    _row("view", "PA", 0.875),
    _row("view", "AP", 0.8125, (0.0625, -0.0625, 0.1875)),
    _row("view", "unknown", 0.5, too_small=1, positives=3),
    _row("sex", "male", 0.5, training="site"),
)


def _table(*rows):
    names = [name for name in run_tables.SUBGROUPS.columns if any(name in row for row in rows)]
    return pd.DataFrame(rows or None, columns=names or run_tables.SUBGROUPS.always)


def test_blocks_are_of_the_federated_model_by_attribute():
    sex, view = subgroups_table.blocks(_table(*_ROWS))
    assert (sex.title, view.title) == ("Mass at a: by sex", "Mass at a: by view")
    assert [line["name"] for line in view.lines] == ["PA", "AP", "unknown (few)"]
    assert len(sex.lines[0]["cells"]) == len(subgroups_table.headings(_table(*_ROWS)))
    assert sex.lines[0]["cells"] == [
        "60", "20", "50", "0.750 (0.700–0.800)", "0.125 (0.062–0.188)", "–", "–",
    ]  # fmt: skip


def test_the_largest_gap_is_named():
    (sentence,) = subgroups_table.largest_gaps(_table(*_ROWS))
    assert sentence == (
        "Mass at a: the largest gap in AUROC is between male (0.875) and female (0.750), by sex: "
        "0.125 (0.062–0.188)."
    )
    assert subgroups_table.largest_gaps(_table(_ROWS[1], _ROWS[2])) == []


def test_warnings_are_of_gaps_above_0_and_of_small_groups():
    gap, small = subgroups_table.warnings(_table(*_ROWS))
    assert "the AUROC of the group female (sex) is below that of the best group" in gap
    assert small.startswith("1 of 5 subgroups of the federated models have fewer than 10 images")
    assert subgroups_table.warnings(_table(*_ROWS[1:4])) == []


def test_runs_without_the_file_say_nothing():
    nothing = _table()
    assert subgroups_table.blocks(nothing) == subgroups_table.largest_gaps(nothing) == []
    assert subgroups_table.warnings(nothing) == []
    assert subgroups_table.to_share(nothing).empty


def test_networks_are_named_where_there_are_several():
    kinds = [
        _row("sex", "male", 0.9, model="resnet18", images_kind=kind, client=np.nan)
        for kind in ("full", "segmented")
    ]
    other = _row("sex", "male", 0.9, images_kind="full", client=np.nan)
    titles = [block.title for block in subgroups_table.blocks(_table(*kinds, other))]
    assert titles == [
        "Mass, ResNet18, full: by sex", "Mass, ResNet18, segmented: by sex",
        "Mass, standard, full: by sex",
    ]  # fmt: skip


def test_a_copy_has_attributes_of_large_groups_alone():
    shared = subgroups_table.to_share(_table(*_ROWS))
    assert shared["attribute"].tolist() == ["sex", "sex", "sex"]  # One of the views is small.
    few = _row("sex", "female", 0.75, training="site", patients=9)
    shared = subgroups_table.to_share(_table(*_ROWS, few))
    assert shared["training"].tolist() == ["federated", "federated"]


def test_the_page_and_the_copy_of_a_run(tmp_path):
    run_dir = example_run.write(_made(tmp_path / "run"), 60, 1, 1)
    run_tables.SUBGROUPS.write(run_dir, _table(*_ROWS))
    html = run_report.write_report(run_dir).read_text()
    assert "<h2>Subgroups</h2>" in html
    assert "the largest gap in AUROC is between male" in html
    assert '<th scope="row">unknown (few)</th>' in html
    note = shared_copy.write(run_dir, tmp_path / "copy", lambda source, copy: None)
    assert "of subgroups, every attribute (sex, age, view)" in note
    copied = run_files.read_table(tmp_path / "copy", run_tables.SUBGROUPS)
    assert set(copied["attribute"]) == {"sex"}
    assert "<h2>Subgroups</h2>" in (tmp_path / "copy" / "report.html").read_text()


def _made(folder):
    folder.mkdir()
    return folder
