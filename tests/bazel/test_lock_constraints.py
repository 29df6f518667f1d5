"""uv installs what the lock of Bazel and pip has."""

import pathlib

from tffcxr.bazel import lock_constraints

_ROOT = pathlib.Path(__file__).parents[2]


def test_a_constraint_is_a_version_without_hashes_and_without_what_always_holds():
    lock = (
        "a==1 ; python_full_version < '3.12' and sys_platform == 'linux' \\\n"
        "    --hash=sha256:0 \\\n"
        "b==2 ; python_full_version < '3.11' and sys_platform == 'linux' \\\n"
        "b==3 ; python_full_version == '3.11.*' and sys_platform == 'linux' \\\n"
    )
    assert lock_constraints.constraints(lock) == [
        "a==1",
        "b==2 ; python_version < '3.11'",
        "b==3 ; python_version == '3.11'",
    ]


def test_pyproject_has_the_versions_of_the_lock():
    pyproject = (_ROOT / "pyproject.toml").read_text("utf-8")
    lock = (_ROOT / "requirements_lock.txt").read_text("utf-8")
    assert lock_constraints.with_constraints(pyproject, lock) == pyproject, (
        "run python tffcxr/bazel/lock_constraints.py"
    )
