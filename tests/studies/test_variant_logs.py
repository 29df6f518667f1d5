"""The logs of several models of one run become one."""

import pandas as pd

from tffcxr.studies import variant_logs


def _write(folder, name, seconds, clients, rate=0.1, **metrics):
    rounds = pd.DataFrame(
        {
            "round": [1, 2], "seconds": seconds, "images": 10, "clients": clients,
            "failed_clients": 2 - clients, "learning_rate": rate, "train_loss": ["0.50", "0.40"],
            **metrics, "stage": "all",
        }
    )  # fmt: skip
    rounds.to_csv(folder / f"rounds_{name}.csv", index=False)
    table = pd.DataFrame({"round": [1, 2], "client": "a", "images": 5, "train_loss": 0.3})
    table.assign(status="ok").to_csv(folder / f"clients_{name}.csv", index=False)


def test_metrics_stand_side_by_side(tmp_path):
    _write(tmp_path, "global", [1.5, 1.0], 2, **{"CT/dice": ["0.10", "0.20"]})
    _write(tmp_path, "private_norm", [2.0, 1.0], 1, **{"CT, private norm/dice": ["0.30", "nan"]})
    names = {"global": "federated", "private_norm": "other"}
    variant_logs.write_rounds(tmp_path, names)
    variant_logs.write_clients(tmp_path, names)
    rounds = pd.read_csv(tmp_path / "rounds.csv", dtype=str, keep_default_na=False)
    assert rounds["seconds"].astype(float).tolist() == [3.5, 2.0]
    assert rounds["images"].tolist() == ["20", "20"]
    assert rounds["clients"].tolist() == ["3", "3"]
    assert rounds["failed_clients"].tolist() == ["1", "1"]
    assert rounds["CT/dice"].tolist() == ["0.10", "0.20"]  # With every digit.
    assert rounds["CT, private norm/dice"].tolist() == ["0.30", "nan"]
    assert rounds["federated/train_loss"].tolist() == ["0.50", "0.40"]
    assert rounds["learning_rate"].tolist() == ["0.1", "0.1"]
    assert rounds.columns[-1] == "stage"
    clients = pd.read_csv(tmp_path / "clients.csv")
    assert clients["variant"].tolist() == ["federated"] * 2 + ["other"] * 2


def test_a_variant_that_stopped_early_has_no_numbers_in_later_rounds(tmp_path):
    _write(tmp_path, "a", [1.5, 1.0], 2, **{"A/auroc": ["0.10", "0.20"]})
    _write(tmp_path, "b", [2.0, 1.0], 1, **{"B/auroc": ["0.30", "0.40"]})
    path = tmp_path / "rounds_a.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:2]) + "\n")
    variant_logs.write_rounds(tmp_path, {"a": "a", "b": "b"})
    rounds = pd.read_csv(tmp_path / "rounds.csv", dtype=str, keep_default_na=False)
    assert rounds["A/auroc"].tolist() == ["0.10", ""]
    assert rounds["B/auroc"].tolist() == ["0.30", "0.40"]
    assert rounds["images"].tolist() == ["20", "10"]
    assert rounds["seconds"].astype(float).tolist() == [3.5, 1.0]
    assert rounds["stage"].tolist() == ["all", "all"]


def test_learning_rates_that_differ_and_a_baseline(tmp_path):
    _write(tmp_path, "a_pooled", [1.0, 1.0], 2, rate=0.1, **{"a/loss": [1, 2]})
    _write(tmp_path, "b_pooled", [1.0, 1.0], 2, rate=0.2, **{"b/loss": [3, 4]})
    variant_logs.write_rounds(tmp_path, {"a": "a", "b": "b"}, "_pooled")
    rounds = pd.read_csv(tmp_path / "rounds_pooled.csv")
    assert "learning_rate" not in rounds
    assert rounds["a/learning_rate"].tolist() == [0.1, 0.1]
    assert rounds["b/learning_rate"].tolist() == [0.2, 0.2]
    assert rounds["b/loss"].tolist() == [3, 4]


def test_a_stage_is_named_where_all_variants_in_training_are_in_it(tmp_path):
    for name, stages in (("a", ["head", "all"]), ("b", ["all"])):
        _write(tmp_path, name, [1.0, 1.0], 2, **{f"{name}/loss": ["0.1", "0.2"]})
        table = pd.read_csv(tmp_path / f"rounds_{name}.csv", dtype=str).head(len(stages))
        table.assign(stage=stages).to_csv(tmp_path / f"rounds_{name}.csv", index=False)
    variant_logs.write_rounds(tmp_path, {"b": "b", "a": "a"})
    rounds = pd.read_csv(tmp_path / "rounds.csv", dtype=str, keep_default_na=False)
    assert rounds["stage"].tolist() == ["", "all"]


def test_hospitals_of_several_models_are_told_apart(tmp_path):
    for variant, seconds in (("a", "1.50"), ("b", "2.25")):
        (tmp_path / f"hospitals_{variant}.csv").write_text(
            "round,site,took_part,work_seconds,wait_seconds,received_bytes,sent_bytes\n"
            f"1,north,yes,{seconds},0.5,10,20\n"
        )
    variant_logs.write_hospitals(tmp_path, {"a": "A", "b": "B"})
    *_, first, second = (tmp_path / "hospitals.csv").read_text().splitlines()
    assert first == "1,north,yes,1.50,0.5,10,20,A" and second == "1,north,yes,2.25,0.5,10,20,B"


def test_only_a_coordinator_has_a_log_of_hospitals(tmp_path):
    variant_logs.write_hospitals(tmp_path, {"a": "A", "b": "B"})
    assert not list(tmp_path.iterdir())
