r"""Trains one U-Net across nodes whose images and tasks differ.

Parekh, Lai, Braverman, Leal, Rowe, Pillai, Jacobs: "Cross-Domain Federated Learning in Medical
Imaging" (MIDL 2022, arXiv 2112.10001). --task=kidneys, its first experiment, segments the kidneys
in PET at one node and in CT at the other. --task=lesions, its second, segments lesions in MRI of
the brain at one node and of the breast at the other (T1 before and after contrast agent, T2). As
in the paper, the server averages all weights to one global model. The program compares it with
models whose batch norm, output block, or both stay at their node, and with every node's own model.
Without --site, it draws phantom patients. The defaults suit phantoms; the presets have the paper's
settings:

  ./bazelw run //experiments:cross_domain -- --output_dir=DIR \
      --flagfile=cross_domain_kidneys \
      --site=pet=pet:PATH --site=ct=ct:PATH
  ./bazelw run //experiments:cross_domain -- --output_dir=DIR \
      --flagfile=cross_domain_lesions \
      --site=brain=brats:PATH --site=breast=breast_mri:PATH
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import (
    checks,
    command_line,
    federation_flags,
    fraction_flags,
    plan_flags,
    recipe,
    split_seed_flag,
    study_flags,
    training_flags,
)
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.shards.volume_slices import SliceSpec
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.volumes.cases import Case
    from tffcxr.studies.volumes.volume_study import VolumeStudy

FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class _Experiment:
    """What the nodes of an experiment have in common.

    Attributes:
      tasks: loader to the region that its nodes segment.
      images: loader to the images of its cases: the name of each channel and its kind, see
        `cases.Channel`; equally many for all loaders.
      field_of_view: default of the flag, mm.
      shown_channel: in pictures; of the MRI, that after contrast agent.
      with_boxes: whether the region is localised by boxes.
    """

    tasks: dict[str, str]
    images: dict[str, dict[str, str]]
    field_of_view: float
    shown_channel: int
    with_boxes: bool

    @property
    def channels(self) -> int:
        """How many images each case has."""
        return len(next(iter(self.images.values())))


_MRI = {"T1": "mri", "T1 after contrast agent": "mri", "T2": "mri"}
_EXPERIMENTS = {
    "kidneys": _Experiment(
        {"pet": "Kidneys in PET", "ct": "Kidneys in CT"},
        {"pet": {"PET": "pet"}, "ct": {"CT": "ct"}},
        400.0,
        0,
        True,
    ),
    "lesions": _Experiment(
        {"brats": "Brain lesions", "breast_mri": "Breast lesions"},
        {"brats": _MRI, "breast_mri": _MRI},
        200.0,
        1,
        False,
    ),
}
# The whole network would need more than five minutes on two cores.
_PHANTOM_WIDTH = 0.5
_PRIVATE = ("none", "norm", "output", "both")

flags.DEFINE_enum(
    "task", "kidneys", list(_EXPERIMENTS), "The paper's experiment: kidneys in PET and CT, or "
    "lesions in MRI of brain and breast."
)  # fmt: skip
flags.DEFINE_list(
    "private",
    ["none", "norm", "output"],
    "What stays at each node; one federated model is trained per value: none (the paper's single "
    "global model), norm (batch norm), output (the last convolution), both.",
)
flags.DEFINE_list(
    "baseline",
    ["site"],
    "Models to compare with: site (each node's own), pooled (trained on all images), or none.",
)
flags.DEFINE_float(
    "field_of_view",
    None,
    "Side of a slice in mm; default: 400 for kidneys, 200 for lesions. All volumes are resampled "
    "to it, with --image_size pixels and the slices of the mask.",
)
flags.DEFINE_integer(
    "patients_per_stratum",
    None,
    "Patients of each grade (HGG, LGG) and of each malignancy (benign, malignant) that a node of "
    "--task=lesions keeps, chosen by --seed; default: all.",
)
flags.DEFINE_list("ct_window", ["40", "400"], "Centre and width of the CT window in HU.")
flags.DEFINE_float("suv_maximum", 7.0, "SUV by body weight (g/ml) shown as white in PET.")
fraction_flags.define(test=0.3)  # The paper's 35 and 15 patients.
study_flags.define(
    recipe="cross_domain",
    site_help="A node as NAME=LOADER:PATH, with the loaders pet and ct (which may share a folder) "
    "or brats and breast_mri; repeatable. Default: one node of each with phantoms.",
    phantom_patients=16,
    image_size=64,
    phantom_width=_PHANTOM_WIDTH,
    augmentation="none",
    radiographs=False,
)
training_flags.define(
    rounds=6,
    learning_rate=2e-3,
    batch_size=4,
    schedule="polynomial",
    personal=False,
    has_head=False,
)
for _module in (fraction_flags, study_flags, training_flags):
    flags.adopt_module_key_flags(_module)

_MODEL = "unet"
_MULTIPLE = 32  # Pixels; U-Net halves the image five times.


@dataclasses.dataclass(frozen=True)
class _CrossDomain(recipe.Recipe):
    phantom_width = _PHANTOM_WIDTH

    def check(self) -> None:
        """See `Recipe`."""
        if federation_flags.is_hospitals():
            raise InputError(
                "--engine=hospitals: expected a recipe of radiographs, since volumes are resampled "
                "in one place, found cross_domain"
            )
        training_flags.check()
        study_flags.check()
        fraction_flags.check()
        checks.baselines(FLAGS.baseline)
        private = checks.names("private", FLAGS.private, _PRIVATE)
        if {"norm", "both"} & set(private) and FLAGS.batch_norm != "aggregate":
            raise InputError(
                f"--private={','.join(private)}: expected --batch_norm=aggregate with it, found "
                f"{FLAGS.batch_norm}"
            )
        study_flags.check_image_multiple(_MULTIPLE)
        is_kidneys = FLAGS.task == "kidneys"
        checks.used(not is_kidneys, "patients_per_stratum", "--task=lesions", "task")
        checks.at_least(1, "patients_per_stratum")
        checks.used(is_kidneys, "ct_window", "--task=kidneys", "task")
        checks.used(is_kidneys, "suv_maximum", "--task=kidneys", "task")
        for name in ("field_of_view", "suv_maximum"):
            value = FLAGS[name].value
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name}: expected above 0, found {value}")
        _ct_window()
        _given_sites()

    def make_study(self, run_folder: pathlib.Path) -> VolumeStudy:
        """See `Recipe`."""
        experiment = _EXPERIMENTS[FLAGS.task]
        sites = _given_sites()
        from tffcxr.clients import volume_sites

        found = _find_cases(sites) if sites else {}
        records = _load(sites, found, run_folder) if sites else {}
        from tffcxr.clients.sites import ClientRecords
        from tffcxr.studies.volumes import volume_study

        spec = plan_flags.model_spec(_MODEL, channels=experiment.channels)
        plan = plan_flags.make_plan(spec, volume_study.LOSS)
        if not sites:  # Drawing phantoms takes a while, so the model is checked first.
            sites = _make_phantoms(study_flags.phantom_dir(run_folder))
            found = _find_cases(sites)
            records = _load(sites, found, run_folder)
        source_of = {site.name: site.loader for site in sites}
        return volume_study.VolumeStudy(
            study_flags.settings(self.name, run_folder, fraction_flags.measured_split()),
            ClientRecords(records, {name: name for name in records}, {}, source_of),
            task_of={name: experiment.tasks[loader] for name, loader in source_of.items()},
            group_of=volume_sites.group_by_patients(sites, records),
            plan=plan,
            private=checks.names("private", FLAGS.private, _PRIVATE),
            baselines=checks.baselines(FLAGS.baseline),
            shown_channel=experiment.shown_channel,
            with_boxes=experiment.with_boxes,
            stratum_of=volume_sites.strata(found),
            files_of=volume_sites.files(found),
            slices_of={
                name: {"loader": loader, **_slice_spec().describe(experiment.images[loader])}
                for name, loader in source_of.items()
            },
        )


def _ct_window() -> tuple[float, float]:
    """Centre and width in Hounsfield units.

    Raises:
      InputError: there is no such window.
    """
    try:
        centre, width = map(float, FLAGS.ct_window)
    except ValueError:
        centre = width = float("nan")
    if not (abs(centre) < float("inf") and 0 < width < float("inf")):
        raise InputError(
            "--ct_window: expected a centre and a width above 0 such as 40,400, found "
            f"{','.join(FLAGS.ct_window)!r}"
        )
    return centre, width


def _slice_spec() -> SliceSpec:
    """What a slice looks like."""
    from tffcxr.clients.shards.volume_slices import SliceSpec
    from tffcxr.datasets.volumes.cases import GreyScale

    field = FLAGS.field_of_view or _EXPERIMENTS[FLAGS.task].field_of_view
    return SliceSpec(FLAGS.image_size, field, GreyScale(*_ct_window(), FLAGS.suv_maximum))


def _given_sites() -> list[Site]:
    """The nodes of `--site`.

    Raises:
      InputError: one is not in the form, or has a loader of the other experiment.
    """
    known = tuple(_EXPERIMENTS[FLAGS.task].tasks)
    return study_flags.given_sites(with_finding=False, loaders=known)


def _find_cases(sites: Sequence[Site]) -> dict[str, list[Case]]:
    from tffcxr.clients import volume_sites

    return volume_sites.find_cases(sites, FLAGS.patients_per_stratum, split_seed_flag.value())


def _load(
    sites: Sequence[Site], found: Mapping[str, Sequence[Case]], run_folder: pathlib.Path
) -> dict[str, pd.DataFrame]:
    from tffcxr.clients import volume_sites

    return volume_sites.load(
        sites,
        found,
        _slice_spec(),
        study_flags.cache_dir(run_folder),
        fraction_flags.fractions(),
        split_seed_flag.value(),
    )


def _make_phantoms(root: pathlib.Path) -> list[Site]:
    from tffcxr.clients.sites import Site
    from tffcxr.datasets.phantoms import phantom_volumes

    patients, seed = FLAGS.phantom_patients, split_seed_flag.value()
    if FLAGS.task == "kidneys":
        phantom_volumes.write_petct(root / "petct", patients, seed)
        return [Site("pet", "pet", root / "petct"), Site("ct", "ct", root / "petct")]
    phantom_volumes.write_brats(root / "brats", patients, seed)
    phantom_volumes.write_breast_mri(root / "breast_mri", patients, seed)
    return [
        Site("brain", "brats", root / "brats"),
        Site("breast", "breast_mri", root / "breast_mri"),
    ]


RECIPE = _CrossDomain(
    name="cross_domain",
    paper="Parekh et al., “Cross-Domain Federated Learning in Medical Imaging”, MIDL 2022, "
    "arXiv:2112.10001",
)


if __name__ == "__main__":
    command_line.run(RECIPE.main)
