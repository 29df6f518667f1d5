"""Trains one model across hospitals that label different findings, and compares it with theirs.

Kulkarni, Kanhere, Yi, Parekh: "From Competition to Collaboration: Making Toy Datasets on Kaggle
Clinically Useful for Chest X-Ray Diagnosis Using Federated Learning" (arXiv 2211.06212, 2022).
Every site trains on its own images; only the weights of the representation block are averaged and
sent back; each site keeps its task block. Without --site, two hospitals with phantom radiographs
are made, one that labels lung opacities and one that labels pneumothoraces.

  bazel run //experiments:cheXviz -- --output_dir=DIR \\
      --site=rsna=rsna:PATH:"Lung Opacity" --site=siim=siim:PATH:Pneumothorax
"""

import pathlib

from absl import flags

from experiments import command_line
from experiments import training_flags

FLAGS = flags.FLAGS

flags.DEFINE_string("output_dir", "runs/cheXviz", "The run's folder; an earlier run is resumed.")
flags.DEFINE_multi_string(
    "site",
    [],
    "A hospital as NAME=LOADER:PATH:FINDING, with the loader rsna, siim, nih or medmnist; may be "
    "given several times. Default: two hospitals with phantom radiographs.",
)
flags.DEFINE_integer("phantom_patients", 600, "Patients of each phantom hospital.")
flags.DEFINE_enum("model", "standard", ["standard", "densenet121"], "The network.")
flags.DEFINE_integer("image_size", 96, "Height and width of the model's input, in pixels.")
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
flags.DEFINE_boolean("augment", True, "Random flip and random affine of training images.")
flags.DEFINE_string("cache_dir", None, "Folder for decoded images; default: in the run's folder.")
flags.DEFINE_float(
    "max_rejected_fraction", 0.01, "Of a client's files, that may be unreadable and are skipped."
)
flags.DEFINE_integer("heatmaps", 6, "True positives per finding that Grad-CAM explains.")
flags.DEFINE_integer("bootstrap", 1000, "Bootstrap replicates of intervals and the t-test.")
flags.DEFINE_boolean("tensorboard_histograms", False, "Also write the weights to TensorBoard.")
training_flags.define(rounds=20, learning_rate=1e-3, batch_size=16)
flags.adopt_module_key_flags(training_flags)

_RECIPE = "cheXviz"


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    training_flags.check_at_least(1, "rounds", "local_epochs", "batch_size", "image_size")
    training_flags.check_at_least(1, "phantom_patients", "bootstrap", "clients_per_site")
    training_flags.check_at_least(0, "head_rounds", "heatmaps")
    from experiments import classification
    from experiments import sites as sites_lib
    from tffcxr.report import report
    from tffcxr.training.run_directory import RunDirectory

    output = pathlib.Path(FLAGS.output_dir)
    directory = RunDirectory.open(
        output, _RECIPE, training_flags.recorded_settings(), training_flags.facts()
    )
    if directory.is_complete:
        print(f"{output} is complete; its report is {output / 'report.html'}")
        return
    clients = sites_lib.load_clients(
        _sites(directory.path),
        seed=FLAGS.seed,
        partition_name=FLAGS.partition,
        clients_per_site=FLAGS.clients_per_site,
        alpha=FLAGS.alpha,
    )
    build_model = classification.model_builder(
        FLAGS.model,
        FLAGS.image_size,
        len(clients.findings),
        FLAGS.weights,
        FLAGS.batch_norm,
        FLAGS.seed,
    )
    study = classification.Study(
        recipe=_RECIPE,
        clients=clients,
        model=FLAGS.model,
        plan=training_flags.make_plan(build_model, classification.LOSS),
        image_size=FLAGS.image_size,
        fit=FLAGS.fit,
        batch_size=FLAGS.batch_size,
        augmentation=classification.AUGMENTATION if FLAGS.augment else None,
        clients_per_round=FLAGS.clients_per_round,
        baselines=classification.parse_baselines(FLAGS.baseline),
        seed=FLAGS.seed,
        executor=FLAGS.executor,
        cache_dir=pathlib.Path(FLAGS.cache_dir) if FLAGS.cache_dir else directory.path / "cache",
        max_rejected_fraction=FLAGS.max_rejected_fraction,
        heatmaps=FLAGS.heatmaps,
        replicates=FLAGS.bootstrap,
        histograms=FLAGS.tensorboard_histograms,
    )
    rows = classification.run(study, directory)
    print(report.format_table(rows))
    print(f"report: {output / 'report.html'}")


def _sites(directory: pathlib.Path) -> list:
    from experiments.sites import Site

    if FLAGS.site:
        return [Site.parse(text) for text in FLAGS.site]
    from tffcxr.datasets import phantom

    root = directory / "phantoms"
    phantom.write_rsna(root / "rsna", FLAGS.phantom_patients, FLAGS.seed)
    phantom.write_siim(root / "siim", FLAGS.phantom_patients, FLAGS.seed + 1)
    return [
        Site("opacity", "rsna", root / "rsna", "Lung Opacity"),
        Site("pneumothorax", "siim", root / "siim", "Pneumothorax"),
    ]


if __name__ == "__main__":
    command_line.run(main)
