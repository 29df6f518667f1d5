"""Tests of report.run_directory: what is read, and one line for what cannot be."""

import csv
import io
import json
import shutil

import numpy as np
import pytest

from tests.report import example_masks, example_run
from tffcxr import errors
from tffcxr.report import remarks, run_reader


@pytest.fixture(name="example", scope="module")
def _example(tmp_path_factory):
    return example_run.write(tmp_path_factory.mktemp("example"), images=40, rounds=2)


@pytest.fixture(name="run_dir")
def _run_dir(example, tmp_path):
    return shutil.copytree(example, tmp_path / "run")


def test_reads_a_whole_run(run_dir):
    run = run_reader.read(run_dir)
    assert (run.recipe, run.kind.name) == ("cheXviz", "findings")
    assert run.complete
    assert len(run.rows) == 6
    assert np.isnan(run.rows[0]["p_delong"]) or run.rows[0]["training"] == "federated"
    assert run.rounds["round"].tolist() == [1, 2]
    assert len(run.clients) == 4
    assert len(run.predictions) == 2 * 3 * 40
    assert run.models == ["models/multi_task.keras"]
    assert [(case.task, case.case) for case in run.explanations[:2]] == [
        ("Lung Opacity", "0"), ("Lung Opacity", "1"),
    ]  # fmt: skip
    assert list(run.explanations[0].heat) == ["site", "federated"]


def test_tables_that_were_cut_off_are_warned_of(run_dir, caplog):
    assert run_reader.read(run_dir).damaged == [] and not caplog.records
    rounds = (run_dir / "rounds.csv").read_text()
    (run_dir / "rounds.csv").write_text(rounds[:-9])
    run = run_reader.read(run_dir)
    (sentence,) = run.damaged
    assert sentence.startswith("rounds.csv ends within a line") and sentence in caplog.text
    assert sentence in remarks.warnings(run, [])
    # After a whole line, what else the run knows of its rounds gives it away.
    (run_dir / "rounds.csv").write_text("".join(rounds.splitlines(keepends=True)[:-1]))
    (sentence,) = run_reader.read(run_dir).damaged
    assert sentence == "rounds.csv lacks 1 round that clients.csv has: rows are missing."


def test_only_the_configuration_is_required(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "findings"}')
    run = run_reader.read(tmp_path)
    assert not run.complete
    assert (run.rows, run.explanations, run.models) == ([], [], [])
    assert run.rounds.empty and run.clients.empty and run.predictions.empty


def test_names_are_text_and_empty_numbers_are_nan(tmp_path):
    (tmp_path / "config.json").write_text('{"kind": "findings"}')
    (tmp_path / "clients.csv").write_text(
        "round,client,images,train_loss,status\n1,007,10,,ok\n1,NA,10,0.5,loss is not finite\n"
    )
    clients = run_reader.read(tmp_path).clients
    assert clients["client"].tolist() == ["007", "NA"]
    assert np.isnan(clients["train_loss"][0])


def test_undefined_numbers_of_the_round_log_are_nan(tmp_path):
    """As `training.round_log` writes them, a left-out client's loss for one."""
    (tmp_path / "config.json").write_text('{"kind": "findings"}')
    text = io.StringIO()
    csv.writer(text).writerows([["round", "train_loss"], [1, float("nan")], [2, 0.5]])
    (tmp_path / "rounds.csv").write_text(text.getvalue())
    assert "nan" in text.getvalue()
    np.testing.assert_array_equal(run_reader.read(tmp_path).rounds["train_loss"], [np.nan, 0.5])


def test_rounds_come_in_order(run_dir):
    lines = (run_dir / "rounds.csv").read_text().splitlines()
    (run_dir / "rounds.csv").write_text("\n".join([lines[0], lines[2], lines[1], ""]))
    assert run_reader.read(run_dir).rounds["round"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json, found No such file"),
        ("config.json", "{", "expected JSON in .*config.json"),
        ("config.json", '{"settings": 3}', "expected an object as 'settings' in .*config.json"),
        ("config.json", '{"derived": [1]}', "expected an object as 'derived' in .*config.json"),
        ("config.json", '{"derived": {"lungs": {"images": "x"}}}', "numbers of images as 'lungs'"),
        ("config.json", '{"derived": {"lungs": {"reasons": {"a": null}}}}', "as 'lungs'"),
        ("config.json", '{"recipe": "covid"}', 'expected "kind" in .*config.json, one of findings'),
        ("config.json", '{"kind": "tabular"}', "'tabular'"),
        ("config.json", '{"kind": ["masks"]}', "expected a kind of study of findings, .*found"),
        ("config.json", "[]", "expected a JSON object in .*config.json, found list"),
        ("metrics.json", '{"rows": [{"task": "A"}]}', "'training' in row 0 of .*metrics.json"),
        (
            "metrics.json",
            '{"rows": [{"task": ["A"], "training": "site", "split": "test"}]}',
            "expected a text as 'task' in row 0 of .*metrics.json",
        ),
        (
            "metrics.json",
            '{"rows": [{"task": "A", "training": "site", "split": "test", "classes": [3]}]}',
            "expected a list of texts as 'classes' in row 0 of .*metrics.json",
        ),
        ("metrics.json", '{"rows": 3}', "list of rows in .*metrics.json"),
        ("rounds.csv", "", "table in .*rounds.csv"),
        ("rounds.csv", "number\n1\n", "column 'round' in .*rounds.csv, found number"),
        ("rounds.csv", "round,train_loss\n1,abc\n", "numbers in column 'train_loss'"),
        ("clients.csv", 'a,"b\n', "table in .*clients.csv"),
        ("predictions.csv", "task,training\n", "column 'client' in .*predictions.csv"),
        ("explanations/lung-opacity_0.npz", None, "lung-opacity_0.npz, found"),
        ("explanations/lung-opacity_0.npz", "", "arrays in .*lung-opacity_0.npz"),
        ("explanations/lung-opacity_0.npz", "PK\x03\x04", "arrays in .*lung-opacity_0.npz"),
    ],
)
def test_damaged_file_is_one_line(run_dir, file, content, message):
    (run_dir / file).unlink()
    if content is not None:
        (run_dir / file).write_text(content)
    with pytest.raises(errors.InputError, match=message) as caught:
        run_reader.read(run_dir)
    assert "\n" not in str(caught.value)


def test_truncated_arrays_are_one_line(run_dir):
    path = run_dir / "explanations" / "pneumothorax_1.npz"
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(errors.InputError, match="pneumothorax_1.npz"):
        run_reader.read(run_dir)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"heat_site": np.zeros((4, 4))}, "'image'"),
        ({"image": np.zeros((4, 4, 1), np.uint8)}, "'image' \\[S, S\\]"),
        ({"image": np.zeros((4, 4), np.uint8)}, "'heat_site'"),
        (
            {
                "image": np.zeros((4, 4), np.uint8),
                "heat_site": np.zeros((4, 4)),
                "heat_federated": np.zeros((2, 2)),
            },
            r"'heat_federated' of the image's shape \(4, 4\)",
        ),
    ],
)
def test_arrays_must_fit_together(run_dir, arrays, message):
    np.savez(run_dir / "explanations" / "lung-opacity_0.npz", **arrays)
    with pytest.raises(errors.InputError, match=message):
        run_reader.read(run_dir)


def test_pickled_arrays_are_refused(run_dir):
    anything = np.array([{"a": 1}], dtype=object)
    np.savez(run_dir / "explanations" / "lung-opacity_0.npz", image=anything)
    with pytest.raises(errors.InputError, match="Object arrays cannot be loaded"):
        run_reader.read(run_dir)


def test_a_folder_that_is_missing(tmp_path):
    with pytest.raises(errors.InputError, match="found no folder"):
        run_reader.read(tmp_path / "nowhere")


@pytest.fixture(name="masks_dir")
def _masks_dir(tmp_path):
    return example_masks.write(tmp_path, 6, 2, 3)


def test_reads_masks(masks_dir):
    run = run_reader.read(masks_dir)
    assert run.measured_split == "test"
    assert len(run.masks) == 2 * 6
    assert run.masks["row"].tolist()[:2] == ["0", "1"]
    assert run.rounds_pooled["round"].tolist() == [1, 2]
    first = run.segmentations[0]
    assert (first.case, first.kind) == ("3", "best")
    assert list(first.masks) == ["pooled", "federated"]
    assert first.truth.dtype == bool


def test_what_is_not_in_the_configuration_is_empty(run_dir):
    run = run_reader.read(run_dir)
    assert (run.measured_split, run.derived, run.lungs) == ("validation", {}, {})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((4, 4), np.uint8)}, "'truth'"),
        (
            {"image": np.zeros((4, 4), np.uint8), "truth": np.zeros((4, 4), bool)},
            "'mask_pooled'",
        ),
        (
            {
                "image": np.zeros((4, 4), np.uint8),
                "truth": np.zeros((2, 2), bool),
                "mask_pooled": np.zeros((4, 4), bool),
                "mask_federated": np.zeros((4, 4), bool),
            },
            r"'truth' of the image's shape \(4, 4\)",
        ),
    ],
)
def test_masks_must_fit_their_image(masks_dir, arrays, message):
    np.savez(masks_dir / "segmentations" / "lungs_1.npz", **arrays)
    with pytest.raises(errors.InputError, match=message):
        run_reader.read(masks_dir)


@pytest.mark.parametrize(
    "row",
    [
        {"confusion": [[1, 2], [3, 4]]},
        {"confusion": [[1, 2], [3, 4]], "classes": ["a", "b", "c"]},
        {"confusion": [[1, 2], [3]], "classes": ["a", "b"]},
        {"confusion": [[1, 2], [3, None]], "classes": ["a", "b"]},
        {"confusion": None, "classes": ["a", "b"]},
    ],
)
def test_a_confusion_matrix_has_all_classes(run_dir, row):
    rows = [{"task": "T", "training": "federated", "split": "test", **row}]
    (run_dir / "metrics.json").write_text(json.dumps({"rows": rows}))
    with pytest.raises(errors.InputError, match="'confusion' in row 0 of .*metrics.json"):
        run_reader.read(run_dir)
