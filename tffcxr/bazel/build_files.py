"""Compares the BUILD files with the imports in the Python files, and both with the architecture.

BUILD files are written by hand; this says what is missing, superfluous or not allowed in them.
"""

from __future__ import annotations

import ast
import collections
from collections.abc import Iterable, Iterator
import dataclasses
from pathlib import Path

# Who may import whom among the packages of tffcxr. `tffcxr.errors` is everyone's; programs and
# tests import anything; nothing imports programs or tests.
ARROWS = {
    "bazel": set(),
    "clients": {"datasets"},
    "datasets": set(),
    "evaluation": set(),
    "explanation": set(),
    "learning": set(),
    "models": set(),
    "report": set(),
    "runtime": set(),
    "training": {"clients", "learning", "runtime", "evaluation"},
}
# These must be usable, and quick to import, without TensorFlow.
WITHOUT_TENSORFLOW = {"datasets", "evaluation", "report"}

_ROOTS = ("tffcxr", "experiments", "testdata", "tests")
# Folders of programs: they may import anything but tests, and nothing but tests imports them.
_PROGRAMS = ("experiments", "testdata")
# The Python side of Bazel rules; BUILD files name these files, not modules.
_MAINS = ("tffcxr/bazel/lint.py", "tffcxr/bazel/pytest_main.py")
_RULES = ("cxr_py_library", "cxr_py_binary", "cxr_py_test")


@dataclasses.dataclass(frozen=True)
class Target:
    """One rule in a BUILD file; labels are absolute, as in "//tffcxr/clients:shards"."""

    rule: str
    label: str
    deps: frozenset[str]
    lazy_deps: frozenset[str]
    visibility: frozenset[str]


def problems(tree: Path) -> list[str]:
    """Returns one line for everything that is wrong in the BUILD files of a source tree."""
    found: list[str] = []
    targets: dict[str, Target] = {}
    for root in _ROOTS:
        for build in sorted((tree / root).rglob("BUILD")):
            targets.update({target.label: target for target in read_build(build, tree)})
    files = {
        _label(path, tree): path
        for root in _ROOTS
        for path in sorted((tree / root).rglob("*.py"))
        if path.relative_to(tree).as_posix() not in _MAINS
    }
    importers: dict[str, set[str]] = collections.defaultdict(set)
    for label, path in files.items():
        found += _forbidden_imports(path, tree)
        wanted = imports(path, tree)
        target = targets.get(label)
        if target is None:
            if path.name != "__init__.py" or wanted:
                found.append(f"{label}: no {_rule_for(path)} for {path.relative_to(tree)}")
            continue
        if target.rule != _rule_for(path):
            found.append(f"{label}: is a {target.rule}, should be a {_rule_for(path)}")
        found += [f"{label}: add dep {dep}" for dep in sorted(wanted - target.deps)]
        found += [f"{label}: unused dep {dep}" for dep in sorted(target.deps - wanted)]
        lazy = named(path, tree) - wanted
        found += [f"{label}: add lazy dep {dep}" for dep in sorted(lazy - target.lazy_deps)]
        found += [f"{label}: unused lazy dep {dep}" for dep in sorted(target.lazy_deps - lazy)]
        for dep in target.deps | target.lazy_deps:
            importers[dep].add(_package(label))
        for dep in sorted(imports(path, tree, for_types=True) | target.lazy_deps):
            found += _forbidden_arrow(label, dep)
    found += [f"{label}: has no file" for label in sorted(targets.keys() - files.keys())]
    for label, target in targets.items():
        found += _wrong_visibility(target, importers[label])
        for dep in sorted((target.deps | target.lazy_deps) - targets.keys()):
            found.append(f"{label}: dep {dep} does not exist")
    return found


def read_build(build: Path, tree: Path) -> list[Target]:
    """Reads this project's rules in one BUILD file, which is Python to the parser."""
    package = "//" + build.parent.relative_to(tree).as_posix()
    targets = []
    for statement in ast.parse(build.read_text()).body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if not isinstance(call, ast.Call) or getattr(call.func, "id", None) not in _RULES:
            continue
        values = {
            keyword.arg: ast.literal_eval(keyword.value)
            for keyword in call.keywords
            if keyword.arg in ("name", "deps", "lazy_deps", "visibility")
        }
        targets.append(
            Target(
                rule=call.func.id,  # type: ignore[attr-defined]
                label=f"{package}:{values['name']}",
                deps=frozenset(_absolute(dep, package) for dep in values.get("deps", ())),
                lazy_deps=frozenset(_absolute(dep, package) for dep in values.get("lazy_deps", ())),
                visibility=frozenset(values.get("visibility", ())),
            )
        )
    return targets


def imports(path: Path, tree: Path, for_types: bool = False) -> set[str]:
    """Returns the labels of the modules of this project that a file imports, anywhere in it.

    What its package's `__init__.py` imports when it is run belongs to them.

    Args:
      path: the file.
      tree: the root of the source tree.
      for_types: count imports below `if TYPE_CHECKING:` too. They never run, so they are no deps
        (and may form cycles), but the architecture holds for them.
    """
    labels = _imported(_walk(ast.parse(path.read_text()), for_types), tree)
    init = path.parent / "__init__.py"
    if init.is_file() and path != init:
        labels |= _imported(ast.parse(init.read_text()).body, tree)
    return labels - {_label(path, tree)}


def _walk(node: ast.AST, for_types: bool) -> Iterator[ast.AST]:
    yield node
    children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
        children = list(node.orelse)
    for child in children:
        yield from _walk(child, for_types)


def named(path: Path, tree: Path) -> set[str]:
    """Returns the labels of the modules that a file names in strings, to import or run them."""
    labels = set()
    for node in ast.walk(ast.parse(path.read_text())):
        value = node.value if isinstance(node, ast.Constant) else None
        if isinstance(value, str) and value.replace(".", "").isidentifier():
            module = tree.joinpath(*value.split(".")).with_suffix(".py")
            if value.split(".")[0] in _ROOTS and module.is_file():
                labels.add(_label(module, tree))
    return labels - {_label(path, tree)}


def _imported(nodes: Iterable[ast.AST], tree: Path) -> set[str]:
    names: list[tuple[str, str]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [(node.module, alias.name) for alias in node.names]
    labels: set[str] = set()
    for module, member in names:
        if module.split(".")[0] not in _ROOTS:
            continue
        folder = tree.joinpath(*module.split("."))
        candidates = [folder.with_suffix(".py"), folder / "__init__.py"]
        if member:
            candidates.insert(0, folder / f"{member}.py")
            candidates.insert(1, folder / member / "__init__.py")
        labels.update(_label(path, tree) for path in [p for p in candidates if p.is_file()][:1])
    return labels


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
    return found


def _forbidden_arrow(label: str, dep: str) -> list[str]:
    here, there = _package(label).split("/")[2:], _package(dep).split("/")[2:]
    if here == there or here[0] == "tests" or there == ["tffcxr"]:
        wrong = False
    elif here[0] in _PROGRAMS:
        wrong = there[0] == "tests"
    else:
        wrong = there[0] != "tffcxr" or there[1] not in ARROWS.get(here[1], ())
    return [f"{label}: the architecture has no arrow to {dep}"] if wrong else []


def _wrong_visibility(target: Target, importers: set[str]) -> list[str]:
    package = _package(target.label)
    if package == "//tffcxr":
        return []
    wanted = {f"{p}:__pkg__" for p in importers if p != package and not p.startswith("//tests")}
    if wanted == target.visibility:
        return []
    return [f"{target.label}: visibility should be {sorted(wanted)}"]


def _rule_for(path: Path) -> str:
    if path.name.startswith("test_"):
        return "cxr_py_test"
    is_program = any(
        isinstance(node, ast.If) and "__name__" in ast.dump(node.test)
        for node in ast.parse(path.read_text()).body
    )
    in_programs = path.parent.name in _PROGRAMS
    return "cxr_py_binary" if is_program and in_programs else "cxr_py_library"


def _label(path: Path, tree: Path) -> str:
    package = path.parent.relative_to(tree).as_posix()
    name = path.parent.name if path.name == "__init__.py" else path.stem
    return f"//{package}:{name}"


def _absolute(label: str, package: str) -> str:
    if label.startswith(":"):
        return package + label
    return label if ":" in label else f"{label}:{label.rsplit('/', 1)[-1]}"


def _package(label: str) -> str:
    return label.split(":")[0]
