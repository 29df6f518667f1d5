"""Tests of report.participation_figure: who took part, who failed, and who was not chosen."""

import pandas as pd

from tffcxr.report.figures import panels, participation_figure


def _clients(*rows):
    columns = ["round", "client", "images", "train_loss", "status"]
    return pd.DataFrame([(r, c, 9, 0.5, s) for r, c, s in rows], columns=columns)


def test_states_of_clients_by_round():
    clients = _clients(
        (1, "b", "ok"), (1, "a", "ok"), (2, "a", "loss is not finite"), (4, "b", "ok"),
    )  # fmt: skip
    names, rounds, states = participation_figure.table(clients)
    assert (names, rounds) == (["a", "b"], [1, 2, 3, 4])
    assert states.tolist() == [[1, 2, 0, 0], [1, 0, 0, 1]]
    figure = participation_figure.draw(clients)
    assert figure is not None
    (axes,) = figure.axes
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    assert labels == ["a: 1 of 4", "b: 2 of 4"]
    entries = [text.get_text() for text in figure.legends[0].get_texts()]
    assert entries == ["took part", "failed, left out", "not in the round"]
    assert panels.png(figure).startswith(b"\x89PNG")


def test_a_client_that_no_round_has_chosen_is_shown():
    clients = _clients((1, "b", "ok"), (2, "b", "ok"))
    names, _, states = participation_figure.table(clients, ["a", "b"])
    assert (names, states.tolist()) == (["a", "b"], [[0, 0], [1, 1]])
    assert participation_figure.draw(clients) is None
    assert participation_figure.draw(clients, ["a", "b"]) is not None


def test_of_several_networks_a_client_failed_if_it_failed_with_one():
    clients = _clients((1, "a", "ok"), (1, "a", "loss is not finite"), (1, "b", "ok"))
    assert participation_figure.table(clients)[2].tolist() == [[2], [1]]


def test_nothing_is_drawn_if_all_always_took_part():
    assert participation_figure.draw(_clients((1, "a", "ok"), (1, "b", "ok"))) is None
    assert participation_figure.draw(_clients()) is None
