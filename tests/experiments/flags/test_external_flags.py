"""External sites are refused where they could not be measured honestly."""

import types

import pytest

from experiments.flags import checks, data_flags, external_flags, federation_flags
from tffcxr.errors import InputError


@pytest.fixture(name="check")
def _check(monkeypatch):
    def check(with_finding=True, **values):
        defaults = {"external_site": [], "same": [], "site": ["a=rsna:/a"], "engine": "local"}
        given = {**defaults, "columns": [], "uncertain": "ignore", "views": "frontal", **values}

        class Flags(types.SimpleNamespace):
            def __contains__(self, name):
                return name in given

            def __getitem__(self, name):
                return types.SimpleNamespace(value=getattr(self, name), present=name in values)

        for module in (checks, data_flags, external_flags, federation_flags):
            monkeypatch.setattr(module, "FLAGS", Flags(**given))
        external_flags.check(with_finding)
        return [site.name for site in external_flags.given(with_finding)]

    return check


def test_what_is_accepted(check):
    assert check() == []
    assert check(external_site=["far=nih:/f", "other=csv:/o:Mass"], same=["Mass=Tumour"]) == [
        "far",
        "other",
    ]


@pytest.mark.parametrize(
    "given,expected",
    [
        ({"external_site": ["nih:/f"]}, "--external_site: expected NAME=LOADER:PATH or NAME=LOA"),
        ({"external_site": ["a=nothing:/f"]}, "--external_site: expected one of the loaders"),
        ({"external_site": ["a=nih:/f", "A=rsna:/g"]}, "--external_site: expected names that diff"),
        ({"same": ["Mass=Tumour"]}, "--same: expected an --external_site with it"),
        (
            {"external_site": ["far=nih:/f"], "engine": "hospitals", "site": []},
            "--external_site: expected another --engine than hospitals",
        ),
    ],
)
def test_what_is_refused(check, given, expected):
    with pytest.raises(InputError, match=expected):
        check(**given)
