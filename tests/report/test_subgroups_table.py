"""Tests of report.subgroups_table: sentences on gaps, small groups, and what a copy may have."""

import numpy as np
import pandas as pd

from tests.report import example_run
from tffcxr import run_tables
from tffcxr.report import page, run_files, run_report, shared_copy, subgroups_table
from tffcxr.report.kinds import masks_kind

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
    assert "of subgroups, every attribute (sex, age, view, scanner)" in note
    copied = run_files.read_table(tmp_path / "copy", run_tables.SUBGROUPS)
    assert set(copied["attribute"]) == {"sex"}
    assert "<h2>Subgroups</h2>" in (tmp_path / "copy" / "report.html").read_text()


def _of_masks(group, value, gap=None, **more):
    row = {
        "task": "Lungs", "model": "unet", "training": "federated", "attribute": "scanner",
        "group": group, "images": 60, "patients": 50, "too_small": 0, **more,
    }  # fmt: skip
    for name in ("jaccard", "dice"):
        row.update({f"{name}{end}": np.nan for end in ("_gap", "_gap_low", "_gap_high")})
        row.update({name: value, f"{name}_low": value - 0.125, f"{name}_high": value + 0.125})
        if gap is not None:
            row.update({f"{name}_gap": gap, f"{name}_gap_low": 0.0625, f"{name}_gap_high": 0.5})
    return row


def test_masks_are_compared_by_jaccard_and_dice():
    rows = _of_masks("A 1", 0.875), _of_masks("B 2", 0.75, 0.125), _of_masks("other", 0.5)
    table = _table(*rows[:2], {**rows[2], "too_small": 1})
    assert subgroups_table.headings(table) == [
        "Images", "Patients", "Jaccard (95 % CI)", "Below the best group (95 % CI)",
        "Dice (95 % CI)", "Below the best group (95 % CI)",
    ]  # fmt: skip
    (block,) = subgroups_table.blocks(table)
    assert block.title == "Lungs: by scanner"
    assert block.lines[1]["cells"] == [
        "60", "50", "0.750 (0.625–0.875)", "0.125 (0.062–0.500)", "0.750 (0.625–0.875)",
        "0.125 (0.062–0.500)",
    ]  # fmt: skip
    (sentence,) = subgroups_table.largest_gaps(table)
    assert (
        "the largest gap in Jaccard is between A 1 (0.875) and B 2 (0.750), by scanner" in sentence
    )
    gap, small = subgroups_table.warnings(table)
    assert "the Jaccard of the group B 2 (scanner) is below that of the best group" in gap
    assert "fewer than 10 images with the region" in small
    html = page.template("subgroups.html.jinja").render(
        subgroup_gaps=[sentence],
        subgroups=subgroups_table.blocks(table),
        subgroup_headings=subgroups_table.headings(table),
        subgroups_by=subgroups_table.of(table),
        kind=masks_kind.KIND,
    )
    assert "fewer than 10 images with the region" in " ".join(html.split())
    assert "the group with the highest Jaccard of the same attribute" in " ".join(html.split())
    assert "Sensitivity and specificity are" not in html


def test_federated_models_of_volumes_are_told_apart():
    about = {"task": "Kidneys", "model": "unet", "attribute": "sex", "group": "male", "images": 9}
    rows = [
        {**about, "training": training, "patients": 9, "too_small": 1, "dice": 0.5, "overlap": 1.0}
        for training in ("federated", "federated_private_norm", "site")
    ]
    titles = [block.title for block in subgroups_table.blocks(_table(*rows))]
    assert titles == [
        "Kidneys, U-Net: by sex", "Kidneys, U-Net, Federated, private batch norm: by sex",
    ]  # fmt: skip
    assert subgroups_table.headings(_table(*rows))[0] == "Cases"


def _made(folder):
    folder.mkdir()
    return folder
