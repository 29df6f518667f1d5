"""`prepare` prints what is in data sets, and ends with status 2 where a training would be wrong."""

from tests.data_check import planted
from tests.experiments import programs


def test_clean_data(tmp_path):
    planted.write_table(tmp_path / "data", planted.clean(tmp_path / "data"))
    flags = f"--site=a=csv:{tmp_path / 'data'}", f"--output_dir={tmp_path / 'out'}"
    ended = programs.run("prepare", flags[0] + ':"Pneumonia"', flags[1])
    assert ended.status == 0, ended.errors
    assert "site a: Pneumonia is ignored, since every finding is looked at" in ended.errors
    assert "a: 24 images of 24 patients" in ended.output
    assert programs.read_json(tmp_path / "out" / "check.json")["files_were_read"] is False
    ended = programs.run("prepare", "--check", *flags)
    assert ended.status == 0, ended.errors
    assert programs.read_json(tmp_path / "out" / "check.json")["faults"] == []


def test_faults(tmp_path):
    rows = planted.clean(tmp_path / "data")
    (tmp_path / "data" / "image5.png").write_bytes(b"no image")
    planted.write_table(tmp_path / "data", rows)
    out = tmp_path / "out"
    ended = programs.run(
        "prepare", "--check", f"--site=a=csv:{tmp_path / 'data'}", f"--output_dir={out}"
    )
    assert ended.status == 2
    assert "training on this would give wrong results: unusable file" in ended.errors
    assert "image5.png" in ended.output and (out / "check.html").is_file()


def test_bad_flags(tmp_path):
    assert "--site: expected" in programs.refusal(programs.run("prepare"))
    line = programs.refusal(programs.run("prepare", "--site=a=csv:/data/tpyo"))
    assert line == "prepare: --site: expected a data set at /data/tpyo, found nothing"
    (tmp_path / "t.csv").write_text("File,Patient,Mass\n")
    ended = programs.run("prepare", f"--site=a=csv:{tmp_path}", f"--output_dir={tmp_path / 'o'}")
    assert "found nothing below row 1" in programs.refusal(ended)
    line = programs.refusal(programs.run("prepare", "--site=a=nothing:/data"))
    assert "found 'nothing'" in line
