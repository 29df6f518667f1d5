"""What is wrong with a data set, in sentences, with the images that it is about."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
from typing import Any

WRONG, WARNING = "wrong", "warning"
_MOST_EXAMPLES = 20


def against(tolerated: float, is_more: bool) -> str:
    """How a number of files compares with the fraction that may be left out, 0 to 1, in words."""
    words = "more than" if is_more else "at most"
    return f"{words} the {100 * tolerated:.3g} % of --max_rejected_fraction"


@dataclasses.dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
      kind: a few words, the same in every data set, such as "unusable file".
      severity: `WRONG` where training would give wrong results, otherwise `WARNING`.
      sentence: what was found.
      images: paths of the images that it is about, those of a pair joined by " = "; may be empty.
    """

    kind: str
    severity: str
    sentence: str
    images: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """The values of the file."""
        return {**dataclasses.asdict(self), "images": list(self.images)}

    @property
    def examples(self) -> Sequence[str]:
        """The first images."""
        return self.images[:_MOST_EXAMPLES]

    @property
    def more(self) -> int:
        """How many images there are besides the examples."""
        return max(0, len(self.images) - _MOST_EXAMPLES)
