"""The benchmark: engines in processes of their own, the rows they make, and the command line."""

import json
import os
import pathlib
import subprocess
import sys
import time

import psutil
import pytest

from tests.experiments import programs
from tffcxr.benchmarks import benchmark_process, benchmark_results
from tffcxr.benchmarks.benchmark_engines import Job
from tffcxr.benchmarks.benchmark_process import Outcome, Repetition

MEGABYTE = 1_000_000
DICOM_DIR = pathlib.Path(__file__).parents[2] / "testdata" / "rsna"


def dicom_files():
    return tuple(str(path) for path in sorted(DICOM_DIR.rglob("*.dcm")))


def loop_job(images=None, engine="pydicom"):
    """A job that needs no TensorFlow: the plain loop over DICOM files."""
    images = dicom_files() if images is None else images
    return Job(engine, 0, None, 32, images=images)


def outcome(engine, speeds, model="standard", clients=2, memory=0, peak=0):
    """An outcome of 100 images per repetition at the given images per second."""
    repetitions = [Repetition(100 / speed, 100, memory) for speed in speeds]
    return Outcome(
        Job(engine, clients, model, 128),
        import_seconds=3.0,
        build_seconds=2.0,
        first=Repetition(5.0, 100, memory),
        repetitions=repetitions,
        peak_memory=peak,
    )


def run_program(*flags):
    return subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )


def test_race_runs_every_job_so_many_times_in_turns(tmp_path):
    notes: list[str] = []
    first, second = benchmark_process.race(
        [loop_job(), loop_job(dicom_files()[:1])], [2, 1], tmp_path / "log", notes.append
    )
    images = len(dicom_files())
    assert images > 1
    assert [r.images for r in first.repetitions] == [2 * images, images]
    assert [r.images for r in second.repetitions] == [2, 1]
    assert first.error is None and first.first and first.first.images == images
    assert first.import_seconds > 0 and first.build_seconds + first.first.seconds > 0
    assert 10 * MEGABYTE < first.peak_memory < 1000 * MEGABYTE
    assert [n for n in notes if "repetition" in n][1].endswith("images/s")


def test_failed_job_is_named_and_does_not_end_the_others(tmp_path):
    failing = loop_job(images=(str(tmp_path / "absent.dcm"),))
    bad, good = benchmark_process.race([failing, loop_job()], [1], tmp_path / "log")
    assert bad.error and "FileNotFoundError" in bad.error and "\n" not in bad.error
    assert bad.speed is None and good.speed is not None and good.speed > 0
    assert "Traceback" in (tmp_path / "log").read_text()


def test_process_that_dies_is_an_error_with_its_status(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_process, "_START", "import os; os.kill(os.getpid(), 9)")
    (dead,) = benchmark_process.race([loop_job()], [1], tmp_path / "log")
    assert dead.error == "the process ended with status -9"


def test_race_leaves_no_process_behind(tmp_path, monkeypatch):
    start = (
        "import subprocess, sys; subprocess.Popen(['sleep', '1234.5']); " + benchmark_process._START
    )
    monkeypatch.setattr(benchmark_process, "_START", start)
    benchmark_process.race([loop_job()], [1], tmp_path / "log")
    commands = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"])]
    assert ["sleep", "1234.5"] not in commands


def test_memory_counts_descendants():
    hold = "import time; data = bytearray({}); data[::4096] = b'x' * len(data[::4096]); "
    child = hold.format(100 * MEGABYTE) + "time.sleep(60)"
    code = hold.format(50 * MEGABYTE) + "import subprocess, sys; "
    code += f"subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", code]) as program:
        try:
            family = benchmark_process.FamilyMemory(program.pid)
            deadline = time.monotonic() + 30
            while family.resident(refresh=True) < 150 * MEGABYTE and time.monotonic() < deadline:
                time.sleep(0.05)
            alone = psutil.Process(program.pid).memory_info().rss
            assert 150 * MEGABYTE <= family.resident() < 300 * MEGABYTE
            assert alone < 130 * MEGABYTE
        finally:
            for child_process in psutil.Process(program.pid).children():
                child_process.kill()
            program.kill()


def test_row_holds_medians_and_their_ratio():
    keras = outcome("keras", [100.0, 400.0, 200.0])
    row = benchmark_results.row("round", outcome("device", [150.0, 10.0, 999.0], peak=2e9), keras)
    assert row["images_per_second"] == 150.0
    assert row["ratio_to_keras"] == 0.75  # 150 / 200
    assert row["peak_memory_mb"] == 2000.0
    assert row["repetitions"] == [150.0, 10.0, 999.0]
    assert (row["model"], row["image_size"], row["clients"], row["executor"]) == (
        "standard", 128, 2, "device",
    )  # fmt: skip


def test_row_of_a_failure_is_undefined_not_zero():
    failed = outcome("device", [100.0])
    failed.error = "out of memory"
    row = benchmark_results.row("round", failed, outcome("keras", [100.0]))
    assert row["images_per_second"] is row["ratio_to_keras"] is row["peak_memory_mb"] is None
    assert "failed: out of memory" in benchmark_results.format_table([row])


def test_ratio_is_undefined_without_keras():
    keras = outcome("keras", [])
    keras.error = "died"
    row = benchmark_results.row("round", outcome("device", [100.0]), keras)
    assert row["images_per_second"] == 100.0 and row["ratio_to_keras"] is None


def test_seconds_per_client_divide_a_round():
    row = benchmark_results.memory_row("clients", outcome("device", [50.0], clients=20))
    assert row["seconds_per_client"] == 0.1  # a round of 2 s


def test_a_protected_round_is_compared_with_a_plain_one():
    protected = outcome("device", [50.0])
    row = benchmark_results.row("round, dp_sgd", protected, None, ratio_to_plain_rounds=0.5)
    assert row["ratio_to_keras"] is None
    assert benchmark_results.format_table([row]).endswith("0.50 of plain rounds")


def test_growth_compares_the_first_look_with_the_last():
    grown = outcome("device", [100.0] * 3)
    memory = [1000 * MEGABYTE, 900 * MEGABYTE, 1020 * MEGABYTE]
    grown.repetitions = [Repetition(1.0, 100, each) for each in memory]
    row = benchmark_results.growth_row(grown, [49, 250, 200])
    assert row["memory_mb"] == {"50": 1000.0, "300": 900.0, "500": 1020.0}
    assert row["growth"] == 0.02
    assert "+2.0 % from round 50 to round 500" in benchmark_results.format_table([row])


def test_startup_adds_up_its_parts():
    row = benchmark_results.startup_row([outcome("stock", [100.0]), outcome("stock", [50.0])])
    parts = ("import_seconds", "tracing_seconds", "execution_seconds")
    assert [row[part] for part in parts] == [3.0, 2.0, 5.0]
    assert row["total_seconds"] == 10.0 and row["round_seconds"] == 1.5
    assert row["images_per_second"] is None


def test_results_are_json_and_a_figure(tmp_path):
    keras = outcome("keras", [100.0])
    rows = [
        benchmark_results.row("round", keras, keras),
        benchmark_results.row("round", outcome("device", [90.0]), keras),
        benchmark_results.memory_row("clients", outcome("device", [50.0], peak=5e8)),
        benchmark_results.growth_row(outcome("native", [50.0, 60.0], memory=9e8), [49, 450]),
        benchmark_results.startup_row([outcome("stock", [100.0])]),
        benchmark_results.row("pipeline", outcome("pipeline", [10.0], model=None)),
    ]
    benchmark_results.write_json(tmp_path / "benchmark.json", rows, {"seed": 1}, True)
    read = json.loads((tmp_path / "benchmark.json").read_text())
    assert read["rows"] == rows and read["complete"] and read["settings"] == {"seed": 1}
    assert read["rows"][-1]["model"] is None and read["rows"][-1]["executor"] is None
    benchmark_results.write_figure(tmp_path / "benchmark.png", rows)
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    table = benchmark_results.format_table(rows).splitlines()
    assert len(table) == 1 + len(rows)
    assert "tffcxr, device" in table[2] and "0.90" in table[2]


def test_help_is_quick_and_needs_no_tensorflow():
    code = (
        "import sys; sys.argv = ['benchmark', '--help']\n"
        "import atexit; atexit.register(lambda: print('LOADED', 'tensorflow' in sys.modules))\n"
        "import runpy; runpy.run_module('experiments.benchmark', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    assert "--dicom_dir" in done.stdout and "LOADED False" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--measure=rounds,speed"], "--measure: expected some of rounds,memory"),
        (["--executors="], "--executors: expected some of device,native"),
        (["--clients=2,none"], "--clients: expected counts of at least 1, found '2,none'"),
        (["--repetitions=0"], "--repetitions: expected at least 1, found 0"),
    ],
)
def test_bad_flag_is_one_line_and_status_2(flags, message, tmp_path):
    ended = programs.run("benchmark", f"--output_dir={tmp_path / 'out'}", *flags)
    assert ended.status == 2
    assert message in ended.errors and len(ended.errors.splitlines()) == 1


def test_earlier_results_are_not_overwritten(tmp_path):
    (tmp_path / "benchmark.json").write_text("mine")
    ended = programs.run("benchmark", f"--output_dir={tmp_path}")
    assert ended.status == 2 and "expected an empty folder or none" in ended.errors
    assert (tmp_path / "benchmark.json").read_text() == "mine"


def test_preparing_real_layout_end_to_end(tmp_path):
    done = run_program(
        f"--output_dir={tmp_path}", "--quick", "--measure=prepare", f"--dicom_dir={DICOM_DIR}"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "benchmark.json").read_text())
    ours, loop = result["rows"]
    assert result["complete"] and ours["images"] == loop["images"] > 1
    assert ours["what"] == "prepare" and ours["ratio_to_plain_loop"] == pytest.approx(
        ours["images_per_second"] / loop["images_per_second"], abs=0.01
    )
    assert "times the plain loop" in done.stdout
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"benchmark.json", "benchmark.log", "benchmark.png"}


@pytest.mark.parametrize(
    ("engine", "protection"), [("keras", "mean"), ("device", "mean"), ("device", "dp_sgd")]
)
def test_training_engines_count_the_images_they_train_on(engine, protection, tmp_path):
    """All see every image of both clients once in a round."""
    pd = pytest.importorskip("pandas")
    from tffcxr.benchmarks import benchmark_engines
    from tffcxr.clients.shards.preparation import ShardSpec, prepare

    table = pd.DataFrame({"image": dicom_files()[:3], "split": "train", "finding": [1.0, 0.0, 1.0]})
    store = prepare({"a": table, "b": table}, ShardSpec(16, ("finding",)), tmp_path, workers=1)
    job = Job(
        engine,
        2,
        "standard",
        16,
        batch_size=2,
        store=str(store.root),
        protection=protection,
        batch_norm="group",
    )
    engine = benchmark_engines.ENGINES[engine](job)
    assert engine.run(1) == 6
    assert engine.run(2) == 12
