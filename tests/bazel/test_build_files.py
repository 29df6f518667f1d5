"""The BUILD files of this tree, and what the comparison says about small wrong trees."""

import pathlib

import pytest

from tffcxr.bazel import build_files


def test_build_files_of_this_tree_agree_with_its_imports():
    # Bazel shows a test only what it declares; this file links to the tree itself.
    tree = pathlib.Path("pyproject.toml").resolve().parent
    assert build_files.problems(tree) == []


@pytest.fixture
def tree(tmp_path):
    """Two packages, one arrow (clients import datasets), one test, and right BUILD files."""
    write(tmp_path, "tffcxr/datasets/images.py", "")
    write(
        tmp_path,
        "tffcxr/datasets/BUILD",
        'cxr_py_library(name = "images", visibility = ["//tffcxr/clients:__pkg__"])',
    )
    write(tmp_path, "tffcxr/clients/shards.py", "from tffcxr.datasets import images")
    write(
        tmp_path,
        "tffcxr/clients/BUILD",
        'cxr_py_library(name = "shards", deps = ["//tffcxr/datasets:images"])',
    )
    write(tmp_path, "tests/clients/test_shards.py", "import tffcxr.clients.shards")
    write(
        tmp_path,
        "tests/clients/BUILD",
        'cxr_py_test(name = "test_shards", deps = ["//tffcxr/clients:shards"])',
    )
    return tmp_path


def write(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_right_tree_has_no_problems(tree):
    assert build_files.problems(tree) == []


def test_import_without_dep_is_named(tree):
    write(tree, "tffcxr/datasets/splits.py", "def f():\n    from tffcxr.datasets.images import g")
    write(
        tree,
        "tffcxr/datasets/BUILD",
        'cxr_py_library(name = "images", visibility = ["//tffcxr/clients:__pkg__"])\n'
        'cxr_py_library(name = "splits")',
    )
    assert build_files.problems(tree) == [
        "//tffcxr/datasets:splits: add dep //tffcxr/datasets:images"
    ]


def test_dep_without_import_is_named(tree):
    write(tree, "tests/clients/test_shards.py", "")
    assert build_files.problems(tree) == [
        "//tests/clients:test_shards: unused dep //tffcxr/clients:shards"
    ]


def test_module_imported_by_name_is_a_lazy_dep(tree):
    write(tree, "tffcxr/clients/shards.py", 'LOADERS = {"images": "tffcxr.datasets.images"}')
    assert build_files.problems(tree) == [
        "//tffcxr/clients:shards: unused dep //tffcxr/datasets:images",
        "//tffcxr/clients:shards: add lazy dep //tffcxr/datasets:images",
    ]
    write(
        tree,
        "tffcxr/clients/BUILD",
        'cxr_py_library(name = "shards", lazy_deps = ["//tffcxr/datasets:images"])',
    )
    assert build_files.problems(tree) == []


def test_file_without_rule_and_rule_without_file_are_named(tree):
    write(tree, "tffcxr/models/build.py", "")
    write(tree, "tffcxr/models/BUILD", 'cxr_py_library(name = "bild")')
    assert build_files.problems(tree) == [
        "//tffcxr/models:build: no cxr_py_library for tffcxr/models/build.py",
        "//tffcxr/models:bild: has no file",
    ]


def test_import_against_the_architecture_is_named_though_bazel_would_allow_it(tree):
    write(tree, "tffcxr/datasets/images.py", "from tffcxr.models import build")
    write(
        tree,
        "tffcxr/datasets/BUILD",
        'cxr_py_library(name = "images", visibility = ["//tffcxr/clients:__pkg__"],'
        ' deps = ["//tffcxr/models:build"])',
    )
    write(tree, "tffcxr/models/build.py", "")
    write(
        tree,
        "tffcxr/models/BUILD",
        'cxr_py_library(name = "build", visibility = ["//tffcxr/datasets:__pkg__"])',
    )
    assert build_files.problems(tree) == [
        "//tffcxr/datasets:images: the architecture has no arrow to //tffcxr/models:build"
    ]


def test_import_for_types_alone_is_no_dep_but_needs_an_arrow(tree):
    write(tree, "tffcxr/datasets/splits.py", "")
    write(
        tree,
        "tffcxr/datasets/BUILD",
        'cxr_py_library(name = "images", visibility = ["//tffcxr/clients:__pkg__"])\n'
        'cxr_py_library(name = "splits")',
    )
    only_for_types = "if TYPE_CHECKING:\n    from tffcxr."
    write(tree, "tffcxr/datasets/images.py", f"{only_for_types}datasets import splits")
    assert build_files.problems(tree) == []
    write(tree, "tffcxr/datasets/images.py", f"{only_for_types}clients import shards")
    assert build_files.problems(tree) == [
        "//tffcxr/datasets:images: the architecture has no arrow to //tffcxr/clients:shards"
    ]


@pytest.mark.parametrize("program", ["experiments", "testdata"])
def test_no_module_may_import_a_program(tree, program):
    write(tree, f"{program}/predict.py", "")
    write(
        tree,
        f"{program}/BUILD",
        'cxr_py_library(name = "predict", visibility = ["//tffcxr/clients:__pkg__"])',
    )
    write(tree, "tffcxr/clients/shards.py", f"import {program}.predict, tffcxr.datasets.images")
    write(
        tree,
        "tffcxr/clients/BUILD",
        'cxr_py_library(name = "shards",'
        f' deps = ["//{program}:predict", "//tffcxr/datasets:images"])',
    )
    assert build_files.problems(tree) == [
        f"//tffcxr/clients:shards: the architecture has no arrow to //{program}:predict"
    ]


def test_target_open_to_more_packages_than_import_it_is_named(tree):
    write(
        tree,
        "tffcxr/clients/BUILD",
        'cxr_py_library(name = "shards", deps = ["//tffcxr/datasets:images"],'
        ' visibility = ["//visibility:public"])',
    )
    assert build_files.problems(tree) == ["//tffcxr/clients:shards: visibility should be []"]


def test_imports_of_the_package_belong_to_its_modules(tree):
    write(tree, "tffcxr/errors.py", "")
    write(tree, "tffcxr/BUILD", 'cxr_py_library(name = "errors")')
    write(tree, "tffcxr/datasets/__init__.py", "from tffcxr import errors")
    assert build_files.problems(tree) == [
        "//tffcxr/datasets:datasets: no cxr_py_library for tffcxr/datasets/__init__.py",
        "//tffcxr/datasets:images: add dep //tffcxr:errors",
    ]


@pytest.mark.parametrize(
    ("module", "line", "problem"),
    [
        ("datasets", "import tensorflow as tf", "must do without tensorflow"),
        ("clients", "from absl import flags", "absl flags belong in experiments"),
    ],
)
def test_imports_of_other_projects_out_of_place_are_named(tree, module, line, problem):
    path = {"datasets": "tffcxr/datasets/images.py", "clients": "tffcxr/clients/shards.py"}[module]
    write(tree, path, (tree / path).read_text() + f"\n{line}")
    assert build_files.problems(tree) == [f"{path}: {problem}"]


def test_program_is_a_binary(tree):
    write(tree, "experiments/predict.py", 'if __name__ == "__main__":\n    pass')
    write(tree, "experiments/BUILD", 'cxr_py_library(name = "predict")')
    assert build_files.problems(tree) == [
        "//experiments:predict: is a cxr_py_library, should be a cxr_py_binary"
    ]
