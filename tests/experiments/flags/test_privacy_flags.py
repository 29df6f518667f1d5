"""What --aggregator=dp is asked for, and that it is asked for once."""

from absl import flags
import pytest

from experiments.flags import checks, privacy_flags
from tffcxr.errors import InputError
from tffcxr.learning.dp_sgd import DpSgd
from tffcxr.training.privacy_ledger import Privacy


@pytest.fixture(name="privacy")
def _privacy(monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_enum("aggregator", "mean", ["mean", "dp"], "", flag_values=values)
    flags.DEFINE_enum("batch_norm", "aggregate", ["aggregate", "group"], "", flag_values=values)
    flags.DEFINE_enum("precision", "float32", ["float32", "float16"], "", flag_values=values)
    flags.DEFINE_enum("class_balance", "none", ["none", "sampling"], "", flag_values=values)
    flags.DEFINE_string("task", "classification", "", flag_values=values)
    flags.DEFINE_integer("batch_size", 16, "", flag_values=values)
    flags.DEFINE_boolean("nnunet_augmentation", True, "", flag_values=values)
    for name, default in (
        ("dp_noise_multiplier", 0.0),
        ("target_epsilon", None),
        ("epsilon_budget", None),
        ("dp_clip", 0.1),
        ("dp_delta", 1e-5),
        ("dp_sgd_noise", 0.0),
        ("dp_sgd_clip", 1.0),
    ):
        flags.DEFINE_float(name, default, "", flag_values=values)
    for module in (checks, privacy_flags):
        monkeypatch.setattr(module, "FLAGS", values)

    def privacy(*arguments):
        values(["recipe", *arguments])
        privacy_flags.check()
        return privacy_flags.privacy(), privacy_flags.dp_sgd()

    return privacy


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), None),
        (("--aggregator=dp", "--dp_noise_multiplier=2"), Privacy(2.0)),
        (
            ("--aggregator=dp", "--dp_noise_multiplier=2", "--epsilon_budget=9"),
            Privacy(2.0, budget=9.0),
        ),
        (
            ("--aggregator=dp", "--target_epsilon=8", "--dp_delta=1e-6", "--dp_clip=2"),
            Privacy(None, 8.0, delta=1e-6, clip=2.0),
        ),
    ],
)
def test_flags_give_noise_or_a_target(privacy, arguments, expected):
    assert privacy(*arguments) == (expected, None)


@pytest.mark.parametrize(
    ("others", "of_clients"),
    [
        (("--dp_delta=1e-6",), None),
        (("--aggregator=dp", "--dp_noise_multiplier=2"), Privacy(2.0)),
    ],
)
def test_images_may_be_protected_with_clients_or_without(privacy, others, of_clients):
    images = ("--dp_sgd_noise=1.1", "--dp_sgd_clip=0.5", "--batch_norm=group")
    assert privacy(*images, *others) == (of_clients, DpSgd(1.1, 0.5, 16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target_epsilon=8",), "--target_epsilon: expected --aggregator=dp with it"),
        (("--dp_delta=1e-6",), "--dp_delta: expected --aggregator=dp or --dp_sgd_noise"),
        (("--aggregator=dp",), "expected --target_epsilon, or --dp_noise_multiplier above 0"),
        (
            ("--aggregator=dp", "--target_epsilon=8", "--dp_noise_multiplier=1"),
            "--target_epsilon: expected no --dp_noise_multiplier with it",
        ),
        (
            ("--aggregator=dp", "--target_epsilon=8", "--epsilon_budget=9"),
            "--epsilon_budget: expected --dp_noise_multiplier with it",
        ),
        (("--aggregator=dp", "--target_epsilon=nan"), "--target_epsilon: expected 0.001 to 1000"),
        (
            ("--aggregator=dp", "--dp_noise_multiplier=1", "--dp_delta=0.5"),
            "--dp_delta: expected 1e-12 to 0.01, found 0.5",
        ),
        (("--dp_sgd_clip=2",), "--dp_sgd_clip: expected --dp_sgd_noise above 0 with it"),
        (("--dp_sgd_noise=1",), "--dp_sgd_noise: expected --batch_norm=group or frozen with it"),
        (
            ("--dp_sgd_noise=1", "--batch_norm=group", "--precision=float16"),
            "--dp_sgd_noise: expected --precision=float32 or bfloat16",
        ),
        (
            ("--dp_sgd_noise=1", "--batch_norm=group", "--class_balance=sampling"),
            "--dp_sgd_noise: expected --class_balance=none",
        ),
        (
            ("--dp_sgd_noise=1", "--batch_norm=group", "--task=segmentation"),
            "--dp_sgd_noise: expected another model than nnU-Net",
        ),
    ],
)
def test_what_contradicts_or_has_no_effect_is_refused(privacy, arguments, message):
    with pytest.raises(InputError, match=message):
        privacy(*arguments)
