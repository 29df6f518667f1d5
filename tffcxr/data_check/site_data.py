"""One site's records beside what its files say."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

import numpy as np
import pandas as pd

from tffcxr.clients.sites import Site
from tffcxr.data_check import image_facts
from tffcxr.data_check.image_facts import Facts
from tffcxr.datasets import records


@dataclasses.dataclass(frozen=True)
class SiteData:
    """A data set.

    Attributes:
      site: its name, loader and folder.
      table: its records.
      facts: of each record's image, in the same order.
    """

    site: Site
    table: pd.DataFrame
    facts: Sequence[Facts]

    @property
    def name(self) -> str:
        """Of the site."""
        return self.site.name

    @property
    def source(self) -> str:
        """Its loader."""
        return self.site.loader

    @property
    def findings(self) -> list[str]:
        """What the site labels."""
        return records.findings(self.table)

    @property
    def is_readable(self) -> np.ndarray:
        """Of each record: bool [N]."""
        return np.array([facts.is_readable for facts in self.facts], bool)

    def thumbnails(self) -> np.ndarray:
        """Of the readable images: uint8 [M, 64, 64]."""
        return image_facts.thumbnails([facts for facts in self.facts if facts.is_readable])

    def paths(self, chosen: np.ndarray) -> list[str]:
        """The images of some rows, bool [N] or places."""
        return [str(path) for path in self.table["image"].to_numpy()[chosen]]
