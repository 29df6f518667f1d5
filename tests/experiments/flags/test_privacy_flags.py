"""What --aggregator=dp is asked for, and that it is asked for once."""

from absl import flags
import pytest

from experiments.flags import checks, privacy_flags
from tffcxr.errors import InputError
from tffcxr.training.privacy_ledger import Privacy


@pytest.fixture(name="privacy")
def _privacy(monkeypatch):
    values = flags.FlagValues()
    flags.DEFINE_enum("aggregator", "mean", ["mean", "dp"], "", flag_values=values)
    for name, default in (
        ("dp_noise_multiplier", 0.0),
        ("target_epsilon", None),
        ("epsilon_budget", None),
        ("dp_delta", 1e-5),
    ):
        flags.DEFINE_float(name, default, "", flag_values=values)
    for module in (checks, privacy_flags):
        monkeypatch.setattr(module, "FLAGS", values)

    def privacy(*arguments):
        values(["recipe", *arguments])
        privacy_flags.check()
        return privacy_flags.privacy()

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
            ("--aggregator=dp", "--target_epsilon=8", "--dp_delta=1e-6"),
            Privacy(None, 8.0, delta=1e-6),
        ),
    ],
)
def test_flags_give_noise_or_a_target(privacy, arguments, expected):
    assert privacy(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--target_epsilon=8",), "--target_epsilon: expected --aggregator=dp with it"),
        (("--dp_delta=1e-6",), "--dp_delta: expected --aggregator=dp with it"),
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
    ],
)
def test_what_contradicts_or_has_no_effect_is_refused(privacy, arguments, message):
    with pytest.raises(InputError, match=message):
        privacy(*arguments)
