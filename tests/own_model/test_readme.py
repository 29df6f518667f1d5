"""The README's example, word by word."""

import pathlib
import re
from typing import Any

import pytest
import tensorflow as tf


def _example():
    text = pathlib.Path("README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return code


def test_the_example_of_the_readme_learns_and_saves_a_model(tmp_path, monkeypatch):
    code = compile(_example(), "README.md", "exec")
    monkeypatch.chdir(tmp_path)
    tf.keras.utils.set_random_seed(1)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["result"].history["validation/auc"].iloc[-1] > 0.7
    saved = tf.keras.models.load_model(tmp_path / "north.keras")
    expected = names["result"].model("north").get_weights()
    for ours, weight in zip(saved.get_weights(), expected):
        assert ours == pytest.approx(weight)
