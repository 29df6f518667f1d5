"""The classification of //experiments:pneumonia: pneumonia or normal.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025),
its first part: ResNet50 across clients that hold different shares of the images and of the classes,
against networks with settings of their own that see all images in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments import study_flags, training_flags
from tffcxr.errors import InputError
from tffcxr.models import names

if TYPE_CHECKING:
    import pandas as pd

    from experiments.class_study import ClassStudy
    from experiments.sites import Site
    from tffcxr.training.plan import Plan
    from tffcxr.training.run_directory import RunDirectory

FLAGS = flags.FLAGS

# For phantoms; the paper's are in presets/pneumonia_classification.flags.
DEFAULTS = {
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "momentum": 0.0,
    "nesterov": False,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "schedule": "polynomial",
    "batch_size": 8,
    "rounds": 50,
    "local_epochs": 3,
    "image_size": 64,
    "phantom_patients": 600,
    "partition": "hybrid",
    "clients_per_site": 20,
    "clients_per_round": "6",
    "augmentation": "flip",
}
_LARGEST_MOMENTUM = 0.9999
_OPACITY = "Lung Opacity"  # What RSNA's radiologists called possible pneumonia.


@dataclasses.dataclass(frozen=True)
class Central:
    """How a network is trained on all images in one place.

    Attributes:
      model: a name of `names.CLASSIFIERS`.
      optimizer: a name of `tffcxr.learning.optimizers.CLIENT_OPTIMIZERS`.
      learning_rate: of its first epoch.
      momentum: of "sgd".
    """

    model: str
    optimizer: str
    learning_rate: float
    momentum: float

    @classmethod
    def parse(cls, text: str) -> Central:
        """Reads NETWORK:OPTIMIZER:RATE, or NETWORK:sgd:RATE:MOMENTUM.

        Raises:
          InputError: another form, an unknown name, or a number out of range.
        """
        parts = text.split(":")
        form = "NETWORK:OPTIMIZER:RATE, for sgd also with :MOMENTUM"
        if len(parts) not in (3, 4) or (len(parts) == 4 and parts[1] != "sgd"):
            raise InputError(f"--central: expected {form}, found {text!r}")
        model, optimizer, *numbers = parts
        for name, known in ((model, names.CLASSIFIERS), (optimizer, training_flags.OPTIMIZERS)):
            if name not in known:
                raise InputError(
                    f"--central: expected one of {', '.join(known)}, found {name!r} in {text!r}"
                )
        try:
            rate, momentum = (*map(float, numbers), 0.0)[:2]
        except ValueError:
            raise InputError(f"--central: expected {form}, found {text!r}") from None
        if not (0 < rate < math.inf and 0 <= momentum <= _LARGEST_MOMENTUM):
            raise InputError(
                f"--central: expected a rate above 0 and a momentum of 0 to {_LARGEST_MOMENTUM}, "
                f"found {text!r}"
            )
        return cls(model, optimizer, rate, momentum)


def define_flags() -> None:
    """Defines the flags that only this task has."""
    flags.DEFINE_list(
        "model",
        ["standard"],
        f"Networks of the federated training: some of {', '.join(names.CLASSIFIERS)}. The paper's "
        "is resnet50; the default learns from few phantoms in minutes.",
    )
    flags.DEFINE_list(
        "central",
        ["resnet18:adam:0.001", "standard:adam:0.002"],
        "Networks of --baseline=pooled, each as NETWORK:OPTIMIZER:LEARNING_RATE, for sgd also with "
        ":MOMENTUM. --schedule, --weight_decay and --clip_norm are as in the federated training. "
        "The paper's are resnet34:adam:0.01,resnet50:sgd:0.003:0.9.",
    )
    flags.DEFINE_integer(
        "central_epochs", 10, "Passes of --central over all images; each is a round in its tables."
    )
    flags.DEFINE_integer("heatmaps", 2, "Test images with pneumonia that Grad-CAM explains.")
    study_flags.define_class_balance()
    flags.declare_key_flag("class_balance")


def apply_defaults() -> None:
    """Gives flags that were not given the values of this task."""
    for name, value in DEFAULTS.items():
        FLAGS.set_default(name, value)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    training_flags.check()
    study_flags.check()
    training_flags.check_at_least(0, "heatmaps")
    training_flags.check_at_least(1, "central_epochs")
    is_pooled = FLAGS.baseline == "pooled"
    for name in ("central", "central_epochs"):
        training_flags.check_used(is_pooled, name, "--baseline=pooled", "baseline")
    study_flags.parse_names("model", FLAGS.model, names.CLASSIFIERS)
    _parse_central()
    study_flags.check_fractions()
    study_flags.given_sites(with_finding=False)


def _parse_central() -> list[Central]:
    """The networks of `--central`.

    Raises:
      InputError: see `Central.parse`; none, or one twice.
    """
    found = [Central.parse(text) for text in FLAGS.central]
    if not found or len({central.model for central in found}) != len(found):
        raise InputError(
            f"--central: expected different networks, at least one, found "
            f"{','.join(FLAGS.central)!r}"
        )
    return found


def run(recipe: str, directory: RunDirectory) -> list[dict[str, Any]]:
    """Makes the results and the report in the run's folder; returns the rows of `metrics.json`."""
    study = _study(recipe, directory.path)
    from experiments import classes

    return classes.run(study, directory)


def _study(recipe: str, directory: pathlib.Path) -> ClassStudy:
    sites = study_flags.given_sites(with_finding=False)
    records, site_of = _load_clients(sites) if sites else ({}, {})
    from experiments.class_study import ClassStudy, Variant
    from tffcxr.datasets import findings

    plans = _make_plans()
    if not sites:  # Which takes a while, so that what can be wrong with the models comes before.
        sites = _make_phantoms(study_flags.phantom_dir(directory))
        records, site_of = _load_clients(sites)
    trained = {network for network, _ in plans}
    return ClassStudy(
        **study_flags.settings(
            recipe, directory, records, site_of, {site.name: site.loader for site in sites}
        ),
        task=_task(sites),
        classes=findings.KERMANY,
        variants=tuple(Variant(name) for name in names.CLASSIFIERS if name in trained),
        plans=plans,
        segmentation_model=None,
        split=study_flags.measured_split(),
        with_train_scores=False,
        explained=findings.KERMANY[-1:],  # "Pneumonia"
        explanation="gradcam",
        heatmaps=FLAGS.heatmaps,
        class_balance=FLAGS.class_balance,
    )


def _task(sites: Sequence[Site]) -> str:
    """What is asked, as tables and the report say it."""
    if any(site.loader == "rsna" for site in sites):
        return f"Pneumonia or normal (of RSNA: {_OPACITY} or any other class)"
    return "Pneumonia or normal"


def _make_plans() -> dict[tuple[str, str], Plan]:
    """How each network is trained, by its name and training."""
    from experiments import class_flags
    from experiments.class_study import POOLED
    from tffcxr.datasets import findings

    outputs = len(findings.KERMANY)
    networks = study_flags.parse_names("model", FLAGS.model, names.CLASSIFIERS)
    plans = class_flags.make_plans(networks, outputs, with_pooled=False)
    if FLAGS.baseline == "pooled":
        for central in _parse_central():
            plans[central.model, POOLED] = class_flags.centralised(
                class_flags.make_plan(central.model, outputs),
                central.optimizer,
                central.learning_rate,
                central.momentum,
                FLAGS.central_epochs,
            )
    return plans


def _load_clients(sites: Sequence[Site]) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    from experiments import site_tables
    from tffcxr.datasets import findings

    def keep(table: pd.DataFrame, site: Site) -> pd.DataFrame:
        if site.loader == "rsna":
            table = _two_classes(table)
        return site_tables.keep_classes(table, site, findings.KERMANY)

    return study_flags.load_shared_task(sites, keep, stratify=findings.KERMANY[-1], own_test=True)


def _two_classes(table: pd.DataFrame) -> pd.DataFrame:
    """RSNA's classes as Kermany's: "Lung Opacity" is "Pneumonia", any other "Normal"."""
    return table.assign(Pneumonia=table[_OPACITY], Normal=1.0 - table[_OPACITY])


def _make_phantoms(root: pathlib.Path) -> list[Site]:
    from experiments.sites import Site
    from tffcxr.datasets import phantom_classes

    phantom_classes.write_kermany(root / "kermany", FLAGS.phantom_patients, FLAGS.seed)
    return [Site("phantoms", "kermany", root / "kermany")]
