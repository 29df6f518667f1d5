"""Training flags that one network has to itself."""

from absl import flags
import pytest

from experiments.flags import network_flags
from tffcxr.errors import InputError


@pytest.fixture(name="values")
def _values(monkeypatch):
    """Some of a recipe's flags, of which two were given on the command line."""
    values = flags.FlagValues()
    flags.DEFINE_multi_string("only", [], "", flag_values=values)
    flags.DEFINE_integer("rounds", 300, "", flag_values=values)
    flags.DEFINE_float("learning_rate", 1e-3, "", flag_values=values)
    flags.DEFINE_enum("optimizer", "adam", ["adam", "sgd"], "", flag_values=values)
    flags.DEFINE_float("momentum", 0.0, "", flag_values=values)
    flags.DEFINE_boolean("nesterov", False, "", flag_values=values)
    flags.DEFINE_integer("batch_size", 8, "", flag_values=values)
    monkeypatch.setattr(network_flags, "FLAGS", values)

    def parse(*arguments):
        values(["recipe", *arguments])
        return values

    return parse


def test_one_network_has_values_of_its_own_while_its_plan_is_made(values):
    found = values(
        "--learning_rate=0.002", "--only=densenet121:rounds=150",
        "--only=densenet121:learning_rate=1e-5",
    )  # fmt: skip
    with network_flags.of_network("densenet121"):
        assert (found.rounds, found.learning_rate) == (150, 1e-5)
        assert found["rounds"].present
    assert (found.rounds, found.learning_rate) == (300, 0.002)
    assert not found["rounds"].present and found["learning_rate"].present
    with network_flags.of_network("standard"):
        assert (found.rounds, found.learning_rate) == (300, 0.002)


def test_values_return_after_an_error_and_the_last_of_a_flag_goes(values):
    found = values("--only=a:rounds=2", "--only=a:rounds=3")
    with pytest.raises(ZeroDivisionError), network_flags.of_network("a"):
        assert found.rounds == 3
        raise ZeroDivisionError
    assert found.rounds == 300


def test_what_went_with_the_optimizer_of_the_others_is_off(values):
    found = values("--optimizer=sgd", "--momentum=0.9", "--nesterov", "--only=a:optimizer=adam")
    with network_flags.of_network("a"):
        assert (found.momentum, found.nesterov) == (0.0, False)
        assert not found["momentum"].present  # So that no check asks for its partner.
    assert (found.momentum, found.nesterov) == (0.9, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rounds=3", "expected NETWORK:FLAG=VALUE, found 'rounds=3'"),
        ("a:rounds", "expected NETWORK:FLAG=VALUE, found 'a:rounds'"),
        ("a:round=3", "found 'round' in 'a:round=3' (did you mean rounds?)"),
        ("a:batch_size=3", "expected one of the flags rounds, "),
        ("a:rounds=many", "--only=a:rounds=many: --rounds: expected a whole number, "),
        ("b:rounds=3", "expected one of the networks a, c, found 'b'"),
        ("a:rounds=3", "--only=a:rounds=3: too few"),
    ],
)
def test_a_wrong_one_gets_one_line(values, text, expected):
    found = values(f"--only={text}")

    def check():
        if found.rounds < 5:
            raise InputError("too few")

    with pytest.raises(InputError) as error:
        network_flags.check(("a", "c"), check)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
