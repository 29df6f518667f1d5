"""The flags of differential privacy: how much noise, or how much epsilon, and at which delta.

--aggregator=dp protects clients, --dp_sgd_noise the single images of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from experiments.flags import checks
from tffcxr import options
from tffcxr.errors import InputError

if TYPE_CHECKING:
    from tffcxr.learning.dp_sgd import DpSgd
    from tffcxr.training.privacy_ledger import Privacy

FLAGS = flags.FLAGS

_OF_CLIENTS = ("dp_noise_multiplier", "target_epsilon", "epsilon_budget", "dp_clip")
# In which images do not change each other's gradients.
_NORMS = ("group", "frozen")
# Flag, least and greatest value; NaN is in no range.
_RANGES = (
    ("dp_noise_multiplier", 0.0, 1e6),
    ("target_epsilon", 1e-3, 1e3),
    ("epsilon_budget", 1e-3, 1e6),
    ("dp_clip", 1e-9, 1e9),
    ("dp_delta", 1e-12, 1e-2),
    ("dp_sgd_noise", 0.0, 1e6),
    ("dp_sgd_clip", 1e-9, 1e9),
)


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_float(
        "dp_noise_multiplier", 0.0, "Noise of --aggregator=dp, relative to the clipping norm."
    )
    flags.DEFINE_float(
        "target_epsilon",
        None,
        "Instead of --dp_noise_multiplier: takes the least noise with which the planned rounds "
        "cost no client more than this epsilon.",
    )
    flags.DEFINE_float(
        "epsilon_budget",
        None,
        "Training with --dp_noise_multiplier ends before a round that could cost a client more "
        "than this epsilon in all.",
    )
    flags.DEFINE_float(
        "dp_clip",
        options.DP_CLIP,
        "Clipping norm of the first round of --aggregator=dp. From there it follows the median of "
        "the updates' norms, by a tenth per round at most, so that it matters in short trainings. "
        "Choose it without a look at the data, or epsilon does not hold.",
    )
    flags.DEFINE_float(
        "dp_delta",
        options.DP_DELTA,
        "Delta of every epsilon: the probability with which the guarantee may fail altogether. It "
        "should be far below 1 / number of clients, or of images.",
    )
    flags.DEFINE_float(
        "dp_sgd_noise",
        0.0,
        "Noise of each step at the clients (DP-SGD), relative to --dp_sgd_clip, which protects "
        "single images also from the server; 0 for none. Slow: images are computed one by one. A "
        "hospital of --engine=hospitals trains each round on the first weights that it was sent "
        "alone.",
    )
    flags.DEFINE_float(
        "dp_sgd_clip", 1.0, "Greatest norm of one image's gradient with --dp_sgd_noise."
    )


def check() -> None:
    """Checks the flags.

    Raises:
      InputError: one is out of range, has no effect, or contradicts another; --aggregator=dp
        without noise.
    """
    is_private, of_images = FLAGS.aggregator == "dp", FLAGS.dp_sgd_noise > 0
    for name in _OF_CLIENTS:
        checks.used(is_private, name, "--aggregator=dp", "aggregator")
    either = "--aggregator=dp or --dp_sgd_noise"
    checks.used(is_private or of_images, "dp_delta", either, "aggregator")
    checks.used(of_images, "dp_sgd_clip", "--dp_sgd_noise above 0", "dp_sgd_noise")
    for name, low, high in _RANGES:
        value = FLAGS[name].value
        if value is not None and not low <= value <= high:
            raise InputError(f"--{name}: expected {low:g} to {high:g}, found {value}")
    if of_images:
        _check_images()
    if is_private:
        _check_clients()


def _check_images() -> None:
    """Raises InputError where an image would change more than one gradient in a pass."""
    if FLAGS.batch_norm not in _NORMS:
        raise InputError(
            "--dp_sgd_noise: expected --batch_norm=group or frozen with it, since batch norm mixes "
            f"the images of a batch, found --batch_norm={FLAGS.batch_norm}"
        )
    if FLAGS.precision == "float16":
        raise InputError(
            "--dp_sgd_noise: expected --precision=float32 or bfloat16 with it, without a scale of "
            "the loss, found float16"
        )
    if "class_balance" in FLAGS and FLAGS.class_balance != "none":
        raise InputError(
            "--dp_sgd_noise: expected --class_balance=none with it, since each image may be in one "
            f"batch of a pass, found {FLAGS.class_balance}"
        )
    if "nnunet_augmentation" in FLAGS and FLAGS.task == "segmentation":
        raise InputError(
            "--dp_sgd_noise: expected another model than nnU-Net, which draws several patches of "
            "an image in a pass, found --task=segmentation"
        )


def _check_clients() -> None:
    """Raises InputError unless --aggregator=dp has noise, by one flag."""
    noise, target = FLAGS.dp_noise_multiplier, FLAGS.target_epsilon
    if target is None and noise <= 0:
        raise InputError(
            "--aggregator=dp: expected --target_epsilon, or --dp_noise_multiplier above 0, "
            f"found {noise}"
        )
    if target is not None and noise > 0:
        raise InputError(
            "--target_epsilon: expected no --dp_noise_multiplier with it, which follows from it, "
            f"found {noise}"
        )
    if target is not None and FLAGS.epsilon_budget is not None:
        raise InputError(
            "--epsilon_budget: expected --dp_noise_multiplier with it, since a --target_epsilon is "
            f"a budget itself, found --target_epsilon={target}"
        )


def privacy() -> Privacy | None:
    """What the flags ask for; None without --aggregator=dp."""
    if FLAGS.aggregator != "dp":
        return None
    from tffcxr.training.privacy_ledger import Privacy

    return Privacy(
        FLAGS.dp_noise_multiplier or None,
        FLAGS.target_epsilon,
        FLAGS.epsilon_budget,
        FLAGS.dp_delta,
        FLAGS.dp_clip,
    )


def dp_sgd() -> DpSgd | None:
    """How clients' steps are private; None without --dp_sgd_noise."""
    if not FLAGS.dp_sgd_noise:
        return None
    from tffcxr.learning.dp_sgd import DpSgd

    return DpSgd(FLAGS.dp_sgd_noise, FLAGS.dp_sgd_clip, FLAGS.batch_size)
