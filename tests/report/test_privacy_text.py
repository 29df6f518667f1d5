"""Tests of report.privacy_text: what epsilon is worth, and what it does not cover."""

import json

import pytest

from tests.report import example_run
from tffcxr import errors
from tffcxr.report import model_card, page, privacy_text, run_report, shared_copy

_TRAINING = {
    "noise_multiplier": 1.3, "noise_multiplier_of_updates": 1.5, "noise_of_count": 1.3,
    "clients": 5, "clients_per_round": 2, "rounds": 12, "most_rounds_of_a_client": 7,
    "epsilon": 70.1, "epsilon_left_out": 26.4, "right_guesses": 0.999997, "budget": 72.0,
    "stopped_by_budget": True, "taken_part": {"a": 7, "b": 5},
}  # fmt: skip


_IMAGES = {
    "noise_multiplier": 1.1, "clip": 0.5, "batch_size": 16, "local_epochs": 2,
    "clients": {
        "a": {
            "images": 320, "passes": 24, "epsilon": 61.4, "epsilon_left_out": 23.1,
            "epsilon_of_poisson_batches": 6.32, "right_guesses": 0.9999996,
        },
    },
}  # fmt: skip


def _write(run_dir, trainings, images=None):
    together = {"epsilon": 70.1, "right_guesses": 0.999997}
    privacy = {
        "version": 1,
        "delta": 1e-5,
        "trainings": trainings,
        "images": images or {},
        "together": together,
    }
    (run_dir / "privacy.json").write_text(json.dumps(privacy))


def test_the_words_follow_from_the_tiers():
    assert "ε = 0.8 is strong protection." in privacy_text.verdict(0.8, 0.6, 100)
    assert "in up to 60.0 % of cases" in privacy_text.verdict(0.8, 0.6, 100)
    assert "reasonable protection." in privacy_text.verdict(10.0, 0.83, 100)
    assert "weak protection." in privacy_text.verdict(10.1, 0.84, 100)
    assert privacy_text.verdict(70.0, 0.99999, 5).startswith(
        "With 5 clients, ε = 70 is no protection: it protects nobody. Whoever knows two data sets, "
        "one of which a client has, can tell which from the models in up to 100.0 % of cases"
    )


def test_report_card_and_copy_have_the_section(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "write_figure", lambda *_: None)
    (tmp_path / "run").mkdir()
    run_dir = example_run.write(tmp_path / "run", 60, 2, 1)
    assert "<h2>Privacy</h2>" not in run_report.write_report(run_dir).read_text()
    _write(run_dir, {"federated": _TRAINING}, {"federated": _IMAGES})
    config = json.loads((run_dir / "config.json").read_text())
    config["settings"]["share"] = "representation"
    (run_dir / "config.json").write_text(json.dumps(config))
    shared_copy.write(run_dir, tmp_path / "copy", lambda *_: None)
    for path in (run_dir, tmp_path / "copy"):
        html = run_report.write_report(path).read_text()
        assert "<h2>Privacy</h2>" in html
        assert "<td>70.1</td><td>26.4</td><td>–</td><td>1e-05</td><td>1.3</td>" in html
        assert "<td>40 %</td><td>12</td><td>7</td>" in html
        assert "it protects nobody" in html
        assert "stopped after 12 rounds, since another could have cost a client more" in html
        assert "Layers that stay at a client" in html
        assert "<h3>Single images</h3>" in html
        assert "<td>a</td><td>320</td><td>24</td><td>61.4</td><td>23.1</td><td>6.32</td>" in html
        assert "For the client with most passes, ε = 61.4 is no protection" in html
    card = (run_dir / model_card.FILE).read_text()
    assert "## Privacy" in card and "| federated | 70.1 |" in card
    assert "training loss and failures (clients.csv)" in card


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("local", "The updates of --aggregator=secure were added in the clear"),
        ("ray", "This does not protect from its user"),
        ("hospitals", "the coordinator could read only the sum of all"),
    ],
)
def test_report_and_card_say_what_secure_sums_were_worth(tmp_path, monkeypatch, engine, sentence):
    monkeypatch.setattr(page, "write_figure", lambda *_: None)
    run_dir = example_run.write(tmp_path, 60, 2, 1)
    config = json.loads((run_dir / "config.json").read_text())
    config["engine"] = engine
    config["settings"]["aggregator"] = "secure"
    (run_dir / "config.json").write_text(json.dumps(config))
    html = run_report.write_report(run_dir).read_text()
    assert "<h2>Privacy</h2>\n<h3>Secure sums</h3>" in html and sentence in html
    assert "Not covered by ε" not in html
    card = (run_dir / model_card.FILE).read_text()
    assert "## Privacy\n\n### Secure sums\n\n- " in card and sentence in card
    config["settings"].update(aggregator="mean", only=["densenet121:aggregator=secure"])
    assert privacy_text.of({}, config) is not None
    assert privacy_text.of({}, {"engine": engine, "settings": {"aggregator": "mean"}}) is None


def test_several_trainings_are_judged_together():
    privacy = {
        "delta": 1e-5,
        "trainings": {"one": _TRAINING, "two": {**_TRAINING, "stopped_by_budget": False}},
        "images": {},
        "together": {"epsilon": 120.0, "right_guesses": 1.0},
    }
    found = privacy_text.of(privacy, {})
    assert found is not None
    assert (
        found.tables[0]
        .sentences[0]
        .startswith("All 2 trainings together: With 5 clients, ε = 120 is no")
    )
    assert privacy_text.stopped(privacy) == {"one"}
    assert not any("Layers that stay" in sentence for sentence in found.not_covered)
    assert privacy_text.of({}, {}) is None


def test_a_hospital_does_not_know_why_the_coordinator_has_stopped():
    config = {"settings": {"epsilon_budget": 8.0, "target_epsilon": None}}
    assert privacy_text.has_budget_elsewhere({}, config)
    assert not privacy_text.has_budget_elsewhere({"trainings": {"federated": _TRAINING}}, config)
    assert not privacy_text.has_budget_elsewhere({}, {"settings": {"epsilon_budget": None}})


def test_layers_that_clients_keep_are_covered_by_the_noise_of_their_steps():
    privacy = {"delta": 1e-5, "images": {"federated": _IMAGES}}
    config = {"settings": {"share": "representation", "dp_sgd_noise": 1.1}}
    found = privacy_text.of(privacy, config)
    assert found is not None
    assert [table.title for table in found.tables] == ["Single images"]
    assert not any("Layers that stay" in sentence for sentence in found.not_covered)


@pytest.mark.parametrize(
    "content", ['{"delta": 1e-5}', '{"delta": 1e-5, "trainings": {"a": {}}, "together": {}}', "[]"]
)
def test_a_damaged_file_is_one_line(tmp_path, content):
    (tmp_path / "privacy.json").write_text(content)
    with pytest.raises(errors.InputError, match="privacy.json"):
        privacy_text.read(tmp_path)
