"""What a recipe says of the flags that a sweep wants to give it."""

import pytest

from experiments.flags import sweep_flags
from tests.experiments import programs
from tffcxr.errors import InputError

SITES = ["a=rsna:x,y:Lung Opacity", "b=siim:z:Pneumothorax"]


def test_values_are_those_of_the_recipe(tmp_path):
    preset = tmp_path / "preset.flags"
    preset.write_text("--rounds=7\n--batch_size=2\n")
    answer = sweep_flags.check(
        "cheXviz",
        [
            [("rounds", "3"), ("flagfile", str(preset)), ("site", SITES[0]), ("site", SITES[1])],
            [("baseline", "site,pooled"), ("tensorboard_histograms", "true")],
        ],
    )
    first, second = answer.settings
    # What is set goes before the file, wherever it stands.
    assert (first["rounds"], first["batch_size"], first["site"]) == (3, 2, SITES)
    # Nothing of one configuration is left in the next.
    assert (second["rounds"], second["batch_size"], second["site"]) == (30, 16, [])
    assert second["baseline"] == ["site", "pooled"]
    assert {"output_dir", "cache_dir", "seed"} <= set(answer.own_flags)
    assert not {"output_dir", "cache_dir", "seed"} & set(first)


@pytest.mark.parametrize(
    "settings,expected",
    [
        ([("local_epoch", "1")], "found 'local_epoch' (did you mean local_epochs?)"),
        ([("grid", "1")], "expected a flag of it, found 'grid'"),
        ([("help", "true")], "expected a flag of it, found 'help'"),
        ([("rounds", "many")], "--rounds: expected a whole number, found 'many'"),
        ([("fit", "tight")], "--fit: expected one of pad, stretch, found 'tight'"),
        ([("rounds", "1"), ("rounds", "2")], "expected rounds once, found it 2 times"),
        ([("flagfile", "/nowhere.flags")], "/nowhere.flags"),
        ([("local_epochs", "0")], "--local_epochs: expected at least 1, found 0"),
        ([("alpha", "2")], "--alpha: expected --partition="),
    ],
)
def test_what_it_does_not_take(settings, expected):
    with pytest.raises(InputError) as caught:
        sweep_flags.check("cheXviz", [[], settings])
    assert expected in str(caught.value)
    assert str(caught.value).startswith("cheXviz: ")
    assert "\n" not in str(caught.value)


def test_a_setting_takes_back_what_a_flag_of_a_preset_goes_with(tmp_path):
    preset = tmp_path / "preset.flags"
    preset.write_text("--pooled_epochs=2\n--baseline=pooled\n")
    (settings,) = sweep_flags.check(
        "covid", [[("flagfile", str(preset)), ("baseline", "none")]]
    ).settings
    assert settings["baseline"] == "none"


def test_unknown_recipe():
    with pytest.raises(
        InputError, match="--experiment: expected one of cheXviz, .*found 'chexviz'"
    ):
        sweep_flags.check("chexviz", [[]])


@pytest.mark.parametrize("name", sorted(sweep_flags.RECIPES))
def test_every_recipe_has_the_flags_that_a_sweep_gives(name):
    answer = programs.checked_flags(name)
    assert {"output_dir", "cache_dir", "seed"} <= set(answer.own_flags)
    assert [settings["local_epochs"] for settings in answer.settings][1] == 2
