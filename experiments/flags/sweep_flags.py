"""Checks the flags that a sweep gives to a recipe, before anything runs.

The recipe and the sweep define flags of the same names, so the recipe is imported in a process of
its own, which parses and checks every configuration as the recipe would.
"""

from __future__ import annotations

from collections.abc import Sequence
import importlib
import json
import sys
from typing import Any

from absl import flags

from experiments import recipes
from experiments.flags import flag_errors, flagfile, training_flags, typed
from tffcxr import child_process
from tffcxr.errors import InputError, did_you_mean
from tffcxr.sweeps import sweep_plan

# Name of a recipe -> its module, which has `RECIPE`.
RECIPES = {name: f"experiments.{name}" for name in recipes.RECIPES}

_START = "from experiments.flags import sweep_flags; sweep_flags.main()"


def check(experiment: str, command_lines: Sequence[Sequence[sweep_plan.Setting]]) -> Answer:
    """Parses and checks the settings of a sweep's configurations.

    Args:
      experiment: a name of `RECIPES`.
      command_lines: the settings of each configuration, without those of the sweep itself.

    Raises:
      InputError: no such recipe, or it rejects one of the flags or values.
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
    """How a recipe reads its flags.

    Attributes:
      own_flags: those of `sweep_plan.RESERVED` that the recipe has.
      settings: per configuration, the value of every flag that results depend on.
    """

    def __init__(self, own_flags: Sequence[str], settings: Sequence[dict[str, Any]]):
        self.own_flags = tuple(own_flags)
        self.settings = tuple(settings)


def main() -> None:
    """Runs in the other process: reads the question from standard input, prints the answer."""
    question = json.load(sys.stdin)
    module = importlib.import_module(question["module"])
    known = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module.__name__)}
    try:
        settings = []
        for command_line in question["command_lines"]:
            _parse(module.__name__, command_line, known)
            module.RECIPE.apply_defaults()
            recorded = training_flags.recorded_settings()
            settings.append({n: recorded[n] for n in recorded if n not in sweep_plan.RESERVED})
            module.RECIPE.check()
    except InputError as error:
        print(json.dumps({"error": str(error)}))
        return
    own = [name for name in sweep_plan.RESERVED if name in known]
    print(json.dumps({"own_flags": own, "settings": settings}, default=str))


def _parse(program: str, settings: Sequence[sweep_plan.Setting], known: set[str]) -> None:
    """Sets the recipe's flags to one configuration."""
    names = [name for name, _ in settings]
    for name in names:
        if name not in known | {"flagfile"}:
            hint = did_you_mean(name, known)
            raise InputError(f"expected a flag of it, found {name!r}{hint}")
        if names.count(name) > 1 and not isinstance(flags.FLAGS[name], flags.MultiFlag):
            raise InputError(f"expected {name} once, found it {names.count(name)} times")
    flags.FLAGS.unparse_flags()
    argv = [program, *sweep_plan.arguments(settings)]
    typed.remember(argv)  # Some checks read the words that were typed.
    try:
        remaining = flags.FLAGS(flagfile.resolved(argv))
    except (flags.Error, OSError) as error:
        raise InputError(flag_errors.described(error)) from None
    if len(remaining) > 1:
        raise InputError(f"expected flags only, found {remaining[1]!r}")
