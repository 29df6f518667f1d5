"""What a user may say about how a data set is read."""

from __future__ import annotations

import dataclasses

from tffcxr import options
from tffcxr.datasets.tables.columns import Columns


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """Options of `loaders.load_records`; `loaders.OPTIONS` says which loader has which.

    Attributes:
      columns: of a table of one's own.
      uncertain: what a label of -1 counts as.
      views: "frontal" leaves lateral radiographs out.
      unlabelled: whether images without labels are accepted.
      lenient: whether a table with faults is read: of several rows of an image the first counts,
        and a patient may be in several splits. For a check, which reports them.
    """

    columns: Columns = Columns()
    uncertain: options.Uncertain = "ignore"
    views: options.Views = "frontal"
    unlabelled: bool = False
    lenient: bool = False


DEFAULT = LoadOptions()
