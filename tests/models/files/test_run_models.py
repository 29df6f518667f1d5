"""A run's folder stands for one of its models, and any other folder for none."""

import json

import pytest

from tests.models.files import exported_models
from tffcxr.errors import InputError
from tffcxr.models.files import metadata, run_models


def _put(run, name, number, network="standard"):
    """Leaves a model, of which only the name and the metadata are read."""
    (run / "models").mkdir(parents=True, exist_ok=True)
    (run / "models" / f"{name}.keras").write_bytes(b"")
    about = exported_models.about(metadata.CLASSES, number=number, network=network)
    (run / "models" / f"{name}.json").write_text(json.dumps(about.to_json()))
    return run / "models" / f"{name}.keras"


@pytest.fixture(name="run")
def _run(tmp_path):
    _put(tmp_path, "b", 3, "resnet50")
    _put(tmp_path, "c", 1)
    _put(tmp_path, "a", 2, "resnet50")
    (tmp_path / "models" / ".d.partial.keras").write_bytes(b"")
    (tmp_path / "models" / "site.h5").write_bytes(b"")
    return tmp_path


def _refused(message, *arguments, **keywords):
    with pytest.raises(InputError, match=message) as raised:
        run_models.find(*arguments, **keywords)
    assert "\n" not in str(raised.value)


def test_a_folder_stands_for_its_first_model(run):
    assert run_models.find(run) == run / "models" / "c.keras"
    assert [file.stem for file in run_models.in_run(run)] == ["c", "a", "b"]


def test_a_model_by_its_name_its_network_or_its_file(run):
    assert run_models.find(run, "b") == run / "models" / "b.keras"
    assert run_models.find(run, network="resnet50") == run / "models" / "a.keras"
    assert run_models.find(run / "models" / "b.keras") == run / "models" / "b.keras"
    _refused("expected one of c.keras, a.keras, b.keras in .*, found 'x'", run, "x")
    _refused(
        "expected a model of the network unet in .*, found standard, resnet50", run, network="unet"
    )


def test_models_of_sites_must_be_named(run):
    _put(run, "c_too", 1)
    _refused("expected one of the models of .* of different sites.* c.keras, c_too.keras", run)
    assert run_models.find(run, "c_too").stem == "c_too"


def test_a_run_must_be_complete(run):
    (run / "config.json").write_text("{}")
    for content in (None, "{", "[]", '{"rows": []}', '{"complete": false}'):
        if content is not None:
            (run / "metrics.json").write_text(content)
        _refused("expected a complete run, found one that is not finished in", run)
    (run / "metrics.json").write_text('{"complete": true}')
    assert run_models.find(run).stem == "c"


def test_other_folders_and_files_are_named(tmp_path):
    _refused("expected a complete run with an exported model .*, found none in", tmp_path)
    _refused("a run's folder or a .keras file, found nothing at", tmp_path / "none")
    _refused("a run's folder or a .keras file, found nothing at", tmp_path / "none.keras")
    (tmp_path / "m.h5").write_bytes(b"")
    _refused(".keras file, found weights without their network at", tmp_path / "m.h5")
    (tmp_path / "m.png").write_bytes(b"")
    _refused("a run's folder or a .keras file, found another file at", tmp_path / "m.png")


def test_a_folder_of_several_runs_is_named_with_some(tmp_path):
    for name in ("run_2", "run_1", "run_3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    some = r"one of its 3 runs \(.*run_1, .*run_2, …\)"
    _refused(f"found that of several runs, .*: give the folder of {some}", tmp_path)
    (tmp_path / "sweep.json").write_text("{}")
    _refused(f"found that of a sweep, .*: give the folder of {some}", tmp_path)


def test_runs_that_have_no_model_say_why(tmp_path):
    (tmp_path / "metrics.json").write_text('{"complete": true}')
    (tmp_path / "config.json").write_text('{"engine": "hospitals"}')
    _refused("expected a hospital's run, found the coordinator's in .*: use the run of", tmp_path)
    (tmp_path / "SHARED.txt").write_text("")
    _refused("found a copy to share without them in .*: report with --share_models", tmp_path)


def test_a_model_of_an_older_version_is_named(run):
    (run / "models" / "b.json").write_text('{"format_version": 1}')
    _refused("b.json: expected format version 2, found 1: run the study again", run)
