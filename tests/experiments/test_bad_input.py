"""Every mistake gets one line that says what was expected and what was found, and status 2."""

import csv
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.experiments import programs

RSNA = programs.TESTDATA / "rsna"
SIIM = programs.TESTDATA / "siim"
OPACITY = f"--site=a=rsna:{RSNA}:Lung Opacity"
PNEUMOTHORAX = f"--site=b=siim:{SIIM}:Pneumothorax"
SMALL = ("--image_size=32", "--rounds=1", "--baseline=none")


def _programs():
    for path in sorted((programs.REPOSITORY / "experiments").glob("*.py")):
        if "command_line.run(" in path.read_text(encoding="utf-8"):
            yield path.stem


def test_help_whose_reader_has_gone_says_nothing():
    reading, writing = os.pipe()
    os.close(reading)  # As `head` does when it has its lines.
    with open(writing, "wb") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "experiments.cheXviz", "--help"],
            cwd=programs.REPOSITORY,
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=300,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("name", _programs())
def test_help_imports_nothing_slow(name):
    ended = programs.in_a_real_process(f"experiments.{name}", "--help")
    assert ended.returncode == 0
    assert "slow: []" in ended.stdout
    assert "Flags that matter first:" in ended.stdout or "\nFlags:\n" in ended.stdout
    assert "--helpfull also lists" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.parametrize(
    "flags,expected",
    [
        (["--rounds=0"], "--rounds: expected at least 1, found 0"),
        (["--rounds=many"], "--rounds: expected a whole number, found 'many'"),
        (["--frobnicate"], "Unknown command line flag 'frobnicate'"),
        (["runs"], "expected flags only, found 'runs'"),
        (
            ["--flagfile=/nowhere.flags"],
            "--flagfile: expected a file or one of chexviz_densenet121",
        ),
    ],
)
def test_flags_in_a_real_process(tmp_path, flags, expected):
    folder = tmp_path / "run"
    ended = programs.in_a_real_process("experiments.cheXviz", f"--output_dir={folder}", *flags)
    assert ended.returncode == 2
    assert ended.stdout == "slow: []\n"
    (line,) = ended.stderr.strip().splitlines()
    assert expected in line
    assert not folder.exists()


def test_paths_are_taken_from_where_the_user_stands(tmp_path):
    (tmp_path / "here").mkdir()
    ended = programs.in_a_real_process(
        "experiments.cheXviz",
        "--output_dir=run",
        "--site=a=rsna:nowhere:Lung Opacity",
        BUILD_WORKING_DIRECTORY=str(tmp_path / "here"),
    )
    assert ended.returncode == 2
    assert "nowhere" in ended.stderr
    assert (tmp_path / "here" / "run").is_dir()


@pytest.mark.parametrize(
    "flag,expected",
    [
        ("--baseline=foo", "--baseline: expected site, pooled, both or none, found 'foo'"),
        ("--baseline=none,site", "found 'none,site'"),
        ("--batch_size=0", "--batch_size: expected at least 1, found 0"),
        ("--local_epochs=-1", "--local_epochs: expected at least 1, found -1"),
        ("--image_size=0", "--image_size: expected at least 1, found 0"),
        ("--heatmaps=-1", "--heatmaps: expected at least 0, found -1"),
        ("--seed=-1", "--seed: expected at least 0, found -1"),
        ("--learning_rate=0", "learning rate: expected above 0, found 0.0"),
        ("--momentum=5", "--momentum: expected 0 to 0.9999, found 5.0"),
        ("--proximal=nan", "--proximal: expected 0 to 1e+06, found nan"),
        (
            "--batch_norm=local --partition=iid --clients_per_site=2",
            "expected one client per site",
        ),
        (
            "--batch_norm=recompute --aggregator=secure",
            "expected --aggregator=mean with it, since the statistics are plain sums",
        ),
        ("--learning_rate=nan", "learning rate: expected above 0, found nan"),
        ("--learning_rate=inf", "learning rate: expected above 0, found inf"),
        ("--max_rejected_fraction=2", "--max_rejected_fraction: expected 0 to 1, found 2.0"),
        ("--clients_per_round=some", "expected 'all', a count of at least 1 or a fraction"),
        ("--clients_per_round=0", "a fraction in (0, 1], found '0'"),
        ("--clients_per_round=1.5", "a fraction in (0, 1], found '1.5'"),
        ("--image_size=100000", "--image_size: expected at most 4096, found 100000"),
        ("--partition=dirichlet --alpha=0", "--alpha: expected above 0, found 0.0"),
        ("--momentum=0.9", "--momentum: expected --optimizer=sgd with it, found --optimizer=adam"),
        ("--nesterov", "--nesterov: expected a --momentum above 0 with it, found --momentum=0.0"),
        ("--clip_norm=-1", "--clip_norm: expected 0 to 1e+06, found -1.0"),
        ("--aggregator=dp", "--dp_noise_multiplier above 0, found 0.0"),
        (
            "--plateau_patience=3",
            "--schedule=plateau with it, found --schedule=polynomial",
        ),
        ("--head_learning_rate=1", "--head_rounds with it, found --head_rounds=0"),
        (
            "--hostile_clients=1",
            "expected --aggregator=median, trimmed_mean, krum, geometric_median",
        ),
        (
            "--aggregator=krum --hostile_clients=0",
            "--hostile_clients: expected at least 1, found 0",
        ),
        ("--aggregator=krum --weighting=uniform", "--weighting: expected another --aggregator"),
        ("--attack=sign", "--attackers: expected clients or sites with --attack, found none"),
        ("--attackers=a", "--attackers: expected --attack=labels, scale, sign, noise, back"),
        (
            "--attack=labels --attackers=a --attack_strength=2",
            "expected --attack=scale, sign, noise or",
        ),
        ("--attack=sign --attackers=a --engine=ray", "--attack: expected --engine=local with it"),
        (
            "--quarantine=exclude --aggregator=secure",
            "that shows the server each update, found secure",
        ),
        ("--dp_noise_multiplier=1", "expected --aggregator=dp with it, found --aggregator=mean"),
        ("--alpha=1 --partition=iid", "found --partition=iid"),
        ("--clients_per_site=2", "expected a --partition with it, found --partition=none"),
        ("--site=a=rsna:x:Edema --phantom_patients=9", "--phantom_patients: expected no --site"),
        ("--site=rsna", "--site: expected NAME=LOADER:PATH or NAME=LOADER:PATH:FINDING, found"),
        ("--site=a=rsna:x:", "NAME=LOADER:PATH:FINDING, found 'a=rsna:x:'"),
        ("--site=a=mimic:x:Edema", "found 'mimic'"),
    ],
)
def test_a_bad_flag_does_not_even_make_the_folder(tmp_path, flag, expected):
    ended = programs.run("cheXviz", f"--output_dir={tmp_path / 'run'}", *flag.split())
    assert expected in programs.refusal(ended)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given,expected",
    [
        (
            "--aggregator=krum",
            "at least 5 clients in a round for --hostile_clients=1 and krum, found 2",
        ),
        ("--attack=sign --attackers=nobody", "--attackers: expected names of"),
    ],
)
def test_hostile_clients_are_counted_before_images_are_decoded(tmp_path, given, expected):
    run = tmp_path / "run"
    ended = programs.run("cheXviz", f"--output_dir={run}", "--phantom_patients=40", *given.split())
    assert expected in programs.refusal(ended)
    assert not list(run.rglob("*.tfrecord"))


def _refused(tmp_path, *flags):
    return programs.refusal(
        programs.run("cheXviz", f"--output_dir={tmp_path / 'run'}", *SMALL, *flags)
    )


@pytest.fixture
def rsna(tmp_path):
    """A copy of the tiny RSNA folder that may be spoilt, and its site flag."""
    folder = tmp_path / "rsna"
    shutil.copytree(RSNA, folder)
    return folder


def _site(folder, finding="Lung Opacity"):
    return f"--site=a=rsna:{folder}:{finding}"


def _images(folder):
    return sorted((folder / "stage_2_train_images").glob("*.dcm"))


class TestData:
    def test_a_missing_folder(self, tmp_path):
        assert str(tmp_path / "nowhere") in _refused(tmp_path, _site(tmp_path / "nowhere"))

    def test_a_csv_without_a_column(self, tmp_path, rsna):
        path = rsna / "stage_2_train_labels.csv"
        path.write_text(path.read_text().replace("Target", "Label", 1))
        line = _refused(tmp_path, _site(rsna))
        assert "stage_2_train_labels.csv" in line
        assert "Target" in line

    def test_a_dicom_that_is_a_text_file(self, tmp_path, rsna):
        _images(rsna)[0].write_text("This is not a radiograph.")
        line = _refused(tmp_path, _site(rsna), "--max_rejected_fraction=0.05")
        assert _images(rsna)[0].name in line
        assert "found a text file that starts with 'This is not a radiograph.'" in line

    def test_truncated_pixels(self, tmp_path, rsna):
        path = _images(rsna)[0]
        path.write_bytes(path.read_bytes()[:-400])
        line = _refused(tmp_path, _site(rsna))
        assert path.name in line
        assert "found a truncated file" in line

    def test_a_finding_that_no_image_has(self, tmp_path):
        assert "Hernia" in _refused(tmp_path, _site(RSNA, "Hernia"))

    def test_a_site_with_one_class_only(self, tmp_path, rsna):
        for name in ("stage_2_train_labels.csv", "stage_2_detailed_class_info.csv"):
            with open(rsna / name, newline="") as file:
                rows = list(csv.reader(file))
            healthy = _healthy()
            with open(rsna / name, "w", newline="") as file:
                csv.writer(file).writerows([rows[0], *(r for r in rows[1:] if r[0] in healthy)])
        line = _refused(tmp_path, _site(rsna))
        assert "expected images with and without 'Lung Opacity', found 0 with" in line

    def test_two_sites_of_one_name(self, tmp_path):
        line = _refused(tmp_path, OPACITY, PNEUMOTHORAX.replace("b=", "a="))
        assert "expected names that differ in letters or digits, found a, a" in line


def _healthy():
    rows = programs.read_rows(RSNA / "stage_2_train_labels.csv")
    return {row["patientId"] for row in rows if row["Target"] == "0"}


class TestModel:
    def test_images_too_small_for_the_model(self, tmp_path):
        line = _refused(tmp_path, "--image_size=4")
        assert "needs an image size of at least" in line
        assert not (tmp_path / "run" / "phantoms").exists()

    def test_a_weights_file_that_is_not_there(self, tmp_path):
        line = _refused(tmp_path, f"--weights={tmp_path / 'best.h5'}")
        assert "--weights: expected none, imagenet, a run's folder or a file, found" in line
        assert "best.h5" in line
        line = _refused(tmp_path, f"--weights={tmp_path}")
        assert "--weights: expected a complete run with an exported model" in line
        assert not (tmp_path / "run" / "phantoms").exists()

    @pytest.mark.parametrize("name", ["", "a" * 300])
    def test_weights_that_no_file_is_called(self, tmp_path, name):
        line = _refused(tmp_path, f"--weights={name}")
        assert "--weights: expected none, imagenet, a run's folder or a file, found" in line

    @pytest.mark.parametrize(
        ("config", "expected"),
        [
            ('{"derived": {"wid', "--weights: expected a run's configuration in"),
            ('{"derived": {"width": 5}}', "found width 5"),
            ('{"derived": {"width": 0.25}}', "--width: expected 0.25, that of the run"),
        ],
    )
    @pytest.mark.parametrize("file", ["", "models/site_a.h5"])
    def test_weights_of_a_run_whose_width_is_another(self, tmp_path, config, expected, file):
        weights = tmp_path / "other" / file
        (tmp_path / "other" / "models").mkdir(parents=True)
        (tmp_path / "other" / "models" / "site_a.h5").touch()
        (tmp_path / "other" / "config.json").write_text(config)
        assert expected in _refused(tmp_path, f"--weights={weights}", "--width=0.5")

    def test_imagenet_weights_without_a_network(self, tmp_path):
        nowhere = "http://127.0.0.1:9"  # The port of a service that throws everything away.
        ended = programs.run(
            "cheXviz",
            f"--output_dir={tmp_path / 'run'}",
            "--model=mobilenetv2",
            "--weights=imagenet",
            environment={"HOME": str(tmp_path), "HTTPS_PROXY": nowhere, "https_proxy": nowhere},
        )
        assert "--weights=FILE" in programs.refusal(ended)

    def test_more_clients_than_there_are(self, tmp_path):
        line = _refused(tmp_path, OPACITY, PNEUMOTHORAX, "--clients_per_round=3")
        assert "expected a count from 1 to 2, found 3" in line
        assert not (tmp_path / "run" / "cache").exists()  # Before any image is decoded.


class TestFolder:
    def test_a_folder_with_other_files(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "thesis.tex").write_text("mine")
        assert "found 'thesis.tex'" in _refused(tmp_path, OPACITY)
        assert os.listdir(tmp_path / "run") == ["thesis.tex"]

    def test_another_programs_run(self, tmp_path):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "config.json").write_text('{"recipe": "covid", "settings": {}}')
        assert "holds a run of covid, expected one of cheXviz" in _refused(tmp_path, OPACITY)

    def test_a_file_in_its_place(self, tmp_path):
        pathlib.Path(tmp_path / "run").write_text("")
        assert "expected a folder that can be written" in _refused(tmp_path, OPACITY)

    def test_a_mistake_can_be_mended_in_the_same_folder(self, tmp_path):
        _refused(tmp_path, _site(RSNA, "Hernia"))
        line = _refused(tmp_path, _site(RSNA, "Edema"))
        assert "Edema" in line
        assert "holds a run with" not in line
