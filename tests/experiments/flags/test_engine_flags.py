"""Flags that say where rounds run are checked against each other."""

import types

import pytest

from experiments.flags import checks, engine_flags
from tffcxr import errors, runtime


@pytest.fixture(name="give")
def _give(monkeypatch):
    def give(**values):
        given = {
            "engine": "local",
            "ray_address": None,
            "ray_workers": None,
            "executor": "device",
            "kit": None,
            "proposal": None,
            "quorum": None,
            "round_seconds": 600.0,
            "listen": None,
            "aggregator": "mean",
            **values,
        }

        class Flags(types.SimpleNamespace):
            def __getitem__(self, name):
                value = getattr(self, name)
                return types.SimpleNamespace(value=value, present=name in values)

        for module in (checks, engine_flags):
            monkeypatch.setattr(module, "FLAGS", Flags(**given))
        engine_flags.check()
        return engine_flags.settings()

    return give


def test_settings(give):
    assert give() == runtime.EngineSettings("local", None, None)
    assert give(executor="native").name == "local"
    found = give(engine="ray", ray_address="10.0.0.1:6379", ray_workers=3)
    assert found == runtime.EngineSettings("ray", "10.0.0.1:6379", 3)
    assert give(engine="ray", ray_address="auto").ray_address == "auto"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ray_workers": 2}, "--ray_workers: expected --engine=ray with it, found --engine=local"),
        ({"ray_address": "auto"}, "--ray_address: expected --engine=ray with it"),
        ({"kit": "kits/north"}, "--kit: expected --engine=hospitals with it, found --engine=local"),
        ({"engine": "ray", "quorum": 1}, "--quorum: expected --engine=hospitals with it"),
        ({"engine": "hospitals"}, "--kit: expected the folder of a kit with --engine=hospitals"),
        ({"engine": "hospitals", "kit": "k", "quorum": 0}, "--quorum: expected at least 1"),
        (
            {"engine": "hospitals", "kit": "k", "quorum": 1, "aggregator": "secure"},
            "--quorum: expected at least 2 hospitals with --aggregator=secure",
        ),
        ({"engine": "hospitals", "kit": "k", "round_seconds": 0.0}, "--round_seconds: expected"),
        (
            {"engine": "hospitals", "kit": "k", "executor": "native"},
            "--engine=hospitals: expected --executor=device with it, found --executor=native",
        ),
        ({"engine": "ray", "ray_workers": 0}, "--ray_workers: expected at least 1, found 0"),
        ({"engine": "ray", "executor": "native"}, "--engine=ray: expected --executor=device"),
        ({"engine": "ray", "ray_address": "node"}, "--ray_address: expected HOST:PORT or auto"),
        ({"engine": "ray", "ray_address": "ray://node:1"}, "expected HOST:PORT or auto, found 'ra"),
    ],
)
def test_what_does_not_go_together_is_refused(give, values, message):
    with pytest.raises(errors.InputError, match=message):
        give(**values)


def test_the_library_refuses_the_same():
    with pytest.raises(errors.InputError, match="engine: expected one of"):
        runtime.use("device", runtime.EngineSettings("cloud"))
    with pytest.raises(errors.InputError, match="expected the executor 'device' with 'ray'"):
        runtime.use("native", runtime.EngineSettings("ray"))
