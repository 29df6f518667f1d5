"""What a hospital has approved, in approved.json of its kit: a study is approved once, by hash."""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

from tffcxr import files
from tffcxr.errors import InputError
from tffcxr.hospitals.proposals import Proposal

APPROVED = "approved.json"


def is_approved(folder: pathlib.Path, proposal: Proposal) -> bool:
    """Whether a proposal was approved, with all its settings.

    Args:
      folder: the hospital's kit.
      proposal: of the coordinator.

    Raises:
      InputError: the file is there and is not what `approve` writes.
    """
    return proposal.hash in _read(folder / APPROVED)


def approve(folder: pathlib.Path, proposal: Proposal) -> None:
    """Records that a proposal is approved; an approval that is there keeps its time.

    Args:
      folder: the hospital's kit.
      proposal: of the coordinator.

    Raises:
      InputError: see `is_approved`.
    """
    path = folder / APPROVED
    approved = _read(path)
    if proposal.hash in approved:
        return
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    approved[proposal.hash] = {"study": proposal.study, "recipe": proposal.recipe, "time": now}
    files.write_json(path, approved)


def _read(path: pathlib.Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        approved = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        approved = None
    if not isinstance(approved, dict):
        raise InputError(f"{path}: expected approvals by the hash of a proposal, found other bytes")
    return approved
