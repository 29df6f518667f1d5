"""The three rules of this project: a package, a program, the tests of a folder.

A package is a folder with a BUILD file, and everything below it. tests/bazel/test_build_files.py
holds `deps` and `visibility` to the imports in the files.
"""

_TESTS = "//tests:__subpackages__"
_DATA = [
    "//:README.md",
    "//:pyproject.toml",
    "//:requirements_lock.txt",
    "//experiments:notebooks",
    "//experiments:presets",
    "//testdata:files",
]
_PYTHON = {"python_version": "PY3", "srcs_version": "PY3"}

def _parents():
    """Importing a module runs the `__init__.py` of the packages above it, too."""
    folders = native.package_name().split("/")
    return ["//" + folders[0]] if len(folders) > 1 else []

def cxr_py_package(deps = [], visibility = [], **kwargs):
    """All modules of a folder, under the folder's name.

    Args:
      deps: the packages of this project that they import.
      visibility: the packages besides the tests that import them.
      **kwargs: passed to `py_library`, such as `data`.
    """
    native.py_library(
        name = native.package_name().split("/")[-1],
        srcs = native.glob(["**/*.py"]),
        srcs_version = "PY3",
        visibility = visibility + [_TESTS],
        deps = deps + _parents(),
        **kwargs
    )

def cxr_py_programs(exclude):
    """A program per module of the folder, run as `./bazelw run //experiments:NAME -- FLAGS`.

    The folder is a `cxr_py_package`; a program starts others by name, so each has all of it.

    Args:
      exclude: the modules that are no programs.
    """
    package = ":" + native.package_name().split("/")[-1]
    for source in native.glob(["*.py"], exclude = exclude):
        native.py_binary(
            name = source[:-len(".py")],
            srcs = [source],
            main = source,
            visibility = [_TESTS],
            deps = [package],
            **_PYTHON
        )

def cxr_py_tests(deps = [], helpers = [], **kwargs):
    """All tests of a folder in one process, or in as many as `shard_count` says.

    What is no test (`test_*.py`) is a library under the folder's name for other folders.

    Args:
      deps: the packages of this project that the files import.
      helpers: labels of other folders' libraries that the tests use.
      **kwargs: passed to `py_test`, such as `size` and `shard_count`.
    """
    folder = native.package_name().split("/")[-1]
    tests = native.glob(["**/test_*.py"])
    native.py_library(
        name = folder,
        srcs = native.glob(["**/*.py"], exclude = ["**/test_*.py"]),
        srcs_version = "PY3",
        visibility = [_TESTS],
        deps = deps + helpers + _parents(),
    )
    native.py_test(
        name = "test",
        srcs = tests + ["//tffcxr/bazel:pytest_main.py"],
        args = ["$(rootpath {})".format(test) for test in tests],
        data = _DATA,
        main = "//tffcxr/bazel:pytest_main.py",
        deps = [":" + folder],
        **dict(_PYTHON, **kwargs)
    )
