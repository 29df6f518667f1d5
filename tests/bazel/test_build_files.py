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
    write(tmp_path, "tffcxr/datasets/imaging/images.py", "")
    write(
        tmp_path,
        "tffcxr/datasets/BUILD",
        'cxr_py_package(visibility = ["//tffcxr/clients:__pkg__"])',
    )
    write(tmp_path, "tffcxr/clients/shards.py", "from tffcxr.datasets.imaging import images")
    write(tmp_path, "tffcxr/clients/BUILD", 'cxr_py_package(deps = ["//tffcxr/datasets"])')
    write(tmp_path, "tests/clients/test_shards.py", "import tffcxr.clients.shards")
    write(tmp_path, "tests/clients/BUILD", 'cxr_py_tests(deps = ["//tffcxr/clients"])')
    return tmp_path


def write(tree, name, text):
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_right_tree_has_no_problems(tree):
    assert build_files.problems(tree) == []


def test_import_without_dep_is_named_also_inside_a_function(tree):
    write(
        tree,
        "tests/clients/test_b.py",
        "def f():\n    from tffcxr.datasets.imaging.images import g",
    )
    assert build_files.problems(tree) == ["//tests/clients: add dep //tffcxr/datasets"]


def test_the_front_door_needs_what_it_imports_at_first_use(tree):
    write(tree, "tffcxr/__init__.py", "")
    write(tree, "tffcxr/own_model/__init__.py", "")
    write(tree, "tffcxr/own_model/BUILD", "cxr_py_package()")
    write(tree, "tests/clients/test_b.py", "import tffcxr")
    assert "//tests/clients: add dep //tffcxr/own_model" in build_files.problems(tree)


def test_dep_without_import_is_named(tree):
    write(tree, "tests/clients/test_shards.py", "")
    assert build_files.problems(tree) == ["//tests/clients: unused dep //tffcxr/clients"]


def test_a_package_may_not_depend_on_one_below_it(tree):
    write(tree, "tests/helpers.py", "import tests.clients.helpers")
    write(tree, "tests/clients/helpers.py", "")
    write(tree, "tests/BUILD", 'cxr_py_tests(helpers = ["//tests/clients"])')
    assert build_files.problems(tree) == [
        "//tests: //tests/clients depends on what is above it, and so leads back"
    ]


def test_module_imported_by_name_needs_a_dep(tree):
    write(tree, "tffcxr/clients/shards.py", 'MODULES = {"a": "tffcxr.datasets.imaging.images"}')
    assert build_files.problems(tree) == []


def test_file_outside_of_every_package_is_named(tree):
    write(tree, "tffcxr/models/build.py", "")
    assert build_files.problems(tree) == [
        "tffcxr/models/build.py: is in no package with a BUILD file"
    ]


def test_import_against_the_architecture_is_named_though_bazel_would_allow_it(tree):
    write(tree, "tffcxr/datasets/imaging/images.py", "from tffcxr.models import build")
    write(
        tree,
        "tffcxr/datasets/BUILD",
        'cxr_py_package(visibility = ["//tffcxr/clients:__pkg__"], deps = ["//tffcxr/models"])',
    )
    write(tree, "tffcxr/models/build.py", "")
    write(
        tree,
        "tffcxr/models/BUILD",
        'cxr_py_package(visibility = ["//tffcxr/datasets:__pkg__"])',
    )
    assert build_files.problems(tree) == [
        "tffcxr/datasets/imaging/images.py: the architecture has no arrow from //tffcxr/datasets "
        "to //tffcxr/models"
    ]


def test_import_for_types_alone_is_no_dep_but_needs_an_arrow(tree):
    text = "if TYPE_CHECKING:\n    from tffcxr.clients import shards"
    write(tree, "tffcxr/datasets/imaging/images.py", text)
    assert build_files.problems(tree) == [
        "tffcxr/datasets/imaging/images.py: the architecture has no arrow from //tffcxr/datasets "
        "to //tffcxr/clients"
    ]


def test_no_module_may_import_a_program(tree):
    write(tree, "experiments/predict.py", "")
    write(tree, "experiments/BUILD", 'cxr_py_package(visibility = ["//tffcxr/clients:__pkg__"])')
    text = "import experiments.predict, tffcxr.datasets.imaging.images"
    write(tree, "tffcxr/clients/shards.py", text)
    write(
        tree,
        "tffcxr/clients/BUILD",
        'cxr_py_package(deps = ["//experiments", "//tffcxr/datasets"])',
    )
    assert build_files.problems(tree) == [
        "tffcxr/clients/shards.py: the architecture has no arrow from //tffcxr/clients to "
        "//experiments"
    ]


def test_package_open_to_more_than_import_it_is_named(tree):
    write(
        tree,
        "tffcxr/clients/BUILD",
        'cxr_py_package(deps = ["//tffcxr/datasets"], visibility = ["//visibility:public"])',
    )
    assert build_files.problems(tree) == ["//tffcxr/clients: visibility should be []"]


@pytest.mark.parametrize(
    ("path", "line", "problem"),
    [
        ("tffcxr/datasets/rsna.py", "import tensorflow as tf", "must do without tensorflow"),
        ("tffcxr/clients/sites.py", "from absl import flags", "absl flags belong in experiments"),
        (
            "tffcxr/clients/sites.py",
            "def f():\n    from tensorflow.python.eager import context",
            "tensorflow.python belongs in tffcxr/runtime/private_apis.py",
        ),
        (
            "tffcxr/clients/sites.py",
            "import tensorflow_federated.proto.v0.executor_pb2",
            "tensorflow_federated.proto belongs in tffcxr/runtime/private_apis.py",
        ),
        (
            "tffcxr/clients/sites.py",
            "from keras import src",
            "keras.src belongs in tffcxr/runtime/private_apis.py",
        ),
    ],
)
def test_imports_of_other_projects_out_of_place_are_named(tree, path, line, problem):
    write(tree, path, line)
    assert build_files.problems(tree) == [f"{path}: {problem}"]


def test_file_names_occur_once_and_files_are_short(tree):
    write(tree, "tffcxr/clients/images.py", "")
    write(tree, "tffcxr/clients/long.py", "x = 1\n" * 401)
    assert build_files.problems(tree) == [
        "tffcxr/clients/long.py: has 401 lines, more than 400",
        "tffcxr/clients/images.py, tffcxr/datasets/imaging/images.py: have one name",
    ]
