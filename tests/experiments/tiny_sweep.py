"""The program `sweep`, to which `tiny_recipe` is a recipe like any other."""

from experiments import sweep
from experiments.flags import sweep_flags

sweep.PRELOADED = []  # It needs no TensorFlow.
sweep_flags.RECIPES["tiny"] = "tests.experiments.tiny_recipe"
main = sweep.main
