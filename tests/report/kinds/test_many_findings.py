"""What is said of studies with many findings."""

from tffcxr.report.kinds import findings_kind, many_findings


def _rows(count, better=0):
    """A federated model and a site's own per finding; the first `better` differ significantly."""
    rows = []
    for number in range(count):
        about = {"task": f"F{number}", "model": "m", "split": "test", "client": "a"}
        about |= {"title": f"F{number} at a (m model, test images)"}
        federated = 0.6 + number / 100
        rows += [
            {**about, "training": "site", "name": "Site alone", "auroc": federated - 0.05},
            {**about, "training": "federated", "name": "Federated", "auroc": federated}
            | {"baseline": "site", "p_delong": 0.01 if number < better else 0.5},
        ]
    return rows


def test_a_finding_of_two_sites_is_one_finding():
    tasks = {"Mass at a": "a", "Mass at b": "b", "Edema": "a", "Hernia at home": "b"}
    rows = [{"task": task, "client": site} for task, site in tasks.items()]
    assert many_findings.counted(rows) == "3 findings at 2 sites"
    assert many_findings.counted([{"task": "Mass"}, {"task": "Edema"}]) == "2 findings"


def test_few_findings_have_a_sentence_each():
    assert len(findings_kind.KIND.summary(_rows(6))) == 6


def test_many_findings_share_sentences():
    first, second = findings_kind.KIND.summary(_rows(9, better=2))
    assert first == (
        "9 results of the federated model (m model, test images): median AUROC 0.640, 0.600 "
        "(F0 at a) to 0.680 (F8 at a)."
    )
    assert second == (
        "Against site alone, its AUROC is higher in 9 of 9 and lower in 0. DeLong's test gives p "
        "below 0.05 in 2 of 9: F0 at a (better), F1 at a (better); chance alone would give 0.5, "
        "were the models equally good."
    )


def test_the_best_is_none_of_too_few_patients_for_an_interval():
    rows = [row for row in _rows(9) if row["training"] == "federated"]
    for row in rows[:8]:
        row["auroc_low"] = row["auroc"] - 0.1
    (sentence,) = many_findings.summary(rows)
    assert sentence == (
        "9 results of the federated model (m model, test images). Of the 8 with patients enough "
        "for an interval: median AUROC 0.635, 0.600 (F0 at a) to 0.670 (F7 at a)."
    )


def test_nothing_could_be_tested():
    pairs = [({"title": "F", "auroc": 0.5}, {"auroc": 0.6}, float("nan"))]
    assert many_findings.comparison("site alone", pairs) == (
        "Against site alone, its AUROC is higher in 0 of 1 and lower in 1; no difference could be "
        "tested."
    )


def test_a_problem_of_many_findings_is_said_once_and_another_one_as_it_is():
    alike = {(f"F{n} at a (x)", f"expected 10 images, found {n}."): ["Federated"] for n in range(7)}
    found = many_findings.condensed({**alike, ("F0 at a (x)", "other."): ["Site alone", "Pooled"]})
    assert found == [
        "F0 at a, F1 at a, F2 at a, F3 at a, F4 at a, F5 at a, F6 at a: expected 10 images.",
        "F0 at a (x), Site alone; Pooled: other.",
    ]


def test_few_images_of_many_findings():
    counts = [("A at a", "test", 3.0, 40.0), ("B", "test", 2.0, 41.0)]
    assert many_findings.few_images(counts) == (
        "Few test images of a class, so every number is uncertain: A at a (3 positive, 40 negative)"
        ", B (2 positive, 41 negative)."
    )
