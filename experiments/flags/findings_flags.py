"""Recipes whose hospitals label findings: flags, checks and the study that they make."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    external_flags,
    federation_flags,
    network_flags,
    plan_flags,
    recipe,
    reporting_flags,
    split_seed_flag,
    study_flags,
    training_flags,
)
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.studies.findings.findings_study import FindingsStudy

FLAGS = flags.FLAGS

# A temperature alone leaves the accuracy at 0.5 as it is.
_CALIBRATION: options.Calibration = "platt"


def define(
    *, model: Sequence[str], baseline: Sequence[str] = options.BASELINES, heatmaps: int = 6
) -> None:
    """Defines the flags with a recipe's defaults.

    Args:
      model: default of the flag, like the others.
      baseline: some of `options.BASELINES`.
      heatmaps: true positives per finding.
    """
    flags.DEFINE_list(
        "model", list(model), f"Networks, trained one by one: {', '.join(options.CLASSIFIERS)}."
    )
    network_flags.define()
    flags.declare_key_flag("only")
    flags.DEFINE_list(
        "baseline",
        list(baseline),
        "Models to compare with: site (each site's own), pooled (trained on all images), or none.",
    )
    reporting_flags.define_calibration(_CALIBRATION)
    flags.declare_key_flag("calibration")
    flags.DEFINE_integer("heatmaps", heatmaps, "True positives per finding shown with Grad-CAM.")
    flags.DEFINE_boolean(
        "heat_metrics",
        True,
        "Measure the Grad-CAM heat of all true positives: its share in the lungs and its focus.",
    )
    flags.DEFINE_string(
        "segmentation_model",
        None,
        "Lung segmentation model for heat in the lungs of test images without masks: the folder of "
        "a run of cxr_fl_segmentation or of a sweep of it (its best run), or a .keras file. "
        "Default: the masks that come with the images.",
    )


@dataclasses.dataclass(frozen=True)
class FindingsRecipe(recipe.Recipe):
    """A recipe of findings.

    Attributes:
      phantoms: the phantom hospitals used without `--site`.
      elsewhere: whether every site's own model is also measured on the other sites' images.
    """

    with_finding = True
    phantoms: tuple[study_flags.PhantomSite, ...]
    elsewhere: bool = False

    def check(self) -> None:
        """See `Recipe`."""
        _check_training()
        checks.at_least(0, "heatmaps")
        checks.used(
            bool(FLAGS.heatmaps) or FLAGS.heat_metrics,
            "segmentation_model",
            "--heat_metrics",
            "heat_metrics",
        )
        checks.baselines(FLAGS.baseline)
        network_flags.check(_networks(), _check_training)
        study_flags.given_sites(with_finding=True)
        external_flags.check(with_finding=True)

    def make_study(self, run_folder: pathlib.Path) -> FindingsStudy:
        """See `Recipe`."""
        sites = study_flags.given_sites(with_finding=True)
        checks.segmentation_model()
        clients = _load_clients(sites) if sites else None
        outputs = federation_flags.outputs()
        if clients and outputs:
            clients = clients.among(outputs)
        from tffcxr.clients import finding_sites
        from tffcxr.studies.findings import findings_study

        findings_of = federation_flags.findings_of()
        if not findings_of:
            phantoms = {site.name: (site.finding,) for site in self.phantoms}
            findings_of = clients.findings_of if clients else phantoms
        names = tuple(dict.fromkeys(name for of_site in findings_of.values() for name in of_site))
        external = external_flags.load_findings(sites, names)
        groups = finding_sites.unrelated(findings_of)
        plans = {}
        for name in _networks():
            with network_flags.of_network(name):
                spec = plan_flags.model_spec(name, len(names))
                plans[name] = plan_flags.make_plan(spec, findings_study.LOSS, groups)
        # Drawing phantoms, or waiting for hospitals, takes a while: the models are checked first.
        if federation_flags.is_coordinator():
            clients = federation_flags.client_records()
        clients = clients or _load_clients(study_flags.make_phantoms(run_folder, self.phantoms))
        return findings_study.FindingsStudy(
            study_flags.settings(self.name, run_folder, calibration=_CALIBRATION),
            clients,
            external=external,
            plans=plans,
            baselines=checks.baselines(FLAGS.baseline),
            heatmaps=FLAGS.heatmaps,
            elsewhere=self.elsewhere,
            heat_metrics=FLAGS.heat_metrics,
            segmentation_model=FLAGS.segmentation_model,
        )


def _check_training() -> None:
    """Checks the flags that networks may have to themselves, and those that go with them."""
    training_flags.check()
    study_flags.check()
    if FLAGS.batch_norm == "local" and FLAGS.clients_per_site > 1:
        raise InputError(
            "--batch_norm=local: expected one client per site, since a site's model is the mean of "
            f"its clients', found --clients_per_site={FLAGS.clients_per_site}"
        )


def _networks() -> tuple[str, ...]:
    """The networks of `--model`; raises InputError for others."""
    return checks.names("model", FLAGS.model, options.CLASSIFIERS)


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.clients import finding_sites

    of_study = federation_flags.findings_of()
    return finding_sites.load_clients(
        sites,
        seed=split_seed_flag.value(),
        division=study_flags.division(),
        among=of_study[sites[0].name] if of_study else None,
    )
