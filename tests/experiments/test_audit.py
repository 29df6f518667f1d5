"""`audit` makes a run on phantoms and attacks it; it refuses what it cannot attack, in one line."""

import csv
import json
import math

import pytest

from tests.experiments import programs
from tffcxr.models.files import metadata
from tffcxr.report import audit_page


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--batches=1,0", "--batches: expected numbers of at least 1, found '1,0'"),
        ("--batches=2,2", "--batches: expected each number once, found '2,2'"),
        ("--iterations=0", "--iterations: expected at least 1, found 0"),
        ("--protections=noise", "--protections: expected some of clipping, dp, dp_sgd, secure"),
        ("--dp_sgd_noise=0", "--dp_sgd_noise: expected above 0, at most 1e6, found 0.0"),
        ("--cache_dir=x", "--cache_dir: expected a --run with it"),
    ],
)
def test_bad_flags(tmp_path, flag, line):
    ended = programs.run("audit", f"--output_dir={tmp_path / 'out'}", flag)
    assert programs.refusal(ended).startswith(f"audit: {line}")


def test_runs_that_cannot_be_attacked(tmp_path):
    out = f"--output_dir={tmp_path / 'out'}"

    def refused(**config):
        (tmp_path / "config.json").write_text(json.dumps(config))
        return programs.refusal(programs.run("audit", f"--run={tmp_path}", out))

    line = programs.refusal(programs.run("audit", f"--run={tmp_path / 'none'}", out))
    assert line.startswith("audit: expected a run directory with config.json, found No such file")
    line = refused(recipe="cxr_fl_segmentation", kind=metadata.MASKS, settings={})
    assert "expected a run of findings or classes, such as one of cheXviz, found one of cxr" in line
    (tmp_path / "metrics.json").write_text(json.dumps({"complete": False}))
    of_findings = {"recipe": "cheXviz", "kind": metadata.FINDINGS, "settings": {}}
    assert "expected a complete run, found an unfinished one" in refused(**of_findings)
    (tmp_path / "metrics.json").write_text(json.dumps({"complete": True}))
    assert "over hospitals" in refused(**of_findings, engine="hospitals")
    line = refused(**of_findings, data_fingerprint="abc")
    assert "expected the run's decoded images, which are in --cache_dir" in line
    foreign = programs.run("audit", f"--run={tmp_path}", f"--output_dir={tmp_path}")
    assert "--output_dir: expected a new or an empty folder" in programs.refusal(foreign)


def test_phantoms_are_attacked_from_the_first_step_to_the_page(tmp_path):
    out = tmp_path / "out"
    run = tmp_path / "run"
    made = programs.run(
        "cheXviz",
        *(f"--output_dir={run}", "--phantom_patients=30", "--image_size=16", "--width=0.25"),
        *("--partition=iid", "--clients_per_site=2", "--rounds=1", "--baseline=none"),
        *("--optimizer=sgd", "--nokeep_optimizer", "--bootstrap=20", "--heatmaps=0"),
        *("--noheat_metrics", "--share=all"),
    )
    assert made.status == 0, made.errors
    flags = (
        *(f"--run={run}", f"--output_dir={out}", "--batches=1", "--iterations=3"),
        *("--protections=dp", "--bootstrap=20", "--updates=4", "--repeats=2"),
    )
    ended = programs.run("audit", *flags)
    assert ended.status == 0, ended.errors
    assert ended.output.endswith(f"report: {out / 'audit.html'}\n")
    found = json.loads((out / "audit.json").read_text("utf-8"))
    rows = found["inversion"]
    cases = [("one step", 1), ("one epoch", 1)]
    assert [(row["steps"], row["batch"]) for row in rows[::2]] == cases
    assert [row["protection"] for row in rows] == ["nothing", "dp"] * 2
    # A client by itself, and the sum of all four.
    assert [row["images_in_update"] for row in rows[:2]] == [1, 4]
    assert [row["updates"] for row in rows] == [2, 2, 1, 1]
    assert all(math.isfinite(row["psnr"]) for row in rows)
    protections = [row["protection"] for row in found["membership"]]
    assert protections == ["untrained", "nothing", "nothing", "dp", "dp"]
    by_name = {row["protection"]: row["epsilon"] for row in found["membership"]}
    assert by_name["nothing"] is None and 5 < by_name["dp"] < 20
    html = (out / "audit.html").read_text("utf-8")
    assert "An attack that fails does not prove that none succeeds" in html
    assert 'src="data:' in html and 'src="http' not in html
    with (out / "properties.csv").open(encoding="utf-8") as file:
        assert [row["protection"] for row in csv.DictReader(file)] == ["nothing", "dp"]


def test_verdicts():
    row = {"psnr": 22.0, "psnr_of_guess": 20.0, "ssim": 0.8, "ssim_of_guess": 0.6, "line_up": 100}
    assert audit_page.verdict({**row, "place_in_line_up": 1.0}) == "recognised"
    assert audit_page.verdict({**row, "place_in_line_up": 50.0}) == "in part"
    assert audit_page.verdict({**row, "place_in_line_up": math.nan}) == "in part"
    assert audit_page.verdict({**row, "ssim": 0.6, "place_in_line_up": 50.0}) == "not found"


def _found(psnr, low):
    """A run whose unprotected update gives images of such a likeness, and members such an AUC."""
    inverted = {
        **{"steps": "one step", "batch": 4, "protection": "nothing", "psnr": psnr, "ssim": 0.8},
        **{"psnr_of_guess": 20.0, "ssim_of_guess": 0.6, "line_up": 100, "place_in_line_up": 50.0},
    }
    members = {"protection": "nothing", "attack": "loss", "auc": 0.6, "low": low, "high": 0.7}
    return audit_page.Found(
        about="",
        weights="initial",
        most=8,
        protections={"nothing": ("nothing", "")},
        inversion=[inverted],
        membership=[members],
        properties=[],
        pictures=[],
        remarks=[],
        settings={},
    )


def test_what_fails_without_protection_is_said_to_prove_nothing():
    images, members, *_ = audit_page.summary(_found(psnr=19.0, low=0.45))
    assert images.startswith("Not even without protection is an image of one step, batch 4 found")
    assert members.startswith("Not even without protection are training images told from others")
    assert not any("Not even" in line for line in audit_page.summary(_found(psnr=25.0, low=0.55)))
