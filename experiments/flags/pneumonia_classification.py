"""The classification of //experiments:pneumonia: pneumonia or normal.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025),
its first part: ResNet50 across clients that hold different shares of the images and of the classes,
against networks with settings of their own that see all images in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import math
from typing import TYPE_CHECKING, Any

from absl import flags

from experiments.flags import class_flags, study_flags, training_flags
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
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
_OPACITY = "Lung Opacity"  # What RSNA's radiologists called possible pneumonia.


@dataclasses.dataclass(frozen=True)
class Central:
    """How a network is trained on all images in one place.

    Attributes:
      model: a name of `options.CLASSIFIERS`.
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
        form = "NETWORK:OPTIMIZER:RATE, or NETWORK:sgd:RATE:MOMENTUM"
        if len(parts) not in (3, 4) or (len(parts) == 4 and parts[1] != "sgd"):
            raise InputError(f"--central: expected {form}, found {text!r}")
        model, optimizer, *numbers = parts
        for name, known in ((model, options.CLASSIFIERS), (optimizer, training_flags.OPTIMIZERS)):
            if name not in known:
                raise InputError(
                    f"--central: expected one of {', '.join(known)}, found {name!r} in {text!r}"
                )
        try:
            rate, momentum = (*map(float, numbers), 0.0)[:2]
        except ValueError:
            raise InputError(f"--central: expected {form}, found {text!r}") from None
        largest = training_flags.LARGEST_MOMENTUM
        if not (0 < rate < math.inf and 0 <= momentum <= largest):
            raise InputError(
                f"--central: expected a rate above 0 and a momentum of 0 to {largest}, "
                f"found {text!r}"
            )
        return cls(model, optimizer, rate, momentum)


def define_flags() -> None:
    """Defines the flags that only this task has."""
    flags.DEFINE_list(
        "model",
        ["standard"],
        f"Federated networks: some of {', '.join(options.CLASSIFIERS)}. The paper's "
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
        "central_epochs", 8, "Passes of --central over all images; each is a round in its tables."
    )
    flags.DEFINE_integer("heatmaps", 2, "Test images with pneumonia that Grad-CAM explains.")
    study_flags.define_class_balance()
    class_flags.define_width()
    for name in ("class_balance", "width"):
        flags.declare_key_flag(name)


def check_flags() -> None:
    """Checks the flags by themselves; raises InputError for what cannot be."""
    class_flags.check()
    training_flags.check_at_least(1, "central_epochs")
    is_pooled = FLAGS.baseline == "pooled"
    for name in ("central", "central_epochs"):
        training_flags.check_used(
            is_pooled, name, "--baseline=pooled", "baseline", may_be_taken_back=True
        )
    _parse_central()


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
    clients = _load_clients(study_flags.given_sites(with_finding=False)) if FLAGS.site else None
    from tffcxr.datasets import findings
    from tffcxr.datasets.phantoms import phantom_classes
    from tffcxr.studies.classes import class_study
    from tffcxr.studies.classes.variants import ClassStudy, Variant

    plans = _make_plans()
    # Phantoms take a while, so that what can be wrong with the models comes before.
    clients = clients or _load_clients(
        study_flags.make_phantoms(directory.path, "kermany", phantom_classes.write_kermany)
    )
    trained = {network for network, _ in plans}
    task = "Pneumonia or normal"
    if "rsna" in clients.source_of.values():
        task += f" (of RSNA: {_OPACITY} or any other class)"
    study = ClassStudy(
        **class_flags.settings(recipe, directory.path, clients),
        task=task,
        classes=findings.KERMANY,
        variants=tuple(Variant(name) for name in options.CLASSIFIERS if name in trained),
        plans=plans,
        segmentation_model=None,
        with_train_scores=False,
        explained=findings.KERMANY[-1:],  # "Pneumonia"
        explanation="gradcam",
    )
    return class_study.run(study, directory)


def _make_plans() -> dict[tuple[str, str], Plan]:
    """How each network is trained, by its name and training."""
    from tffcxr.datasets import findings
    from tffcxr.studies.classes.variants import POOLED

    outputs = len(findings.KERMANY)
    plans = class_flags.make_plans(outputs)
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


def _load_clients(sites: Sequence[Site]) -> ClientRecords:
    from tffcxr.datasets import findings

    return class_flags.load_clients(
        sites,
        findings.KERMANY,
        stratify=findings.KERMANY[-1],
        prepare=_two_classes,
        own_test=True,
    )


def _two_classes(table: pd.DataFrame, site: Site) -> pd.DataFrame:
    """RSNA's classes as Kermany's: "Lung Opacity" is "Pneumonia", any other "Normal"."""
    if site.loader != "rsna":
        return table
    return table.assign(Pneumonia=table[_OPACITY], Normal=1.0 - table[_OPACITY])
