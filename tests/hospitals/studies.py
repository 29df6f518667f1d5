"""A small study and its kits, for tests."""

from tffcxr.hospitals import provision
from tffcxr.hospitals.proposals import Proposal
from tffcxr.hospitals.study_files import Site

STUDY = """
name = "opacity"
coordinator = "study.example.org:443"
days = 30
[sites.north]
finding = "Lung Opacity"
[sites.south]
finding = "Pneumothorax"
"""


def write_study(folder, text=STUDY):
    path = folder / "study.toml"
    path.write_text(text, "utf-8")
    return path


def make_kits(folder, **changes):
    """Provisions the study below a folder; returns the folder of the kits."""
    provision.provision(write_study(folder), folder / "kits", **changes)
    return folder / "kits"


def proposal(**settings):
    return Proposal(
        study="opacity",
        recipe="cheXviz",
        settings={
            "rounds": 10,
            "head_rounds": 2,
            "local_epochs": 3,
            "model": ["standard", "densenet121"],
            "share": "representation",
            "batch_norm": "local",
            "aggregator": "mean",
            "dp_noise_multiplier": 0.0,
            **settings,
        },
        sites=(Site("north", ("Lung Opacity",)), Site("south", ("Pneumothorax",))),
        versions={"python": "3.11.4", "tensorflow": "2.14.1"},
    )
