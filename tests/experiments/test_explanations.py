"""What a heat map is compared with."""

from experiments import explanations
from tffcxr.datasets.annotations import Boxes, MaskFile

BOX = Boxes(((1, 1, 2, 2),), 8, 8)
LUNGS = MaskFile("lungs.png")


def test_an_outline_of_the_lungs_is_no_outline_of_the_finding():
    assert explanations.annotation_of({"mask": LUNGS, "lungs": MaskFile("lungs.png")}) is None
    assert explanations.annotation_of({"mask": BOX, "lungs": LUNGS}) is BOX
    assert explanations.annotation_of({"mask": None, "lungs": LUNGS}) is None
    assert explanations.annotation_of({"mask": BOX, "lungs": None}) is BOX
