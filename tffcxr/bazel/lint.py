"""Holds the source tree to its formatter, linter and type checker, set up in pyproject.toml."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

# The oldest Python that the project runs on; the checks run on any.
_OLDEST_PYTHON = "3.10"


def main(tools: Path) -> int:
    """Runs every check over the tree, also after one has failed.

    Args:
      tools: the virtual environment that has ruff and mypy.

    Returns:
      0 if the tree is clean, else 1.
    """
    # Bazel shows this test its runfiles; pyproject.toml in them links to the tree itself.
    tree = Path("pyproject.toml").resolve().parent
    scratch = Path(os.environ.get("TEST_TMPDIR", "/tmp"))
    commands = [
        ["ruff", "check", "--no-cache"],
        ["ruff", "format", "--check", "--no-cache"],
        # Other projects' types are left out: few have any, and they need not fit that Python.
        [
            "mypy",
            f"--python-version={_OLDEST_PYTHON}",
            "--no-site-packages",
            f"--cache-dir={scratch / 'mypy'}",
        ],
    ]
    failed = []
    for command in commands:
        print("$", *command, flush=True)
        if subprocess.run([tools / "bin" / command[0], *command[1:]], cwd=tree).returncode != 0:
            failed.append(" ".join(command[:2]))
    if failed:
        print("Not clean:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
