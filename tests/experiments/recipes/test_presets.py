"""The settings of the papers, as the programs read them."""

import pytest

from experiments import recipes
from tests.experiments import programs

FOLDER = programs.REPOSITORY / "experiments" / "presets"

# What the papers say; see the files for what they leave open.
PAPERS = {
    "covid": {
        "model": "covidnet,resnet18,resnext18,mobilenetv2", "width": "1", "image_size": "224",
        "optimizer": "adam", "learning_rate": "2e-5", "weight_decay": "1e-7", "batch_size": "10",
        "clients_per_site": "5", "clients_per_round": "0.4", "local_epochs": "3", "rounds": "100",
        "pooled_epochs": "3",  # 300 epochs in 100 rounds.
    },
    "pneumonia_classification": {
        "model": "resnet50", "clients_per_site": "20", "clients_per_round": "6",
        "local_epochs": "1", "rounds": "100", "batch_size": "32", "optimizer": "sgd",
        "learning_rate": "0.003", "momentum": "0.7", "central_epochs": "50",
        "central": "resnet34:adam:0.01,resnet50:sgd:0.003:0.9", "partition": "hybrid",
    },
    "pneumonia_segmentation": {
        "clients_per_site": "20", "clients_per_round": "6", "optimizer": "sgd",
        "learning_rate": "0.01", "momentum": "0.9", "weight_decay": "3e-5",
        "schedule": "polynomial",
    },
    "cross_domain_kidneys": {
        "batch_size": "4", "optimizer": "adam", "learning_rate": "2e-4", "local_epochs": "1",
        "test_fraction": "0.3", "private": "none",
    },
    "cross_domain_lesions": {
        "batch_size": "4", "optimizer": "adam", "learning_rate": "2e-4", "local_epochs": "1",
        "private": "none",
    },
}  # fmt: skip


def _files():
    return sorted(FOLDER.glob("*.flags"))


def _program(name):
    """The recipe whose name the preset's begins with."""
    (found,) = (recipe for recipe in recipes.RECIPES if name.startswith(recipe.lower()))
    return found


def test_there_is_a_preset_for_every_paper():
    assert {path.stem for path in _files()} >= set(PAPERS)
    assert len(_files()) >= 9


@pytest.mark.parametrize("path", _files(), ids=lambda path: path.stem)
def test_a_program_reads_every_preset(tmp_path, path):
    """All its flags are known and in range: what is refused is the one that is wrong."""
    program = _program(path.stem)
    flags = (f"--flagfile={path.stem}", f"--output_dir={tmp_path / 'run'}", "--bootstrap=-3")
    assert "--bootstrap" in programs.refusal(programs.run(program, *flags))


@pytest.mark.parametrize("name", PAPERS)
def test_values_of_the_papers(name):
    lines = (FOLDER / f"{name}.flags").read_text(encoding="utf-8").splitlines()
    given = {}
    for line in lines:
        if line.startswith("--"):
            flag, _, value = line[2:].partition("=")
            given[flag] = value
    assert {flag: given.get(flag) for flag in PAPERS[name]} == PAPERS[name]


def _refusal(tmp_path, program, preset, *flags):
    given = (f"--flagfile={FOLDER / preset}", f"--output_dir={tmp_path / 'run'}", *flags)
    return programs.refusal(programs.run(program, *given))


def test_the_command_line_takes_back_what_a_flag_of_a_preset_goes_with(tmp_path):
    nowhere = f"--site=a=classes:{tmp_path / 'nowhere'}"  # Looked at after the flags.
    line = _refusal(tmp_path, "covid", "covid.flags", "--baseline=none", nowhere)
    assert "--pooled_epochs" not in line and "nowhere" in line
    line = _refusal(tmp_path, "covid", "covid.flags", "--baseline=none", "--pooled_epochs=2")
    assert "--pooled_epochs: expected --baseline=pooled with it" in line


def test_a_preset_of_one_task_does_not_serve_the_other(tmp_path):
    line = _refusal(tmp_path, "pneumonia", "pneumonia_classification.flags", "--task=segmentation")
    assert "expected --task=classification with it" in line


def test_a_file_of_flags_may_not_hold_one_that_does_nothing(tmp_path):
    own = tmp_path / "own.flags"
    own.write_text("--baseline=none\n--pooled_epochs=2\n", encoding="utf-8")
    ended = programs.run("covid", f"--flagfile={own}", f"--output_dir={tmp_path / 'run'}")
    assert "--pooled_epochs: expected --baseline=pooled with it" in programs.refusal(ended)
