"""The presets of which each is the command of a published table, at full and at reduced size."""

import collections

import pytest

from experiments import recipes
from experiments.flags import flagfile, sweep_flags
from tests.experiments import programs
from tffcxr.report.published import published_tables
from tffcxr.sweeps import sweep_plan

FOLDER = programs.REPOSITORY / "experiments" / "presets"


def _given(path):
    """The flags of a preset: of each name a list of values."""
    given = collections.defaultdict(list)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            given[name].append(value)
    return given


GIVEN = {path.stem: _given(path) for path in sorted(FOLDER.rglob("*.flags"))}


def _recipe(name):
    """The program of a preset, or the one that its sweep runs."""
    known = GIVEN[name]["experiment"] or [r for r in recipes.RECIPES if name.startswith(r.lower())]
    return known[0]


def test_every_published_table_has_a_command_and_a_small_one():
    for table in published_tables.TABLES:
        names = [name for name, given in GIVEN.items() if table.name in _tables(given)]
        assert {_recipe(name) for name in names} == {table.recipe}, table.name
        assert any(name.endswith("_small") for name in names), table.name
        assert any(not name.endswith("_small") for name in names), table.name


def _tables(given):
    return ",".join(given["published"]).split(",")


def _command_lines(name):
    """The settings of each run of a preset."""
    given = GIVEN[name]
    if not given["experiment"]:
        (preset,) = FOLDER.rglob(f"{name}.flags")
        return [[("flagfile", str(preset))]]
    plan = sweep_plan.make(
        [],
        sweep_plan.parse_grid(given["grid"]),
        sweep_plan.parse_settings(given["set"]),
        int(*given["repeats"] or "1"),
        0,
    )
    return [[*plan.fixed, *each.settings] for each in plan.configurations]


@pytest.mark.parametrize("recipe", sorted({table.recipe for table in published_tables.TABLES}))
def test_a_recipe_takes_what_the_commands_give_it(recipe):
    names = [name for name, given in GIVEN.items() if given["published"]]
    lines = [line for n in names if _recipe(n) == recipe for line in _command_lines(n)]
    answer = sweep_flags.check(recipe, lines)
    assert len(answer.settings) == len(lines) >= 2
    assert "published" not in answer.settings[0]  # It changes no result.


def test_sweeps_are_named_as_other_presets_are():
    (_, found) = flagfile.resolved(["sweep", "--flagfile=cxr_fl_table1"])
    assert found.endswith("presets/sweeps/cxr_fl_table1.flags")
