"""What differs between runs, apart from what nobody has set."""

import json

from tests.report.comparison import tiny_runs
from tffcxr.report.comparison import compared_runs, compared_settings


def test_what_was_set_what_was_derived_and_what_is_shared(tmp_path):
    paths = [tiny_runs.findings(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    config = json.loads((paths[0] / "config.json").read_text())
    config["derived"] = {"parameters": {"standard": 9}}
    config["sites"][0]["train_images"] = 40
    (paths[0] / "config.json").write_text(json.dumps(config))
    found = compared_settings.of(compared_runs.read(paths))
    assert found.differing == [("seed", ["0", "1"])]
    assert found.derived == [
        ("derived.parameters.standard", ["9", "–"]),
        ("client north, train_images", ["40", "–"]),
    ]
    assert ("learning_rate", "0.1") in found.shared and ("recipe", "tiny") in found.shared
    assert ("client north, site", "north") in found.shared
