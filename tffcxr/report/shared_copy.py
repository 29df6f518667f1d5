"""A copy of a run for readers outside of the hospital: no image, no path, no score of one image.

What goes into the copy is listed here; whatever else lies in a run's folder stays there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import os
import pathlib
import re
import shutil
from typing import Any

import pandas as pd

from tffcxr import concealed, errors, files, options, run_tables
from tffcxr.report import run_files, run_reader, run_report, style, subgroups_table
from tffcxr.report.figures import roc_figure
from tffcxr.report.published import published_tables

NOTE = "SHARED.txt"
LEFT_OUT = "[left out]"

# Texts are copied by the name under which they stand, numbers always.
_SETTINGS = frozenset(
    {
        "aggregator", "attack", "augmentation", "baseline", "batch_norm", "calibration", "central",
        "class_balance", "clients_per_round", "ct_window", "engine", "executor", "field_of_view",
        "fit", "images", "initialization", "model", "only", "optimizer", "partition", "precision",
        "private", "published", "quarantine", "report_round", "same", "schedule",
        "server_optimizer", "share", "task", "test_images", "uncertain", "views", "weighting",
    }
)  # fmt: skip
_SITES = ("site", "external_site")
_DERIVED = frozenset(
    {"calibration", "explanation", "loss", "measured_split", "report_round", "source"}
)
_OF_SITES = frozenset({"client", "site", "source", "task", "finding"})
_OF_ROWS = frozenset(
    {
        "task", "model", "training", "split", "client", "baseline", "interval", "operating_point",
        "chosen", "images_kind", "classes", "report_round", "calibration", "calibration_remark",
        "proportion_interval", "own_sites", "auroc_remark",
    }
)  # fmt: skip
_NNUNET_FILES = ("nnunet_fingerprint.json", "nnunet_plan.json")
_LOGS = (run_tables.ROUNDS, run_tables.CLIENTS, run_tables.HOSPITALS)
_TEXT_COLUMNS = frozenset().union(*(log.texts for log in _LOGS))
_STATUS = re.compile(
    r"ok|loss is not finite|layer [\w./:-]+ is not finite|left out: [a-z',]+( [a-z',]+)*|"
)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|nan|inf|-inf|")
_PROGRAM = re.compile(r"(//experiments:|tffcxr )\w+")
_FLAG = re.compile(r"--?(\w+)(?:=(.*))?", re.DOTALL)
_LOADER = re.compile(r"[^=:/\\]+=\w+")  # At the start of a --site.
_EVENTS = "*.tfevents.*"
# What is left out, as a reader calls it, and the files and folders that are meant.
_KINDS = (
    (
        "images of patients, and figures of them",
        ("explanations", "segmentations", "lungs_examples.npz", "figures/gradcam*.png",
         "figures/masks*.png", "figures/lungs.png", "cache", "phantoms"),
    ),
    (
        "tables of single images",
        (*(table.file for table in run_tables.OF_IMAGES), "figures/jaccard.png",
         "figures/dice.png"),
    ),
    ("weights from which a training goes on", ("checkpoints",)),
    ("updates of single hospitals", ("hospitals/answers/*",)),
    ("statistics of the training images' pixels", ("models/*.images.npz",)),
)  # fmt: skip


def write(
    run_dir: run_reader.PathLike,
    target: run_reader.PathLike,
    copy_events: Callable[[pathlib.Path, pathlib.Path], object],
    with_models: bool = False,
) -> str:
    """Writes the copy, its report, and a note on what was left out.

    Args:
      run_dir: the run, finished or not.
      target: the folder of the copy: a new or an empty one, outside of the run's.
      copy_events: copies the scalars of an event file of TensorBoard to a new file.
      with_models: whether to copy the models too.

    Returns:
      The note, which is `SHARED.txt` in the copy.

    Raises:
      errors.InputError: the run is damaged, or the target is no such folder.
      OSError: the copy cannot be written; then there is none.
    """
    source, target = pathlib.Path(run_dir), pathlib.Path(target).absolute()
    run = run_reader.read(source)
    _check_target(source, target)
    # Under its final name only when it is whole, so that nobody takes half of it for all.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    copy = unfinished / target.name  # The report names the folder.
    try:
        copy.mkdir(parents=True)
        _copy_tables(run, copy)
        for number, event_file in enumerate(sorted((source / "tensorboard").rglob(_EVENTS)), 1):
            folder = copy / event_file.parent.relative_to(source)
            folder.mkdir(parents=True, exist_ok=True)
            # Its own name has that of the computer.
            copy_events(event_file, folder / f"events.out.tfevents.{number:010d}.shared.v2")
        if with_models:
            _copy_models(source, copy)
        run_report.write_report(copy)
        note = _note(run, with_models)
        files.write_text(copy / NOTE, note)
        os.replace(copy, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return note


def _check_target(source: pathlib.Path, target: pathlib.Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise errors.InputError(f"expected a new or an empty folder for the copy, found {target}")
    run, copy = source.resolve(), target.resolve()
    if run == copy or run in copy.parents or copy in run.parents:
        raise errors.InputError(f"expected a folder outside of the run {source}, found {target}")


def _copy_tables(run: run_reader.Run, copy: pathlib.Path) -> None:
    """Copies settings, results and tables of rounds, each by what it may hold."""
    files.write_json(copy / "config.json", _config(run.config))
    if (run.path / "metrics.json").exists():
        results = run_files.read_json(run.path / "metrics.json")
        rows = [_texts_of(row, _OF_ROWS) for row in results.get("rows", [])]
        shared = {
            "recipe": run.recipe,
            "kind": run.kind.name,
            "rows": rows,
            "complete": run.complete,
        }
        files.write_json(copy / "metrics.json", shared)
    for name in _NNUNET_FILES:
        if (run.path / name).exists():
            files.write_json(copy / name, _texts_of(run_files.read_json(run.path / name), ()))
    stems = [pathlib.PurePath(log.file).stem for log in _LOGS]
    for path in sorted(path for stem in stems for path in run.path.glob(f"{stem}*.csv")):
        files.write_table(copy / path.name, _rounds(path))
    if not run.heat.empty:
        known = [name for name in run_tables.HEAT.columns if name in run.heat]
        run_tables.HEAT.write(copy, run.heat[known])
    if run.privacy:
        files.write_json(copy / run_tables.PRIVACY, _texts_of(run.privacy, ()))
    if run.resources:
        files.write_json(copy / run_tables.RESOURCES, {"starts": run.resources})
    groups = subgroups_table.to_share(run.subgroups)
    if not groups.empty:
        run_tables.SUBGROUPS.write(copy, groups)
    curves = [*roc_figure.curves(run), *roc_figure.curves_elsewhere(run)]
    if curves:
        run_tables.ROC.write(copy, roc_figure.as_table(curves))


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings without anything that a path can stand in."""
    settings = config.get("settings")
    sites = config.get("sites")
    versions = config.get("versions")
    result: dict[str, Any] = {
        name: str(config[name]) for name in ("recipe", "paper", "kind") if name in config
    }
    if isinstance(settings, Mapping):
        result["settings"] = {name: setting(name, value) for name, value in settings.items()}
    published = config.get("published")
    if isinstance(published, list):
        result["published"] = [name for name in published if name in published_tables.BY_NAME]
    if isinstance(config.get("synthetic"), bool):
        result["synthetic"] = config["synthetic"]
    if isinstance(sites, list):
        result["sites"] = [
            _texts_of(site, _OF_SITES) for site in sites if isinstance(site, Mapping)
        ]
    if isinstance(config.get("derived"), Mapping):
        result["derived"] = _texts_of(config["derived"], _DERIVED)
    if isinstance(versions, Mapping):
        result["versions"] = {
            name: text for name, text in versions.items() if re.fullmatch(r"[\w.+-]+", str(text))
        }
    command = config.get("command")
    if isinstance(command, list):
        result["command"] = _command([str(word) for word in command])
    return result


def setting(name: str, value: Any) -> Any:
    """Returns a setting, of a site its name and its loader alone."""
    if name in _SITES:
        return [_site(str(site)) for site in (value if isinstance(value, list) else [value])]
    if name == "weights" and value in options.WEIGHTS_WITHOUT_FILE:
        return value
    return _texts_of({name: value}, _SETTINGS)[name]


def _site(text: str) -> str:
    found = _LOADER.match(text)
    return f"{found.group()}:{LEFT_OUT}" if found else LEFT_OUT


def _command(words: list[str]) -> list[str]:
    """Returns the command line: the program, and what of its flags cannot be a path."""
    count = 2 if words[:1] == ["tffcxr"] else 1
    if not _PROGRAM.fullmatch(" ".join(words[:count])):
        count = 0
    return [*words[:count], *map(_word, words[count:])]


def _word(word: str) -> str:
    """Returns a word after the program, of a flag its name alone if its value may be a path."""
    flag = _FLAG.fullmatch(word)
    if flag is None:
        return LEFT_OUT
    name, value = flag.groups()
    if value is None:
        return f"--{name}"
    if name in _SITES:
        return f"--{name}={_site(value)}"
    is_plain = _NUMBER.fullmatch(value) or (
        name == "weights" and value in options.WEIGHTS_WITHOUT_FILE
    )
    return f"--{name}={value if is_plain else _text(name, value, _SETTINGS)}"


def _texts_of(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Returns an object with its numbers, and those of its texts that have one of these names."""
    return {
        str(name): _plain(str(name), item, names)
        for name, item in value.items()
        if "\\" not in str(name) and not str(name).startswith(("/", "~"))
    }


def _plain(name: str, value: Any, names: Iterable[str]) -> Any:
    if value is None or isinstance(value, bool) or style.is_number(value):
        return value
    if isinstance(value, float):  # Not finite.
        return None
    if isinstance(value, Mapping):
        return _texts_of(value, names)
    if isinstance(value, list):
        return [_plain(name, item, names) for item in value]
    return _text(name, str(value), names)


def _text(name: str, value: str, names: Iterable[str]) -> str:
    """Returns a text if its name is listed and it is no path."""
    is_path = "\\" in value or value.startswith(("/", "~", "."))
    is_path |= concealed.is_concealed(value)
    # Of a setting a slash is a path's, in the name of a finding it is not.
    is_path |= names is _SETTINGS and "/" in value
    return value if name in names and not is_path else LEFT_OUT


def _rounds(path: pathlib.Path) -> pd.DataFrame:
    """Reads the columns of a table of rounds that hold numbers or a name of the program's."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise errors.InputError(f"expected a table in {path}, found {error}") from error
    kept = [
        column
        for column in table
        if column in _TEXT_COLUMNS
        or table[column].map(lambda text: bool(_NUMBER.fullmatch(text))).all()
    ]
    table = table[kept]
    if "status" in table:
        known = table["status"].map(lambda text: bool(_STATUS.fullmatch(text)))
        table = table.assign(status=table["status"].where(known, "failed"))
    for column in ("suspicion", "quarantine"):
        if column in table:
            given = table[column].map(lambda text: "+".join(run_tables.suspicions(text)))
            table = table.assign(**{column: given})
    return table


def _copy_models(source: pathlib.Path, copy: pathlib.Path) -> None:
    """Copies weights and exported models with what is to be known of these."""
    (copy / "models").mkdir()
    for path in sorted((source / "models").glob("*")):
        if path.suffix in (".h5", ".keras", ".onnx") and not path.name.startswith("."):
            shutil.copyfile(path, copy / "models" / path.name)
            about = path.with_suffix(".json")
            if path.suffix == ".keras" and about.is_file():
                shutil.copyfile(about, copy / "models" / about.name)


def _note(run: run_reader.Run, with_models: bool) -> str:
    """Says what the copy lacks and what it still has."""
    lines = [
        f"A copy of a run of {run.recipe}, made to be shown outside of the hospital.",
        "Left out:",
    ]
    for what, patterns in _KINDS:
        # By the names that are known here: a file's own name may tell something.
        found = [pattern for pattern in patterns if any(run.path.glob(pattern))]
        if found:
            lines.append(f"- {what}: {', '.join(found)}")
    if not with_models and (run.path / "models").is_dir():
        lines.append(
            "- models: weights may give away images that they were trained on, and those of a site "
            "alone have never left it (--share_models copies them)"
        )
    lines += [
        "- in settings and command: paths, and texts that may be one",
        "- in TensorBoard's files: all but curves, and names of computers",
        "- of subgroups, every attribute (sex, age, view, scanner) that divides a test set into a "
        f"group of fewer than 10 {subgroups_table.of(run.subgroups).few}, or of fewer than "
        f"{subgroups_table.LEAST_PATIENTS} patients",
        "- every file that a report does not need",
        "Still in it: names of sites and clients; manufacturers and models of scanners; numbers of "
        "images and patients, also small ones.",
    ]
    return "\n".join(lines) + "\n"
