"""The program `sweep`, to which `tiny_recipe` is a recipe like any other."""

from experiments import fork_server, sweep, sweep_flags

fork_server.PRELOADED = []  # It needs no TensorFlow.
sweep_flags.RECIPES["tiny"] = "tests.experiments.tiny_recipe"
main = sweep.main
