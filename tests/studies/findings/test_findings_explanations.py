"""What a heat map is compared with."""

from tffcxr.datasets.imaging.annotations import Boxes, MaskFile
from tffcxr.studies.findings import findings_explanations

BOX = Boxes(((1, 1, 2, 2),), 8, 8)
LUNGS = MaskFile("lungs.png")


def test_an_outline_of_the_lungs_is_no_outline_of_the_finding():
    assert (
        findings_explanations.annotation_of({"mask": LUNGS, "lungs": MaskFile("lungs.png")}) is None
    )
    assert findings_explanations.annotation_of({"mask": BOX, "lungs": LUNGS}) is BOX
    assert findings_explanations.annotation_of({"mask": None, "lungs": LUNGS}) is None
    assert findings_explanations.annotation_of({"mask": BOX, "lungs": None}) is BOX
