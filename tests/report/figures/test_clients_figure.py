"""Tests of report.clients_figure: bars as long as the counts, shares, and when there is none."""

import pytest

from tffcxr.report.figures import clients_figure, panels


def _client(name, *counts):
    kinds = ("Normal", "Ill", "Rare")
    return {"client": name, **{f"train: {kind}": count for kind, count in zip(kinds, counts)}}


def _draw(clients):
    figure = clients_figure.draw(clients)
    assert figure is not None
    return figure


def _bars(axes):
    """(client, start, length) of every bar that has one, class after class."""
    return [
        (round(bar.get_y() + bar.get_height() / 2), bar.get_x(), bar.get_width())
        for bar in axes.patches
        if bar.get_width()
    ]


def test_counts_and_shares_by_hand():
    left, right = _draw([_client("a", 6, 2, 0), _client("b", 1, 1, 2)]).axes
    assert _bars(left) == [(0, 0, 6), (1, 0, 1), (0, 6, 2), (1, 1, 1), (1, 2, 2)]
    assert _bars(right) == [
        (0, 0, 0.75), (1, 0, 0.25), (0, 0.75, 0.25), (1, 0.25, 0.25), (1, 0.5, 0.5),
    ]  # fmt: skip
    assert [text.get_text() for text in left.texts] == ["8", "4"]
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["a", "b"]
    # Of all 12 images 7 are normal, 3 ill.
    assert [line.get_xdata()[0] for line in right.lines] == pytest.approx([7 / 12, 10 / 12])


def test_a_class_has_one_colour_and_a_name():
    figure = _draw([_client("a", 6, 2, 0), _client("b", 1, 1, 2)])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "Normal", "Ill", "Rare", "all clients together",
    ]  # fmt: skip
    left, right = figure.axes
    for place, handle in enumerate(legend.get_patches()):
        of_class = [
            *left.patches[2 * place : 2 * place + 2],
            *right.patches[2 * place : 2 * place + 2],
        ]
        assert {bar.get_facecolor() for bar in of_class} == {handle.get_facecolor()}


def test_classes_come_in_the_order_of_the_results():
    clients = [_client("a", 6, 2, 0), _client("b", 1, 1, 2)]
    figure = clients_figure.draw(clients, ["Rare", "Normal"])
    assert figure is not None
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names[:3] == ["Rare", "Normal", "Ill"]


def test_a_client_without_images_of_any_class_has_an_empty_bar():
    left, right = _draw([_client("a", 3, 1, 0), _client("b", 0, 0, 0)]).axes
    assert {client for client, *_ in _bars(left)} == {client for client, *_ in _bars(right)} == {0}
    assert [text.get_text() for text in left.texts] == ["4", "0"]


@pytest.mark.parametrize("clients", [2, 50])
def test_every_client_has_room_for_its_name(clients):
    figure = _draw([_client(f"hospital-{n:02d}", n, 2, 3) for n in range(clients)])
    panels.png(figure)
    boxes = [tick.get_window_extent() for tick in figure.axes[0].get_yticklabels()]
    assert len(boxes) == clients
    for upper, lower in zip(boxes, boxes[1:]):
        assert lower.y1 < upper.y0


@pytest.mark.parametrize(
    "clients",
    [
        [],
        [_client("a", 1, 2, 3)],
        [{"client": "a", "train_images": 3}, {"client": "b", "train_images": 4}],
        [_client("a", 1), _client("b", 2)],
    ],
)
def test_nothing_to_compare_no_figure(clients):
    assert clients_figure.draw(clients) is None
