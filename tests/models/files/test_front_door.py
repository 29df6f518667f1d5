"""What a Python user gets from `import tffcxr`."""

import subprocess
import sys

from tests.models.files import exported_models
import tffcxr
from tffcxr.models.files import export


def test_a_model_is_loaded_by_its_run(tmp_path):
    for number, name in enumerate(("first", "second"), start=1):
        exported = exported_models.exported("classes", seed=number, number=number)
        export.save(tmp_path / "models" / f"{name}.keras", exported)
    assert tffcxr.load_model(tmp_path).metadata.number == 1
    assert tffcxr.load_model(str(tmp_path), "second").metadata.number == 2


def test_the_import_alone_is_quick():
    code = "import sys, tffcxr; print(sorted({'tensorflow', 'numpy', 'pandas'} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "[]\n"
