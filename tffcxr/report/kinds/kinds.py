"""All kinds of study that have a report. A further one is a module beside this and a line here."""

from __future__ import annotations

from typing import Any

from tffcxr import errors
from tffcxr.report.kinds import classes_kind, findings_kind, masks_kind, volumes_kind
from tffcxr.report.kinds.kind import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (findings_kind.KIND, masks_kind.KIND, classes_kind.KIND, volumes_kind.KIND)
}


def named(name: Any) -> Kind:
    """Returns the kind of a name.

    Raises:
      errors.InputError: no kind has this name.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise errors.InputError(f"expected a kind of study of {', '.join(KINDS)}, found {name!r}")
    return KINDS[name]
