"""Every row of the tables of single images gets its own file and patient, or nothing is written."""

import shutil

import pandas as pd
import pytest

from tffcxr import errors, kept_names, run_tables
from tffcxr.report import file_names, shared_copy


@pytest.fixture(name="run")
def _run(tmp_path):
    run = tmp_path / "run"
    images = pd.DataFrame(
        {
            "client": ["a", "a", "007"],
            "row": ["0", "1", "0"],
            "split": ["train", "test", "test"],
            "image": ["/x/NA.png", "/x/1.png", "/y/0.png"],
            "patient": ["007", "NA", "p"],
        }
    )
    kept_names.write(run, run_tables.IMAGES, images)
    kept_names.write_settings(run, {}, ["tffcxr", "cheXviz", "--site=a=csv:/x y"])
    (run / "predictions.csv").write_text(
        "task,training,client,split,row,label,score\n"
        "T,site,007,test,0,1.0,0.50\nT,site,a,test,1,,0.25\nT,pooled,a,test,1,,0.75\n"
    )
    (run / "lungs.csv").write_text("client,row,plausible,reason,area,jaccard\na,0,1,,0.3,\n")
    return run


def test_every_row_gets_its_file_and_its_patient(run):
    predictions, lungs, images, command = file_names.write(run)
    assert predictions.read_text() == (
        "task,training,client,split,row,label,score,image,patient\n"
        "T,site,007,test,0,1.0,0.50,/y/0.png,p\n"
        "T,site,a,test,1,,0.25,/x/1.png,NA\n"
        "T,pooled,a,test,1,,0.75,/x/1.png,NA\n"
    )
    assert lungs.read_text() == (
        "client,row,plausible,reason,area,jaccard,split,image,patient\na,0,1,,0.3,,train,/x/NA.png,007\n"
    )
    assert images.read_text().splitlines()[:2] == [
        "client,row,split,image,patient", "a,0,train,/x/NA.png,007",
    ]  # fmt: skip
    assert command.read_text() == "tffcxr cheXviz '--site=a=csv:/x y'\n"
    assert {path.parent for path in (predictions, lungs, images, command)} == {run / "cache"}
    assert "x/1.png" not in (run / "predictions.csv").read_text()


def test_volumes_get_the_files_that_they_were_read_from(run):
    cases = "task,training,case,overlap,dice,missed\nT,site,1,,0.5,0\nU,site,1,,0.25,1\n"
    (run / "cases.csv").write_text(cases)
    files = pd.DataFrame(
        [("U", "1", "a", "NA", "/x/CT | /x/m.nii"), ("T", "1", "a", "007", "/y/CT")],
        columns=["task", "case", "site", "patient", "files"],
    )
    kept_names.write(run, run_tables.CASE_FILES, files)
    # Of a run before pictures said their client and row.
    (run / "explanations.csv").write_text("task,case,training,score,file\nT,1,site,0.5,x\n")
    *_, joined, _, _ = file_names.write(run)
    assert joined.read_text() == (
        "task,training,case,overlap,dice,missed,site,patient,files\n"
        "T,site,1,,0.5,0,a,007,/y/CT\nU,site,1,,0.25,1,a,NA,/x/CT | /x/m.nii\n"
    )
    (run / "cases.csv").write_text(cases.replace("U", "V"))
    with pytest.raises(errors.InputError, match="found none for task V, case 1"):
        file_names.write(run)


def test_the_folder_of_the_names_is_never_shared():
    (patterns,) = (files for what, files in shared_copy._KINDS if "images of patients" in what)
    assert kept_names.FOLDER in patterns


def test_tables_that_do_not_fit_are_refused(run):
    (run / "lungs.csv").write_text("client,row\na,5\n")
    with pytest.raises(errors.InputError, match="found none for client a, row 5"):
        file_names.write(run)
    names = kept_names.read(run, run_tables.IMAGES)
    assert names is not None
    kept_names.write(run, run_tables.IMAGES, pd.concat([names, names[:1]]))
    with pytest.raises(errors.InputError, match="a row per image .*, found several of one"):
        file_names.write(run)
    shutil.rmtree(run / "cache")
    with pytest.raises(errors.InputError, match="expected a table of names in .*images.csv.sealed"):
        file_names.write(run)


def test_names_of_an_earlier_version_are_read_as_they_are(run):
    names = kept_names.read(run, run_tables.IMAGES)
    assert names is not None
    expected = [path.read_bytes() for path in file_names.write(run)[:3]]
    shutil.rmtree(run / "cache")
    run_tables.IMAGES.write(run / "cache", names)
    assert [path.read_bytes() for path in file_names.write(run)] == expected
    kept_names.write(run, run_tables.IMAGES, names)
    assert not (run / "cache" / "images.csv").exists()
    shutil.rmtree(run / "cache")
    (run / "cache").mkdir()
    (run / "cache" / "images.csv").write_text("client\na\n")
    with pytest.raises(errors.InputError, match="expected the column row in .*images.csv"):
        file_names.write(run)


def test_a_run_without_such_tables_is_refused(run):
    (run / "lungs.csv").unlink()
    (run / "predictions.csv").unlink()
    with pytest.raises(errors.InputError, match="such as predictions.csv, found none"):
        file_names.write(run)
