"""What the report says of updates that the aggregator saw: medians by hand, and who is unusual."""

import dataclasses
import shutil

import pandas as pd
import pytest

from tests.report import example_run
from tffcxr.report import page, remarks, run_reader, updates_table

NAN = float("nan")
COLUMNS = (
    "round", "client", "images", "train_loss", "status", "update_norm", "cosine", "cosine_others",
    "clipped", "counted", "suspicion", "quarantine",
)  # fmt: skip


def _rows(*of_clients):
    """Each client's norms, cosines, whether it counted, and its suspicions, round by round."""
    rows = []
    for client, norms, cosines, counted, suspicions in of_clients:
        for number, (norm, cosine, count, suspicion) in enumerate(
            zip(norms, cosines, counted, suspicions), 1
        ):
            listed = "norm" if number > 1 and client == "far" else NAN  # As pandas reads it.
            rows.append(
                (number, client, 9, 0.5, "ok", norm, cosine, -cosine, 0, count, suspicion, listed)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


CLIENTS = _rows(
    ("a", (1.0, 2.0, 1.0), (0.5, 0.25, 0.75), (1, 1, 0), (NAN, "loss", NAN)),
    ("b", (1.0, 2.0, 2.0), (0.5, 0.5, 0.5), (1, 1, 1), (NAN, NAN, NAN)),
    ("far", (9.0, 9.0, NAN), (-0.5, 0.1, NAN), (0, 0, 0), ("norm", "norm", "norm+loss")),
)


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 400, 3))


def _found(run, clients):
    return updates_table.of(dataclasses.replace(run, clients=clients))


def test_medians_by_hand(run):
    a, b, far = _found(run, CLIENTS)
    # The medians of the rounds are 1, 2 and 1.5.
    assert (a.name, a.rounds, a.length, a.cosine, a.left_out) == ("a", 3, 1.0, 0.5, 1)
    assert (b.length, b.cosine, b.left_out, b.quarantine) == (1.0, 0.5, 0, [])
    assert (far.rounds, far.length, far.cosine, far.left_out) == (3, 6.75, -0.2, 3)
    assert (far.cosine_others, far.suspected, far.since) == (0.2, 3, 2)
    assert list(far.quarantine) == ["updates longer than its images and losses explain"]
    assert a.suspected == 1 and not a.quarantine


def test_only_those_in_quarantine_are_warned_of(run):
    (line,) = updates_table.warnings(run, _found(run, CLIENTS))
    assert line.startswith("QUARANTINE of far after round 2: updates longer than its images and")
    assert line.endswith("(--quarantine=report).")
    config = {**run.config, "settings": {"quarantine": "exclude"}}
    (out,) = updates_table.warnings(dataclasses.replace(run, config=config), _found(run, CLIENTS))
    assert "took no part in later rounds" in out
    assert line in remarks.warnings(dataclasses.replace(run, clients=CLIENTS), [])
    assert not updates_table.warnings(run, _found(run, CLIENTS[CLIENTS["client"] != "far"]))


def test_older_runs_have_fewer_columns(run):
    older = CLIENTS.drop(columns=["cosine_others", "clipped", "suspicion", "quarantine"])
    assert [(each.length, each.suspected) for each in _found(run, older)] == [
        (1.0, 0), (1.0, 0), (6.75, 0),
    ]  # fmt: skip


def test_networks_are_told_apart(run):
    both = pd.concat([CLIENTS.assign(variant="one"), CLIENTS.assign(variant="two")])
    found = _found(run, both)
    assert [(each.training, each.name) for each in found] == [
        (training, name) for training in ("one", "two") for name in ("a", "b", "far")
    ]
    assert found[2].length == 6.75


def test_without_measurements_there_is_nothing(run):
    assert not updates_table.of(run)
    hidden = CLIENTS.assign(update_norm=NAN, quarantine=NAN)
    assert not _found(run, hidden)


def test_the_page_has_a_row_for_each_client(run, tmp_path):
    text = page.template("updates.html.jinja").render(updates=_found(run, CLIENTS))
    assert text.count("<tr>") == 4 and "6.75" in text and "Network" not in text
    folder = shutil.copytree(run.path, tmp_path / "run")
    CLIENTS.to_csv(folder / "clients.csv", index=False)
    assert len(updates_table.of(run_reader.read(folder))) == 3
