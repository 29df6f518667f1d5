"""What messages of errors have in common: one line, and a hint at the end."""

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


@pytest.mark.parametrize(
    ("error", "line"), [(ValueError(" two\n\tlines "), "two lines"), (OSError(), "OSError")]
)
def test_one_line(error, line):
    assert errors.one_line(error) == line
