"""What `config.json` says of a setting that networks may have to themselves."""

import types
from typing import Any

from tffcxr.studies import trainings


def test_a_setting_is_told_once_or_of_each_network():
    plans: dict[str, Any] = {
        name: types.SimpleNamespace(patience=10, rounds=rounds)
        for name, rounds in (("a", 3), ("b", 5))
    }
    assert trainings.setting_of(plans, "patience") == 10
    assert trainings.setting_of(plans, "rounds") == {"a": 3, "b": 5}
