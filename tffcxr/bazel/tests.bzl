"""`cxr_py_test`: a test file of pytest as a Bazel test."""

def cxr_py_test(name, srcs = None, deps = [], data = [], **kwargs):
    """Runs one pytest file; every test case of it is reported to Bazel.

    Args:
      name: the file's name without `.py`.
      srcs: the file, if it is not `name` + ".py".
      deps: the modules under test and the helpers it imports.
      data: files it reads.
      **kwargs: passed to `py_test`, such as `size` and `tags`.
    """
    srcs = srcs or [name + ".py"]
    native.py_test(
        name = name,
        srcs = srcs + ["//tffcxr/bazel:pytest_main.py"],
        main = "//tffcxr/bazel:pytest_main.py",
        args = ["$(rootpath {})".format(srcs[0])],
        data = data + srcs + ["//:pyproject.toml"],
        python_version = "PY3",
        deps = deps,
        **kwargs
    )
