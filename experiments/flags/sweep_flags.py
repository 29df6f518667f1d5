"""Checks the flags that a sweep gives to a recipe, before anything runs.

The recipe defines its flags where the sweep has flags of the same names, so it is imported in a
process of its own, which parses and checks every configuration as the recipe would.
"""

from __future__ import annotations

from collections.abc import Sequence
import difflib
import importlib
import json
import sys
from typing import Any

from absl import flags

from experiments.flags import training_flags
from tffcxr import child_process
from tffcxr.errors import InputError
from tffcxr.sweeps import sweep_plan

# Name of a recipe -> its module, which has `check_flags()`, and `apply_defaults()` if defaults of
# its flags depend on others.
RECIPES = {
    "cheXviz": "experiments.cheXviz",
    "covid": "experiments.covid",
    "cross_domain": "experiments.cross_domain",
    "cxr_fl_classification": "experiments.cxr_fl_classification",
    "cxr_fl_segmentation": "experiments.cxr_fl_segmentation",
    "pneumonia": "experiments.pneumonia",
}

_START = "from experiments.flags import sweep_flags; sweep_flags.main()"


def check(experiment: str, command_lines: Sequence[Sequence[sweep_plan.Setting]]) -> Answer:
    """Parses what a sweep wants to give to a recipe.

    Args:
      experiment: a name of `RECIPES`.
      command_lines: the settings of each configuration, without those of the sweep itself.

    Raises:
      InputError: no such recipe, or it does not take one of the flags or values.
    """
    if experiment not in RECIPES:
        raise InputError(
            f"--experiment: expected one of {', '.join(sorted(RECIPES))}, found {experiment!r}"
        )
    question = {"module": RECIPES[experiment], "command_lines": command_lines}
    process = child_process.ask(_START, json.dumps(question).encode())
    if process.returncode:
        raise RuntimeError(f"cannot import {experiment}:\n{process.stderr.decode()}")
    answer = json.loads(process.stdout)
    if "error" in answer:
        raise InputError(f"{experiment}: {answer['error']}")
    return Answer(answer["own_flags"], answer["settings"])


class Answer:
    """What a recipe makes of its flags.

    Attributes:
      own_flags: those of `sweep_plan.RESERVED` that the recipe has.
      settings: per configuration, the value of every flag that results depend on.
    """

    def __init__(self, own_flags: Sequence[str], settings: Sequence[dict[str, Any]]):
        self.own_flags = tuple(own_flags)
        self.settings = tuple(settings)


def main() -> None:
    """The other process: reads the question from standard input, prints the answer."""
    question = json.load(sys.stdin)
    module = importlib.import_module(question["module"])
    sys.argv = [module.__name__]  # The name under which absl knows the recipe's flags.
    known = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module.__name__)}
    try:
        settings = []
        for command_line in question["command_lines"]:
            _parse(command_line, known)
            if hasattr(module, "apply_defaults"):
                module.apply_defaults()
            recorded = training_flags.recorded_settings()
            settings.append({n: recorded[n] for n in recorded if n not in sweep_plan.RESERVED})
            module.check_flags()
    except InputError as error:
        print(json.dumps({"error": str(error)}))
        return
    own = [name for name in sweep_plan.RESERVED if name in known]
    print(json.dumps({"own_flags": own, "settings": settings}, default=str))


def _parse(settings: Sequence[sweep_plan.Setting], known: set[str]) -> None:
    """Gives the recipe's flags the values that they have under one configuration."""
    names = [name for name, _ in settings]
    for name in names:
        if name not in known | {"flagfile"}:
            close = difflib.get_close_matches(name, known, 1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(f"expected a flag of it, found {name!r}{hint}")
        if names.count(name) > 1 and not isinstance(flags.FLAGS[name], flags.MultiFlag):
            raise InputError(f"expected {name} once, found it {names.count(name)} times")
    flags.FLAGS.unparse_flags()
    sys.argv[1:] = sweep_plan.arguments(settings)  # Some checks look at what was typed.
    try:
        remaining = flags.FLAGS(list(sys.argv))
    except (flags.Error, OSError) as error:
        raise InputError(" ".join(str(error).split())) from None
    if len(remaining) > 1:
        raise InputError(f"expected flags only, found {remaining[1]!r}")
