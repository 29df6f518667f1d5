"""The model card of a run: what its exported models are for, what they saw, and how good they are.

Its parts are those of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019,
arXiv:1810.03993. It is made from the run's files alone, and has no path and nothing of a patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import pathlib
import re
from typing import Any

import markupsafe

from tffcxr import files, options
from tffcxr.evaluation import registry
from tffcxr.report import (
    column_builders,
    page,
    privacy_text,
    remarks,
    results_table,
    run_files,
    run_reader,
    sites_table,
    style,
    subgroups_table,
)

FILE = "models/MODEL_CARD.md"
# Settings that a reader needs to train such a model again, in the order of the card.
_SETTINGS = (
    "model", "image_size", "fit", "augmentation", "rounds", "head_rounds", "local_epochs",
    "batch_size", "optimizer", "learning_rate", "schedule", "aggregator", "dp_noise_multiplier",
    "target_epsilon", "dp_sgd_noise", "server_optimizer", "weighting", "clients_per_round",
    "batch_norm", "share", "private", "partition", "precision", "seed",
)  # fmt: skip
_OFF_AT_0 = ("head_rounds", "dp_noise_multiplier", "dp_sgd_noise")
_PROBABILITIES = (
    registry.BRIER, registry.ECE, registry.CALIBRATION_SLOPE, registry.CALIBRATION_INTERCEPT,
)  # fmt: skip
_ONE_NETWORK = re.compile(r"(\w+=)?(.*)", re.DOTALL)
_FROM_A_FILE = "a file or a run"


def write(run: run_reader.Run, warnings: Sequence[str]) -> str | None:
    """Writes `models/MODEL_CARD.md` of a complete run that exported a model.

    Args:
      run: the run.
      warnings: what a reader must know before trusting its results.

    Returns:
      The card in Markdown; None if the run is unfinished or has no exported model.

    Raises:
      errors.InputError: the description of a model is damaged.
      OSError: the card cannot be written.
    """
    if not run.complete or not run.models:
        return None
    models = [_model(run.path / name) for name in run.models]
    trainings = {model["training"] for model in models}
    rows = results_table.in_order(run.rows, run.kind)
    mine = [row for row in rows if row["training"] in trainings] or rows
    privacy = privacy_text.of(run.privacy, run.config)
    others = [
        row
        for row in results_table.in_order(run.external, run.kind)
        if row["training"].split("_")[0] in trainings
    ]
    text = page.markdown("model_card.md.jinja").render(
        run=run,
        kind=run.kind,
        paper=run.config.get("paper"),
        attack=remarks.of_an_attack(run.config),
        synthetic=remarks.is_synthetic(run.config) or any(model["phantoms"] for model in models),
        models=models,
        models_table=_models(models),
        has_probabilities=any(model["threshold"] is None for model in models),
        takes_radiographs=run.kind.takes_images and not models[0]["cut_out"],
        all_cut_out=all(model["cut_out"] for model in models),
        cut_out=[model["file"] for model in models if model["cut_out"]],
        trained_on=[line for model in models for line in _trained_on(model)],
        warnings=warnings,
        sites=_table_of(sites_table.of(run)),
        positives=_table_of(sites_table.positives_of(run)),
        settings=page.markdown_table(["Setting", "Value"], _settings(run)),
        rounds=_rounds(mine),
        privacy=privacy,
        privacy_tables=[
            (table, page.markdown_table(table.headings, table.cells))
            for table in (privacy.tables if privacy else ())
        ],
        results=[_results(part, columns, mine) for part, columns in _parts(run, mine)],
        about_results=_about_results(mine),
        elsewhere=[_results(part, columns, others) for part, columns in _parts(run, others)],
        about_elsewhere=_about_results(others),
        calibration=_calibration([*mine, *others]),
        methods=[line for model in models for line in _methods(model)],
        subgroups=_subgroups(run),
        few=subgroups_table.of(run.subgroups).few,
        versions=_texts(run.config.get("versions")),
        weights=_weights(run.config),
        onnx=pathlib.PurePath(run.models[0]).with_suffix(".onnx").as_posix(),
    )
    files.write_text(run.path / FILE, text)
    return text


def _model(path: pathlib.Path) -> dict[str, Any]:
    """What the JSON file beside a model says of it; older ones say less, and some have none."""
    about = path.with_suffix(".json")
    found = run_files.read_json(about) if about.exists() else {}
    outputs = found.get("outputs")
    size, channels = found.get("image_size"), found.get("channels", 1)
    return {
        "file": f"models/{path.name}",
        "network": style.model_name(str(found.get("network", "unknown"))),
        "training": str(found.get("training", "federated")),
        "outputs": [str(name) for name in outputs] if isinstance(outputs, list) else [],
        "input": f"{size} × {size} × {channels}" if style.is_number(size) else style.UNDEFINED,
        "pixels": str(found.get("pixels", "")),
        "gives": str(found.get("gives", "")),
        "threshold": found.get("threshold"),
        "operating_points": _object(found.get("operating_points")),
        "calibration": _object(found.get("calibration")),
        "trained_on": _object(found.get("trained_on")),
        "phantoms": found.get("phantoms") is True,
        "cut_out": found.get("cut_out") is True,
    }


def _models(models: Sequence[Mapping[str, Any]]) -> markupsafe.Markup:
    """The table of the exported models."""
    cells = [
        [
            page.code(model["file"]), model["network"], model["training"],
            ", ".join(model["outputs"]), model["input"],
        ]
        for model in models
    ]  # fmt: skip
    return page.markdown_table(["File", "Network", "Training", "Outputs", "Input"], cells)


def _trained_on(model: Mapping[str, Any]) -> list[str]:
    """Sentences on the images that a model was trained on."""
    about = model["trained_on"]
    if not about:
        return [f"{model['file']}: it does not say which sources, modalities and views it saw."]
    sources = [
        f"{name} ({style.counted(count, 'image')})"
        for name, count in _object(about.get("sources")).items()
        if style.is_number(count)
    ]
    if about.get("elsewhere") is True:
        sources.append("other hospitals' images, which are not counted here")
    told = [
        ("sources", sources),
        ("modalities", about.get("modalities") or ["not stated"]),
        ("views", about.get("views") or ["not stated"]),
    ]
    parts = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in told if values)
    return [f"{model['file']}: {parts}."]


def _methods(model: Mapping[str, Any]) -> list[str]:
    """How the probabilities of a model's outputs were scaled, and where they are cut."""
    lines = []
    for name in model["outputs"]:
        how = _object(model["calibration"].get(name))
        method = str(how.get("calibration", "none"))
        numbers = ", ".join(
            f"{key.replace('_', ' ')} {style.number(value)}"
            for key, value in how.items()
            if style.is_number(value)
        )
        remark = f"; {how['calibration_remark']}" if how.get("calibration_remark") else ""
        scaled = f"calibration {method}{f' ({numbers})' if numbers else ''}{remark}"
        point = model["operating_points"].get(name, model["threshold"])
        cut = f"; operating point {style.number(point)}" if style.is_number(point) else ""
        lines.append(f"{model['file']}, {name}: {scaled}{cut}.")
    return lines


def _settings(run: run_reader.Run) -> list[list[str]]:
    """The settings that made the models, with what was derived where a flag was left open."""
    settings = _object(run.config.get("settings"))
    rows = [["weights at the start", _weights(run.config)]]
    for name in _SETTINGS:
        value = settings.get(name)
        if value not in (None, [], "") and (value or name not in _OFF_AT_0):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append([name.replace("_", " "), text])
    for name in ("width", "server_learning_rate", "report_round", "early_stopping"):
        value = run.derived.get(name)
        if value is not None:
            rows.append([name.replace("_", " "), str(value)])
    for model, count in _object(run.derived.get("parameters")).items():
        if style.is_number(count):
            rows.append([f"trainable parameters of {style.model_name(model)}", f"{count:,.0f}"])
    return rows


def _weights(config: Mapping[str, Any]) -> str:
    """What the training started from; of a file its digest, since its name is a path."""
    settings = _object(config.get("settings"))
    told = []
    for part in str(settings.get("weights") or "none").split(","):
        network, weights = _ONE_NETWORK.fullmatch(part).groups()  # type: ignore[union-attr]
        is_known = weights in options.WEIGHTS_WITHOUT_FILE
        name = network.removesuffix("=") + ": " if network else ""
        told.append(f"{name}{weights if is_known else _FROM_A_FILE}")
    digests = settings.get("weights_sha256")
    known = digests.items() if isinstance(digests, Mapping) else [("", digests)]
    sums = [f"{network} {digest}".strip() for network, digest in known if digest]
    return ", ".join(dict.fromkeys(told)) + (f" (SHA-256 {', '.join(sums)})" if sums else "")


def _rounds(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which round of a training the models are of."""
    lines = []
    for row in rows:
        if style.is_number(row.get("round")):
            why = f", {row['chosen']}" if isinstance(row.get("chosen"), str) else ""
            of = f" of {row['rounds']:.0f}" if style.is_number(row.get("rounds")) else ""
            lines.append(f"{row['title']}, {row['name']}: round {row['round']:.0f}{of}{why}.")
    return list(dict.fromkeys(lines))


def _parts(
    run: run_reader.Run, rows: Sequence[dict[str, Any]]
) -> list[tuple[str, list[column_builders.Column]]]:
    """The tables of the results, without columns that tell nothing of these rows."""
    elsewhere = {metric.title for metric in _PROBABILITIES}  # In the table of the calibration.
    return column_builders.parts(
        column
        for column in run.kind.columns(rows)
        if column.heading not in elsewhere and any(_is_told(column.cell(row)) for row in rows)
    )


def _is_told(text: str) -> bool:
    return text not in (style.UNDEFINED, style.NOT_COMPARED)


def _results(
    part: str, columns: Sequence[column_builders.Column], rows: Sequence[dict[str, Any]]
) -> tuple[str, markupsafe.Markup]:
    headings = ["Test set", "Model", *(column.over_page for column in columns)]
    cells = [[row["title"], row["name"], *(column.cell(row) for column in columns)] for row in rows]
    return part, page.markdown_table(headings, cells)


def _about_results(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the intervals and the operating points of the results are."""
    told = [
        ("Intervals", "interval"),
        ("Intervals of proportions", "proportion_interval"),
        ("Operating point", "operating_point"),
    ]
    return [
        f"{name}: {'; '.join(texts)}."
        for name, key in told
        if (texts := sorted({row[key] for row in rows if isinstance(row.get(key), str)}))
    ]


def _calibration(rows: Sequence[Mapping[str, Any]]) -> markupsafe.Markup | None:
    """The table of how well probabilities fit, None where no row has any."""
    measured = [metric for metric in _PROBABILITIES if any(metric.name in row for row in rows)]
    if not measured:
        return None
    columns = column_builders.where_measured(measured, [dict(row) for row in rows])
    cells = [
        [
            row["title"], row["name"], str(row.get("calibration") or "none"),
            *(column.cell(row) for column in columns),
        ]
        for row in rows
    ]  # fmt: skip
    return page.markdown_table(
        ["Test set", "Model", "Method", *(column.over_page for column in columns)], cells
    )


def _subgroups(run: run_reader.Run) -> markupsafe.Markup | None:
    """The table of groups of patients, None where the run has none."""
    cells = [
        [block.title, line["name"], *line["cells"]]
        for block in subgroups_table.blocks(run.subgroups)
        for line in block.lines
    ]
    headings = ["Model", "Group", *subgroups_table.headings(run.subgroups)]
    return page.markdown_table(headings, cells) if cells else None


def _table_of(table: sites_table.Table | None) -> markupsafe.Markup | None:
    if table is None:
        return None
    cells = [[cell.text for cell in row] for row in table.cells]
    return page.markdown_table(table.headings, cells)


def _texts(value: Any) -> list[str]:
    return [f"{name} {text}" for name, text in _object(value).items()]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
