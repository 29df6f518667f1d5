"""Compares the BUILD files with the imports in the Python files, and both with the architecture.

BUILD files are written by hand; this says what is missing, superfluous or not allowed in them, and
which files are too long, or named like another.
"""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterable, Iterator
import dataclasses
from pathlib import Path
from typing import Any

# Which packages of tffcxr each of them may import. The modules of tffcxr itself are everyone's;
# programs and tests import anything; nothing imports programs or tests.
ARROWS: dict[str, set[str]] = {
    "bazel": set(),
    "datasets": set(),
    "clients": {"datasets"},
    "nnunet": {"clients"},
    "models": {"datasets", "nnunet"},
    "learning": {"runtime"},
    "runtime": set(),
    "evaluation": set(),
    "explanation": set(),
    "training": {"clients", "learning", "runtime", "evaluation", "models"},
    "hospitals": {"clients", "datasets", "evaluation", "learning", "runtime", "training"},
    "own_model": {"clients", "datasets", "learning", "training"},
    "report": {"evaluation"},
    "data_check": {"clients", "datasets", "prediction", "report"},
    "audit": {"clients", "evaluation", "learning", "models", "report", "training"},
    "elsewhere": {
        "clients",
        "data_check",
        "datasets",
        "evaluation",
        "models",
        "prediction",
        "report",
    },
    "prediction": {"clients", "datasets", "explanation", "models", "report"},
    "sweeps": {"clients", "evaluation", "report", "training"},
    "benchmarks": {"clients", "datasets", "models", "learning", "runtime", "report"},
    "studies": {
        "datasets",
        "elsewhere",
        "hospitals",
        "clients",
        "nnunet",
        "models",
        "learning",
        "runtime",
        "evaluation",
        "explanation",
        "training",
        "report",
        "sweeps",
    },
}
# These must be usable, and quick to import, without TensorFlow.
WITHOUT_TENSORFLOW = {"datasets", "evaluation", "report"}
# What is not public in TensorFlow, Keras and TFF, and the one module that may import it.
PRIVATE_APIS = (
    "keras.src",
    "tensorflow.python",
    "tensorflow_federated.proto",
    "tensorflow_federated.python",
)
MODULE_OF_PRIVATE_APIS = "tffcxr/runtime/private_apis.py"

# What `import tffcxr` imports when its names are first used, besides what this package depends on.
_FRONT_DOOR = ("tffcxr", "own_model")
_ROOTS = ("tffcxr", "experiments", "testdata", "tests")
_MOST_LINES = 400
# The same role in several packages goes by the same name.
_SHARED_NAMES = {"__init__"}


@dataclasses.dataclass(frozen=True)
class Package:
    """What a BUILD file says of its folder; labels are absolute, as in "//tffcxr/clients"."""

    label: str
    deps: frozenset[str]
    visibility: frozenset[str]


def problems(tree: Path) -> list[str]:
    """Returns one line for everything that is wrong in the BUILD files of a source tree."""
    files = [path for root in _ROOTS for path in sorted((tree / root).rglob("*.py"))]
    found = _wrong_files(files, tree)
    packages = {
        package.label: package
        for root in _ROOTS
        for build in sorted((tree / root).rglob("BUILD"))
        for package in read_build(build, tree)
    }
    wanted: dict[str, set[str]] = collections.defaultdict(set)
    for path in files:
        label = package_of(path, tree)
        if label not in packages:
            found.append(f"{path.relative_to(tree)}: is in no package with a BUILD file")
            continue
        wanted[label] |= imports(path, tree) - {label}
        for dep in sorted(imports(path, tree, for_types=True) - {label}):
            found += _forbidden_arrow(path.relative_to(tree), label, dep)
    for label, package in packages.items():
        # The rules add the package above.
        needed = wanted[label] - {f"//{label[2:].split('/')[0]}"}
        found += [f"{label}: add dep {dep}" for dep in sorted(needed - package.deps)]
        found += [f"{label}: unused dep {dep}" for dep in sorted(package.deps - needed)]
        below = sorted(dep for dep in package.deps if dep.startswith(f"{label}/"))
        found += [f"{label}: {dep} depends on what is above it, and so leads back" for dep in below]
        importers = {
            f"{other}:__pkg__"
            for other, dependencies in wanted.items()
            if label in dependencies and other != label and not other.startswith("//tests")
        }
        is_root = label.count("/") == 2
        if not is_root and not label.startswith("//tests") and package.visibility != importers:
            found.append(f"{label}: visibility should be {sorted(importers)}")
    return found


def read_build(build: Path, tree: Path) -> list[Package]:
    """Reads this project's rules in one BUILD file, which is Python to the parser."""
    label = "//" + build.parent.relative_to(tree).as_posix()
    packages = []
    for statement in ast.parse(build.read_text()).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        rule = getattr(getattr(call, "func", None), "id", None)
        if not isinstance(call, ast.Call) or rule not in ("cxr_py_package", "cxr_py_tests"):
            continue
        values: dict[str, Any] = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg in ("deps", "helpers", "visibility")
        }
        deps = frozenset((*values.get("deps", ()), *values.get("helpers", ())))
        packages.append(Package(label, deps, frozenset(values.get("visibility", ()))))
    return packages


def package_of(path: Path, tree: Path) -> str | None:
    """Returns the label of the nearest folder above a file that has a BUILD file."""
    for folder in path.parents:
        if (folder / "BUILD").is_file() and folder != tree:
            return "//" + folder.relative_to(tree).as_posix()
        if folder == tree:
            break
    return None


def imports(path: Path, tree: Path, for_types: bool = False) -> set[str]:
    """Returns the labels of the packages that a file imports or names, anywhere in it.

    Args:
      path: the file.
      tree: the root of the source tree.
      for_types: count imports below `if TYPE_CHECKING:` too. They never run, so they are no deps
        (and may form cycles), but the architecture holds for them.
    """
    names: list[tuple[str, str]] = []
    for node in _walk(ast.parse(path.read_text()), for_types):
        if isinstance(node, ast.Import):
            names += [
                _FRONT_DOOR if alias.name == "tffcxr" else (alias.name, "") for alias in node.names
            ]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [(node.module, alias.name) for alias in node.names]
        elif _names_module(node):  # One that is imported or run by its name.
            names.append((ast.literal_eval(node), ""))
    modules = (_module(module, member, tree) for module, member in names)
    return {label for module in modules if module and (label := package_of(module, tree))}


def _names_module(node: ast.AST) -> bool:
    value = node.value if isinstance(node, ast.Constant) else None
    return isinstance(value, str) and value.replace(".", "").isidentifier()


def _module(module: str, member: str, tree: Path) -> Path | None:
    """Returns the file of an imported module, or None if it is not this project's."""
    if module.split(".")[0] not in _ROOTS or "." not in f"{module}.{member}".rstrip("."):
        return None
    folder = tree.joinpath(*module.split("."))
    candidates = [folder.with_suffix(".py"), folder / "__init__.py"]
    if member:
        candidates = [folder / f"{member}.py", folder / member / "__init__.py", *candidates]
    return next((path for path in candidates if path.is_file()), None)


def _walk(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
        children = list(node.orelse)
    for child in children:
        yield from _walk(child, for_types)


def _wrong_files(files: Iterable[Path], tree: Path) -> list[str]:
    """Names files that are too long, named like others, or import what they must do without."""
    found = []
    by_name: dict[str, list[str]] = collections.defaultdict(list)
    for path in files:
        where = path.relative_to(tree).as_posix()
        lines = len(path.read_text().splitlines())
        if lines > _MOST_LINES:
            found.append(f"{where}: has {lines} lines, more than {_MOST_LINES}")
        if path.stem not in _SHARED_NAMES and not where.startswith("tests/"):
            by_name[path.stem].append(where)
        found += _forbidden_imports(path, tree)
    for places in by_name.values():
        if len(places) > 1:
            found.append(f"{', '.join(places)}: have one name")
    return found


def _forbidden_imports(path: Path, tree: Path) -> list[str]:
    """Names imports of other projects that the architecture keeps out of a package."""
    root, *rest = path.relative_to(tree).parts
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    where = path.relative_to(tree)
    found = []
    if root == "tffcxr" and modules & {"absl.flags", "absl.app"}:
        found.append(f"{where}: absl flags belong in experiments")
    if root == "tffcxr" and rest[0] in WITHOUT_TENSORFLOW:
        heavy = {module.split(".")[0] for module in modules}
        for module in sorted(heavy & {"tensorflow", "tensorflow_federated", "keras"}):
            found.append(f"{where}: must do without {module}")
    if root in ("tffcxr", "experiments") and where.as_posix() != MODULE_OF_PRIVATE_APIS:
        private = {api for api in PRIVATE_APIS for m in modules if f"{m}.".startswith(f"{api}.")}
        found += [f"{where}: {api} belongs in {MODULE_OF_PRIVATE_APIS}" for api in sorted(private)]
    return found


def _forbidden_arrow(where: Path, label: str, dep: str) -> list[str]:
    here, there = label.split("/")[2:], dep.split("/")[2:]
    if here[0] == "tests" or there == ["tffcxr"]:
        wrong = False
    elif here[0] != "tffcxr":  # Programs import anything but tests.
        wrong = there[0] == "tests"
    else:
        allowed = ARROWS.get(here[1], set()) if len(here) > 1 else set()
        wrong = there[0] != "tffcxr" or there[1] not in allowed
    return [f"{where}: the architecture has no arrow from {label} to {dep}"] if wrong else []
