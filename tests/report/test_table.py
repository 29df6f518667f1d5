"""Tests of report.table: the terminal's table."""

from tffcxr.report import table

_ROW = {
    "task": "Pneumothorax", "model": "standard", "training": "federated", "split": "test",
    "client": "siim", "images": 160, "loss": 0.3334, "sensitivity": 0.85, "specificity": 0.9,
    "aupr": 0.9, "auroc": 0.9126, "auroc_low": 0.88, "auroc_high": 0.94, "p_ttest": 1e-9,
    "p_delong": 0.43, "interval": "95 % percentile interval", "baseline": "site",
    "operating_point": "Youden index, chosen on validation images",
}  # fmt: skip


def test_table_of_two_models():
    baseline = {**_ROW, "training": "site", "p_ttest": None, "p_delong": float("nan")}
    del baseline["baseline"]
    assert table.format_table([_ROW, baseline]).split("\n")[:5] == [
        "                         images   loss  sens.  spec.   AUPR      AUROC (95 % CI)"
        "  p t-test  p DeLong",
        "-" * 100,
        "Pneumothorax at siim (standard model, test images)",
        "  Site alone                160  0.333  0.850  0.900  0.900  0.913 (0.880–0.940)"
        "         –         –",
        "  Federated                 160  0.333  0.850  0.900  0.900  0.913 (0.880–0.940)"
        "    <0.001     0.430",
    ]


def test_no_line_is_wider_than_100_columns():
    rows = [
        {**_ROW, "task": "No Lung Opacity / Not Normal " * 5, "images": 1234567},
        {**_ROW, "client": "a-hospital-with-a-name-that-is-far-too-long-for-a-column"},
        {**_ROW, "client": "other", "training": "leave-one-hospital-out"},
    ]
    assert max(map(len, table.format_table(rows).split("\n"))) == 100


def test_clients_are_named_where_they_tell_models_apart():
    rows = [{**_ROW, "training": "site", "client": name} for name in ("b", "a")]
    rows.append({**_ROW, "client": None})
    ordered = table.in_order(rows)
    assert [row["name"] for row in ordered] == ["Site alone at a", "Site alone at b", "Federated"]
    assert {row["title"] for row in ordered} == {"Pneumothorax (standard model, test images)"}


def test_site_is_not_named_twice():
    (row,) = table.in_order([{**_ROW, "task": "Pneumothorax at siim"}])
    assert row["title"] == "Pneumothorax at siim (standard model, test images)"


def test_undefined_metrics_and_rows_with_few_columns():
    text = table.format_table([{"task": "T", "training": "federated", "split": "test"}])
    assert text.split("\n")[3].split() == ["Federated", *"–" * 8]
    assert table.format_table([]) == "No results."


def test_rows_are_not_changed():
    row = dict(_ROW)
    table.format_table([row])
    assert row == _ROW
