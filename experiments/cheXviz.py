r"""Trains one model across hospitals that label different findings, and compares it with theirs.

Kulkarni, Kanhere, Yi, Parekh: "From Competition to Collaboration: Making Toy Datasets on Kaggle
Clinically Useful for Chest X-Ray Diagnosis Using Federated Learning" (arXiv 2211.06212, 2022).
Every site trains on its own images; only the weights of the representation block are averaged and
sent back; each site keeps its task block. Without --site, two hospitals with phantom radiographs
are made, one that labels lung opacities and one that labels pneumothoraces.

  ./bazelw run //experiments:cheXviz -- --output_dir=DIR \
      --site=rsna=rsna:PATH:"Lung Opacity" --site=siim=siim:PATH:Pneumothorax
"""

# ruff: noqa: N999

from __future__ import annotations

from collections.abc import Sequence
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments import command_line, training_flags
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from experiments import classification
    from experiments.sites import ClientRecords, Site

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", "runs/cheXviz", "The run's folder; an earlier run is resumed.")
flags.DEFINE_multi_string(
    "site",
    [],
    "A hospital as NAME=LOADER:PATH:FINDING, with the loader rsna, siim, nih, medmnist, "
    "montgomery, shenzhen or covid_radiography; may be given several times. Default: two hospitals "
    "with phantom radiographs.",
)
flags.DEFINE_integer("phantom_patients", 700, "Patients of each phantom hospital.")
flags.DEFINE_enum("model", "standard", ["standard", "densenet121", "resnet50"], "The network.")
flags.DEFINE_integer("image_size", 64, "Height and width of the model's input, in pixels.")
flags.DEFINE_enum("fit", "pad", ["pad", "stretch"], "What to do with images that are not square.")
flags.DEFINE_string("weights", "none", "Initial weights: none, imagenet, or a file of a run.")
flags.DEFINE_list(
    "baseline", ["site", "pooled"], "Models to compare with: site (each site's own), pooled; none."
)
flags.DEFINE_enum(
    "partition",
    "none",
    ["none", "iid", "quantity", "dirichlet", "hybrid"],
    "How each site's training images are cut into --clients_per_site clients.",
)
flags.DEFINE_integer("clients_per_site", 1, "Clients that each site is cut into.")
flags.DEFINE_float("alpha", 0.5, "Concentration of the partitions quantity, dirichlet, hybrid.")
flags.DEFINE_enum(
    "augmentation",
    "flip",
    ["none", "flip", "affine"],
    "Of training images: mirror every other one; affine also turns, shifts and scales them.",
)
flags.DEFINE_string("cache_dir", None, "Folder for decoded images; default: in the run's folder.")
flags.DEFINE_float(
    "max_rejected_fraction", 0.01, "Of a client's files, that may be unreadable and are skipped."
)
flags.DEFINE_integer("heatmaps", 6, "True positives per finding that Grad-CAM explains.")
flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates of intervals and the t-test.")
flags.DEFINE_boolean("tensorboard_histograms", False, "Also write the weights to TensorBoard.")
training_flags.define(rounds=30, learning_rate=2e-3, batch_size=16, schedule="polynomial")
flags.adopt_module_key_flags(training_flags)

_RECIPE = "cheXviz"
_LARGEST_IMAGE = 4096  # Pixels; as large as detectors are.
# Name, loader and finding of the hospitals that are made when none is given.
_PHANTOM_SITES = (
    ("opacity", "rsna", "Lung Opacity"),
    ("pneumothorax", "siim", "Pneumothorax"),
)


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    # What can be wrong is looked at in the order of what it costs: flags, folder, data, model.
    _check_flags()
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    directory = RunDirectory.open(
        output, _RECIPE, training_flags.recorded_settings(), training_flags.facts()
    )
    if directory.is_complete:
        print(f"{output} is complete; its report is {output / 'report.html'}")
        return
    study = _study(directory.path)
    from experiments import classification
    from tffcxr.report import report

    rows = classification.run(study, directory)
    print(report.format_table(rows))
    print(f"report: {output / 'report.html'}")


def _check_flags() -> None:
    training_flags.check()
    training_flags.check_at_least(1, "image_size", "phantom_patients", "clients_per_site")
    if FLAGS.image_size > _LARGEST_IMAGE:
        raise InputError(
            f"--image_size: expected at most {_LARGEST_IMAGE}, found {FLAGS.image_size}"
        )
    if not 0 < FLAGS.alpha < float("inf"):
        raise InputError(f"--alpha: expected above 0, found {FLAGS.alpha}")
    training_flags.check_at_least(1, "bootstrap")
    training_flags.check_at_least(0, "heatmaps")
    training_flags.parse_baselines(FLAGS.baseline)
    if FLAGS.batch_norm == "local" and FLAGS.clients_per_site > 1:
        raise InputError(
            "--batch_norm=local: expected one client per site, since a site's model is the mean of "
            f"its clients', found --clients_per_site={FLAGS.clients_per_site}"
        )
    if not 0 <= FLAGS.max_rejected_fraction <= 1:
        raise InputError(
            f"--max_rejected_fraction: expected 0 to 1, found {FLAGS.max_rejected_fraction}"
        )
    check_used = training_flags.check_used
    check_used(not FLAGS.site, "phantom_patients", "no --site", "site")
    is_uneven = FLAGS.partition in ("quantity", "dirichlet", "hybrid")
    check_used(is_uneven, "alpha", "--partition=quantity, dirichlet or hybrid", "partition")
    check_used(FLAGS.partition != "none", "clients_per_site", "a --partition", "partition")
    _given_sites()


def _study(directory: pathlib.Path) -> classification.Study:
    clients = _load_clients(_given_sites()) if FLAGS.site else None
    from experiments import classification

    findings = len(clients.findings) if clients else len(_PHANTOM_SITES)
    build_model = classification.model_builder(
        FLAGS.model,
        FLAGS.image_size,
        findings,
        FLAGS.weights,
        FLAGS.batch_norm,
        FLAGS.seed,
        FLAGS.precision,
    )
    plan = training_flags.make_plan(build_model, classification.LOSS, findings)
    return classification.Study(
        recipe=_RECIPE,
        clients=clients or _load_clients(_make_phantoms(directory / "phantoms")),
        model=FLAGS.model,
        plan=plan,
        image_size=FLAGS.image_size,
        fit=FLAGS.fit,
        batch_size=FLAGS.batch_size,
        augmentation=classification.AUGMENTATIONS[FLAGS.augmentation],
        clients_per_round=FLAGS.clients_per_round,
        baselines=training_flags.parse_baselines(FLAGS.baseline),
        seed=FLAGS.seed,
        executor=FLAGS.executor,
        cache_dir=pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else directory / "cache",
        max_rejected_fraction=FLAGS.max_rejected_fraction,
        heatmaps=FLAGS.heatmaps,
        replicates=FLAGS.bootstrap,
        histograms=FLAGS.tensorboard_histograms,
    )


def _given_sites() -> list[Site]:
    from experiments.sites import Site

    return [Site.parse(text) for text in FLAGS.site]


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from experiments import sites as sites_lib

    return sites_lib.load_clients(
        sites,
        seed=FLAGS.seed,
        partition_name=FLAGS.partition,
        clients_per_site=FLAGS.clients_per_site,
        alpha=FLAGS.alpha,
    )


def _make_phantoms(root: pathlib.Path) -> list[Site]:
    from experiments.sites import Site
    from tffcxr.datasets import phantom

    # Folders of their own, so that a run whose settings were corrected makes its own phantoms.
    root = root / f"{FLAGS.phantom_patients}_patients_seed_{FLAGS.seed}"
    phantom.write_rsna(root / "rsna", FLAGS.phantom_patients, FLAGS.seed)
    phantom.write_siim(root / "siim", FLAGS.phantom_patients, FLAGS.seed + 1)
    return [Site(name, loader, root / loader, finding) for name, loader, finding in _PHANTOM_SITES]


if __name__ == "__main__":
    command_line.run(main)
