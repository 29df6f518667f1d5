"""Copies the versions of requirements_lock.txt into pyproject.toml, as uv's constraints.

So `uv sync` installs what Bazel and pip install, also when newer versions have appeared. uv reads
constraints from pyproject.toml alone.
"""

from __future__ import annotations

import pathlib
import re
import sys

_BEGIN, _END = "constraint-dependencies = [\n", "]\n"


def constraints(lock: str) -> list[str]:
    r"""The requirements of a lock, without hashes and without what holds for all of this project.

    >>> constraints("a==1 ; python_full_version < '3.11' and sys_platform == 'linux'")
    ["a==1 ; python_version < '3.11'"]
    """
    found = []
    for line in lock.splitlines():
        if not re.match(r"[a-z0-9]", line):
            continue
        requirement, _, marker = line.rstrip("\\ ").partition(" ; ")
        python = re.search(r"python_full_version (< '3\.11'|== '3\.11)", marker)
        if python:
            requirement += f" ; python_version {'<' if '<' in python[1] else '=='} '3.11'"
        found.append(requirement)
    return found


def with_constraints(pyproject: str, lock: str) -> str:
    """The text of pyproject.toml with the versions of a lock."""
    start = pyproject.index(_BEGIN) + len(_BEGIN)
    end = pyproject.index(_END, start)
    lines = "".join(f'  "{each}",\n' for each in constraints(lock))
    return pyproject[:start] + lines + pyproject[end:]


def main() -> int:
    """Writes pyproject.toml; with `--clear`, without constraints, so that versions can move."""
    root = pathlib.Path(__file__).resolve().parents[2]
    path, lock = root / "pyproject.toml", root / "requirements_lock.txt"
    versions = "" if "--clear" in sys.argv[1:] else lock.read_text("utf-8")
    path.write_text(with_constraints(path.read_text("utf-8"), versions), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
