"""Which exported model a path means: a `.keras` file, or one of those in the folder of a run."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from tffcxr.errors import InputError
from tffcxr.models.files import metadata

_CONFIG, _SWEEP, _SHARED = "config.json", "sweep.json", "SHARED.txt"
_WEIGHTS = (".h5", ".hdf5", ".pt", ".pth", ".npz")


def find(path: pathlib.Path, name: str | None = None, network: str | None = None) -> pathlib.Path:
    """Returns the `.keras` file that is meant by itself or by the folder of its run.

    Args:
      path: the file, or the folder of a complete run.
      name: of the model, without `.keras`, where the folder has several; without it the first one
        is meant, see `metadata.Metadata.number`.
      network: of the model, where the folder has several; then the first one of this network.

    Raises:
      InputError: there is no such file or model, or the folder is not that of a complete run. The
        message is one line.
    """
    if not path.is_dir():
        if path.suffix != ".keras" or not path.is_file():
            raise InputError(
                f"expected a run's folder or a .keras file, found {_what_is(path)} at {path}"
            )
        return path
    models = in_run(path)
    if name is not None:
        models = {file: about for file, about in models.items() if file.stem == name}
        if not models:
            raise InputError(f"expected one of {_names(in_run(path))} in {path}, found {name!r}")
    if network is not None:
        networks = list(dict.fromkeys(about.network for about in models.values()))
        models = {file: about for file, about in models.items() if about.network == network}
        if not models:
            raise InputError(f"expected a model of the network {network} in {path}, found "
                             f"{', '.join(networks)}")  # fmt: skip
    first = next(iter(models))
    equal = {file: about for file, about in models.items() if about.number == models[first].number}
    if len(equal) > 1:
        raise InputError(
            f"expected one of the models of {path}, which are of different sites, found the "
            f"folder: give {path / 'models'}/… with one of {_names(equal)}"
        )
    return first


def in_run(folder: pathlib.Path) -> dict[pathlib.Path, metadata.Metadata]:
    """Returns the exported models of a run, the first one by `number` first.

    Raises:
      InputError: the folder is a sweep's, the run is not finished, it has no exported model, or the
        metadata of one cannot be used.
    """
    config = folder / _CONFIG
    runs = [] if config.is_file() else sorted(path.parent for path in folder.glob(f"*/{_CONFIG}"))
    if (folder / _SWEEP).is_file() or runs:
        what = "a sweep" if (folder / _SWEEP).is_file() else "several runs"
        names = ", ".join(str(run) for run in runs[:2]) or "none are left"
        raise InputError(
            f"expected the folder of a run, found that of {what}, {folder}: give the folder of "
            f"one of its {len(runs)} runs ({names}{', …' if len(runs) > 2 else ''})"
        )
    if config.is_file() and not _read(folder / "metrics.json").get("complete"):
        raise InputError(
            f"expected a complete run, found one that is not finished in {folder}: its own command "
            "finishes it"
        )
    files = [file for file in (folder / "models").glob("*.keras") if file.name[0] != "."]
    if not files:
        raise InputError(_without_model(folder))
    models = {file: metadata.read(file) for file in files}
    return dict(sorted(models.items(), key=lambda item: (item[1].number, item[0].name)))


def _what_is(path: pathlib.Path) -> str:
    """What a path is that is no exported model."""
    if not path.is_file():
        return "nothing"
    return "weights without their network" if path.suffix in _WEIGHTS else "another file"


def _without_model(folder: pathlib.Path) -> str:
    """Says why a folder, in which no run is unfinished, has no exported model."""
    if (folder / _SHARED).is_file():
        return (
            f"expected a run with its models, found a copy to share without them in {folder}: "
            "report with --share_models copies them"
        )
    if _read(folder / _CONFIG).get("engine") == "hospitals":
        return (
            f"expected a hospital's run, found the coordinator's in {folder}, which has the shared "
            "weights alone, since task blocks stay at the hospitals: use the run of a hospital"
        )
    return (
        f"expected a complete run with an exported model (models/*.keras), found none in {folder}"
    )


def _read(file: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object, empty where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _names(models: dict[pathlib.Path, metadata.Metadata]) -> str:
    return ", ".join(file.name for file in models)
