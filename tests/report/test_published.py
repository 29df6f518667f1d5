"""Published tables: their files, and how a run's numbers stand beside them."""

import json

import pytest

from tests.report import example_run
from tffcxr.errors import InputError
from tffcxr.report import run_report
from tffcxr.report.figures import panels
from tffcxr.report.published import published_layout, published_tables
from tffcxr.report.published.published_layout import Own
from tffcxr.report.published.published_tables import HIGHEST, LEAST, Key, Measure, Table

TABLE = Table(
    "a",
    "program",
    "Somebody, Table 9",
    (Key("model", "Network"), Key("task", "Finding"), Key("clients_per_site", "Clients")),
    (
        Measure("train_accuracy", "Train", "accuracy", split="train"),
        Measure("accuracy", "Test", best=HIGHEST),
        Measure("loss", "Loss", best=LEAST, digits=1),
        Measure("p_ttest", "p"),
        Measure("p_delong", "DeLong", is_published=False),
    ),
    of={"training": "federated"},
)
NUMBERS = """\
model,task,clients_per_site,train_accuracy,accuracy,accuracy_sd,loss,p_ttest
resnet50,Pneumonia|Lung Opacity,1,,0.71,0.02,0.50,>0.05
resnet50,Pneumonia|Lung Opacity,2,,0.7,,,
resnet50,Effusion,1,,,,,
"""


@pytest.fixture(name="table", autouse=True)
def _table(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text(NUMBERS, encoding="utf-8")
    monkeypatch.setattr(published_tables, "_FOLDER", tmp_path)
    monkeypatch.setattr(published_tables, "BY_NAME", {"a": TABLE})


def _row(**values):
    row = {"model": "resnet50", "task": "Lung Opacity", "training": "federated", "split": "test"}
    return {**row, "clients_per_site": 1, "images": 40, **values}


def _layout(*rows, synthetic=False):
    (layout,) = published_layout.layouts(["a", "unknown"], Own(rows, "This run", synthetic))
    return layout


def test_numbers_stand_in_the_papers_rows_and_columns():
    layout = _layout(
        _row(accuracy=0.6, training="pooled"),
        _row(accuracy=0.9, split="train"),
        _row(accuracy=0.8, loss=0.44, p_ttest=0.0001),
        _row(accuracy=0.75, accuracy_sd=0.0125, loss=0.46, clients_per_site="2"),
    )
    assert list(layout.names) == ["Network", "Finding", "Clients"]
    assert [(h.text, list(h.sources)) for h in layout.headings] == [
        ("Train", ["paper", "here"]),
        ("Test", ["paper", "here"]),
        ("Loss", ["paper", "here"]),
        ("p", ["paper", "here"]),
        ("DeLong", ["here"]),
    ]
    names = [tuple(names) for names, _ in layout.rows]
    assert names == [
        ("ResNet50", "Pneumonia", "1"),
        ("ResNet50", "Pneumonia", "2"),
        ("ResNet50", "Effusion", "1"),
    ]
    texts = [[cell.text for cell in cells] for _, cells in layout.rows]
    assert texts == [
        ["—", "0.900", "0.71 ± 0.02", "0.800", "0.50", "0.4", ">0.05", "<0.001", "–"],
        ["—", "–", "0.7", "0.750 ± 0.013", "—", "0.5", "—", "–", "–"],
        ["—", "–", "—", "–", "—", "–", "—", "–", "–"],
    ]
    # The highest accuracy and the least loss, where there are several to choose from.
    bold = {cell.text for _, cells in layout.rows for cell in cells if cell.is_best}
    assert bold == {"0.71 ± 0.02", "0.800", "0.4"}


def test_notes_tell_sources_gaps_and_data():
    notes = " ".join(_layout(_row(loss=1.0, rounds=3, image_size=64)).notes)
    assert "as entered in a.csv" in notes and "—: not at hand" in notes and "Bold" in notes
    assert "This run: 40 test images, 64 pixels, 3 rounds." in notes
    assert "not those of the paper" in notes
    phantoms = " ".join(_layout(_row(loss=1.0), synthetic=True).notes)
    assert "Phantom images: the numbers cannot be compared" in phantoms
    assert "This run has no number of this table yet." in _layout().notes


def test_without_published_numbers_the_note_says_so(tmp_path):
    (tmp_path / "a.csv").write_text(
        "model,task,clients_per_site,train_accuracy,accuracy,loss,p_ttest\nvgg16,T,1,,,,\n"
    )
    assert "No published number of this table is at hand" in _layout().notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,accuracy\n", "expected the columns model,task,clients_per_site,train_accuracy"),
        (NUMBERS + "resnet50,T\n", "expected 8 cells in line 5"),
    ],
)
def test_damaged_file(tmp_path, text, said):
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        _layout()


def test_every_table_has_its_file(monkeypatch):
    monkeypatch.undo()
    for table in published_tables.TABLES:
        rows = published_tables.rows(table)
        assert len({tuple(row[key.name] for key in table.keys) for row in rows}) == len(rows) > 1
        numbers = [v for r in rows for m in table.measures if (v := r.get(m.name, ""))]
        assert bool(numbers) == bool(table.source), table.name
    assert set(published_tables.of_recipe("covid")) == {f"covid_table{n}" for n in (2, 3, 4)}


def test_page_of_a_run_that_names_its_table(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(panels, "png", lambda figure: b"\x89PNG")
    run_dir = example_run.write(tmp_path, images=60, rounds=2, cases=1)
    assert "Beside the published numbers" not in run_report.write_report(run_dir).read_text()
    config = json.loads((run_dir / "config.json").read_text())
    (run_dir / "config.json").write_text(json.dumps({**config, "published": ["chexviz_table1"]}))
    page = run_report.write_report(run_dir).read_text()
    assert "Kulkarni et al. 2022 (arXiv 2211.06212), Table 1" in page
    assert page.index("Beside the published numbers") < page.index("ROC curves")
    assert "<td>0.84</td>" in page and "<td>&gt;0.05</td>" in page
    assert "Phantom images: the numbers cannot be compared" in page
