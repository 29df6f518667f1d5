"""No default uses test images, and what the flags say is what the study gets."""

import types

import pytest

from experiments.flags import checks, reporting_flags
from tffcxr.errors import InputError


class _Flags(types.SimpleNamespace):
    """Flags with these values; others do not exist."""

    def __contains__(self, name):
        return name in vars(self)

    def __getitem__(self, name):
        return types.SimpleNamespace(value=getattr(self, name))


@pytest.fixture(name="give")
def _give(monkeypatch):
    def give(**values):
        given = {"report_round": None, "early_stopping": None, "calibration": None, **values}
        for module in (checks, reporting_flags):
            monkeypatch.setattr(module, "FLAGS", _Flags(**given))
        reporting_flags.check()
        return reporting_flags.patience(), *reporting_flags.settings("platt").values()

    return give


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, (10, "best", "platt")),  # A recipe that always has validation images.
        ({"validation_fraction": 0.1}, (10, "best", "platt")),
        ({"validation_fraction": 0.0}, (0, "last", "none")),
        ({"validation_fraction": 0.0, "report_round": "best"}, (0, "best", "none")),
        ({"validation_fraction": 0.0, "calibration": "none"}, (0, "last", "none")),
        ({"report_round": "last", "early_stopping": 0}, (0, "last", "platt")),
        ({"early_stopping": 3, "calibration": "temperature"}, (3, "best", "temperature")),
    ],
)
def test_defaults_use_validation_images_where_there_are_any(give, values, expected):
    assert give(**values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"early_stopping": -1}, "--early_stopping: expected at least 0, found -1"),
        ({"early_stopping": 4, "validation_fraction": 0.0}, "--early_stopping: .*fraction above 0"),
        ({"calibration": "platt", "validation_fraction": 0.0}, "--calibration: .*may not steer"),
    ],
)
def test_test_images_steer_nothing_but_a_choice_that_was_asked_for(give, values, message):
    with pytest.raises(InputError, match=message):
        give(**values)
