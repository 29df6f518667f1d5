"""Learning rates by hand."""

import math

import pytest

from tffcxr.errors import InputError
from tffcxr.learning.schedules import Schedule


def test_constant():
    schedule = Schedule("constant", 0.01, 5)
    assert [schedule.rate([1.0] * done) for done in range(5)] == [0.01] * 5


def test_polynomial():
    schedule = Schedule("polynomial", 1.0, 4, exponent=2.0)
    rates = [schedule.rate([0.0] * done) for done in range(4)]
    assert rates == pytest.approx([1.0, 0.75**2, 0.5**2, 0.25**2])


def test_polynomial_with_nnu_nets_exponent_and_after_its_end():
    schedule = Schedule("polynomial", 0.01, 10)
    assert schedule.rate([0.0] * 5) == pytest.approx(0.01 * 0.5**0.9)
    assert schedule.rate([0.0] * 10) == schedule.rate([0.0] * 9) > 0


class TestPlateau:
    """As PyTorch's ReduceLROnPlateau: `patience` bad rounds are tolerated, the next one counts."""

    schedule = Schedule("plateau", 1.0, 100, factor=0.5, patience=1)

    def test_it_falls_after_more_bad_rounds_than_it_tolerates(self):
        # Round 1 is the best; 2 and 3 are bad, so round 4 has the lower rate; 4 and 5 are bad
        # again, so round 6 has a quarter.
        rates = [self.schedule.rate([0.5] * done) for done in range(7)]
        assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    def test_progress_starts_the_count_anew(self):
        assert self.schedule.rate([0.5, 0.6, 0.4, 0.45]) == 1.0
        assert self.schedule.rate([0.5, 0.6, 0.4, 0.45, 0.41]) == 0.5

    def test_less_than_a_ten_thousandth_is_no_progress(self):
        assert self.schedule.rate([0.5, 0.49996, 0.49996]) == 0.5
        assert self.schedule.rate([0.5, 0.4999, 0.4997]) == 1.0

    def test_an_undefined_loss_is_no_progress(self):
        assert self.schedule.rate([math.nan, math.nan]) == 0.5
        assert self.schedule.rate([0.5, math.nan, 0.4]) == 1.0

    def test_the_minimum(self):
        schedule = Schedule("plateau", 1.0, 100, factor=0.1, patience=0, minimum=0.05)
        assert schedule.rate([0.5] * 9) == 0.05

    def test_it_is_a_function_of_the_history_alone(self):
        losses = [0.9, 0.8, 0.85, 0.82, 0.81, 0.7, 0.71, 0.72]
        first = [self.schedule.rate(losses[:done]) for done in range(8)]
        assert [self.schedule.rate(losses[:done]) for done in reversed(range(8))] == first[::-1]


@pytest.mark.parametrize(
    "fields,message",
    [
        ({"name": "cosine"}, "expected one of .*'plateau'.*found 'cosine'"),
        ({"learning_rate": 0.0}, "learning rate: expected above 0, found 0.0"),
        ({"learning_rate": math.nan}, "learning rate: expected above 0, found nan"),
        ({"factor": 1.0}, r"plateau factor: expected in \(0, 1\), found 1.0"),
        ({"patience": -1}, "plateau patience: expected at least 0, found -1"),
    ],
)
def test_bad_values_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Schedule(**{"name": "plateau", "learning_rate": 0.1, "rounds": 5, **fields})
