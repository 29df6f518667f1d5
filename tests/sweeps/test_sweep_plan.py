"""What a grid, a file of configurations and repeats make, and what they may not be."""

import json

import pytest

from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_plan


def _plan(grid=(), named=(), fixed=(), repeats=1, seed=0):
    axes = sweep_plan.parse_grid(grid)
    return sweep_plan.make(named, axes, sweep_plan.parse_settings(fixed), repeats, seed)


def _refusal(**arguments):
    with pytest.raises(InputError) as caught:
        _plan(**arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_grid_times_repeats():
    plan = _plan(["a=1,2", "b=x,y"], repeats=2, seed=5)
    assert plan.swept == ("a", "b")
    assert [c.settings for c in plan.configurations] == [
        (("a", "1"), ("b", "x")),
        (("a", "1"), ("b", "y")),
        (("a", "2"), ("b", "x")),
        (("a", "2"), ("b", "y")),
    ]
    assert [(r.folder, r.seed) for r in plan.runs] == [
        ("runs/a=1,b=x/repeat_1", 5),
        ("runs/a=1,b=y/repeat_1", 5),
        ("runs/a=2,b=x/repeat_1", 5),
        ("runs/a=2,b=y/repeat_1", 5),
        ("runs/a=1,b=x/repeat_2", 6),
        ("runs/a=1,b=y/repeat_2", 6),
        ("runs/a=2,b=x/repeat_2", 6),
        ("runs/a=2,b=y/repeat_2", 6),
    ]


def test_repeats_alone_and_a_grid_over_seeds():
    assert [(r.folder, r.seed) for r in _plan(repeats=2).runs] == [
        ("runs/default/repeat_1", 0),
        ("runs/default/repeat_2", 1),
    ]
    assert [r.seed for r in _plan(["seed=7,3"]).runs] == [7, 3]


def test_folders_are_safe_and_different():
    plan = _plan(["weights=../a b,../a*b,.,../A b,é"])
    folders = [c.folder for c in plan.configurations]
    assert folders[:2] == ["weights=..-a-b", "weights=..-a-b-2"]
    assert folders[3] == "weights=..-A-b-3"  # Also where a file system ignores case.
    assert len({folder.lower() for folder in folders}) == 5
    assert not any("/" in folder or folder.startswith(".") for folder in folders)
    (long,) = _plan(["weights=" + "x" * 500]).configurations
    assert len(long.folder) <= 120


def test_named_configurations_with_a_grid(tmp_path):
    file = tmp_path / "c.json"
    file.write_text('{"two sites": {"site": ["a=1,2", "b"], "flip": true}, "small": {"size": 0.5}}')
    plan = _plan(["rounds=1,2"], sweep_plan.read_configurations(file))
    assert [c.name for c in plan.configurations] == [
        "two sites,rounds=1",
        "two sites,rounds=2",
        "small,rounds=1",
        "small,rounds=2",
    ]
    first, last = plan.configurations[0], plan.configurations[-1]
    assert first.settings == (("site", "a=1,2"), ("site", "b"), ("flip", "true"), ("rounds", "1"))
    assert first.folder == "two-sites,rounds=1"
    assert first.text("site") == "a=1,2 b"
    assert last.settings == (("size", "0.5"), ("rounds", "2"))
    assert last.text("site") is None
    assert plan.swept == ("site", "flip", "size", "rounds")


@pytest.mark.parametrize(
    "text,expected",
    [
        ("{", "expected JSON in"),
        ("[]", 'expected {"NAME": {"FLAG": VALUE}}'),
        ("{}", 'expected {"NAME": {"FLAG": VALUE}}'),
        ('{"a": 3}', 'found {"a": 3}'),
        ('{" ": {}}', 'found {" ": {}}'),
        ('{"a": {"rounds": null}}', 'found {"rounds": null}'),
        ('{"a": {"rounds": [[1]]}}', 'found {"rounds": [[1]]}'),
        ('{"a": {"site": []}}', "found no value of site"),
        ('{"a": {"rounds": 1, "rounds": 2}}', "expected every name once, found 'rounds' twice"),
        ('{"a": {}, "a": {}}', "expected every name once, found 'a' twice"),
    ],
)
def test_bad_file_of_configurations(tmp_path, text, expected):
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(InputError, match="--configurations: ") as caught:
        sweep_plan.read_configurations(file)
    assert expected in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_of_configurations(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        sweep_plan.read_configurations(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "grid,expected",
    [
        (["rounds"], "expected NAME=VALUE,VALUE,… found 'rounds'"),
        (["=1,2"], "expected NAME=VALUE,VALUE,… found '=1,2'"),
        (["rounds="], "expected a value between commas, found none in 'rounds='"),
        (["rounds=1,,2"], "expected a value between commas, found none in 'rounds=1,,2'"),
        (["rounds=1,2,1"], "expected every value once, found 'rounds=1,2,1'"),
        (["rounds=1", "rounds=2"], "expected rounds once, found it twice"),
        (["seed=a"], "expected whole numbers for seed, found 'a'"),
        (["flagfile=a"], "expected flagfile in --set alone"),
        (["output_dir=a"], "found output_dir, which the sweep sets"),
        (["cache_dir=a"], "found cache_dir, which the sweep sets"),
    ],
)
def test_bad_grid(grid, expected):
    assert expected in _refusal(grid=grid)


@pytest.mark.parametrize(
    "arguments,expected",
    [
        ({"fixed": ["rounds"]}, "--set: expected NAME=VALUE, found 'rounds'"),
        ({"fixed": ["seed=1"]}, "found seed, which the sweep sets"),
        ({"grid": ["seed=1,2"], "repeats": 2}, "--repeats: expected 1 with a grid over seed"),
        ({"grid": ["a=1"], "fixed": ["a=2"]}, "expected a in one place, found it in --grid and"),
        ({"grid": ["a=1"], "named": [("n", (("a", "2"),))]}, "in --grid and --configurations"),
        ({"fixed": ["a=1"], "named": [("n", (("a", "2"),))]}, "in --configurations and --set"),
        ({"named": [("n", (("seed", "2"),))]}, "found seed, which the sweep sets"),
    ],
)
def test_flags_in_places_that_do_not_agree(arguments, expected):
    assert expected in _refusal(**arguments)


def test_configurations_of_the_help_are_read(tmp_path):
    lines = (sweep_plan.read_configurations.__doc__ or "").splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip().startswith("{"))
    file = tmp_path / "c.json"
    file.write_text("\n".join(lines[start : start + 2]))
    assert json.loads(file.read_text())
    named = dict(sweep_plan.read_configurations(file))
    assert named["small"] == (("model", "standard"), ("image_size", "64"))
