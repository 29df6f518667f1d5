"""Writes what an audit found: `audit.html`, `audit.json`, a CSV file per attack, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import dataclasses
import json
import math
import pathlib
from typing import Any

from matplotlib import figure as matplotlib_figure
import numpy as np
import pandas as pd

from tffcxr import concealed, errors, files, options
from tffcxr.report import page, style, text_table
from tffcxr.report.figures import panels

FORMAT_VERSION = 1
PAGE, JSON = "audit.html", "audit.json"
# The control in the rows of membership inference: a model that was not trained at all.
UNTRAINED = "untrained"
# Better than the guess by as much, an image counts as nearer to the original; and in the first
# part of the line-up as picked out.
_NEARER_PSNR, _NEARER_SSIM, _PICKED_OUT = 0.5, 0.02, 0.05

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images and what an attack made of them.

    Attributes:
      case: "one step, batch 4".
      protection: its title.
      originals: uint8 [R, S, S].
      found: of each, likewise.
    """

    case: str
    protection: str
    originals: np.ndarray
    found: np.ndarray


@dataclasses.dataclass(frozen=True)
class Found:
    """What an audit found.

    Attributes:
      about: the run, in a sentence.
      weights: "initial" or "final", at which updates were made.
      most: how many images of an update were sought at most.
      protections: the title and the view of each, by name, in order.
      inversion: rows of gradient inversion.
      membership: rows of membership inference.
      properties: rows of property inference.
      pictures: of the rows of `inversion`, in their order.
      remarks: what a reader must know, a line each.
      settings: of the audit.
    """

    about: str
    weights: str
    most: int
    protections: Mapping[str, tuple[str, str]]
    inversion: Sequence[Row]
    membership: Sequence[Row]
    properties: Sequence[Row]
    pictures: Sequence[Pictures]
    remarks: Sequence[str]
    settings: Mapping[str, Any]


def check_folder(folder: pathlib.Path) -> None:
    """Checks that a folder is a new or an empty one, or that of an earlier audit.

    Raises:
      errors.InputError: it is another one.
    """
    known = {PAGE, JSON, "figures", "found", "trained", "run"}
    known |= {f"{name}.csv" for name in ("inversion", "membership", "properties")}
    if folder.exists() and not (
        folder.is_dir() and {path.name for path in folder.iterdir()} <= known
    ):
        raise errors.InputError(
            f"--output_dir: expected a new or an empty folder or that of an earlier audit, found "
            f"{folder}"
        )


def write(folder: pathlib.Path, found: Found, command: Sequence[str]) -> pathlib.Path:
    """Writes all files; those of an earlier audit are replaced.

    Args:
      folder: for the files.
      found: what was found.
      command: the words of the command line.

    Returns:
      The path of the page.

    Raises:
      OSError: a file cannot be written.
    """
    tables = {
        "inversion": found.inversion,
        "membership": found.membership,
        "properties": found.properties,
    }
    for name, rows in tables.items():
        files.write_table(folder / f"{name}.csv", pd.DataFrame(list(rows)))
    content = {
        "format_version": FORMAT_VERSION,
        "settings": dict(found.settings),
        "remarks": list(found.remarks),
        **{name: [_json(row) for row in rows] for name, rows in tables.items()},
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    files.write_text(folder / JSON, text)
    cases = list(dict.fromkeys(each.case for each in found.pictures))
    pictures = [
        {
            "case": case,
            "uri": page.write_figure(folder, style.slug(case), _figure(found, case)),
        }
        for case in cases
    ]
    html = page.template("audit.html.jinja").render(
        title="Audit of privacy",
        about=found.about,
        command=page.command(concealed.command(command)),
        remarks=found.remarks,
        summary=summary(found),
        views=list(found.protections.values()),
        inversion=_inversion_table(found),
        membership=_membership_table(found),
        properties=_properties_table(found),
        pictures=pictures,
        weights=found.weights,
        most=found.most,
        line_up=found.inversion[0]["line_up"],
        finding=found.properties[0]["finding"],
        rounds=found.membership[-1]["rounds"],
        utility=found.membership[-1]["utility_name"],
        delta=f"{options.DP_DELTA:g}",
    )
    path = folder / PAGE
    files.write_text(path, html)
    return path


def format_terminal(found: Found) -> str:
    """The tables and the sentences for a terminal."""
    parts = []
    for title, of, names in (
        ("Reconstruction of images", _inversion_table(found), 2),
        ("Class mix", _properties_table(found), 1),
        ("Membership", _membership_table(found), 2),
    ):
        text = text_table.format_table(of["headings"], of["cells"], names)
        parts.append(f"{title}\n{text}")
    return "\n\n".join([*parts, "\n".join(summary(found))])


def verdict(row: Row) -> str:
    """What a row of `inversion` says: "recognised", "in part" or "not found"."""
    is_nearer = (
        row["psnr"] > row["psnr_of_guess"] + _NEARER_PSNR
        and row["ssim"] > row["ssim_of_guess"] + _NEARER_SSIM
    )
    place = row["place_in_line_up"]  # NaN where it says nothing.
    is_picked_out = place <= max(1.0, _PICKED_OUT * row["line_up"])
    return ("not found", "in part", "recognised")[is_nearer + is_picked_out]


def summary(found: Found) -> list[str]:
    """What the numbers mean for a hospital, in sentences."""
    sentences = []
    for name, (title, _) in found.protections.items():
        rows = [row for row in found.inversion if row["protection"] == name]
        if not rows:
            continue
        cases = {
            verdict(row): [_case(other) for other in rows if verdict(other) == verdict(row)]
            for row in rows
        }
        said = [
            f"{words} of {'; '.join(cases[kind])}"
            for kind, words in (
                ("recognised", "reconstructs images"),
                ("in part", "reconstructs images in part"),
                ("not found", "finds no image"),
            )
            if kind in cases
        ]
        sentences.append(f"Protected by {title}: an attacker that sees this {', '.join(said)}.")
    for row in found.properties:
        title = found.protections[row["protection"]][0]
        auc = style.with_interval(_interval(row), "auc", 2)
        sentences.append(
            f"Protected by {title}: from an update, the share of images with {row['finding']} is "
            f"told with an AUC of {auc}{_of_chance(row)}."
        )
    for row in found.membership:
        if row["attack"] == "loss" and row["protection"] != UNTRAINED:
            title = found.protections[row["protection"]][0]
            auc = style.with_interval(_interval(row), "auc", 2)
            sentences.append(
                f"Protected by {title}: from the final model, training images are told from others "
                f"with an AUC of {auc}{_of_chance(row)}."
            )
    return [*_unproven(found), *sentences]


def _unproven(found: Found) -> list[str]:
    """Which attacks fail without any protection, and so say nothing of those that there are."""
    unprotected = next(iter(found.protections))
    missed = [
        _case(row)
        for row in found.inversion
        if row["protection"] == unprotected and verdict(row) == "not found"
    ]
    sentences = []
    if missed:
        sentences.append(
            f"Not even without protection is an image of {'; '.join(missed)} found: there, "
            "gradient inversion says nothing of the protections."
        )
    if any(
        row["protection"] == unprotected and row["attack"] == "loss" and not row["low"] > 0.5
        for row in found.membership
    ):
        sentences.append(
            "Not even without protection are training images told from others: membership "
            "inference says nothing of the protections."
        )
    return sentences


def _of_chance(row: Row) -> str:
    low, high = row["low"], row["high"]
    if not (style.is_number(low) and style.is_number(high)):
        return ""
    if low <= 0.5 <= high:
        return ": no evidence that this attack is better than chance"
    return ": better than chance" if low > 0.5 else ": worse than chance"


def _interval(row: Row) -> dict[str, Any]:
    return {"auc": row["auc"], "auc_low": row["low"], "auc_high": row["high"]}


def _case(row: Row) -> str:
    return f"{row['steps']}, batch {row['batch']}"


def _inversion_table(found: Found) -> dict[str, Any]:
    headings = [
        "update", "protected by", "images", "PSNR (guess)", "SSIM (guess)", "place", "result"
    ]  # fmt: skip
    cells = [
        [
            _case(row),
            found.protections[row["protection"]][0],
            str(row["images_in_update"]),
            f"{style.number(row['psnr'], 1)} ({style.number(row['psnr_of_guess'], 1)})",
            f"{style.number(row['ssim'], 2)} ({style.number(row['ssim_of_guess'], 2)})",
            f"{row['place_in_line_up']:g} of {row['line_up']}"
            if style.is_number(row["place_in_line_up"])
            else style.UNDEFINED,
            verdict(row),
        ]
        for row in found.inversion
    ]
    return {"headings": headings, "cells": cells}


def _membership_table(found: Found) -> dict[str, Any]:
    headings = ["protected by", "attack", "AUC (95 % CI)", "caught", "ε", "utility"]
    titles = {UNTRAINED: "no training yet"}
    titles.update({name: title for name, (title, _) in found.protections.items()})
    cells = [
        [
            titles[row["protection"]],
            row["attack"],
            style.with_interval(_interval(row), "auc"),
            style.number(row["caught"]),
            style.number(row["epsilon"], 1) if math.isfinite(row["epsilon"]) else "∞",
            style.number(row["utility"]),
        ]
        for row in found.membership
    ]
    return {"headings": headings, "cells": cells}


def _properties_table(found: Found) -> dict[str, Any]:
    headings = ["protected by", "AUC (95 % CI)", "error (guess)"]
    cells = [
        [
            found.protections[row["protection"]][0],
            style.with_interval(_interval(row), "auc"),
            f"{style.number(row['error'], 2)} ({style.number(row['guess'], 2)})",
        ]
        for row in found.properties
    ]
    return {"headings": headings, "cells": cells}


def _figure(found: Found, case: str) -> matplotlib_figure.Figure:
    """The originals and what was found of a case, a panel per protection."""
    shown = [
        (pictures, row)
        for pictures, row in zip(found.pictures, found.inversion)
        if pictures.case == case
    ]
    most = max(len(pictures.found) for pictures, _ in shown)
    columns = max(1, min(len(shown), 8 // most))
    rows = -(-len(shown) // columns)
    with panels.style():
        width = max(1.9, 1.05 * most)
        figure, axes = panels.panels(rows, columns, width, 2.3)
        places = [each for line in axes for each in line]
        for place in places:
            panels.blank(place)
        for place, (pictures, row) in zip(places, shown):
            strip = np.concatenate(
                [
                    np.concatenate(list(part), axis=1)
                    for part in (pictures.originals, pictures.found)
                ]
            )
            place.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            place.set_title(pictures.protection, fontsize=8)
            place.set_xlabel(
                f"PSNR {row['psnr']:.1f}, guess {row['psnr_of_guess']:.1f}", fontsize=7
            )
    return figure


def _json(row: Row) -> dict[str, Any]:
    """Without numbers that JSON has not."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
