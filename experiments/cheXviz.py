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
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import command_line, study_flags, training_flags
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.findings import findings_study
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

flags.DEFINE_enum("model", "standard", options.CLASSIFIERS, "The network.")
flags.DEFINE_list(
    "baseline", ["site", "pooled"], "Models to compare with: site (each site's own), pooled; none."
)
flags.DEFINE_integer("heatmaps", 6, "True positives per finding that Grad-CAM explains.")
study_flags.define(
    recipe="cheXviz",
    site_help="A hospital as NAME=LOADER:PATH:FINDING, with the loader rsna, siim, nih, medmnist, "
    "montgomery, shenzhen or covid_radiography; may be given several times. Default: two hospitals "
    "with phantom radiographs.",
    phantom_patients=700,
    image_size=64,
)
training_flags.define(rounds=30, learning_rate=2e-3, batch_size=16, schedule="polynomial")
flags.adopt_module_key_flags(study_flags)
flags.adopt_module_key_flags(training_flags)

_RECIPE = "cheXviz"
_PAPER = (
    "Kulkarni et al., “From Competition to Collaboration: Making Toy Datasets on Kaggle "
    "Clinically Useful for Chest X-Ray Diagnosis Using Federated Learning”, 2022, arXiv:2211.06212"
)
# Name, loader and finding of the hospitals that are made when none is given.
_PHANTOM_SITES = (
    ("opacity", "rsna", "Lung Opacity"),
    ("pneumothorax", "siim", "Pneumothorax"),
)


def main(unused_operands: list[str]) -> None:
    """Runs the recipe."""
    study_flags.run(_RECIPE, _PAPER, check_flags, _run)


def _run(directory: RunDirectory) -> list[dict[str, Any]]:
    study = _study(directory.path)
    from tffcxr.studies.findings import findings_study

    return findings_study.run(study, directory)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    training_flags.check()
    study_flags.check()
    training_flags.check_at_least(0, "heatmaps")
    training_flags.parse_baselines(FLAGS.baseline)
    if FLAGS.batch_norm == "local" and FLAGS.clients_per_site > 1:
        raise InputError(
            "--batch_norm=local: expected one client per site, since a site's model is the mean of "
            f"its clients', found --clients_per_site={FLAGS.clients_per_site}"
        )
    study_flags.given_sites(with_finding=True)


def _study(directory: pathlib.Path) -> findings_study.FindingsStudy:
    clients = _load_clients(study_flags.given_sites(with_finding=True)) if FLAGS.site else None
    from tffcxr.studies.findings import findings_study

    findings = len(clients.findings) if clients else len(_PHANTOM_SITES)
    build_model = findings_study.model_builder(
        FLAGS.model,
        FLAGS.image_size,
        findings,
        FLAGS.weights,
        FLAGS.batch_norm,
        FLAGS.seed,
        FLAGS.precision,
    )
    plan = training_flags.make_plan(build_model, findings_study.LOSS, findings)
    clients = clients or _load_clients(_make_phantoms(study_flags.phantom_dir(directory)))
    return findings_study.FindingsStudy(
        **study_flags.settings(
            _RECIPE, directory, clients.records, clients.site_of, clients.source_of
        ),
        clients=clients,
        model=FLAGS.model,
        plan=plan,
        baselines=training_flags.parse_baselines(FLAGS.baseline),
        heatmaps=FLAGS.heatmaps,
    )


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.clients import sites as sites_lib

    return sites_lib.load_clients(
        sites,
        seed=FLAGS.seed,
        partition_name=FLAGS.partition,
        clients_per_site=FLAGS.clients_per_site,
        alpha=FLAGS.alpha,
    )


def _make_phantoms(root: pathlib.Path) -> list[Site]:
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.phantoms import phantom

    phantom.write_rsna(root / "rsna", FLAGS.phantom_patients, FLAGS.seed)
    phantom.write_siim(root / "siim", FLAGS.phantom_patients, FLAGS.seed + 1)
    return [Site(name, loader, root / loader, finding) for name, loader, finding in _PHANTOM_SITES]


if __name__ == "__main__":
    command_line.run(main)
