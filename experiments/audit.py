r"""Attacks the privacy of a finished run as its coordinator could, and says what that found.

  ./bazelw run //experiments:audit -- --run=RUN_DIR
  ./bazelw run //experiments:audit

Three attacks, each on updates and models without protection and with clipping, differential privacy
and secure sums: gradient inversion (images from an update; Geiping et al. 2020), property inference
(the class mix from an update; Melis et al. 2019), and membership inference (who was trained on,
from the final model; Yeom et al. 2018). The attacker knows the network, the settings, the weights
before and after a round, labels, and other people's radiographs: here, those of the other clients.

The run must be one of findings or classes, such as of cheXviz, with its decoded images. Without
--run, a small run on phantoms is made first. For membership inference, the model is trained again
under each protection. The results are audit.html, audit.json, a CSV file per attack, and figures/
in --output_dir. They show images of patients and stay at the hospital. The audit on phantoms takes
about twelve minutes on two cores, with --batches=1 --repeats=1 much less; a stopped one is taken up
by the same command.
"""

from __future__ import annotations

from collections.abc import Sequence
import pathlib
import sys
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, command_line, typed
from tffcxr.errors import InputError, RunError

if TYPE_CHECKING:
    from tffcxr.audit.seen import Protection

FLAGS = flags.FLAGS

_PROTECTIONS = ("clipping", "dp", "dp_sgd", "secure", "both")
_DEFAULT_OUTPUT = "runs/audit"

flags.DEFINE_string("run", None, "The folder of a complete run; default: a new one on phantoms.")
flags.DEFINE_string(
    "output_dir",
    None,
    "New or empty folder, or that of an earlier audit, for the results; default: audit/ in the "
    f"run's folder, without --run {_DEFAULT_OUTPUT}.",
)
flags.DEFINE_string(
    "cache_dir", None, "Folder of the run's decoded images; default: cache/ in the run's folder."
)
flags.DEFINE_integer(
    "phantom_patients", 240, "Patients per phantom hospital of the run that is made without --run."
)
flags.DEFINE_list(
    "protections",
    list(_PROTECTIONS),
    "What to attack beside the unprotected training: some of "
    f"{', '.join(_PROTECTIONS)} (secure and dp_sgd together).",
)
flags.DEFINE_list("batches", ["1", "4", "8"], "Images per step, for gradient inversion.")
flags.DEFINE_enum(
    "weights_at",
    "initial",
    ["initial", "final"],
    "The weights at which updates are attacked: initial (of the first round, which tells most), or "
    "final.",
)
flags.DEFINE_integer("iterations", 100, "Steps of gradient inversion.")
flags.DEFINE_integer("restarts", 1, "Starts of gradient inversion; the one that fits best counts.")
flags.DEFINE_integer(
    "repeats", 3, "Updates of one step that are inverted in each case, of other images each."
)
flags.DEFINE_integer(
    "updates",
    30,
    "Updates whose class mix is inferred, from as many of the attacker's own.",
)
flags.DEFINE_float("dp_noise_multiplier", 1.0, "Noise of dp, relative to the clipping norm.")
flags.DEFINE_float("dp_sgd_noise", 1.0, "Noise of dp_sgd and both, relative to --dp_sgd_clip.")
flags.DEFINE_float("dp_sgd_clip", 1.0, "Greatest norm of one image's gradient in dp_sgd and both.")
flags.DEFINE_integer(
    "membership_rounds",
    None,
    "Rounds of the trainings for membership inference; default: those of the run.",
)
flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates for intervals.")
flags.DEFINE_integer("seed", 0, "Seed of all random choices.")

# Of the run on phantoms: a network without batch norm and pooling between, whose updates tell most.
_PHANTOM_RUN = (
    *("--model=resnet18", "--batch_norm=frozen", "--image_size=32", "--width=0.25"),
    *("--partition=iid", "--clients_per_site=3", "--share=all", "--augmentation=none"),
    *("--optimizer=sgd", "--nokeep_optimizer", "--learning_rate=0.05", "--rounds=15"),
    *("--baseline=none", "--heatmaps=0", "--noheat_metrics", "--bootstrap=100"),
)


def main(unused_operands: list[str]) -> None:
    """Runs the program."""
    batches = _checked_batches()
    checks.at_least(
        1, "iterations", "restarts", "repeats", "membership_rounds", "bootstrap", "phantom_patients"
    )
    checks.at_least(2, "updates")
    checks.at_least(0, "seed")
    for name in ("dp_noise_multiplier", "dp_sgd_noise", "dp_sgd_clip"):
        if not 0 < FLAGS[name].value <= 1e6:
            raise InputError(f"--{name}: expected above 0, at most 1e6, found {FLAGS[name].value}")
    checks.used(FLAGS.run is None, "phantom_patients", "no --run", "run")
    checks.used(FLAGS.run is not None, "cache_dir", "a --run", "run")
    chosen: Sequence[str] = ()
    if FLAGS.protections:
        chosen = checks.names("protections", FLAGS.protections, _PROTECTIONS)
    from tffcxr.report import audit_page

    folder = pathlib.Path(FLAGS.output_dir or _default_output())
    audit_page.check_folder(folder)
    run_folder = pathlib.Path(FLAGS.run) if FLAGS.run else _phantom_run(folder)

    from tffcxr.audit import auditing, seen
    from tffcxr.audit.audited_run import AuditedRun
    from tffcxr.audit.wanted import Wanted

    run = AuditedRun(run_folder, pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else None)
    noise = {
        seen.DP: FLAGS.dp_noise_multiplier,
        seen.DP_SGD: FLAGS.dp_sgd_noise,
        seen.BOTH: FLAGS.dp_sgd_noise,
    }
    protections: list[Protection] = [
        seen.Protection(name, noise.get(name, 0.0), FLAGS.dp_sgd_clip)
        for name in (seen.NOTHING, *chosen)
    ]
    wanted = Wanted(
        batches=batches,
        weights=FLAGS.weights_at,
        iterations=FLAGS.iterations,
        restarts=FLAGS.restarts,
        repeats=FLAGS.repeats,
        updates=FLAGS.updates,
        protections=protections,
        rounds=FLAGS.membership_rounds,
        replicates=FLAGS.bootstrap,
        seed=FLAGS.seed,
    )
    with command_line.on_interruption(lambda: "the same command takes the audit up"):
        audit = auditing.Audit(run, folder, wanted)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = audit.all()
            path = audit_page.write(folder, found, typed.current().words)
        except OSError as error:
            raise InputError(f"--output_dir: {error.strerror}: {error.filename}") from error
    for remark in found.remarks:
        print(remark, file=sys.stderr)
    print(audit_page.format_terminal(found))
    print(f"report: {path}")


def _checked_batches() -> tuple[int, ...]:
    """Reads `--batches`.

    Raises:
      InputError: none, no numbers, or one that is not at least 1 or is there twice.
    """
    texts = FLAGS.batches
    if not texts or not all(text.isdecimal() and int(text) for text in texts):
        raise InputError(f"--batches: expected numbers of at least 1, found {','.join(texts)!r}")
    batches = tuple(map(int, texts))
    if len(set(batches)) < len(batches):
        raise InputError(f"--batches: expected each number once, found {','.join(texts)!r}")
    return batches


def _default_output() -> str:
    return str(pathlib.Path(FLAGS.run) / "audit") if FLAGS.run else _DEFAULT_OUTPUT


def _phantom_run(folder: pathlib.Path) -> pathlib.Path:
    """Makes a small run on phantoms in a folder, unless an earlier audit has made it.

    Raises:
      RunError: it could not be made.
    """
    from tffcxr import child_process

    run = folder / "run"
    flags_of_run = [
        *(f"--output_dir={run}", f"--phantom_patients={FLAGS.phantom_patients}"),
        *(f"--seed={FLAGS.seed}", *_PHANTOM_RUN),
    ]
    print(f"training on phantoms first: cheXviz {' '.join(flags_of_run)}", file=sys.stderr)
    process = child_process.start("experiments.cheXviz", flags_of_run, sys.stderr.buffer)
    try:
        status = process.wait()
    except BaseException:
        child_process.stop(process, patience=10.0)
        raise
    if status:
        raise RunError(f"the run on phantoms failed with status {status}; see above")
    return run


if __name__ == "__main__":
    command_line.run(main)
