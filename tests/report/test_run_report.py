"""Tests of run_report.report: the page from whole, partial and hostile run directories."""

import json
import os
import re
import shutil
import subprocess
import sys

import matplotlib
import pytest

from tests.report import example_classes, example_masks, example_run, example_volumes
from tffcxr import errors
from tffcxr.report import remarks, run_report
from tffcxr.report.figures import panels


@pytest.fixture(name="example", scope="module")
def _example(tmp_path_factory):
    return example_run.write(tmp_path_factory.mktemp("example"), images=60, rounds=3, cases=1)


@pytest.fixture(name="run_dir")
def _run_dir(example, tmp_path, monkeypatch):
    # The pages are not looked at; small figures are drawn faster.
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)
    return shutil.copytree(example, tmp_path / "run")


@pytest.fixture(name="text_only")
def _text_only(monkeypatch):
    monkeypatch.setattr(panels, "png", lambda figure: b"\x89PNG")


def test_whole_run(run_dir):
    path = run_report.write_report(run_dir)
    assert path == run_dir / "report.html"
    html = path.read_text()
    for heading in ("In short", "Data", "Results", "ROC curves", "Training", "Settings"):
        assert f"<h2>{heading}</h2>" in html
    assert "Synthetic images." in html
    assert "./bazelw run //experiments:cheXviz -- &#39;--output_dir=[path]&#39;" in html
    assert "./bazelw run //experiments:predict" in html
    assert 'load_model("models/multi_task.keras"' in html
    assert "One image in, one probability per finding out. In Python:" in html
    assert "its operating point holds for images like those it was chosen on." in html
    assert "<h3>Heat over all images called positive</h3>" in html
    row = json.loads((run_dir / "metrics.json").read_text())["rows"][0]
    assert f"{row['auroc']:.3f} ({row['auroc_low']:.3f}–{row['auroc_high']:.3f})" in html
    assert sorted(file.name for file in (run_dir / "figures").iterdir()) == [
        "gradcam_lung-opacity.png", "gradcam_pneumothorax.png", "precision_recall.png",
        "reliability.png", "roc.png", "rounds.png",
    ]  # fmt: skip
    assert "further warnings" not in html and "<h3>Probabilities</h3>" in html
    # Whatever is too wide for a screen can be scrolled.
    assert html.count('<figure><div class="scroll" tabindex="0"><img') == html.count("<img ") == 6
    assert html.count('<div class="scroll" tabindex="0"><table') == html.count("<table")


def test_many_warnings_and_further_tables_of_many_rows_are_folded(run_dir, text_only, monkeypatch):
    monkeypatch.setattr(remarks, "warnings", lambda *_: [f"Doubt {n}." for n in range(7)])
    results = json.loads((run_dir / "metrics.json").read_text())
    rows = results["rows"][:3]
    results["rows"] = [{**row, "task": f"Finding {n}"} for row in rows for n in range(14)]
    (run_dir / "metrics.json").write_text(json.dumps(results))
    html = run_report.write_report(run_dir).read_text()
    notice = html.partition("Before you rely on these numbers")[2].partition("</div>")[0]
    shown, _, hidden = notice.partition("<details><summary>3 further warnings")
    assert (shown.count("<li>Doubt"), hidden.count("<li>Doubt")) == (4, 3)
    assert "<details><summary>Probabilities</summary>" in html
    assert "<h3>Probabilities</h3>" not in html


def test_page_is_self_contained(run_dir):
    html = run_report.write_report(run_dir).read_text()
    assert set(re.findall(r'src="(.{21})', html)) == {"data:image/png;base64"}
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)


def test_same_run_gives_the_same_bytes_and_leaves_matplotlib_alone(run_dir):
    def contents():
        run_report.write_report(run_dir)
        files = [run_dir / "report.html", *sorted((run_dir / "figures").iterdir())]
        return [file.read_bytes() for file in files]

    before = dict(matplotlib.rcParams)
    assert contents() == contents()
    assert dict(matplotlib.rcParams) == before


def test_names_cannot_become_markup(run_dir, text_only):
    hostile = "<img src=x onerror=alert(1)>"
    for name in ("metrics.json", "predictions.csv", "explanations.csv", "rounds.csv"):
        text = (run_dir / name).read_text()
        (run_dir / name).write_text(text.replace("Pneumothorax", hostile))
    (run_dir / "config.json").write_text(
        json.dumps(
            {
                "kind": "findings",
                "command": hostile,
                "sites": {hostile: {"a<b": hostile}},
                hostile: "'\"&",
            }  # fmt: skip
        )
    )
    (run_dir / "clients.csv").write_text(
        f"round,client,images,train_loss,status\n1,{hostile},1,0.5,{hostile}\n"
    )
    html = run_report.write_report(run_dir).read_text()
    assert hostile not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_the_paper_is_named_where_the_program_says_it(run_dir, tmp_path):
    html = run_report.write_report(example_classes.write(tmp_path, 2, 1)).read_text()
    assert "The method is that of Somebody et al., “Federated R&amp;D”, 2022." in html
    assert "The method is that of" not in run_report.write_report(run_dir).read_text()


def test_mathtext_in_a_name_does_not_break_a_figure(run_dir):
    text = (run_dir / "metrics.json").read_text()
    (run_dir / "metrics.json").write_text(text.replace('"Pneumothorax"', '"$Pneumo^{"'))
    text = (run_dir / "predictions.csv").read_text()
    (run_dir / "predictions.csv").write_text(text.replace("Pneumothorax", "$Pneumo^{"))
    text = (run_dir / "rounds.csv").read_text()
    (run_dir / "rounds.csv").write_text(text.replace("Pneumothorax", "$x^{$"))
    assert "$Pneumo^{" in run_report.write_report(run_dir).read_text()


def test_only_a_configuration(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"recipe": "cheXviz", "kind": "findings", "settings": {"seed": 3}}'
    )
    html = run_report.write_report(tmp_path).read_text()
    assert "<h1>cheXviz</h1>" in html
    assert "There are no results yet." in html
    assert "This run has not finished" in html
    assert "<td>seed</td><td>3</td>" in html
    assert "<img" not in html
    assert "Synthetic" not in html


@pytest.mark.parametrize(
    "missing",
    ["metrics.json", "rounds.csv", "clients.csv", "predictions.csv", "explanations.csv"],
)
def test_any_other_file_may_be_missing(run_dir, text_only, missing):
    (run_dir / missing).unlink()
    html = run_report.write_report(run_dir).read_text()
    assert "<h2>Settings</h2>" in html
    assert ('alt="Heat maps of' in html) == (missing != "explanations.csv")
    assert ("<h2>ROC curves</h2>" in html) == (missing != "predictions.csv")
    assert ("<h2>Training</h2>" in html) == (missing != "rounds.csv")
    assert ("Failed clients" in html) is False


def test_undefined_metrics_are_dashes(run_dir, text_only):
    table = json.loads((run_dir / "metrics.json").read_text())
    for row in table["rows"]:
        row.update(dict.fromkeys(("auroc", "aupr", "auroc_low", "auroc_high", "specificity")))
    (run_dir / "metrics.json").write_text(json.dumps(table))
    html = run_report.write_report(run_dir).read_text()
    assert "AUROC is undefined" in html
    assert "nan" not in re.sub(r"base64,[^\"]*", "", html).lower()


def test_failed_clients_are_listed_to_a_limit(run_dir, text_only):
    lines = [f"{i},hospital,10,,layer conv_{i} is not finite" for i in range(1, 61)]
    (run_dir / "clients.csv").write_text(
        "\n".join(["round,client,images,train_loss,status", *lines, ""])
    )
    html = run_report.write_report(run_dir).read_text()
    assert "layer conv_50 is not finite" in html
    assert "layer conv_51 is not finite" not in html
    assert "and 10 more in clients.csv." in html


def test_sites_of_the_configuration_are_shown(run_dir, text_only):
    (run_dir / "config.json").write_text(
        json.dumps(
            {
                "kind": "findings",
                "sites": [
                    {"site": "A", "train_images": 10},
                    {"site": "B", "note": None},
                    *({"client": name} for name in ("opacity", "pneumothorax", "never chosen")),
                ],
            }
        )
    )
    html = run_report.write_report(run_dir).read_text()
    assert '<th scope="col" class="number">Train images</th>' in html
    assert '<td>A</td><td></td><td class="number">10</td>' in html
    assert "3 clients, of which 2 took part in some round." in html


def test_one_round_is_singular(run_dir, text_only):
    for name in ("rounds.csv", "clients.csv"):
        lines = (run_dir / name).read_text().splitlines()
        (run_dir / name).write_text("\n".join([*lines[:2], ""]))
    html = run_report.write_report(run_dir).read_text()
    assert "<p>1 round, 0.2\nminutes of federated training, 1 client.</p>" in html


def test_both_comparisons_are_in_short_and_in_the_table(run_dir, text_only):
    html = run_report.write_report(run_dir).read_text()
    short = html[html.index("<h2>In short") : html.index("<h2>Data")]
    assert short.count("site alone 0.") == short.count("Against all sites pooled 0.") == 2
    assert short.count("DeLong&#39;s test: p") == 4
    assert '<th scope="col">p vs pooled</th>' in html
    assert "<td>not compared</td>" in html
    assert "“not compared”" in html


@pytest.mark.parametrize("has_fingerprint", [False, True])
def test_what_travels_is_told(run_dir, text_only, has_fingerprint):
    if has_fingerprint:
        (run_dir / "nnunet_fingerprint.json").write_text("{}", encoding="utf-8")
    html = run_report.write_report(run_dir).read_text(encoding="utf-8")
    assert "the images stay at their site" in html
    assert ("histograms of" in html) == has_fingerprint


def test_tasks_with_the_same_file_name_keep_their_figures(run_dir, text_only):
    text = (run_dir / "explanations.csv").read_text()
    (run_dir / "explanations.csv").write_text(text.replace("Pneumothorax", "lung opacity"))
    run_report.write_report(run_dir)
    names = {file.name for file in (run_dir / "figures").iterdir()}
    assert {"gradcam_lung-opacity.png", "gradcam_lung-opacity-2.png"} <= names


def test_damaged_run_leaves_the_old_report(run_dir, text_only):
    before = run_report.write_report(run_dir).read_bytes()
    (run_dir / "metrics.json").write_text("{")
    with pytest.raises(errors.InputError, match="metrics.json"):
        run_report.write_report(run_dir)
    assert (run_dir / "report.html").read_bytes() == before
    assert not list(run_dir.rglob("*.tmp"))


def test_needs_neither_tensorflow_nor_pyplot(run_dir):
    program = (
        "import sys\nfrom tffcxr.report import run_report\n"
        f"run_report.write_report({str(run_dir)!r})\n"
        "heavy = ('tensorflow', 'tensorflow_federated', 'keras', 'matplotlib.pyplot', 'absl')\n"
        "sys.exit([name for name in heavy if name in sys.modules] or None)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)


def _headings(html):
    return re.findall(r"<h2>(.*?)</h2>", html)


def test_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)
    run_dir = example_masks.write(tmp_path, 10, 3, 2)
    html = run_report.write_report(run_dir).read_text()
    assert _headings(html) == [
        "In short", "Data", "Results", "Training", "The masks", "Settings",
    ]  # fmt: skip
    assert "federated minus pooled" in html
    assert "Jaccard (95\xa0%\xa0CI)</th>" in html
    assert "AUROC" not in html
    row = json.loads((run_dir / "metrics.json").read_text())["rows"][0]
    assert f"{row['jaccard']:.3f} ({row['jaccard_low']:.3f}–{row['jaccard_high']:.3f})" in html
    assert sorted(file.name for file in (run_dir / "figures").iterdir()) == [
        "jaccard.png", "masks.png", "rounds.png",
    ]  # fmt: skip
    assert html.count("<img ") == 3


def test_masks_of_a_region_that_may_be_absent(tmp_path, text_only):
    run_dir = example_masks.write(tmp_path, 10, 3, 1)
    plain = run_report.write_report(run_dir).read_text()
    assert "specificity" not in plain
    assert "binary cross-entropy plus one" in plain
    metrics = json.loads((run_dir / "metrics.json").read_text())
    for row in metrics["rows"]:
        row.update(sensitivity=0.9, specificity=0.8)
    (run_dir / "metrics.json").write_text(json.dumps(metrics))
    config = json.loads((run_dir / "config.json").read_text())
    config["derived"]["loss"] = "Cross-entropy minus Dice"
    config["sites"] = [
        {"client": f"hospital_{number}", "train: Lung Opacity": number, "train: none": 3}
        for number in range(2)
    ]
    (run_dir / "config.json").write_text(json.dumps(config))
    html = run_report.write_report(run_dir).read_text()
    assert "Specificity, no pixel" in html
    assert "<strong>specificity</strong> the fraction of images without the region" in html
    assert "<strong>Loss</strong> is the mean over images of cross-entropy minus dice" in html
    assert "Training images of each client by class" in html


@pytest.mark.parametrize("missing", ["masks.csv", "segmentations.csv", "metrics.json"])
def test_a_run_of_masks_may_be_partial(tmp_path, text_only, missing):
    run_dir = example_masks.write(tmp_path, 10, 3, 1)
    (run_dir / missing).unlink()
    html = run_report.write_report(run_dir).read_text()
    assert "measured on the test images" in html
    assert ("Jaccard of each image" in html) == (missing != "masks.csv")
    assert ("True and predicted masks" in html) == (missing != "segmentations.csv")


def test_masks_of_two_organs_have_a_figure_each(tmp_path, text_only):
    run_dir = example_masks.write(tmp_path, 10, 3, 2)
    text = (run_dir / "segmentations.csv").read_text()
    (run_dir / "segmentations.csv").write_text(text.replace("Lungs,1", "Heart,1"))
    run_report.write_report(run_dir)
    names = {file.name for file in (run_dir / "figures").iterdir()}
    assert {"masks_lungs.png", "masks_heart.png"} <= names


def test_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(panels, "_DOTS_PER_INCH", 40)
    run_dir = example_classes.write(tmp_path, 3, 1)
    html = run_report.write_report(run_dir).read_text()
    assert _headings(html) == [
        "In short", "Data", "Results", "Confusion matrices", "Training",
        "Lungs cut out", "What the models look at", "Settings",
    ]  # fmt: skip
    assert "Maximum accuracy (round)" in html
    assert "Sensitivity, No Lung Opacity / Not Normal" in html
    assert re.findall(r'<th scope="row">(.*)</th><td>([\d,]+)</td>', html) == [
        ("ResNet50", "23,514,179"),
        ("DenseNet121", "6,956,931"),
    ]
    assert "In 12 of 800 images the predicted lungs were implausible." in html
    assert "<td>empty</td><td>9</td>" in html
    for name in (
        "DenseNet121, full",
        "DenseNet121, segmented",
        "ResNet50, full",
        "ResNet50, segmented",
    ):
        # In both tables of results and in that of the heat.
        assert html.count(f"</span>{name}</th>") == 3
    assert html.count("<img ") == 5
    assert (run_dir / "figures" / "confusion.png").exists()
    assert (run_dir / "figures" / "clients.png").exists()
    assert "Which client holds how many training images of each class" in html


def test_without_lungs_cut_out_there_is_no_such_section(tmp_path, text_only):
    run_dir = example_classes.write(tmp_path, 3, 1)
    (run_dir / "config.json").write_text('{"kind": "classes"}')
    (run_dir / "lungs.csv").unlink()
    assert "Lungs cut out" not in run_report.write_report(run_dir).read_text()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("lungs_examples.npz", None),
        ("lungs_examples.npz", "PK\x03\x04"),
        ("lungs_examples.npz", "x"),
        ("lungs.csv", "client\n"),
        ("lungs.csv", ""),
    ],
)
def test_damaged_lungs_are_one_line(tmp_path, text_only, file, content):
    run_dir = example_classes.write(tmp_path, 3, 1)
    (run_dir / file).unlink()
    if content is not None:
        (run_dir / file).write_text(content)
    with pytest.raises(errors.InputError, match="predicted lungs in .*lungs.csv") as caught:
        run_report.write_report(run_dir)
    assert "\n" not in str(caught.value)


def test_format_table_is_offered_here():
    assert run_report.format_table([], "masks") == "No results."
    with pytest.raises(errors.InputError, match="expected a kind of study of .*, found 'tabular'"):
        run_report.format_table([], "tabular")


def test_a_run_without_bazel_shows_commands_without_it(run_dir, text_only):
    config = json.loads((run_dir / "config.json").read_text())
    config["command"] = ["tffcxr", "cheXviz", "--output_dir=my run"]
    (run_dir / "config.json").write_text(json.dumps(config))
    html = run_report.write_report(run_dir).read_text()
    assert "tffcxr cheXviz &#39;--output_dir=[path]&#39;" in html
    assert "tffcxr predict --model=RUN IMAGE.dcm" in html and "my run" not in html
    assert "bazel" not in html


@pytest.mark.parametrize(
    ("example", "taken"), [(example_classes, True), (example_masks, True), (example_volumes, False)]
)
def test_the_command_that_applies_a_model(tmp_path, text_only, example, taken):
    example.write(tmp_path)
    assert "//experiments:predict" not in run_report.write_report(tmp_path).read_text()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.keras").write_bytes(b"only its name is read")
    html = run_report.write_report(tmp_path).read_text()
    assert 'tffcxr.load_model("models/a.keras")' in html
    assert ("//experiments:predict" in html) == ('model.predict("image.dcm")' in html) == taken
