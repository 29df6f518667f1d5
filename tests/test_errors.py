"""The hint at the end of a message."""

import pytest

from tffcxr import errors


@pytest.mark.parametrize(
    ("found", "hint"),
    [
        ("local_epoch", " (did you mean local_epochs?)"),
        ("chexvis", " (did you mean cheXviz?)"),
        ("x", ""),
    ],
)
def test_did_you_mean(found, hint):
    assert errors.did_you_mean(found, ["cheXviz", "local_epochs", "rounds"]) == hint
