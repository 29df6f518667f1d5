"""Writes report.html and figures/*.png of a run directory, from its files alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
import pathlib
from typing import Any, TypeVar
import zipfile

from matplotlib import figure as matplotlib_figure

from tffcxr import errors, files, run_tables
from tffcxr.evaluation import registry, result_rows
from tffcxr.report import (
    column_builders,
    elsewhere_table,
    heat_table,
    hospitals_table,
    model_card,
    page,
    privacy_text,
    remarks,
    resources_text,
    results_table,
    run_cases,
    run_reader,
    settings_table,
    sites_table,
    style,
    subgroups_table,
    updates_table,
)
from tffcxr.report.figures import (
    clients_figure,
    confusion_figure,
    contact_sheet,
    curve_panels,
    gradcam_figure,
    jaccard_figure,
    masks_figure,
    participation_figure,
    precision_recall_figure,
    reliability_figure,
    roc_figure,
    rounds_figure,
)
from tffcxr.report.kinds import kinds, many_findings
from tffcxr.report.published import published_layout

_Case = TypeVar("_Case", run_cases.Explanation, run_cases.Segmentation)

_LISTED_FAILURES = 50
_LISTED_REASONS = 12


def format_table(rows: Iterable[Mapping[str, Any]], kind: str) -> str:
    """Returns the results as text for a terminal, see `results_table.format_table`.

    Those of hospitals that were not trained on follow in a table of their own.

    Args:
      rows: of `metrics.json`.
      kind: of study, by its name in `config.json`.

    Raises:
      errors.InputError: there is no such kind.
    """
    named = kinds.named(kind)
    own, others = result_rows.divide(rows)
    tables = [results_table.format_table(own, named)] if own or not others else []
    if others:
        tables.append(f"{elsewhere_table.TITLE}\n\n{results_table.format_table(others, named)}")
    return "\n\n".join(tables)


def write_report(run_dir: run_reader.PathLike) -> pathlib.Path:
    """Writes `report.html` and the figures of a run; files of an earlier report are replaced.

    Args:
      run_dir: the run directory. Only `config.json` must be there.

    Returns:
      The path of `report.html`.

    Raises:
      errors.InputError: if this is no run directory or a file in it is damaged.
      OSError: if the report cannot be written.
    """
    run = run_reader.read(run_dir)
    kind = run.kind
    curves = roc_figure.curves(run) if kind.has_roc else []
    roc = _curve_figures(run, "roc", curves, roc_figure.draw)
    rounds = page.write_figure(run.path, "rounds", rounds_figure.draw(run))
    rows = results_table.in_order(run.rows, kind)
    reasons = _lung_reasons(run)
    warnings = remarks.warnings(run, curves)
    html = page.template("report.html.jinja").render(
        run=run,
        title=_title(run),
        command=page.command(run.config.get("command")),
        paper=run.config.get("paper"),
        synthetic=remarks.is_synthetic(run.config),
        summary=kind.summary(rows),
        warnings=warnings,
        model_card=model_card.write(run, warnings),
        sites=sites_table.of(run),
        positives=sites_table.positives_of(run),
        clients_figure=_clients(run),
        kind=kind,
        rounds_caption=kind.rounds_caption.format(split=run.measured_split),
        measured_split=run.measured_split,
        results=results_table.blocks(rows),
        parts=column_builders.parts(kind.columns(rows)),
        elsewhere=elsewhere_table.of(run.external, kind, run.derived),
        elsewhere_title=elsewhere_table.TITLE,
        roc_elsewhere=_roc_elsewhere(run),
        networks=_networks(run),
        facts=kind.facts(rows),
        trainings={row["training"] for row in rows},
        not_compared=style.NOT_COMPARED,
        published=published_layout.layouts(
            run.config.get("published"),
            published_layout.of_run(run.config, run.rows, remarks.is_synthetic(run.config)),
        ),
        intervals=_distinct(run.rows, "interval"),
        proportion_intervals=_distinct(run.rows, "proportion_interval"),
        operating_points=_distinct(run.rows, "operating_point"),
        chosen=_distinct(run.rows, "chosen"),
        roc=roc,
        precision_recall=_curve_figures(
            run, "precision_recall", curves, precision_recall_figure.draw
        ),
        reliability=page.write_figure(run.path, "reliability", reliability_figure.draw(run)),
        rounds=rounds,
        confusion=page.write_figure(run.path, "confusion", confusion_figure.draw(rows)),
        jaccard=page.write_figure(run.path, "jaccard", jaccard_figure.draw(run.masks)),
        dice=page.write_figure(
            run.path, "dice", jaccard_figure.draw(run.cases, registry.DICE, "case")
        ),
        segmentations=_segmentations(run),
        lungs=run.lungs,
        lung_reasons=reasons[:_LISTED_REASONS],
        unlisted_reasons=max(0, len(reasons) - _LISTED_REASONS),
        lungs_figure=_lungs(run),
        last_round=_last_round(run),
        participation=page.write_figure(
            run.path, "participation", participation_figure.draw(run.clients, _client_names(run))
        ),
        resources=resources_text.sentence(run.resources),
        stopped_early=_stopped_early(rows, run.privacy),
        may_be_by_budget=privacy_text.has_budget_elsewhere(run.privacy, run.config),
        privacy=privacy_text.of(run.privacy, run.config),
        hospitals=hospitals_table.of(run),
        updates=updates_table.of(run),
        no_results=hospitals_table.NO_RESULTS,
        failures=rounds_figure.failures(run.clients).head(_LISTED_FAILURES).to_dict("records"),
        unlisted_failures=max(0, len(rounds_figure.failures(run.clients)) - _LISTED_FAILURES),
        heat=heat_table.blocks(run.heat),
        heat_headings=heat_table.headings(run.heat),
        heat_has_lungs=heat_table.has_lungs(run.heat),
        subgroups=subgroups_table.blocks(run.subgroups),
        subgroup_headings=subgroups_table.headings(run.subgroups),
        subgroups_by=subgroups_table.of(run.subgroups),
        subgroup_gaps=subgroups_table.largest_gaps(run.subgroups),
        explanations=_explanations(run),
        explanation_method=run.derived.get("explanation", "Grad-CAM"),
        predict_command=_predict_command(run),
        settings=settings_table.of(run.config),
    )
    path = run.path / "report.html"
    files.write_text(path, html)
    return path


def _curve_figures(
    run: run_reader.Run,
    name: str,
    curves: Sequence[roc_figure.Curve],
    draw: Callable[[list[roc_figure.Curve]], matplotlib_figure.Figure | None],
) -> list[str]:
    """Draws curves of many tasks in several figures, each of which a sheet of paper has room for.

    They are `NAME.png`, `NAME_2.png` …
    """
    written = [
        page.write_figure(run.path, f"{name}_{number}" if number > 1 else name, draw(part))
        for number, part in enumerate(curve_panels.by_sheet(curves), start=1)
    ]
    return [figure for figure in written if figure is not None]


def _roc_elsewhere(run: run_reader.Run) -> str | None:
    """Draws the ROC curves of hospitals that were not trained on."""
    curves = roc_figure.curves_elsewhere(run) if run.kind.has_roc else []
    return page.write_figure(run.path, "roc_elsewhere", roc_figure.draw(curves))


def _predict_command(run: run_reader.Run) -> str | None:
    """Returns the command that applies the exported model of a run, None if none takes images."""
    if not run.models or not run.kind.takes_images:
        return None
    words = run.config.get("command")
    return page.command_beside(words, "predict", "--model=RUN", "IMAGE.dcm")


def _title(run: run_reader.Run) -> str:
    """Returns the heading: the recipe and what it looked for."""
    rows = results_table.in_order(run.rows, run.kind)
    tasks = list(dict.fromkeys(str(row["task"]) for row in rows))
    if len(tasks) > many_findings.MOST_SENTENCES:
        return f"{run.recipe}: {many_findings.counted(rows)}"
    return f"{run.recipe}: {', '.join(tasks)}" if tasks else run.recipe


def _clients(run: run_reader.Run) -> str | None:
    """Draws who holds what, if the configuration tells it of several clients."""
    sites = run.config.get("sites")
    clients = [row for row in sites if isinstance(row, Mapping)] if isinstance(sites, list) else []
    classes = next((row["classes"] for row in run.rows if "classes" in row), ())
    return page.write_figure(run.path, "clients", clients_figure.draw(clients, classes))


def _networks(run: run_reader.Run) -> list[tuple[str, str]]:
    """Returns the networks with their numbers of trainable parameters, the largest first."""
    counts = run.derived.get("parameters")
    if not isinstance(counts, Mapping):  # Of an earlier version.
        return []
    known = [(style.model_name(name), n) for name, n in counts.items() if style.is_number(n)]
    return [(name, f"{n:,.0f}") for name, n in sorted(known, key=lambda item: -item[1])]


def _distinct(rows: list[dict[str, Any]], key: str) -> list[str]:
    """Returns the different texts of a column."""
    return sorted({row[key] for row in rows if isinstance(row.get(key), str)})


def _last_round(run: run_reader.Run) -> dict[str, Any] | None:
    """Returns the number of rounds and their total time."""
    if run.rounds.empty:
        return None
    seconds = float(run.rounds["seconds"].sum()) if "seconds" in run.rounds else 0.0
    return {
        "rounds": len(run.rounds),
        "minutes": seconds / 60,
        "clients": len(_client_names(run)),
        "took_part": int(run.clients["client"].nunique()),
    }


def _client_names(run: run_reader.Run) -> list[str]:
    """Returns all clients, also those that no round has chosen, as far as they are known."""
    trained = set(map(str, run.clients["client"]))
    sites = run.config.get("sites")
    described = sites if isinstance(sites, list) else []
    known = {
        str(each["client"]) for each in described if isinstance(each, Mapping) and "client" in each
    }
    return sorted(known if trained <= known else trained)


def _stopped_early(rows: Sequence[Mapping[str, Any]], privacy: Mapping[str, Any]) -> list[str]:
    """Returns, of every training that ended before its plan did, in which round.

    Those that a privacy budget ended are in the section on privacy.
    """
    by_budget = privacy_text.stopped(privacy)
    return [
        f"{title}: round {rounds:.0f} of {planned:.0f}"
        for title, rounds, planned in dict.fromkeys(
            (f"{row['title'].partition(' (')[0]}, {row['name'].lower()}", row["rounds"],
             row["planned_rounds"])
            for row in rows
            if style.is_number(row.get("planned_rounds"))
            and not (row["training"] == "federated" and {"federated", row.get("model")} & by_budget)
        )
    ]  # fmt: skip


def _segmentations(run: run_reader.Run) -> list[dict[str, Any]]:
    """Draws a figure per task with segmented images, `masks.png` if there is one task."""
    tasks = _by_task("masks", run.segmentations)
    return [
        {
            "task": task,
            "figure": page.write_figure(
                run.path, name if len(tasks) > 1 else "masks", masks_figure.draw(cases)
            ),
            "cases": len(cases),
            "drawn": min(len(cases), masks_figure.MAXIMUM_CASES),
        }
        for task, name, cases in tasks
    ]


def _by_task(prefix: str, cases: Sequence[_Case]) -> list[tuple[str, str, list[_Case]]]:
    """Groups images by task, with a name for the figure of each."""
    tasks: dict[str, list[_Case]] = {}
    for case in cases:
        tasks.setdefault(case.task, []).append(case)
    result = []
    used: set[str] = set()
    for task, of_task in tasks.items():
        name = f"{prefix}_{style.slug(task)}"
        while name in used:  # Two tasks whose names differ in punctuation alone.
            name += "-2"
        used.add(name)
        result.append((task, name, of_task))
    return result


def _lung_reasons(run: run_reader.Run) -> list[tuple[str, Any]]:
    """Returns why predicted lungs were implausible and how often, the commonest first."""
    reasons = run.lungs.get("reasons")
    if not isinstance(reasons, Mapping):
        return []
    return sorted(reasons.items(), key=lambda item: (-item[1], item[0]))


def _lungs(run: run_reader.Run) -> str | None:
    """Draws the contact sheet of the lungs that were cut out, if they were predicted."""
    if not (run.path / run_tables.LUNGS.file).exists():
        return None
    try:
        _, examples = contact_sheet.read(run.path)
    except (errors.InputError, OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        raise errors.InputError(
            f"expected predicted lungs in {run.path / run_tables.LUNGS.file} and "
            f"{contact_sheet.EXAMPLES}, found {errors.one_line(error)}"
        ) from error
    return page.write_figure(run.path, "lungs", contact_sheet.draw(examples) if examples else None)


def _explanations(run: run_reader.Run) -> list[dict[str, Any]]:
    """Draws a figure per task with explained images, and averages its numbers."""
    result = []
    for task, name, cases in _by_task("gradcam", run.explanations):
        trainings = sorted({kind for case in cases for kind in case.heat}, key=style.training_order)
        colours = results_table.colours(trainings, run.rows, run.kind)
        result.append(
            {
                "task": task,
                "figure": page.write_figure(run.path, name, gradcam_figure.draw(cases)),
                "cases": len(cases),
                "drawn": min(len(cases), gradcam_figure.MAXIMUM_CASES),
                "shares": [
                    {
                        "name": style.training_name(kind),
                        "colour": colours[kind],
                        "in_lungs": _mean(case.in_lungs.get(kind) for case in cases),
                        "in_annotation": _mean(case.in_annotation.get(kind) for case in cases),
                    }
                    for kind in trainings
                ],
                "annotated_area": _mean(
                    float(case.annotation.mean()) for case in cases if case.annotation is not None
                ),
                "lung_area": _mean(
                    float(case.lungs.mean()) for case in cases if case.lungs is not None
                ),
            }
        )
    return result


def _mean(values: Any) -> float | None:
    """Returns the mean of the values that are defined, None if none is."""
    defined = [value for value in values if style.is_number(value)]
    return sum(defined) / len(defined) if defined else None
