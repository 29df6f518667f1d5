"""How long several runs took and what they needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tffcxr.report import resources_text, run_reader, style
from tffcxr.report.comparison.compared_runs import ComparedRun


def rows(runs: Sequence[ComparedRun]) -> list[tuple[str, list[str]]]:
    """Returns (what, a text per run) of all that some run tells."""
    found = [(name, [text(one.run) for one in runs]) for name, text in _ROWS.items()]
    return [(name, texts) for name, texts in found if {*texts} != {style.UNDEFINED}]


def _rounds(run: run_reader.Run) -> str:
    return str(len(run.rounds)) if len(run.rounds) else style.UNDEFINED


def _clients(run: run_reader.Run) -> str:
    return str(run.clients["client"].nunique()) if len(run.clients) else style.UNDEFINED


def _images(run: run_reader.Run) -> str:
    return style.number(run.rounds["images"].sum(), 0) if "images" in run.rounds else "–"


def _training(run: run_reader.Run) -> str:
    minutes = run.rounds["seconds"].sum() / 60 if "seconds" in run.rounds else None
    return style.number(minutes, 1)


def _minutes(name: str) -> Callable[[run_reader.Run], str]:
    def text(run: run_reader.Run) -> str:
        seconds = resources_text.total(run.resources, name)
        return style.UNDEFINED if seconds is None else style.number(seconds / 60, 1)

    return text


def _memory(run: run_reader.Run) -> str:
    peak = resources_text.peak_memory(run.resources)
    return style.UNDEFINED if peak is None else style.number(peak / 1000, 1)


def _energy(run: run_reader.Run) -> str:
    joules = resources_text.total(run.resources, "joules")
    return style.UNDEFINED if joules is None else f"{joules / resources_text.PER_KWH:.3g}"


_ROWS: dict[str, Callable[[run_reader.Run], str]] = {
    "Rounds": _rounds,
    "Clients": _clients,
    "Images seen in federated training": _images,
    "Minutes of federated training": _training,
    "Minutes of the whole run": _minutes("seconds"),
    "Minutes of processor time": _minutes("processor_seconds"),
    "Memory at most, GB": _memory,
    "Energy of the processors, kWh": _energy,
}
