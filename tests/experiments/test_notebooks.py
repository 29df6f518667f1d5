"""Every notebook runs from its first cell to its last."""

import os
import pathlib
import sys

import nbclient
import nbformat
import pytest

import tffcxr

_TREE = str(pathlib.Path(tffcxr.__file__).parents[1])
NOTEBOOKS = sorted(pathlib.Path("experiments/notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_holds_no_outputs(path, tmp_path, monkeypatch):
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([_TREE, *sys.path]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    client = nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    assert all(cell.execution_count for cell in cells)
