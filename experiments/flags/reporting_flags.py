"""The flags of what is reported: the round, the end of training, calibrated scores.

Each has a default that uses validation images where there are any; no default ever uses test
images.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from experiments.flags import checks
from tffcxr import options
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

# Rounds. More than the validation loss of few images wavers, fewer than most recipes train.
_PATIENCE = 10


def define() -> None:
    """Defines the flags that every recipe has."""
    flags.DEFINE_enum(
        "report_round",
        None,
        list(options.REPORT_ROUNDS),
        "The round whose models are reported and saved: last, or best (the best AUROC, accuracy, "
        "Jaccard or Dice, mean over tasks). The best is chosen on the validation images, or, if "
        "there are none, on the test images, which is optimistically biased. Default: best if "
        "there are validation images, otherwise last.",
    )
    flags.DEFINE_integer(
        "early_stopping",
        None,
        "Rounds without a lower validation loss after which a training ends; 0 for never. The "
        f"--head_rounds do not count. Default: {_PATIENCE} if there are validation images, "
        "otherwise 0.",
    )


def define_calibration(default: options.Calibration) -> None:
    """Defines the flag for recipes of findings ("platt") or classes ("temperature").

    Args:
      default: where there are validation images.
    """
    texts = {
        "platt": "platt divides logits by a temperature and adds a bias",
        "temperature": "temperature divides them by a temperature",
        "none": "none leaves them",
    }
    names = [name for name in options.CALIBRATIONS if default == "platt" or name != "platt"]
    flags.DEFINE_enum(
        "calibration",
        None,
        names,
        "How scores are made probabilities, fitted to the validation images of all clients: "
        f"{'; '.join(texts[name] for name in names)}. It is part of exported models. Default: "
        f"{default} if there are validation images, otherwise none.",
    )


def has_validation() -> bool:
    """Whether there are validation images; recipes without the flag always have some."""
    return "validation_fraction" not in FLAGS or FLAGS.validation_fraction > 0


def check() -> None:
    """Checks that test images steer no training and no scores.

    Raises:
      InputError: a flag is out of range, or needs validation images that are not there.
    """
    checks.at_least(0, "early_stopping")
    needs = {"early_stopping": bool(FLAGS.early_stopping)}
    if "calibration" in FLAGS:
        needs["calibration"] = FLAGS.calibration not in (None, "none")
    for name, is_needed in needs.items():
        if is_needed and not has_validation():
            raise InputError(
                f"--{name}: expected a --validation_fraction above 0, since test images may not "
                f"steer it, found {FLAGS.validation_fraction}"
            )


def patience() -> int:
    """The `patience` of the last stage, see `Stage`."""
    if FLAGS.early_stopping is not None:
        return int(FLAGS.early_stopping)
    return _PATIENCE if has_validation() else 0


def settings(calibration: options.Calibration = "none") -> dict[str, Any]:
    """What `Settings` take of these flags.

    Args:
      calibration: the recipe's default where there are validation images.
    """
    is_validated = has_validation()
    if "calibration" in FLAGS and FLAGS.calibration is not None:
        calibration = FLAGS.calibration
    return {
        "report_round": FLAGS.report_round or ("best" if is_validated else "last"),
        "calibration": calibration if is_validated else "none",
    }
