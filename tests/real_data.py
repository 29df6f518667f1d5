"""Where tests find the real chest X-rays that are not part of the repository."""

import os
import pathlib

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def real_data(name: str) -> pathlib.Path:
    """Returns the folder of one real dataset, or skips the calling test.

    Args:
      name: the dataset's folder below `TFFCXR_DATA` (default: `../shared/data` beside the
        repository), such as "rsna".
    """
    root = pathlib.Path(os.environ.get("TFFCXR_DATA", _REPOSITORY.parent / "shared" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(
            f"real data not found: {folder} (set TFFCXR_DATA to the folder that holds {name}/)"
        )
    return folder
