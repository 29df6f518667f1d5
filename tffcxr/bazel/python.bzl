"""The three rules of this project: a module, a program, a test file.

tests/bazel/test_build_files.py holds `deps` and `visibility` to the imports in the files.
"""

_TESTS = "//tests:__subpackages__"

def _init_files():
    """Importing a module runs its package's `__init__.py` too."""
    return native.glob(["__init__.py"])

def _parent_package():
    """And that of the package above, which also keeps an installed package of its name away."""
    folders = native.package_name().split("/")
    return ["//" + folders[0]] if len(folders) > 1 else []

def cxr_py_library(name, srcs = None, deps = [], lazy_deps = [], visibility = [], **kwargs):
    """One module, visible to its package, to tests, and to the packages listed.

    Args:
      name: the module's name.
      srcs: its file, if that is not `name` + ".py".
      deps: the modules of this project that it imports.
      lazy_deps: the modules that it imports by a computed name or starts as a program.
      visibility: the packages besides this one and the tests that import it.
      **kwargs: passed to `py_library`, such as `data`.
    """
    srcs = srcs or [name + ".py"]
    native.py_library(
        name = name,
        srcs = srcs + [init for init in _init_files() if init not in srcs],
        srcs_version = "PY3",
        visibility = visibility + [_TESTS],
        deps = deps + lazy_deps + _parent_package(),
        **kwargs
    )

def cxr_py_binary(name, deps = [], lazy_deps = [], **kwargs):
    """A program: the module of its name, run as `./bazelw run //experiments:NAME -- FLAGS`.

    Args:
      name: the module's name.
      deps: the modules of this project that it imports.
      lazy_deps: the modules that it imports by a computed name or starts as a program.
      **kwargs: passed to `py_binary`, such as `data`.
    """
    native.py_binary(
        name = name,
        srcs = [name + ".py"] + _init_files(),
        main = name + ".py",
        python_version = "PY3",
        srcs_version = "PY3",
        visibility = [_TESTS],
        deps = deps + lazy_deps + _parent_package(),
        **kwargs
    )

def cxr_py_test(name, deps = [], lazy_deps = [], data = [], **kwargs):
    """One pytest file; every test case in it is reported to Bazel.

    Args:
      name: the file's name without `.py`.
      deps: the modules of this project that it imports.
      lazy_deps: the modules that it imports by a computed name or starts as a program.
      data: the files that it reads.
      **kwargs: passed to `py_test`, such as `size`.
    """
    source = name + ".py"
    native.py_test(
        name = name,
        srcs = [source, "//tffcxr/bazel:pytest_main.py"] + _init_files(),
        args = ["$(rootpath {})".format(source)],
        data = data + ["//:pyproject.toml"],
        main = "//tffcxr/bazel:pytest_main.py",
        python_version = "PY3",
        srcs_version = "PY3",
        deps = deps + lazy_deps + _parent_package(),
        **kwargs
    )
