"""The rows of several hospitals, and what they are together."""

import math

from tffcxr.hospitals import joint_rows


def row(task, **others):
    return {"task": task, "model": "standard", "training": "federated", "split": "test", **others}


def test_tasks_of_one_hospital_keep_their_name():
    found = joint_rows.joined(
        {"north": [row("Opacity", auroc=0.9)], "south": [row("Effusion", auroc=0.8)]}
    )
    assert found == [
        row("Opacity", auroc=0.9, client="north"),
        row("Effusion", auroc=0.8, client="south"),
    ]


def test_hospitals_with_the_same_finding_are_also_measured_together():
    north = [[0.0, 0.5, 1, 3], [0.5, 1.0, 3, 1]]
    south = [[0.0, 0.25, 0, 4], [0.25, 0.5, 2, 0], [0.5, 1.0, 2, 0]]
    found = joint_rows.joined(
        {
            "north": [row("Opacity", auroc=0.75, binned=north)],
            "south": [row("Opacity", auroc=0.9, binned=south)],
        }
    )
    assert [each["task"] for each in found] == ["Opacity at north", "Opacity at south", "Opacity"]
    assert all("binned" not in each for each in found)
    # Bins (3 positive, 7 negative), (5, 1): 5 * 7 pairs are in order, 3 * 7 + 5 * 1 are ties.
    assert found[2]["auroc"] == (5 * 7 + (3 * 7 + 5 * 1) / 2) / (8 * 8)
    assert (found[2]["images"], found[2]["positives"]) == (16, 8)
    assert found[2]["client"] == joint_rows.ALL


def test_scores_that_are_all_in_one_bin_have_no_auroc_and_say_why():
    one = [[0.0, 1.0, 5, 5]]
    found = joint_rows.joined(
        {"north": [row("Opacity", auroc=0.9, binned=one)], "south": [row("Opacity", binned=one)]}
    )
    assert math.isnan(found[2]["auroc"])
    assert "one bin has the scores of all hospitals" in found[2]["auroc_remark"]


def test_a_hospital_without_bins_is_not_counted_in():
    found = joint_rows.joined(
        {"north": [row("Opacity", binned=[[0.0, 1.0, 5, 5]])], "south": [row("Opacity")]}
    )
    assert [each["client"] for each in found] == ["north", "south"]
