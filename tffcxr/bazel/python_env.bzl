"""A repository rule that turns a lock file into a virtual environment.

The environment belongs to the lock: a change of the lock makes a new one. Its files are not declared to
Bazel (there are a hundred thousand of them, and linking each into every program's runfiles would
take minutes); the interpreter is named by its path instead.
"""

_HOURS = 60 * 60

_BUILD = """
load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

py_runtime(
    name = "python3",
    interpreter_path = "{python}",
    python_version = "PY3",
    stub_shebang = "#!{python}",
    visibility = ["//visibility:public"],
)

py_runtime_pair(
    name = "runtimes",
    py2_runtime = None,
    py3_runtime = ":python3",
)

toolchain(
    name = "toolchain",
    toolchain = ":runtimes",
    toolchain_type = "@bazel_tools//tools/python:toolchain_type",
)
"""

def _requirements(lock, names):
    """Returns the part of a lock that pins the given packages, hashes included."""
    kept = []
    keep = False
    for line in lock.splitlines():
        if line and not line.startswith(" "):
            keep = line.split("==")[0] in names
        if keep:
            kept.append(line)
    return "\n".join(kept) + "\n"

def _run(repository_ctx, arguments, failure):
    result = repository_ctx.execute(arguments, timeout = 2 * _HOURS, quiet = False)
    if result.return_code != 0:
        fail(failure)

def _python_env_impl(repository_ctx):
    lock = repository_ctx.path(repository_ctx.attr.lock)
    finder = repository_ctx.path(repository_ctx.attr._find_python)
    found = repository_ctx.execute(["sh", finder])
    if found.return_code != 0:
        fail(found.stderr.strip())

    repository_ctx.report_progress("making a virtual environment")
    venv = repository_ctx.path("venv")
    python = str(venv) + "/bin/python3"
    _run(
        repository_ctx,
        [found.stdout.strip(), "-m", "venv", venv],
        "could not make a virtual environment with " + found.stdout.strip(),
    )

    # The index, proxies and certificates are the user's own pip configuration.
    # A PYTHONPATH or "user = true" of theirs would install elsewhere.
    pip = [python, "-I", "-m", "pip", "install", "--no-user", "--no-deps", "--require-hashes"]
    pip += ["--no-compile", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]
    what = "pip could not install {}; its message is above".format(repository_ctx.attr.lock)

    # The few packages that come as sources are built with the locked setuptools, not the newest.
    repository_ctx.file(
        "build_requirements.txt",
        _requirements(repository_ctx.read(lock), ["setuptools", "wheel"]),
        executable = False,
    )
    _run(repository_ctx, pip + ["-r", "build_requirements.txt"], what)
    repository_ctx.report_progress("installing the locked packages: minutes, once")
    _run(repository_ctx, pip + ["--no-build-isolation", "-r", lock], what)
    repository_ctx.report_progress("compiling the installed packages")
    repository_ctx.execute(
        [python, "-m", "compileall", "-q", "-j", "0", str(venv) + "/lib"],
        timeout = 2 * _HOURS,
    )

    repository_ctx.file("BUILD", _BUILD.format(python = python), executable = False)
    repository_ctx.file("paths.bzl", 'VENV = "{}"\n'.format(venv), executable = False)

python_env = repository_rule(
    implementation = _python_env_impl,
    attrs = {
        "lock": attr.label(mandatory = True, allow_single_file = True),
        "_find_python": attr.label(
            default = "//tffcxr/bazel:find_python.sh",
            allow_single_file = True,
        ),
    },
    environ = ["TFFCXR_PYTHON"],
    doc = """Makes a virtual environment from a complete lock file with hashes.

    Defines `:toolchain` (its interpreter) and `paths.bzl` with `VENV`, its folder.
    """,
)
