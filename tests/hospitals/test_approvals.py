"""A proposal is approved once; any change of it has to be approved again."""

import json

import pytest

from tests.hospitals import studies
from tffcxr.errors import InputError
from tffcxr.hospitals import approvals


def test_an_approval_is_for_one_proposal_and_stays(tmp_path):
    one, other = studies.proposal(), studies.proposal(rounds=11)
    assert not approvals.is_approved(tmp_path, one)
    approvals.approve(tmp_path, one)
    assert approvals.is_approved(tmp_path, one) and not approvals.is_approved(tmp_path, other)
    approvals.approve(tmp_path, other)
    assert approvals.is_approved(tmp_path, one) and approvals.is_approved(tmp_path, other)
    approved = json.loads((tmp_path / "approved.json").read_text())
    assert set(approved) == {one.hash, other.hash}
    assert approved[one.hash]["study"] == "opacity" and approved[one.hash]["recipe"] == "cheXviz"


def test_a_second_approval_keeps_the_time_of_the_first(tmp_path):
    approvals.approve(tmp_path, studies.proposal())
    path = tmp_path / "approved.json"
    path.write_text(path.read_text().replace('"time": "2', '"time": "1'))
    before = path.read_bytes()
    approvals.approve(tmp_path, studies.proposal())
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", '{"', "\0"])
def test_a_damaged_file_approves_nothing_and_is_kept(tmp_path, content):
    path = tmp_path / "approved.json"
    path.write_text(content)
    for call in (approvals.is_approved, approvals.approve):
        with pytest.raises(InputError, match="expected approvals by the hash of a proposal"):
            call(tmp_path, studies.proposal())
    assert path.read_text() == content
