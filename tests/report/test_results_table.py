"""Tests of report.results_table: the terminal's table."""

from tffcxr.report import results_table, style
from tffcxr.report.kinds import classes_kind, findings_kind, masks_kind

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
    assert results_table.format_table([_ROW, baseline], findings_kind.KIND).split("\n")[:5] == [
        "                             AUROC (95 % CI)    p site  images  sens.  spec.   AUPR"
        "   loss    t site",
        "-" * 100,
        "Pneumothorax at siim (standard model, test images)",
        "  Site alone             0.913 (0.880–0.940)               160  0.850  0.900  0.900"
        "  0.333",
        "  Federated              0.913 (0.880–0.940)     0.430     160  0.850  0.900  0.900"
        "  0.333    <0.001",
    ]


def test_what_has_no_room_is_not_explained():
    shown = results_table.format_table([_ROW], findings_kind.KIND)
    assert " t: the paired t-test, whose p shrinks" in " ".join(shown.split())
    text = results_table.format_table([{**_ROW, "ppv": 0.5, "npv": 0.5}], findings_kind.KIND)
    hidden = " ".join(text.split())
    assert "t: the paired" not in hidden and "p: DeLong's test against" in hidden


def test_no_line_is_wider_than_100_columns():
    rows = [
        {**_ROW, "task": "No Lung Opacity / Not Normal " * 5, "images": 1234567},
        {**_ROW, "client": "a-hospital-with-a-name-that-is-far-too-long-for-a-column"},
        {**_ROW, "client": "other", "training": "leave-one-hospital-out"},
    ]
    assert max(map(len, results_table.format_table(rows, findings_kind.KIND).split("\n"))) == 100


def test_clients_are_named_where_they_tell_models_apart():
    rows = [{**_ROW, "training": "site", "client": name} for name in ("b", "a")]
    rows.append({**_ROW, "client": None})
    ordered = results_table.in_order(rows, findings_kind.KIND)
    assert [row["name"] for row in ordered] == ["Site alone at a", "Site alone at b", "Federated"]
    assert {row["title"] for row in ordered} == {"Pneumothorax (standard model, test images)"}


def test_site_is_not_named_twice():
    (row,) = results_table.in_order([{**_ROW, "task": "Pneumothorax at siim"}], findings_kind.KIND)
    assert row["title"] == "Pneumothorax at siim (standard model, test images)"


def test_undefined_metrics_and_rows_with_few_columns():
    text = results_table.format_table(
        [{"task": "T", "training": "federated", "split": "test"}], findings_kind.KIND
    )
    assert text.split("\n")[3].split() == ["Federated", *"–" * 6]
    assert results_table.format_table([], findings_kind.KIND) == "No results."


def test_an_auroc_that_hospitals_cannot_have_together_is_a_dash_with_its_reason():
    row = {"task": "A", "training": "federated", "split": "test", "auroc_remark": "all in one bin"}
    lines = results_table.format_table([row], findings_kind.KIND).split("\n")
    assert lines[3].split()[:2] == ["Federated", "–"]
    assert lines[-1] == "A (test images): AUROC is undefined: all in one bin."


def test_masks():
    row = {
        "task": "Lungs", "model": "unet", "training": "federated", "split": "test", "images": 31,
        "loss": 0.21, "jaccard": 0.9, "jaccard_low": 0.85, "jaccard_high": 0.94, "dice": 0.947,
        "round": 9, "last_jaccard": 0.88, "chosen": "largest Jaccard on the test images",
        "interval": "95 % percentile interval",
    }  # fmt: skip
    pooled = {**row, "training": "pooled", "jaccard_low": None, "round": 12}
    lines = [
        " ".join(line.split())
        for line in results_table.format_table([row, pooled], masks_kind.KIND).split("\n")
    ]
    assert lines == [
        "Jaccard (95 % CI) Dice (95 % CI) images loss round last J.",
        "-" * 94,
        "Lungs (U-Net model, test images)",
        "All sites pooled 0.900 0.947 31 0.210 12 0.880",
        "Federated 0.900 (0.850–0.940) 0.947 31 0.210 9 0.880",
        "",
        "The round of the models: largest Jaccard on the test images. last J.: Jaccard of the last "
        "round's",
        "model.",
    ]


def _classes(model, images, training="federated", **more):
    return {
        "task": "RSNA classes", "model": model, "images_kind": images, "training": training,
        "split": "test", "accuracy": 0.7, "classes": ["Normal", "Ill"],
        "confusion": [[7, 3], [1, 9]], "sensitivity_by_class": {"Normal": 0.7, "Ill": None}, **more,
    }  # fmt: skip


def test_variants_of_classes_are_compared_with_each_other():
    rows = [
        _classes("resnet50", "segmented", maximum_accuracy=0.75, maximum_accuracy_round=4),
        _classes("resnet50", "full"),
        _classes("densenet121", "full"),
    ]
    ordered = results_table.in_order(rows, classes_kind.KIND)
    assert [row["name"] for row in ordered] == [
        "DenseNet121, full", "ResNet50, full", "ResNet50, segmented",
    ]  # fmt: skip
    assert {row["title"] for row in ordered} == {"RSNA classes (test images)"}
    assert len({row["colour"] for row in ordered}) == 3
    lines = results_table.format_table(rows, classes_kind.KIND).split("\n")
    assert lines[5].split() == [
        "ResNet50,", "segmented", "0.700", "0.750", "(4)", "–", "–", "0.700", "–",
    ]  # fmt: skip
    assert "Classes: A Normal, B Ill." in " ".join(lines)


def test_trainings_are_named_where_they_tell_variants_apart():
    rows = [_classes("resnet50", "full", training) for training in ("federated", "pooled")]
    names = [row["name"] for row in results_table.in_order(rows, classes_kind.KIND)]
    assert names == ["ResNet50, full, pooled", "ResNet50, full, federated"]


def test_models_have_the_colours_of_the_table_by_their_names_in_other_files():
    rows = [
        {"task": "A", "model": model, "training": training, "split": "test"}
        for model in ("resnet18", "covidnet")
        for training in ("federated", "pooled")
    ]
    table = results_table.in_order(rows, classes_kind.KIND)
    names = [f"{row['model']} {row['training']}" for row in table]
    found = results_table.colours(names, rows, classes_kind.KIND)
    assert found == dict(zip(names, [row["colour"] for row in table]))
    one = results_table.colours(names[:2], rows[2:], classes_kind.KIND)
    assert len(set(one.values())) == 2  # Of a single variant the trainings differ.
    trainings = ["site", "federated"]
    assert results_table.colours(trainings, [], findings_kind.KIND) == style.colours(trainings)


def test_columns_that_do_not_fit_are_said_to_be_missing():
    names = [f"class {i}" for i in range(5)]
    row = _classes("resnet50", "full", maximum_accuracy=0.75, maximum_accuracy_round=4)
    row.update(classes=names, sensitivity_by_class=dict.fromkeys(names, 0.5))
    text = results_table.format_table([row], classes_kind.KIND)
    assert max(map(len, text.split("\n"))) <= 100
    assert "Not shown for want of room: sens. D, sens. E" in text


def test_share_of_the_commonest_class():
    assert results_table.commonest_share([{}, {"confusion": [[1, 2], [0, 9]]}]) == 0.75
    assert results_table.commonest_share([{"confusion": [[0, 0], [0, 0]]}]) is None
    assert results_table.commonest_share([{}]) is None


def test_rows_are_not_changed():
    row = dict(_ROW)
    results_table.format_table([row], findings_kind.KIND)
    assert row == _ROW
