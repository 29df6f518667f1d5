"""What a recipe refuses over hospitals, in one line, before it connects to anybody."""

import json

import pytest

from tests.experiments import programs
from tests.hospitals import studies
from tffcxr.hospitals import proposals


@pytest.fixture(name="kits", scope="module")
def _kits(tmp_path_factory):
    return studies.make_kits(tmp_path_factory.mktemp("study"))


def refused(recipe, kit, *arguments):
    ended = programs.run(recipe, "--engine=hospitals", f"--kit={kit}", *arguments)
    assert ended.status == 2, ended.errors
    assert "Traceback" not in ended.errors
    return ended.errors


@pytest.mark.parametrize(
    ("recipe", "arguments", "message"),
    [
        ("cheXviz", ["--baseline=site,pooled"], "--baseline: expected site or none"),
        ("covid", ["--baseline=pooled"], "--baseline: expected site or none"),
        ("cheXviz", ["--site=a=rsna:/data:Lung Opacity"], "--site: expected at the hospitals"),
        ("cheXviz", ["--phantom_patients=9"], "--phantom_patients: expected at the hospitals"),
        ("cheXviz", ["--export=onnx"], "--export: expected none with the coordinator's --kit"),
        ("cheXviz", ["--quorum=3"], "--quorum: expected at most 2 hospitals, found 3"),
        (
            "cheXviz",
            ["--quorum=1", "--aggregator=secure"],
            "--quorum: expected at least 2 hospitals with --aggregator=secure",
        ),
        (
            "cheXviz",
            ["--quorum=1", "--model=standard", "--only=standard:aggregator=secure"],
            "--only=standard:aggregator=secure: --quorum: expected at least 2 hospitals with",
        ),
        ("covid", ["--class_balance=weights"], "--class_balance: expected none or sampling"),
        ("cross_domain", [], "--engine=hospitals: expected a recipe of radiographs"),
    ],
)
def test_a_coordinator_refuses(kits, tmp_path, recipe, arguments, message):
    output = f"--output_dir={tmp_path / 'run'}"
    assert message in refused(recipe, kits / "coordinator", output, *arguments)


def test_files_of_the_coordinator_do_not_travel(kits, tmp_path):
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"no weights")
    arguments = [f"--weights={weights}", f"--output_dir={tmp_path / 'run'}"]
    assert "since no file travels" in refused("cheXviz", kits / "coordinator", *arguments)


def test_a_missing_kit(tmp_path):
    assert "expected a kit of a study in" in refused("cheXviz", tmp_path / "none")


def test_a_hospital_needs_a_proposal_and_its_own_site(kits, tmp_path):
    assert "which is for `hospital join`" in refused("cheXviz", kits / "north")
    proposal = tmp_path / "proposal.json"
    proposal.write_bytes(_of_training().to_json())
    given = f"--proposal={proposal}"
    assert "expected one hospital, north" in refused("cheXviz", kits / "north", given)
    site = "--site=south=rsna:/data:Lung Opacity"
    assert "found south" in refused("cheXviz", kits / "north", given, site)


@pytest.mark.parametrize(
    "name",
    ["output_dir", "site", "external_site", "flagfile", "cache_dir", "phantom_patients"],
)
def test_a_proposal_sets_nothing_that_is_the_hospitals_own(kits, tmp_path, name):
    path = tmp_path / "proposal.json"
    path.write_bytes(_of_training(**{name: "/etc"}).to_json())
    found = refused("cheXviz", kits / "north", f"--proposal={path}")
    assert f"--proposal: expected settings of a training, found {name!r}" in found


def test_a_damaged_proposal(kits, tmp_path):
    path = tmp_path / "proposal.json"
    path.write_text(json.dumps({"study": "opacity"}))
    assert "expected a proposal" in refused("cheXviz", kits / "north", f"--proposal={path}")
    missing = f"--proposal={tmp_path / 'none.json'}"
    assert "No such file" in refused("cheXviz", kits / "north", missing)


def _of_training(**settings) -> proposals.Proposal:
    """A proposal whose settings are cheXviz's own, and others."""
    return proposals.Proposal(
        "opacity",
        "cheXviz",
        {"rounds": 2, **settings},
        studies.proposal().sites,
        {"python": "3.11"},
    )
