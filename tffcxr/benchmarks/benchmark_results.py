"""Results of the benchmark: rows, the table in the terminal, `benchmark.json` and the figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import os
import pathlib
import platform
import statistics
from typing import Any, BinaryIO

from matplotlib import axes as matplotlib_axes

from tffcxr import files
from tffcxr.benchmarks.benchmark_process import Outcome
from tffcxr.report import style
from tffcxr.report.figures import panels

FORMAT_VERSION = 1

_COLUMNS = (
    ("what", "what"),
    ("model", "model"),
    ("image_size", "pixels"),
    ("clients", "clients"),
    ("executor", "executor"),
    ("images_per_second", "images/s"),
    ("ratio_to_keras", "of Keras"),
    ("peak_memory_mb", "peak MB"),
)
_NAMES = {
    "keras": "Keras fit",
    "device": "tffcxr, device",
    "native": "tffcxr, native",
    "stock": "stock TFF",
}
_COLOURS = {"keras": "#555555", "device": "#0072B2", "native": "#56B4E9", "stock": "#D55E00"}

Row = dict[str, Any]


def row(what: str, outcome: Outcome, keras: Outcome | None = None, **more: Any) -> Row:
    """Makes a row of `benchmark.json`.

    Args:
      what: which measurement.
      outcome: its result.
      keras: the outcome of Keras on the same images, if the ratio to it makes sense.
      **more: what this measurement has beside the columns that all have.
    """
    speed, reference = outcome.speed, keras.speed if keras else None
    made = {
        "what": what,
        "model": outcome.job.model,
        "image_size": outcome.job.image_size,
        "clients": outcome.job.clients or None,
        "executor": outcome.job.engine if outcome.job.engine in _NAMES else None,
        "images_per_second": _rounded(speed, 2),
        "ratio_to_keras": _rounded(speed / reference, 3) if speed and reference else None,
        "peak_memory_mb": None if outcome.error else _rounded(outcome.peak_memory / 1e6, 1),
        **more,
    }
    if outcome.repetitions:
        made["repetitions"] = [_rounded(each.speed, 2) for each in outcome.repetitions]
    if outcome.error:
        made["error"] = outcome.error
    return made


def memory_row(what: str, outcome: Outcome) -> Row:
    """A row about one number of clients, with the seconds of one client's turn."""
    return row(what, outcome, seconds_per_client=_rounded(outcome.seconds_per_client, 4))


def growth_row(outcome: Outcome, rounds: Sequence[int]) -> Row:
    """A row about memory over many rounds.

    Args:
      outcome: its repetitions follow on one uncounted round.
      rounds: how many each repetition had.
    """
    after = [1 + sum(rounds[: index + 1]) for index in range(len(rounds))]
    memory = [each.memory for each in outcome.repetitions]
    is_whole = outcome.error is None and len(memory) == len(after)
    return row(
        "memory over rounds",
        outcome,
        memory_mb={str(n): _rounded(m / 1e6, 1) for n, m in zip(after, memory)},
        growth=_rounded(memory[-1] / memory[0] - 1.0, 4) if is_whole else None,
    )


def startup_row(outcomes: Sequence[Outcome]) -> Row:
    """A row about the time to the first finished round, from starts of equal processes.

    `execution_seconds` is the first round, with compilation and initial values; `round_seconds`
    is the second. The columns that all rows have come from the last start.
    """
    whole = [each for each in outcomes if each.error is None and each.first and each.repetitions]

    def median(values: Sequence[float]) -> float | None:
        return _rounded(statistics.median(values), 2) if values else None

    firsts = [each.first.seconds for each in whole if each.first]
    made = row(
        "startup",
        outcomes[-1],
        import_seconds=median([each.import_seconds for each in whole]),
        tracing_seconds=median([each.build_seconds for each in whole]),
        execution_seconds=median(firsts),
        total_seconds=median(
            [e.import_seconds + e.build_seconds + first for e, first in zip(whole, firsts)]
        ),
        round_seconds=median([each.repetitions[0].seconds for each in whole]),
        starts=len(outcomes),
    )
    # One small round after the first does not measure speed.
    return {**made, "images_per_second": None, "repetitions": None}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def machine() -> dict[str, Any]:
    """The machine and the versions of the measurement."""
    model = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    gpus = [path.name for path in pathlib.Path("/dev").glob("nvidia[0-9]*")]
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "gpus": len(gpus),
        "load_average": os.getloadavg()[0],
    }


def write_json(
    path: pathlib.Path, rows: Sequence[Row], settings: Mapping[str, Any], is_complete: bool
) -> None:
    """Writes `benchmark.json` atomically."""
    files.write_json(
        path,
        {
            "version": FORMAT_VERSION,
            "machine": machine(),
            "settings": dict(settings),
            "rows": list(rows),
            "complete": is_complete,
        },
    )


def format_table(rows: Sequence[Row]) -> str:
    """The rows as text: the columns that all have, then what each has beside them."""
    lines = [[heading for _, heading in _COLUMNS] + ["more"]]
    for each in rows:
        lines.append([_cell(key, each[key]) for key, _ in _COLUMNS] + [_remarks(each)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if key in _NUMBERS else text.ljust(width)
            for (key, _), text, width in zip(_COLUMNS, line, widths)
        )
        + f"  {line[-1]}".rstrip()
        for line in lines
    )


_NUMBERS = {"image_size", "clients", "images_per_second", "ratio_to_keras", "peak_memory_mb"}


def _cell(key: str, value: Any) -> str:
    if value is None:
        return style.UNDEFINED
    if key == "executor":
        return _NAMES[value]
    digits = {"images_per_second": 1, "ratio_to_keras": 2, "peak_memory_mb": 0}.get(key)
    return str(value) if digits is None else style.number(value, digits)


def _remarks(each: Row) -> str:
    if each.get("error"):
        return f"failed: {each['error']}"
    if "total_seconds" in each and each["total_seconds"] is not None:
        return (
            f"{each['total_seconds']:.1f} s = import {each['import_seconds']:.1f} + tracing "
            f"{each['tracing_seconds']:.1f} + execution {each['execution_seconds']:.1f}"
        )
    if each.get("seconds_per_client") is not None:
        return f"{1000 * each['seconds_per_client']:.0f} ms per client"
    if each.get("growth") is not None:
        first, last = list(each["memory_mb"])[0], list(each["memory_mb"])[-1]
        return f"{100 * each['growth']:+.1f} % from round {first} to round {last}"
    if each.get("ratio_to_plain_loop") is not None:
        return f"{each['ratio_to_plain_loop']:.2f} times the plain loop"
    if each.get("ratio_to_plain_rounds") is not None:
        return f"{each['ratio_to_plain_rounds']:.2f} of plain rounds"
    return ""


def write_figure(path: pathlib.Path, rows: Sequence[Row]) -> None:
    """Draws what was measured, a panel each; no file where nothing was."""
    drawings = [
        (_draw_speed, [r for r in rows if r["what"] == "round" and r["images_per_second"]]),
        (_draw_clients, [r for r in rows if r["what"] == "clients" and r["peak_memory_mb"]]),
        (_draw_rounds, [r for r in rows if r.get("memory_mb")]),
        (_draw_startup, [r for r in rows if r.get("total_seconds") is not None]),
        (_draw_images, [r for r in rows if r["model"] is None and r["images_per_second"]]),
    ]
    drawings = [(draw, found) for draw, found in drawings if found]
    if not drawings:
        return
    with panels.style():
        figure, grid = panels.panels(-(-len(drawings) // 2), min(2, len(drawings)), 4.6, 3.2)
        axes = [each for line in grid for each in line]
        for (draw, found), each in zip(drawings, axes):
            draw(each, found)
        for unused in axes[len(drawings) :]:
            unused.set_axis_off()
        png = panels.png(figure)

    def write(file: BinaryIO) -> None:
        file.write(png)

    files.write_atomically(path, write)


def _draw_speed(axes: matplotlib_axes.Axes, rows: Sequence[Row]) -> None:
    labels = [f"{_NAMES[r['executor']]}\n{r['model']}, {r['image_size']} px" for r in rows]
    ratios = [r["ratio_to_keras"] or 0.0 for r in rows]
    bars = axes.barh(labels, ratios, color=[_COLOURS[r["executor"]] for r in rows])
    axes.bar_label(bars, [f" {r['images_per_second']:.1f}/s" for r in rows], fontsize=7)
    axes.axvline(1.0, color="#222222", linewidth=0.8, zorder=0)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_xlim(0.0, 1.25 * max([1.0, *ratios]))
    axes.invert_yaxis()
    axes.set(title="Images per second", xlabel="relative to Keras fit")


def _draw_clients(axes: matplotlib_axes.Axes, rows: Sequence[Row]) -> None:
    _draw_lines(axes, rows, lambda r: r["clients"], lambda r: r["peak_memory_mb"])
    axes.set(title="Peak memory", xlabel="clients in a round", ylabel="MB", xscale="log")
    ticks = sorted({r["clients"] for r in rows})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _draw_lines(axes: matplotlib_axes.Axes, rows: Sequence[Row], x: Any, y: Any) -> None:
    series: dict[tuple[str, str], list[Row]] = {}
    for each in rows:
        series.setdefault((each["model"], each["executor"]), []).append(each)
    models = list(dict.fromkeys(model for model, _ in series))
    for (model, executor), found in series.items():
        axes.plot(
            [x(r) for r in found],
            [y(r) for r in found],
            color=_COLOURS[executor],
            linestyle=("-", "--", ":", "-.")[models.index(model) % 4],
            marker="o",
            markersize=3,
            label=f"{_NAMES[executor]}, {model}",
        )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=6)


def _draw_rounds(axes: matplotlib_axes.Axes, rows: Sequence[Row]) -> None:
    for each in rows:
        rounds = [int(number) for number in each["memory_mb"]]
        axes.plot(
            rounds,
            list(each["memory_mb"].values()),
            color=_COLOURS[each["executor"]],
            marker="o",
            markersize=3,
            label=_NAMES[each["executor"]],
        )
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=6)
    axes.set(title="Memory over rounds", xlabel="round", ylabel="MB")


def _draw_startup(axes: matplotlib_axes.Axes, rows: Sequence[Row]) -> None:
    labels = [f"{_NAMES[r['executor']]}\n{r['model']}" for r in rows]
    left = [0.0] * len(rows)
    parts = (("import", "#999999"), ("tracing", "#E69F00"), ("execution", "#009E73"))
    for part, colour in parts:
        widths = [r[f"{part}_seconds"] for r in rows]
        axes.barh(labels, widths, left=left, color=colour, label=part)
        left = [start + width for start, width in zip(left, widths)]
    axes.tick_params(axis="y", labelsize=6)
    axes.invert_yaxis()
    axes.legend(fontsize=6)
    axes.set(title="From start to the first finished round", xlabel="seconds")


def _draw_images(axes: matplotlib_axes.Axes, rows: Sequence[Row]) -> None:
    labels = [f"{r['what']}\n{r['image_size']} px" for r in rows]
    speeds = [r["images_per_second"] for r in rows]
    bars = axes.barh(labels, speeds, color="#009E73")
    axes.bar_label(bars, [f" {speed:.0f}" for speed in speeds], fontsize=7)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_xlim(0.0, 1.2 * max(speeds))
    axes.invert_yaxis()
    axes.set(title="Images without training", xlabel="images per second")
