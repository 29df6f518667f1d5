"""Tests of report.rounds_figure: what is drawn from rounds.csv and clients.csv."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest

from tests.report import example_classes, example_masks, example_run
from tffcxr.evaluation import registry
from tffcxr.report import run_reader, style
from tffcxr.report.figures import panels, rounds_figure


@pytest.fixture(name="run", scope="module")
def _run(tmp_path_factory):
    return run_reader.read(example_run.write(tmp_path_factory.mktemp("run"), 40, 8))


def _draw(what):
    figure = rounds_figure.draw(what)
    assert figure is not None
    return figure


def _entries(axes):
    return axes.get_legend_handles_labels()[1]


def test_three_panels(run):
    figure = _draw(run)
    losses, auroc, clients = figure.axes
    assert _entries(losses) == [
        "Federated, training images", "Lung Opacity", "Pneumothorax",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        auroc.get_lines()[0].get_ydata(), run.rounds["Lung Opacity/auroc"]
    )
    assert _entries(clients) == ["opacity", "pneumothorax", "a client failed"]
    np.testing.assert_array_equal(clients.get_lines()[2].get_xdata(), [5])


def _look(line):
    marker = line.get_marker() if line.get_marker() not in ("None", "o") else ""
    return line.get_color(), line.get_linestyle(), marker


def test_every_line_of_a_panel_looks_different(run):
    both = dataclasses.replace(run, rounds_pooled=run.rounds)
    losses, auroc, _ = _draw(both).axes
    names = ["Lung Opacity, federated", "Pneumothorax, federated", "Lung Opacity, pooled",
             "Pneumothorax, pooled"]  # fmt: skip
    assert _entries(auroc) == names
    assert _entries(losses) == [
        "Federated, training images", "All sites pooled, training images", *names,
    ]  # fmt: skip
    for axes in (losses, auroc):
        named = axes.get_legend_handles_labels()[0]
        assert len({_look(line) for line in named}) == len(named)


def _of_networks(run, tasks):
    """A run of two networks with the same tasks."""
    networks = {"standard": 0.6, "densenet121": 0.7}
    columns = {f"{network}/train_loss": value for network, value in networks.items()}
    for network, value in networks.items():
        for task in tasks:
            columns[f"{network} {task}/loss"] = columns[f"{network} {task}/auroc"] = value
    rounds = pd.DataFrame({"round": [1.0, 2.0], "stage": "", **columns})
    clients = pd.DataFrame(
        [(r, network, c, 10, 0.5, "ok") for r in (1, 2) for network in networks for c in "ab"],
        columns=["round", "variant", "client", "images", "train_loss", "status"],
    )
    return dataclasses.replace(run, rounds=rounds, clients=clients, rows=[])


def _colours(axes):
    return dict(zip(_entries(axes), [h.get_color() for h in axes.get_legend_handles_labels()[0]]))


def test_a_network_of_one_task_has_one_name_and_one_colour(run):
    figure = _draw(_of_networks(run, ["Tuberculosis"]))
    networks = ["standard", "DenseNet121"]
    for axes in figure.axes:
        found = _colours(axes)
        assert [found[name] for name in networks] == list(style.SERIES_COLOURS[:2])
    assert _entries(figure.axes[0]) == ["training images", *networks]
    colours = [line.get_color() for line in figure.axes[0].get_lines() if len(line.get_xdata())]
    assert set(colours) == set(style.SERIES_COLOURS[:2])


def test_networks_of_several_tasks_are_named_with_these(run):
    row = {"model": "standard", "task": "Lung Opacity at a", "client": "a", "round": 2}
    both = _of_networks(run, ["Pneumothorax", "Lung Opacity"])
    figure = _draw(dataclasses.replace(both, rows=[{**row, "training": "federated"}]))
    assert _entries(figure.axes[1]) == [
        "standard, Pneumothorax", "standard, Lung Opacity", "DenseNet121, Pneumothorax",
        "DenseNet121, Lung Opacity", "round of the table",
    ]  # fmt: skip
    dot = next(line for line in figure.axes[1].get_lines() if line.get_markersize() == 7)
    assert (dot.get_xdata(), dot.get_ydata()) == ([2], [0.6])
    losses, clients = _colours(figure.axes[0]), _colours(figure.axes[2])
    assert losses["standard, training images"] == clients["standard"] != clients["DenseNet121"]


def test_more_networks_than_colours_differ_in_their_markers(classes):
    columns = {f"n{n}/accuracy": 0.5 for n in range(20)}
    rounds = pd.DataFrame({"round": [1.0], "stage": "", **columns})
    named = _draw(dataclasses.replace(classes, rounds=rounds)).axes[1].get_legend_handles_labels()
    assert len({_look(line) for line, label in zip(*named) if f"{label}/accuracy" in columns}) == 20


def test_stage_change_is_marked_between_the_rounds(run):
    axes = _draw(run).axes[0]
    assert [text.get_text() for text in axes.texts] == ["head", "fine-tuning"]
    vertical = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in vertical] == [4.5]
    one_stage = dataclasses.replace(run, rounds=run.rounds.assign(stage="all"))
    assert not _draw(one_stage).axes[0].texts


def test_a_task_may_contain_a_slash():
    rounds = pd.DataFrame(columns=["round", "No Lung Opacity / Not Normal/auroc", "A/loss"])
    assert rounds_figure.metric_columns(rounds, registry.AUROC) == {
        "No Lung Opacity / Not Normal": "No Lung Opacity / Not Normal/auroc"
    }


def test_failures_are_all_that_is_not_ok():
    clients = pd.DataFrame({"status": ["ok", "OK", "", "loss is not finite"]})
    assert rounds_figure.failures(clients).index.tolist() == [3]


def test_many_clients_have_a_median(run):
    clients = pd.DataFrame(
        [(r, f"c{i}", 10, float(i), "ok") for r in (1, 2) for i in range(21)],
        columns=["round", "client", "images", "train_loss", "status"],
    )
    axes = _draw(dataclasses.replace(run, clients=clients)).axes[-1]
    assert _entries(axes) == ["median of 21 clients"]
    assert axes.get_lines()[21].get_ydata().tolist() == [10, 10]


@pytest.mark.parametrize("columns", [["round"], ["round", "train_loss"]])
def test_partial_tables_are_drawn(run, columns):
    rounds = pd.DataFrame({"round": [1.0], "train_loss": [0.7]})[columns].assign(stage="")
    partial = dataclasses.replace(run, rounds=rounds, clients=run.clients.head(0))
    figure = _draw(partial)
    assert len(figure.axes) == 1
    assert panels.png(figure).startswith(b"\x89PNG")


def test_no_rounds_no_figure(run):
    assert rounds_figure.draw(dataclasses.replace(run, rounds=run.rounds.head(0))) is None


def test_undefined_auroc_is_a_gap(run):
    rounds = run.rounds.assign(**{"Lung Opacity/auroc": np.nan, "Pneumothorax/auroc": np.nan})
    figure = _draw(dataclasses.replace(run, rounds=rounds))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panels.png(figure)
    assert figure.axes[1].get_xlim() == (0.5, 8.5)


@pytest.fixture(name="masks", scope="module")
def _masks(tmp_path_factory):
    return run_reader.read(example_masks.write(tmp_path_factory.mktemp("masks"), 10, 12, 1))


@pytest.fixture(name="classes", scope="module")
def _classes(tmp_path_factory):
    return run_reader.read(example_classes.write(tmp_path_factory.mktemp("classes"), 12, 1))


def _titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_masks_federated_beside_pooled(masks):
    figure = _draw(masks)
    assert _titles(figure) == [
        "Loss on test images", "Jaccard on test images", "Dice on test images",
        "Training loss by client",
    ]  # fmt: skip
    jaccard = figure.axes[1]
    assert _entries(jaccard) == ["Federated", "All sites pooled", "round of the table"]
    federated, pooled, *dots = jaccard.get_lines()
    np.testing.assert_array_equal(federated.get_ydata(), masks.rounds["Lungs/jaccard"])
    np.testing.assert_array_equal(pooled.get_ydata(), masks.rounds_pooled["Lungs/jaccard"])
    assert federated.get_color() == style.training_colour("federated")
    # The best of the made-up rounds is the ninth.
    assert dots[0].get_xdata() == [9]
    assert dots[0].get_ydata() == [masks.rounds["Lungs/jaccard"][8]]
    assert figure.axes[0].get_ylabel() == "BCE-Dice loss"


def test_a_run_may_have_another_loss(masks):
    config = {**masks.config, "derived": {"loss": "Cross-entropy minus Dice"}}
    figure = _draw(dataclasses.replace(masks, config=config))
    assert {figure.axes[0].get_ylabel(), figure.axes[-1].get_ylabel()} == {
        "Cross-entropy minus Dice"
    }


def test_the_images_that_rounds_are_measured_on_are_named(masks):
    unsaid = dataclasses.replace(masks, config={})
    assert _titles(_draw(unsaid))[1] == "Jaccard on validation images"


def test_pooled_rounds_may_be_more(masks):
    longer = dataclasses.replace(masks, rounds=masks.rounds.head(2))
    first, last = _draw(longer).axes[1].get_xlim()
    assert first < 1 and last > 12


def test_variants_of_classes_on_one_axis(classes):
    figure = _draw(classes)
    assert _titles(figure) == ["Loss on test images", "Accuracy on test images"]
    assert _entries(figure.axes[1]) == [
        "DenseNet121, full", "DenseNet121, segmented", "ResNet50, full", "ResNet50, segmented",
        "round of the table", "always the commonest class",
    ]  # fmt: skip
    lines = figure.axes[1].get_lines()
    assert len({line.get_color() for line in lines[:4]}) == 4
    # 90 of the 175 made-up images are of one class.
    assert lines[-1].get_ydata()[0] == pytest.approx(90 / 175)


def test_pooled_variants_are_dashed(classes):
    both = dataclasses.replace(classes, rounds_pooled=classes.rounds)
    axes = _draw(both).axes[0]
    solid, dashed = axes.get_lines()[0], axes.get_lines()[4]
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert solid.get_color() == dashed.get_color()
    assert _entries(axes)[4] == "DenseNet121, full, pooled"


def test_variants_have_one_order_in_all_panels(classes):
    names = ["resnet50 full", "densenet121 full"]
    turned = [f"{name}/{metric}" for metric in ("loss", "accuracy") for name in names]
    turned = turned[:2] + turned[:1:-1]  # Losses one way round, accuracies the other.
    both = dataclasses.replace(classes, rounds=classes.rounds[["round", "stage", *turned]], rows=[])
    losses, accuracies = _draw(both).axes[:2]
    expected = ["DenseNet121, full", "ResNet50, full"]
    assert _entries(losses)[:2] == _entries(accuracies)[:2] == expected


def test_variants_may_be_trained_in_one_way_alone(classes):
    only = [name for name in classes.rounds if name.startswith("resnet50 full")]
    alone = dataclasses.replace(
        classes,
        rounds=classes.rounds[["round", "stage", *only]],
        rounds_pooled=classes.rounds.head(5),
        rows=[],
    )
    axes = _draw(alone).axes[1]
    assert _entries(axes) == [
        "ResNet50, full, federated", "DenseNet121, full, pooled", "DenseNet121, segmented, pooled",
        "ResNet50, full, pooled", "ResNet50, segmented, pooled",
    ]  # fmt: skip
    federated, *pooled = axes.get_lines()[:5]
    assert (len(federated.get_xdata()), len(pooled[0].get_xdata())) == (12, 5)
    assert federated.get_color() == pooled[2].get_color()
    # Each with the colour that it has where all are trained in both ways.
    colours = [line.get_color() for line in _draw(classes).axes[1].get_lines()[:4]]
    assert [line.get_color() for line in pooled] == colours


def test_many_clients_of_a_variant_have_a_mean(classes):
    clients = pd.DataFrame(
        [(r, f"c{i}", "resnet50 full", float(i + r), "ok") for r in (1, 2) for i in range(4 * r)],
        columns=["round", "client", "variant", "train_loss", "status"],
    )
    figure = _draw(dataclasses.replace(classes, clients=clients))
    axes = figure.axes[-1]
    assert _entries(axes) == ["ResNet50, full, mean of a round's clients"]
    dots, mean = axes.get_lines()
    assert (dots.get_linestyle(), len(dots.get_xdata())) == ("None", 12)
    assert mean.get_ydata().tolist() == [2.5, 5.5]
    assert mean.get_color() == dots.get_color() == figure.axes[0].get_lines()[2].get_color()


def test_few_clients_that_come_and_go_are_dots_too(classes):
    rows = [
        (1, "a", "resnet50 full", 0.6, "ok"),
        (1, "b", "resnet50 full", 0.4, "ok"),
        (2, "c", "resnet50 full", 0.3, "ok"),
        (3, "a", "resnet50 full", 0.2, "ok"),
    ]
    clients = pd.DataFrame(rows, columns=["round", "client", "variant", "train_loss", "status"])
    only = classes.rounds[["round", "stage", "resnet50 full/loss", "resnet50 full/accuracy"]]
    for rounds in (classes.rounds, only):
        figure = _draw(dataclasses.replace(classes, clients=clients, rounds=rounds))
        *dots, mean = [line for line in figure.axes[-1].get_lines() if len(line.get_xdata())]
        assert {line.get_linestyle() for line in dots} == {"None"}
        assert len({_look(line) for line in dots}) == 3
        assert mean.get_ydata().tolist() == [0.5, 0.3, 0.2]
        assert {"a", "b", "c"} <= set(_entries(figure.axes[-1]))


def test_few_clients_of_the_only_variant_have_names_and_colours(classes):
    clients = pd.DataFrame(
        [(r, client, "resnet50 full", 0.5, "ok") for r in (1, 2) for client in "ab"],
        columns=["round", "client", "variant", "train_loss", "status"],
    )
    only = classes.rounds[["round", "stage", "resnet50 full/loss", "resnet50 full/accuracy"]]
    axes = _draw(dataclasses.replace(classes, clients=clients, rounds=only)).axes[-1]
    assert _entries(axes) == ["a", "b"]
    assert len({line.get_color() for line in axes.get_lines()}) == 2


def test_clients_of_the_only_variant_have_the_colour_of_federated_training(classes):
    clients = pd.DataFrame(
        [(1, "a", "resnet50 full", 0.5, "ok")],
        columns=["round", "client", "variant", "train_loss", "status"],
    )
    only = [name for name in classes.rounds if name.startswith("resnet50 full")]
    rounds = classes.rounds[["round", "stage", *only]]
    figure = _draw(dataclasses.replace(classes, rounds=rounds, clients=clients))
    colours = {axes.get_lines()[0].get_color() for axes in figure.axes}
    assert colours == {style.training_colour("federated")}


def test_clients_of_variants_share_the_variants_colour(classes):
    clients = pd.DataFrame(
        [(1, c, v, 0.5, "ok") for v in ("resnet50 full", "densenet121 full") for c in "ab"],
        columns=["round", "client", "variant", "train_loss", "status"],
    )
    axes = _draw(dataclasses.replace(classes, clients=clients)).axes[-1]
    assert _entries(axes) == ["DenseNet121, full", "ResNet50, full", "a", "b"]
    lines = [line for line in axes.get_lines() if len(line.get_xdata())]
    colours = [line.get_color() for line in lines]
    assert colours[0] == colours[1] != colours[2] == colours[3]
    assert len({_look(line) for line in lines}) == 4


def test_a_long_legend_leaves_the_panels_their_height(classes):
    def height(run):
        figure = _draw(run)
        panels.png(figure)
        return figure.axes[0].get_position().height * figure.get_figheight()

    both = dataclasses.replace(classes, rounds_pooled=classes.rounds)
    assert height(both) > 0.9 * height(classes)


def test_rounds_are_whole_numbers(masks):
    one = dataclasses.replace(
        masks, rounds=masks.rounds.head(1), rounds_pooled=masks.rounds_pooled.head(0)
    )
    axes = _draw(one).axes[0]
    assert all(tick == int(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("is_pooled_too", [False, True])
def test_training_losses_without_another_line_are_named(classes, is_pooled_too):
    rounds = classes.rounds[["round", "stage", "resnet50 full/loss", "resnet50 full/accuracy"]]
    losses = {"federated/train_loss": 0.5, "federated_private_norm/train_loss": 0.6}
    pooled = rounds if is_pooled_too else rounds.iloc[:0]
    run = dataclasses.replace(
        classes, rounds=rounds.assign(**losses), rounds_pooled=pooled, rows=[]
    )
    axes = _draw(run).axes[0]
    assert _entries(axes)[:2] == [
        "Federated, training images", "Federated, private batch norm, training images",
    ]  # fmt: skip
    assert {line.get_linestyle() for line in axes.get_lines()[:2]} == {":"}


def test_training_losses_of_variants_are_dotted(classes):
    rounds = classes.rounds.assign(**{"resnet50 full/train_loss": 0.5})
    axes = _draw(dataclasses.replace(classes, rounds=rounds)).axes[0]
    dotted, key, *_ = axes.get_lines()
    assert dotted.get_linestyle() == ":" and set(dotted.get_ydata()) == {0.5}
    assert dotted.get_color() == axes.get_lines()[4].get_color()  # of ResNet50, full
    assert key.get_label() == "training images"


def test_means_of_clients_stand_beside_those_of_all_images(tmp_path):
    run = run_reader.read(example_masks.write(tmp_path, 6, 3, 1))
    before = _draw(run).axes
    assert not any("mean of clients" in entry for axes in before for entry in _entries(axes))
    means = {"Lungs/client_loss": [0.3, 0.2, 0.1], "Lungs/client_dice": [0.4, 0.5, 0.6]}
    with_means = dataclasses.replace(run, rounds=run.rounds.assign(**means))
    losses, jaccard, dice, _ = _draw(with_means).axes
    for axes, values in ((losses, means["Lungs/client_loss"]), (dice, means["Lungs/client_dice"])):
        lines = [line for line in axes.get_lines() if "mean of clients" in str(line.get_label())]
        assert [list(line.get_ydata()) for line in lines] == [values]
    assert not any("mean of clients" in entry for entry in _entries(jaccard))
