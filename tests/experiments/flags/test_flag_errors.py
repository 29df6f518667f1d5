"""What a flag that cannot be read is said to be."""

from absl import flags
import pytest

from experiments.flags import flag_errors


@pytest.fixture
def holder():
    found = flags.FlagValues()
    flags.DEFINE_integer("rounds", 1, "", flag_values=found)
    flags.DEFINE_float("rate", 1.0, "", flag_values=found)
    flags.DEFINE_boolean("nesterov", False, "", flag_values=found)
    flags.DEFINE_enum("fit", "pad", ["pad", "stretch"], "", flag_values=found)
    return found


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("--rounds=two", "--rounds: expected a whole number, found 'two'"),
        ("--rounds=", "--rounds: expected a whole number, found ''"),
        ("--rounds=1: invalid", "--rounds: expected a whole number, found '1: invalid'"),
        ("--rounds=1.5", "--rounds: expected a whole number, found '1.5'"),
        ("--rate=fast", "--rate: expected a number, found 'fast'"),
        ("--fit=cut", "--fit: expected one of pad, stretch, found 'cut'"),
        ("--nesterov=maybe", "--nesterov: expected true or false, found 'maybe'"),
    ],
)
def test_one_line_of_what_was_expected_and_found(holder, typed, line):
    with pytest.raises(flags.Error) as caught:
        holder(["program", typed])
    assert flag_errors.described(caught.value) == line


def test_other_errors_keep_their_words():
    assert flag_errors.described(flags.Error("Unknown flag")) == "Unknown flag"
