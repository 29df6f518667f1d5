"""Flags that say how images and labels are read."""

from __future__ import annotations

import pathlib
import types

import pytest

from experiments.flags import checks, data_flags, federation_flags
from tffcxr.clients.sites import Site
from tffcxr.datasets.load_options import LoadOptions
from tffcxr.datasets.tables.columns import Columns
from tffcxr.errors import InputError


@pytest.fixture(name="give")
def _give(monkeypatch):
    def give(*sites, **values):
        defaults = {"columns": [], "uncertain": "ignore", "views": "frontal", "engine": "local"}
        given = {**defaults, "site": [name for name, _ in sites], **values}

        class Flags(types.SimpleNamespace):
            def __contains__(self, name):
                return name in given

            def __getitem__(self, name):
                return types.SimpleNamespace(value=getattr(self, name), present=name in values)

        for module in (checks, data_flags, federation_flags):
            monkeypatch.setattr(module, "FLAGS", Flags(**given))
        found = data_flags.with_options(
            [Site(name, loader, pathlib.Path(name)) for name, loader in sites]
        )
        return {site.name: site.options for site in found}

    return give


def _file(folder, name, column):
    path = folder / name
    path.write_text(f'image = "{column}"\n')
    return str(path)


def test_without_flags(give):
    assert give(("a", "rsna"), ("b", "csv")) == {"a": LoadOptions(), "b": LoadOptions()}
    assert give() == {}


def test_options_of_sites(give, tmp_path):
    of_all, of_b = _file(tmp_path, "all=.toml", "Bild"), _file(tmp_path, "b.toml", "Datei")
    found = give(
        ("a", "csv"), ("b", "csv"), ("c", "nih"), columns=[of_all, f"b={of_b}"], views="all"
    )
    assert {name: options.columns.roles for name, options in found.items()} == {
        "a": (("image", "Bild"),),
        "b": (("image", "Datei"),),
        "c": (),
    }
    assert found["c"] == LoadOptions(Columns(), "ignore", "all")
    assert give(("a", "csv"), uncertain="negative")["a"].uncertain == "negative"


@pytest.mark.parametrize(
    ("sites", "values", "reason"),
    [
        ([("a", "rsna")], {"columns": ["x"]}, "--columns: expected a --site of csv: with it"),
        ([], {"columns": ["x"]}, "--columns: expected a --site of csv: with it"),
        ([("a", "nih")], {"uncertain": "positive"}, "--uncertain: expected a --site of .*csv"),
        ([("a", "csv")], {"columns": ["b=x"]}, "--columns=b=x: .*site of csv:, found no such site"),
        (
            [("a", "csv"), ("b", "nih")],
            {"columns": ["b=x"]},
            "--columns=b=x: expected a site of csv:, found the loader nih",
        ),
        ([("a", "csv")], {"columns": ["x", "y"]}, "--columns: expected one file for a, found x, y"),
        ([("a", "csv")], {"columns": ["none.toml"]}, "none.toml: expected a file to read"),
    ],
)
def test_what_has_no_effect_is_refused(give, sites, values, reason):
    with pytest.raises(InputError, match=reason):
        give(*sites, **values)


def test_a_coordinator_gives_its_hospitals_what_uncertain_means(give):
    assert give(engine="hospitals", uncertain="positive") == {}


def test_options_may_be_of_an_external_site(give, tmp_path):
    own = _file(tmp_path, "own.toml", "Bild")
    found = give(("a", "nih"), columns=[f"far={own}"], external_site=["far=csv:/far"])
    assert found["a"] == LoadOptions()
    with pytest.raises(InputError, match="expected a site of csv:, found the loader nih"):
        give(("a", "csv"), columns=[f"far={own}"], external_site=["far=nih:/far:Pneumonia"])
