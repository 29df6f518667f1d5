"""The classification of //experiments:pneumonia: pneumonia or normal.

Nagabhushanam & Yaswanth, "Federated Learning for Pneumonia Detection and Segmentation" (NITK 2025),
first part: ResNet50 across clients that hold different shares of the images and of the classes,
compared with networks trained on all images pooled, with settings of their own.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks, class_flags, network_flags, study_flags, training_flags
from tffcxr import options
from tffcxr.datasets import findings
from tffcxr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tffcxr.clients.sites import ClientRecords, Site
    from tffcxr.training.plan import Plan

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
# Whole networks would need more than five minutes on two cores, and learn no more of phantoms.
PHANTOM_WIDTH = 0.5
_OPACITY = "Lung Opacity"  # What RSNA's radiologists called possible pneumonia.


@dataclasses.dataclass(frozen=True)
class Central:
    """How a network is trained on all images pooled.

    Attributes:
      model: a name of `options.CLASSIFIERS`.
      optimizer: a name of `options.CLIENT_OPTIMIZERS`.
      learning_rate: in the first epoch.
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
        for name, known in ((model, options.CLASSIFIERS), (optimizer, options.CLIENT_OPTIMIZERS)):
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
        f"Federated networks, some of {', '.join(options.CLASSIFIERS)}. The paper's "
        "is resnet50; the default learns from few phantoms in minutes.",
    )
    flags.DEFINE_list(
        "central",
        ["resnet18:adam:0.001", "standard:adam:0.002"],
        "Networks of --baseline=pooled, each as NETWORK:OPTIMIZER:LEARNING_RATE, for sgd also "
        "with :MOMENTUM. --schedule, --weight_decay and --clip_norm also apply to them. "
        "The paper's are resnet34:adam:0.01,resnet50:sgd:0.003:0.9.",
    )
    flags.DEFINE_integer(
        "central_epochs",
        8,
        "Passes of the pooled models over all images; each counts as a round. With "
        "--task=segmentation, by default as many as the federated model's, in as many rounds.",
    )
    flags.DEFINE_integer("heatmaps", 2, "Test images with pneumonia explained by Grad-CAM.")
    study_flags.define_class_balance()
    network_flags.define()
    for name in ("class_balance", "calibration", "only"):
        flags.declare_key_flag(name)


@dataclasses.dataclass(frozen=True)
class _Classification(class_flags.ClassRecipe):
    phantom_width = PHANTOM_WIDTH

    def check(self) -> None:
        """See `Recipe`."""
        super().check()
        checks.at_least(1, "central_epochs")
        is_pooled = FLAGS.baseline == "pooled"
        for name in ("central", "central_epochs"):
            checks.used(is_pooled, name, "--baseline=pooled", "baseline", may_be_taken_back=True)
        _parse_central()

    def trained_networks(self) -> tuple[str, ...]:
        """See `ClassRecipe`; those of `--central` are among them."""
        central = _parse_central() if FLAGS.baseline == "pooled" else ()
        return tuple(dict.fromkeys([*class_flags.networks(), *(each.model for each in central)]))

    def plans(self) -> dict[tuple[str, str], Plan]:
        """See `ClassRecipe`; pooled networks have settings of their own."""
        from tffcxr.studies import trainings

        plans = {(name, trainings.FEDERATED): self.plan(name) for name in class_flags.networks()}
        if FLAGS.baseline == "pooled":
            for central in _parse_central():
                plans[central.model, trainings.POOLED] = class_flags.centralised(
                    self.plan(central.model),
                    central.optimizer,
                    central.learning_rate,
                    central.momentum,
                    FLAGS.central_epochs,
                )
        return plans

    def task_of(self, clients: ClientRecords) -> str:
        """See `ClassRecipe`."""
        if "rsna" in clients.source_of.values():
            return f"{self.task} (of RSNA: {_OPACITY} or any other class)"
        return self.task

    def prepare(self, table: pd.DataFrame, site: Site) -> pd.DataFrame:
        """See `ClassRecipe`; RSNA's "Lung Opacity" becomes "Pneumonia", other classes "Normal"."""
        if site.loader != "rsna" or _OPACITY not in table:  # That has another name by --same.
            return table
        return table.assign(Pneumonia=table[_OPACITY], Normal=1.0 - table[_OPACITY])


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


TASK = _Classification(
    name="pneumonia",
    paper="Nagabhushanam & Yaswanth, “Federated Learning for Pneumonia Detection and "
    "Segmentation”, NITK 2025",
    task="Pneumonia or normal",
    classes=findings.KERMANY,
    stratify=findings.KERMANY[-1],
    explained=findings.KERMANY[-1:],  # "Pneumonia"
    phantoms=study_flags.PhantomSite("phantoms", "kermany", "write_kermany"),
    own_test=True,
)
