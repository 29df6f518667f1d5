"""A repository rule that turns a lock file into a virtual environment.

The environment belongs to the lock: a change of the lock makes a new one. Its files are not declared to
Bazel (there are a hundred thousand of them, and linking each into every program's runfiles would
take minutes); the interpreter is named by its path instead.
"""

_HOURS = 60 * 60

# What no program imports, a third of all Python code in the environment.
_NOT_COMPILED = "/site-packages/(.*/(tests?|substrates)/|(pip|pygments|sqlalchemy|kagglesdk)/)"

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

def _pip(python):
    """Returns the start of a command that installs what is locked.

    The index, proxies and certificates are the user's own pip configuration. A PYTHONPATH or
    "user = true" of theirs would install elsewhere.
    """
    pip = [python, "-I", "-m", "pip", "install", "--no-user", "--no-deps", "--require-hashes"]
    return pip + ["--no-compile", "--no-input", "--disable-pip-version-check", "--progress-bar=off"]

def _index(repository_ctx, python):
    """Returns the index of the user's pip configuration, None for that of PyPI."""
    result = repository_ctx.execute([python, "-I", "-m", "pip", "config", "list"])
    for line in result.stdout.splitlines():  # The environment's come first.
        name, _, value = line.partition("=")
        if name.endswith(".index-url"):
            return value.strip("'")
    return None

def _install_with_uv(repository_ctx, python, steps):
    """Installs with uv, in a fourth of pip's time; returns whether that worked.

    Of the user's pip configuration it knows the index alone. The hashes make sure that the files
    are the same from wherever they come.
    """
    tool = repository_ctx.path("installer")
    lock = repository_ctx.path(repository_ctx.attr._installer_lock)
    result = repository_ctx.execute(_pip(python) + ["--target", tool, "-r", lock])
    if result.return_code != 0:
        return False
    index = _index(repository_ctx, python)
    uv = [str(tool) + "/bin/uv", "pip", "install", "--python", python, "--no-deps"]
    uv += ["--require-hashes", "--no-progress"]

    # Not on the command line, which other users of the machine can read: it may hold a password.
    environment = {"UV_DEFAULT_INDEX": index} if index else {}
    works = True
    for step in steps:
        if works:
            result = repository_ctx.execute(
                uv + step,
                timeout = 2 * _HOURS,
                environment = environment,
            )
            works = result.return_code == 0
    repository_ctx.delete(tool)
    return works

def _install_with_pip(repository_ctx, python, steps):
    """Installs with pip, which follows all of the user's configuration, and says what is wrong."""
    for step in steps:
        what = "pip could not install {}; its message is above".format(repository_ctx.attr.lock)
        _run(repository_ctx, _pip(python) + step, what)

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

    # The few packages that come as sources are built with the locked setuptools, not the newest.
    repository_ctx.file(
        "build_requirements.txt",
        _requirements(repository_ctx.read(lock), ["setuptools", "wheel"]),
        executable = False,
    )
    steps = [["-r", "build_requirements.txt"], ["--no-build-isolation", "-r", lock]]
    repository_ctx.report_progress("installing the locked packages: a minute or more, once")
    if not _install_with_uv(repository_ctx, python, steps):
        _install_with_pip(repository_ctx, python, steps)
    repository_ctx.report_progress("compiling the installed packages")
    repository_ctx.execute(
        [python, "-m", "compileall", "-q", "-j", "0", "-x", _NOT_COMPILED, str(venv) + "/lib"],
        timeout = 2 * _HOURS,
    )

    repository_ctx.file("BUILD", _BUILD.format(python = python), executable = False)
    repository_ctx.file("paths.bzl", 'VENV = "{}"\n'.format(venv), executable = False)

python_env = repository_rule(
    implementation = _python_env_impl,
    attrs = {
        "lock": attr.label(mandatory = True, allow_single_file = True),
        "_installer_lock": attr.label(
            default = "//tffcxr/bazel:installer_requirements_lock.txt",
            allow_single_file = True,
        ),
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
