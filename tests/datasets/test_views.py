"""Frontal and lateral views."""

from __future__ import annotations

import pytest

from tffcxr.datasets import records, views
from tffcxr.errors import InputError


@pytest.mark.parametrize("view", ["PA", "ap", "AP LLD", "AP_horizontal", "Frontal", "p.a.", "PA "])
def test_frontal(view):
    assert views.is_frontal(view) is True


@pytest.mark.parametrize("view", ["LL", "L", "LATERAL", "xtable lateral", "LAO", "COSTAL", "rl"])
def test_not_frontal(view):
    assert views.is_frontal(view) is False


@pytest.mark.parametrize("view", [None, "", "THORAX", "1"])
def test_unknown(view):
    assert views.is_frontal(view) is None


def _table(*of_images):
    rows = [{"image": f"{n}.png", "patient": "p", "view": v} for n, v in enumerate(of_images)]
    return records.build(rows, [], "made")


def test_lateral_images_are_left_out_and_counted(caplog):
    kept = views.keep_frontal(_table("PA", "LL", None, "THORAX", "LATERAL"), "made")
    assert kept["image"].tolist() == ["0.png", "2.png", "3.png"]
    assert "2 of 5 images are lateral or oblique (LATERAL, LL) and are left out" in caplog.text
    assert "1 images have a view that may not be frontal (THORAX) and are kept" in caplog.text


def test_nothing_is_said_of_frontal_images_alone(caplog):
    assert len(views.keep_frontal(_table("PA", "AP", None), "made")) == 3
    assert not caplog.text


def test_lateral_images_alone_are_refused():
    with pytest.raises(
        InputError, match="frontal radiographs, found 2 of the views L, LL; --views"
    ):
        views.keep_frontal(_table("LL", "L"), "made")
