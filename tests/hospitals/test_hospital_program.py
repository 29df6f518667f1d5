"""The program `hospital`: kits made and checked as users do, and a line for what is wrong."""

import json
import shutil

import pytest

from tests.experiments import programs
from tests.hospitals import studies
from tffcxr.datasets.phantoms import phantom
from tffcxr.hospitals import exchanged_results, kits, outgoing, provision
from tffcxr.hospitals import hub as hub_lib


def _run(*arguments):
    return programs.in_a_real_process("experiments.hospital", *arguments)


def _refusal(*arguments):
    ended = _run(*arguments)
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, line.partition(": ")[0]) == (2, "hospital")
    return line.partition(": ")[2]


def _at(kit, address):
    """Has a kit's coordinator at another address."""
    about = json.loads((kit / "kit.json").read_text())
    (kit / "kit.json").write_text(json.dumps({**about, "address": address}))


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory):
    return studies.make_kits(tmp_path_factory.mktemp("study"))


def test_kits_are_made_kept_renewed_and_revoked(tmp_path):
    command = ("provision", f"--study={studies.write_study(tmp_path)}")
    folder = tmp_path / "kits"
    first = _run(*command, f"--output_dir={folder}")
    assert (first.returncode, first.stderr) == (0, "")
    *made, slow = first.stdout.splitlines()
    assert [line.partition(";")[0] for line in made] == [
        f"{name}: made {folder / name}" for name in ("coordinator", "north", "south")
    ]
    assert slow == "slow: []"
    again = _run(*command, f"--output_dir={folder}", "--renew=north", "--revoke=south")
    coordinator, north, south, _ = again.stdout.splitlines()
    assert coordinator.startswith(f"coordinator: kept {folder / 'coordinator'}; valid until 20")
    assert north.startswith(f"north: made {folder / 'north'}; valid until 20")
    assert south.endswith("; revoked, --renew=south issues another certificate")
    assert len(kits.read_coordinator(folder / "coordinator").revoked()) == 2


def test_a_kit_and_the_data_are_checked(made, tmp_path):
    phantom.write_rsna(tmp_path, 4, 0)
    folder = shutil.copytree(made / "north", tmp_path / "kit")
    _at(folder, "127.0.0.1:1")
    ended = _run("check", f"--kit={folder}", f"--site=north=rsna:{tmp_path}:Lung Opacity")
    lines = ended.stdout.splitlines()
    assert lines[0] == "study: opacity"
    assert "Lung Opacity: 2 present, 2 absent, 0 unknown, a finding of this site" in lines
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "the coordinator at 127.0.0.1:1 cannot be reached: " in ended.stderr
    assert ended.stderr.endswith("; all else is in order\n")


def test_check_and_status_reach_the_coordinator_and_are_recorded(tmp_path):
    text = studies.STUDY.replace("study.example.org:443", "127.0.0.1:443")
    provision.provision(studies.write_study(tmp_path, text), tmp_path / "kits")
    coordinator = kits.read_coordinator(tmp_path / "kits" / "coordinator")
    sites = ("north", "south")
    with hub_lib.CoordinatorHub(coordinator.credentials(), "127.0.0.1:0", sites, {}) as hub:
        hub.report = {"training": "standard", "round": 3, "rounds": 5, "took_part": ["south"]}
        for name in ("north", "coordinator"):
            _at(tmp_path / "kits" / name, f"127.0.0.1:{hub.port}")
        check = _run("check", f"--kit={tmp_path / 'kits' / 'north'}")
        assert (check.returncode, check.stderr) == (0, "")
        assert f"connection: reached the coordinator at 127.0.0.1:{hub.port}" in check.stdout
        for name in ("north", "coordinator"):
            status = _run("status", f"--kit={tmp_path / 'kits' / name}")
            assert (status.returncode, status.stderr) == (0, "")
            assert status.stdout.splitlines()[:3] == [
                "run: training standard, round 3 of 5 done; took part: south",
                "north: not connected",
                "south: not connected",
            ]
    record = tmp_path / "kits" / "north" / "outgoing_questions.jsonl"
    assert outgoing.verify(record) == 2
    assert [json.loads(line)["kind"] for line in record.open()] == ["status", "status"]
    assert not list((tmp_path / "kits" / "coordinator").glob("outgoing*"))


def test_what_cannot_be_is_refused_in_one_line(made, tmp_path):
    assert _refusal().startswith(
        "expected one of the commands provision, check, join, status, demo, found none"
    )
    assert "found chek (did you mean check?)" in _refusal("chek")
    assert "found check north" in _refusal("check", "north")
    assert _refusal("provision") == "--study: expected a study.toml, found none"
    assert _refusal("check") == "--kit: expected the folder of a kit, found none"
    assert "found no kit.json there" in _refusal("check", f"--kit={tmp_path}")
    other = _refusal("check", f"--kit={made / 'north'}", "--renew=north")
    assert other == "--renew: expected another command than check with it"
    assert "--site: expected NAME=LOADER:PATH" in _refusal(
        "check", f"--kit={made / 'north'}", "--site=north"
    )
    study = studies.write_study(tmp_path, "name = 3")
    assert f"{study}: expected the key coordinator" in _refusal("provision", f"--study={study}")
    (tmp_path / "file").touch()
    study = studies.write_study(tmp_path)
    assert "expected a folder at" in _refusal(
        "provision", f"--study={study}", f"--output_dir={tmp_path / 'file'}"
    )


def test_join_wants_the_site_of_the_kit(made, tmp_path):
    line = _refusal("join", f"--kit={made / 'north'}", f"--site=south=siim:{tmp_path}:Pneumothorax")
    assert line == "--site: expected north, as in the kit, found south"


def test_join_reads_the_data_before_it_waits_for_anybody(made, tmp_path):
    join = ("join", f"--kit={made / 'north'}", "--approve=01234567")
    line = _refusal(*join, f"--site=north=rsna:{tmp_path / 'none'}:Lung Opacity")
    assert line == f"rsna: expected a dataset at {tmp_path / 'none'}, found nothing"
    phantom.write_rsna(tmp_path, 4, 0)
    assert "found 'Edema'" in _refusal(*join, f"--site=north=rsna:{tmp_path}:Edema")


def test_a_complete_run_whose_results_were_not_sent_is_joined_again(made, tmp_path):
    run = tmp_path / "run"
    (run / "states").mkdir(parents=True)
    (run / "report.html").touch()
    (run / "metrics.json").write_text('{"complete": true}')
    site = f"--site=north=rsna:{tmp_path / 'none'}:Lung Opacity"
    words = ("join", f"--kit={made / 'north'}", site, f"--output_dir={run}")
    assert "expected a dataset at" in _refusal(*words)  # As any that joins.
    exchanged_results.note_reported(run / "states")
    ended = _run(*words)
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (
        0, f"{run} is complete; its report is {run / 'report.html'}",
    )  # fmt: skip


def test_another_authority_is_said_in_one_line(tmp_path):
    text = studies.STUDY.replace("study.example.org:443", "127.0.0.1:443")
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        provision.provision(studies.write_study(tmp_path / name, text), tmp_path / name / "kits")
    own = kits.read_coordinator(tmp_path / "own" / "kits" / "coordinator")
    with hub_lib.CoordinatorHub(own.credentials(), "127.0.0.1:0", ("north",), {}) as hub:
        kit = tmp_path / "other" / "kits" / "north"
        _at(kit, f"127.0.0.1:{hub.port}")
        ended = _run("status", f"--kit={kit}")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "is not of the authority of this kit" in line
