"""The settings of the papers, as the programs read them."""

import collections
import re

import pytest

from experiments import recipes
from tests.experiments import programs
from tests.experiments.recipes import paper_settings

FOLDER = programs.REPOSITORY / "experiments" / "presets"
FILES = {path.stem: path for path in sorted(FOLDER.rglob("*.flags"))}
# At full size: the papers' values, or ours.
FULL = [name for name in FILES if not name.endswith("_small")]
_ABOUT = ("published",)  # It names tables, and changes no result.


def _given(name):
    """The flags of a preset; of one that is repeated a list of its values."""
    given = collections.defaultdict(list)
    for line in FILES[name].read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            flag, _, value = line[2:].partition("=")
            given[flag].append(value)
    return {
        flag: values if len(values) > 1 else values[0]
        for flag, values in given.items()
        if flag not in _ABOUT
    }


def _program(name):
    """The recipe whose name the preset's begins with; a sweep names its own."""
    if "experiment" in _given(name):
        return "sweep"
    (found,) = (recipe for recipe in recipes.RECIPES if name.startswith(recipe.lower()))
    return found


@pytest.mark.parametrize("name", [name for name in FILES if _program(name) != "sweep"])
def test_a_program_reads_every_preset(tmp_path, name):
    """All its flags are known and in range: what is refused is the one that is wrong."""
    flags = (f"--flagfile={name}", f"--output_dir={tmp_path / 'run'}", "--bootstrap=-3")
    assert "--bootstrap" in programs.refusal(programs.run(_program(name), *flags))


def test_every_preset_at_full_size_has_its_paper_s_settings():
    assert set(FULL) <= set(paper_settings.PRESETS)
    assert {"chexviz_table1", "covid", "cxr_fl_table2"} <= set(FULL)


@pytest.mark.parametrize("name", [name for name in FULL if name in paper_settings.PRESETS])
def test_values_of_the_papers(name):
    settings = paper_settings.PRESETS[name]
    assert not settings.paper.keys() & settings.ours.keys()
    assert _given(name) == {**settings.paper, **settings.ours}


@pytest.mark.parametrize("name", [name for name in FULL if _program(name) != "sweep"])
def test_what_is_ours_is_said_to_be(name):
    comments = [line for line in FILES[name].read_text().splitlines() if line.startswith("#")]
    assert not paper_settings.PRESETS[name].ours or re.search(r"\bours?\b", "".join(comments), re.I)


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
