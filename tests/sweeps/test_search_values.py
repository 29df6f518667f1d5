"""What a search reads of a run that is still writing."""

import json

import pytest

from tffcxr.errors import InputError
from tffcxr.sweeps import search_values

TABLE = "round,train_loss,a/auroc,b/auroc,a/loss,stage\n1,0.9,0.5,0.7,0.4,all\n2,0.8,0.6,,0.3,all\n"


def _read(tmp_path, metric, **texts):
    for name, text in texts.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return search_values.read(tmp_path, metric)


def test_mean_over_columns_and_no_value_where_one_is_undefined(tmp_path):
    found = _read(tmp_path, "auroc", rounds=TABLE)
    assert found == search_values.Measured({1: pytest.approx(0.6)}, is_by_round=True)
    assert _read(tmp_path, "a/auroc").values == {1: 0.5, 2: 0.6}
    assert _read(tmp_path, "loss").values == {1: 0.4, 2: 0.3}
    assert _read(tmp_path, "train_loss").values == {1: 0.9, 2: 0.8}


def test_last_line_counts_when_it_is_whole(tmp_path):
    assert _read(tmp_path, "a/auroc", rounds=TABLE + "3,0.7,0.").values == {1: 0.5, 2: 0.6}
    assert _read(tmp_path, "a/auroc", rounds=TABLE + "3,0.7,inf,0.5,0.1,all\n").values.keys() == {
        1,
        2,
    }
    assert _read(tmp_path, "a/auroc", rounds="round,a/au").values == {}
    assert search_values.read(tmp_path / "nowhere", "auroc").values == {}


def test_unknown_column_is_told_by_the_header_alone(tmp_path):
    with pytest.raises(InputError) as caught:
        _read(tmp_path, "c/auroc", rounds=TABLE.splitlines()[0] + "\n")
    assert str(caught.value) == (
        "--search: expected one of train_loss, a/auroc, b/auroc, a/loss, auroc, loss of "
        "rounds.csv, found 'c/auroc'"
    )


def test_models_that_are_trained_one_after_the_other(tmp_path):
    one = "round,m full/auroc\n1,0.5\n"
    found = _read(tmp_path, "auroc", rounds_m_full=one, clients_m_full="round\n")
    assert found == search_values.Measured({}, is_by_round=False)  # Others may follow.
    assert _read(tmp_path, "m full/auroc") == search_values.Measured({1: 0.5}, is_by_round=True)
    # The pooled model has the same column.
    _read(tmp_path, "auroc", rounds_m_full_pooled=one.replace("0.5", "0.9"))
    assert _read(tmp_path, "m full/auroc").values == {1: 0.5}
    joined = _read(tmp_path, "auroc", rounds="round,m full/auroc,n full/auroc\n1,0.5,0.7\n")
    assert joined == search_values.Measured({1: pytest.approx(0.6)}, is_by_round=False)


@pytest.mark.parametrize(
    "row,metric,expected",
    [
        ({"training": "federated"}, "auroc", 0.6),
        ({"training": "federated", "round": 2}, "auroc", 0.7),
        ({"training": "federated", "round": 2}, "a/loss", 0.5),
        ({"training": "pooled", "round": 2}, "auroc", 0.6),
        ({"training": "federated", "round": 3, "report_round": "last"}, "auroc", 0.6),
        ({"training": "federated", "round": 2, "report_round": "best"}, "auroc", 0.7),
    ],
)
def test_value_is_that_of_the_model_that_is_kept(tmp_path, row, metric, expected):
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": [row]}))
    assert search_values.final_value(tmp_path, metric, {1: 0.5, 2: 0.7, 3: 0.6}) == expected
    assert search_values.final_value(tmp_path, metric, {}) != expected


def test_images_that_a_metric_is_of(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"derived": {"measured_split": "test"}}))
    assert search_values.measured_split(tmp_path, "auroc") == "test"
    assert search_values.measured_split(tmp_path, "m full/train_loss") == "training"
    (tmp_path / "config.json").write_text("{}")
    assert search_values.measured_split(tmp_path, "auroc") == "validation"
