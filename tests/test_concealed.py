"""No path is left in settings and commands, and equal paths stay equal."""

import pytest

from tffcxr import concealed

NAME = "quintrell"


def test_of_sites_name_loader_and_finding_stay():
    found = concealed.settings(
        {
            "site": [f"a=rsna:/data/{NAME}:Lung Opacity", f"b=csv:{NAME} scans", f"c={NAME}"],
            "external_site": [f"far=csv:C:\\{NAME}\\x"],
            "rounds": 3,
        }
    )
    first, second, third = found["site"]
    assert first.startswith("a=rsna:[path ") and first.endswith("]:Lung Opacity")
    assert second.startswith("b=csv:[path ") and second.endswith("]")
    assert third.startswith("[path ")
    assert found["external_site"][0].startswith("far=csv:[path ")
    assert found["rounds"] == 3 and NAME not in str(found)


def test_a_path_with_a_colon_that_exists_has_no_finding_after_it(tmp_path):
    folder = tmp_path / f"x:{NAME}"
    folder.mkdir()
    (told,) = concealed.settings({"site": [f"a=csv:{folder}"]})["site"]
    assert NAME not in told


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("weights", f"none,a={NAME}.h5,unet=imagenet", ["none,a=[", "],unet=imagenet"]),
        ("columns", [f"north=/{NAME}.toml", f"{NAME}.toml"], ["north=["]),
        ("segmentation_model", NAME, []),
        ("Best: --segmentation_model", NAME, []),  # Of a sweep.
        ("anything", f"~/{NAME}", []),
        ("model", f"runs/{NAME}", []),
    ],
)  # fmt: skip
def test_other_settings_with_paths(name, value, kept):
    told = concealed.settings({name: value})[name]
    assert NAME not in str(told) and "[path " in str(told)
    assert all(part in str(told) for part in kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "resnet18"), ("test_images", "No Lung Opacity / Not Normal=3"), ("weights", "none"),
     ("flagfile", "chexviz_table1"), ("share", "all"),
     ("heatmaps", "2"), ("width", ".5"), ("segmentation_model", None), ("nothing", 0.5)],
)  # fmt: skip
def test_what_is_no_path_stays(name, value):
    assert concealed.settings({name: value}) == {name: value}


def test_equal_paths_stay_equal_and_what_is_concealed_stays_as_it_is():
    once = concealed.settings({"site": ["a=csv:/x:Mass"], "weights": "resnet50=/w.h5"})
    assert concealed.settings(once) == once
    assert concealed.settings({"site": ["a=csv:/x:Mass"]})["site"] == once["site"]
    assert concealed.settings({"site": ["a=csv:/y:Mass"]})["site"] != once["site"]


def test_a_command_keeps_its_flags_and_loses_its_paths():
    words = [
        "//experiments:cheXviz", f"--site=a=csv:/{NAME}:Mass", "--output_dir", NAME,
        "--noheat_metrics", "--rounds=2", f"--flagfile=/{NAME}.flags", "--flagfile=covid",
        "--export=onnx", f"./{NAME}.png",
    ]  # fmt: skip
    assert concealed.command(words) == [
        "//experiments:cheXviz", "--site=a=csv:[path]:Mass", "--output_dir", "[path]",
        "--noheat_metrics", "--rounds=2", "--flagfile=[path]", "--flagfile=covid",
        "--export=onnx", "[path]",
    ]  # fmt: skip
    assert concealed.command(concealed.command(words)) == concealed.command(words)


def test_flags_of_the_runs_of_a_sweep_are_concealed_alike():
    words = [f"--set=site=a=csv:/{NAME}:Mass", "--set=rounds=3", f"--grid=weights=none,{NAME}.h5",
             f"--set=segmentation_model={NAME}", "--grid=model=unet,resnet18"]  # fmt: skip
    assert concealed.command(words) == [
        "--set=site=a=csv:[path]:Mass", "--set=rounds=3", "--grid=weights=none,[path]",
        "--set=segmentation_model=[path]", "--grid=model=unet,resnet18",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (f"cheXviz: /data/ward 7/{NAME}.csv: expected a table, found {NAME} x/a.dcm; see /x/y",
         f"cheXviz: [path]: expected a table, found {NAME} [path]; see [path]"),
        (f"a: C:\\{NAME}\\x y: expected", "a: [path]: expected"),
        (f"found ~/{NAME}, expected", "found [path], expected"),
        ("expected No Lung Opacity / Not Normal, found 3 images/s of Effusion/auroc",
         "expected No Lung Opacity / Not Normal, found 3 images/s of Effusion/auroc"),
        ("every <client> failed </p> in 1/2", "every <client> failed </p> in 1/2"),
    ],
)  # fmt: skip
def test_messages_lose_their_paths_alone(message, told):
    assert concealed.text(message) == told


def test_a_configuration_of_any_content():
    odd = {"settings": None, "command": "x"}
    assert concealed.config(odd) == odd
    found = concealed.config({"settings": {"site": ["a=csv:/x"]}, "command": ["a", "/x"], "n": 1})
    assert "/x" not in str(found) and found["n"] == 1
