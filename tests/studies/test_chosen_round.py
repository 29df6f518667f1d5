"""What a row of results says of how its round was chosen."""

import pytest

from tffcxr.clients.sites import ClientRecords
from tffcxr.evaluation import registry
from tffcxr.studies.findings.findings_study import FindingsStudy
from tffcxr.studies.study import Settings
from tffcxr.studies.trainings import Trained


@pytest.mark.parametrize(
    ("report_round", "is_chosen", "chosen"),
    [
        ("best", True, "largest AUROC on the validation images"),
        ("best", False, "the last round, since no round has a known AUROC"),
        ("last", False, "the last round"),
    ],
)
def test_the_round_was_chosen_by_what_is_said(tmp_path, report_round, is_chosen, chosen):
    study = FindingsStudy(
        Settings("cheXviz", 32, 1, tmp_path, report_round=report_round),
        ClientRecords({}, {}, {}, {}),
        plans={},
        baselines=(),
        heatmaps=0,
    )
    about = study.about_rounds(registry.AUROC, Trained({}, {}, 3, 4, 4, is_chosen))
    assert about == {"report_round": report_round, "chosen": chosen, "round": 3, "rounds": 4}
