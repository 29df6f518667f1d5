"""A sweep's results beside published tables."""

import json

import pytest

from tests.report import example_sweep
from tffcxr.sweeps import sweep_published, sweep_results


@pytest.fixture(name="sweep", scope="module")
def _sweep(tmp_path_factory):
    """Two configurations, two runs of each: rounds 1, 2, 3 have the Jaccard 0.9, 0.91, 0.93."""
    made = example_sweep.runs(epochs=(1, 3), clients=(2,))
    path = example_sweep.write(tmp_path_factory.mktemp("sweep"), made, rounds=3)
    for run in made:
        values = [0.9, 0.91, 0.93 if run.repeat == 1 or run.flags["local_epochs"] == "3" else 0.915]
        rows = [f"{i},{value},{1 - value}\n" for i, value in enumerate(values, start=1)]
        table = "round,Lungs/jaccard,train_loss\n" + "".join(rows)
        (path / run.folder / "rounds.csv").write_text(table)
        config = {
            "settings": {"image_size": 32, "rounds": 3, "phantom_patients": 5},
            "derived": {"parameters": {"covidnet": 2_500_000}},
        }
        (path / run.folder / "config.json").write_text(json.dumps(config))
    return sweep_results.read(path, "cxr_fl_segmentation", made, target=0.92)


def _finals(sweep, **values):
    return [
        {"configuration": run.configuration, **run.flags, "split": "test", **values}
        for run in sweep.runs[:2]
    ]


def test_every_repeat_is_an_experiment_of_its_own(sweep):
    (layout,) = sweep_published.layouts(["cxr_fl_table1"], sweep, _finals(sweep))
    texts = {tuple(names): [cell.text for cell in cells] for names, cells in layout.rows}
    assert len(texts) == 9
    assert texts["1", "2"] == ["—", "3", "—", "not reached"]
    assert texts["3", "2"] == ["—", "3", "—", "3"]
    assert texts["2", "2"] == ["—", "–", "—", "–"]
    notes = " ".join(layout.notes)
    assert "This sweep of 4 complete runs with the target 0.92: 32 pixels, 3 rounds." in notes
    assert "Phantom images" in notes


def test_numbers_are_means_over_repeats(sweep):
    values = {"model": "covidnet", "training": "federated", "accuracy_mean": 0.5}
    finals = _finals(sweep, **values, accuracy_sd=0.25)
    (layout,) = sweep_published.layouts(["covid_table2"], sweep, finals)
    names, cells = layout.rows[0]
    assert list(names) == ["COVID-Net", "Federated"]
    assert [cell.text for cell in cells] == ["—", "–", "—", "0.500 ± 0.250", "2.50"]


def test_nothing_without_a_name(sweep):
    assert sweep_published.layouts([], sweep, _finals(sweep)) == []
