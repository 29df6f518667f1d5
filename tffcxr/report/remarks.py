"""What a reader must know before trusting the results of a run, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tffcxr.report import results_table, run_reader, style, subgroups_table, updates_table
from tffcxr.report.figures import roc_figure, rounds_figure

_FEW_REPLICATES = 200
# A heat map with fewer places on a side tells no lung from the other's upper or lower half.
_FEW_PLACES = 4
# Loaders of data sets whose images come from ChestX-ray14.
_FROM_THE_NIH = {"nih", "rsna", "siim"}


def warnings(run: run_reader.Run, curves: Sequence[roc_figure.Curve]) -> list[str]:
    """Returns what a reader must know before trusting the results, most general first."""
    result = []
    if not run.complete:
        result.append(
            "This run has not finished: "
            + ("its results are preliminary." if run.rows else "there are no final results yet.")
        )
    result += run.damaged
    result += of_an_attack(run.config)
    result += _of_the_settings(run.config)
    result += _of_the_schedule(run)
    width = run.derived.get("width")
    if style.is_number(width) and width != 1:
        result.append(
            f"The networks have about {width:g} of their published channels (--width), so these "
            "are not the networks of the literature."
        )
    result += _of_external_sites(run)
    result += _of_the_heat(run)
    failed = rounds_figure.failures(run.clients)
    if len(failed):
        rounds = style.counted(run.clients["round"].nunique(), "round")
        result.append(
            f"In {failed['round'].nunique()} of {rounds} a client failed and was left out; see the "
            "list below."
        )
    result += updates_table.warnings(run, updates_table.of(run))
    result += run.kind.warnings(results_table.in_order(run.rows, run.kind), run, curves)
    if run.external:
        elsewhere = run.kind.warnings(results_table.in_order(run.external, run.kind), run, ())
        result += [warning for warning in elsewhere if warning not in result]
    return result + subgroups_table.warnings(run.subgroups)


def of_an_attack(config: Mapping[str, Any]) -> list[str]:
    """Returns that hostile clients took part as a rehearsal, if they did."""
    settings: Any = config.get("settings", config)
    kind = settings.get("attack", "none")
    if kind == "none":
        return []
    names = settings.get("attackers") or ["some clients"]
    return [
        f"REHEARSAL OF AN ATTACK (--attack={kind}) by {', '.join(map(str, names))}, with "
        f"--aggregator={settings.get('aggregator')}: the federated model is good for nothing else."
    ]


def _of_the_settings(config: Mapping[str, Any]) -> list[str]:
    """Returns what the sites and the settings alone make doubtful."""
    result = []
    sites = config.get("sites")
    described = sites if isinstance(sites, list) else []
    sources = {str(site.get("source")) for site in described if isinstance(site, Mapping)}
    shared = sorted(sources & _FROM_THE_NIH)
    if len(shared) > 1 and not is_synthetic(config):
        result.append(
            f"{' and '.join(shared)} took images from the same hospital. Only with RSNA's "
            "published mapping beside its data can patients be kept apart between them."
        )
    replicates: Any = config.get("settings", config).get("bootstrap")
    if style.is_number(replicates) and replicates < _FEW_REPLICATES:
        result.append(
            f"Too few bootstrap replicates for the ends of an interval: {replicates}; take at "
            f"least {_FEW_REPLICATES}."
        )
    return result


def _of_the_schedule(run: run_reader.Run) -> list[str]:
    """Returns that test images set the learning rate, if they do."""
    settings = run.config.get("settings", run.config)
    only = settings.get("only")
    texts = [text.partition(":")[2] for text in only] if isinstance(only, list) else []
    has_plateau = settings.get("schedule") == "plateau" or "schedule=plateau" in texts
    if run.measured_split != "test" or not has_plateau:
        return []
    return [
        "The learning rate was lowered by the loss on the test images (--schedule=plateau without "
        "validation images), so the results are optimistic."
    ]


def _of_external_sites(run: run_reader.Run) -> list[str]:
    """Returns a warning per external site most of whose images models were trained or chosen on."""
    sites = run.derived.get("external_sites")
    result = []
    for site, counts in sites.items() if isinstance(sites, Mapping) else ():
        left_out, images = counts["left_out"], counts["left_out"] + counts["images"]
        if 2 * left_out > images:
            result.append(
                f"{site}: {left_out} of {images} images of this external site are left out, since "
                "the models were trained or chosen on them or on others of their patients: it is "
                "not independent, and results on the other images say little of another hospital."
            )
    return result


def _of_the_heat(run: run_reader.Run) -> list[str]:
    """Returns a warning if heat maps have so few places that they cannot say where."""
    coarse: dict[int, list[str]] = {}
    known = run.derived.get("heat_map_places")
    for model, places in known.items() if isinstance(known, Mapping) else ():
        if places < _FEW_PLACES:
            coarse.setdefault(places, []).append(style.model_name(model))
    return [
        f"The heat maps of {', '.join(models)} have {places} × {places} places, as many as the "
        "last convolution at this --image_size: they are too coarse to say where a model looks."
        for places, models in sorted(coarse.items())
    ]


def is_synthetic(config: Mapping[str, Any]) -> bool:
    """Whether the configuration says that (some of) the images are made by a program.

    That is a true `synthetic`, or the settings of a recipe that makes `phantom_patients` when it
    is given no `site`; a coordinator of hospitals does not know their images.
    """
    settings = config.get("settings", config)
    return bool(
        config.get("synthetic")
        or settings.get("synthetic")
        or (
            settings.get("phantom_patients")
            and not settings.get("site")
            and config.get("engine") != "hospitals"
        )
    )
