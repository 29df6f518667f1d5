"""A recipe that trains nothing, in a fraction of a second, with what a sweep needs of a recipe.

The loss of a round falls with the learning rate and the seed; a learning rate of 1e30 fails.
"""

import json
import os
import pathlib
import sys
import time

from absl import flags

from experiments.flags import checks, command_line, recipe, training_flags
from tffcxr.errors import RunError

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", "run", "The run's folder.")
flags.DEFINE_string("cache_dir", None, "Shared.")
flags.DEFINE_string("phantom_dir", None, "Shared.")
flags.DEFINE_multi_string("site", [], "Given any number of times.")
flags.DEFINE_float("pause", 0.0, "Seconds per round.")
training_flags.define(rounds=3, learning_rate=0.1, batch_size=1)
flags.adopt_module_key_flags(training_flags)

COLUMNS = ["round", "seconds", "train_loss", "Lung, left/loss", "Lung, left/auroc", "stage"]


class _Tiny(recipe.Recipe):
    def apply_defaults(self):
        """It has no network whose width could depend on other flags."""

    def check(self):
        checks.used(not FLAGS.site, "phantom_dir", "no --site", "site")

    def make_study(self, run_folder):
        raise NotImplementedError

    def main(self, unused_operands):
        from tffcxr.training.run_directory import RunDirectory

        self.check()
        path = pathlib.Path(FLAGS.output_dir)
        directory = RunDirectory.open(
            path, "tiny", training_flags.recorded_settings(), {"synthetic": True}
        )
        with command_line.guarded(directory):
            _run(path, directory)


def _run(path, directory):
    from tffcxr.training.round_log import RoundLog

    directory.record_data("none", [])
    for shared in filter(None, (FLAGS.cache_dir, FLAGS.phantom_dir)):
        pathlib.Path(shared).mkdir(parents=True, exist_ok=True)
    log = RoundLog(path / "rounds.csv", COLUMNS)
    done = len(log.rewind(FLAGS.rounds))
    for number in range(done + 1, FLAGS.rounds + 1):
        if FLAGS.learning_rate > 1e29:
            raise RunError(f"round {number}: every client failed")
        time.sleep(FLAGS.pause)
        loss = _loss(number)
        row = [number, 0.001 * time.monotonic(), loss, loss, 1.0 - loss, "all"]
        log.append([dict(zip(COLUMNS, row))])
        print(f"tiny: round {number}/{FLAGS.rounds}  loss {loss:.4f}", file=sys.stderr)
    (path / "report.html").write_text("a run")
    (path / "parent").write_text(str(os.getppid()))
    final = {
        "task": "Lung, left",
        "model": "tiny",
        "training": "federated",
        "split": "test",
        "loss": _loss(FLAGS.rounds),
        "dice": None if FLAGS.seed else 0.5,
    }
    (path / "metrics.json").write_text(json.dumps({"rows": [final], "complete": True}))


def _loss(number):
    return 1.0 / (1.0 + number * FLAGS.learning_rate * (1 + FLAGS.seed))


RECIPE = _Tiny("tiny", "no paper")


if __name__ == "__main__":
    command_line.run(RECIPE.main)
