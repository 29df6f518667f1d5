"""What a study of findings exports gives the calibrated probabilities of its tables."""

import types
from typing import Any

import numpy as np
from scipy import special

from tests.training import example
from tffcxr.clients.sites import ClientRecords
from tffcxr.evaluation.calibration import Scaling
from tffcxr.models.files import export, metadata
from tffcxr.studies.findings import findings_results
from tffcxr.training.evaluators.validation import Scores


def _task(site, column, scaling):
    nothing = Scores(np.zeros(0), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2)))
    finding = example.FINDINGS[column]
    return findings_results.TaskScores(
        finding, finding, site, "federated", column, nothing, nothing, 0.25, scaling
    )


def test_the_exported_model_has_the_scaling_of_each_finding_and_the_weights_have_not(tmp_path):
    model = example.model()
    weights = model.keras.get_weights()
    images = np.random.default_rng(0).random((3, example.SIZE, example.SIZE, 1), np.float32)
    logits = model.keras(images).numpy()
    findings_of = {site: (name,) for site, name in zip(("north", "south"), example.FINDINGS)}
    study: Any = types.SimpleNamespace(
        clients=ClientRecords({}, {site: site for site in findings_of}, findings_of, {}),
        several=False,
        plans={"standard": example.plan()},
        about_model=lambda outputs, network, number, **others: metadata.Metadata(
            "findings", outputs, example.SIZE, "pad", "cheXviz", network, True, **others
        ),
    )
    scalings = Scaling("platt", 2.0, -1.0), Scaling("temperature", 0.5)
    result = findings_results.NetworkResult(
        "standard",
        model,
        {"federated": dict.fromkeys(findings_of, weights)},
        [_task(site, i, scaling) for i, (site, scaling) in enumerate(zip(findings_of, scalings))],
        {},
    )
    findings_results.save_models(tmp_path, study, result)

    exported = export.load(tmp_path / "models" / "multi_task.keras")
    expected = special.expit(np.stack([logits[:, 0] / 2 - 1, logits[:, 1] / 0.5], axis=1))
    np.testing.assert_allclose(exported.keras(images).numpy(), expected, atol=1e-6)
    assert exported.metadata.calibration == {
        "Opacity": {"calibration": "platt", "temperature": 2.0, "calibration_bias": -1.0},
        "Effusion": {"calibration": "temperature", "temperature": 0.5},
    }
    # A training that starts from the weights starts from what was trained.
    again = example.model()
    again.keras.set_weights([np.zeros_like(weight) for weight in weights])
    again.keras.load_weights(tmp_path / "models" / "federated_north.h5")
    np.testing.assert_array_equal(again.keras.get_weights()[-2], weights[-2])
