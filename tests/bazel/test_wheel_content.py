"""The wheel holds programs, presets, templates, published numbers; nothing of Bazel or tests."""

import pathlib
import re
import sys

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Bazel shows a test only what it declares; this file links to the tree itself.
_TREE = (pathlib.Path(__file__).parents[2] / "pyproject.toml").resolve().parent
_OF_THE_REST = re.compile(
    r"^ *(import|from) (tests|testdata|tffcxr\.bazel)\b.*|^ *from tffcxr import .*\bbazel\b.*",
    re.MULTILINE,
)


@pytest.fixture(name="packed", scope="module")
def _packed():
    """The files that hatch packs: those of the packages, without what `exclude` names."""
    pyproject = tomllib.loads((_TREE / "pyproject.toml").read_text("utf-8"))
    wheel = dict(pyproject["tool"]["hatch"]["build"]["targets"]["wheel"])
    packages, exclude = wheel.pop("packages"), wheel.pop("exclude")
    # As .gitignore reads them: names in any folder, or paths from the root; no patterns.
    assert not wheel and not set("".join(exclude)) & set("*?[!")
    return {
        path.relative_to(_TREE)
        for package in packages
        for path in (_TREE / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if not _is_excluded(path.relative_to(_TREE), exclude)
    }


def _is_excluded(path, exclude):
    folders = {folder.as_posix() for folder in path.parents}
    return any(name in (folders if "/" in name else path.parts) for name in exclude)


def test_kinds_of_files(packed):
    assert {path.suffix for path in packed} == {".py", ".flags", ".jinja", ".csv"}


def test_all_that_a_program_reads_beside_modules(packed):
    presets = (_TREE / "experiments/presets").rglob("*.flags")
    templates = (_TREE / "tffcxr/report/templates").glob("*.jinja")
    published = (_TREE / "tffcxr/report/published").glob("*.csv")
    beside = {path.relative_to(_TREE) for path in (*presets, *templates, *published)}
    assert len(beside) >= 26
    assert beside <= packed


def test_its_modules_do_without_the_rest(packed):
    modules = [path for path in packed if path.suffix == ".py"]
    assert len(modules) > 200
    for path in modules:
        found = _OF_THE_REST.search((_TREE / path).read_text("utf-8"))
        assert not found, f"{path}: {found[0]}"
