"""Which test files a shard runs."""

from tffcxr.bazel import pytest_main

FILES = ["a.py", "b.py", "c.py", "d.py", "e.py"]


def test_without_shards_every_file_is_run():
    assert pytest_main.shard(FILES, {}) == FILES


def test_shards_together_run_every_file_once():
    shards = [
        pytest_main.shard(FILES, {"TEST_TOTAL_SHARDS": "2", "TEST_SHARD_INDEX": str(index)})
        for index in range(2)
    ]
    assert shards == [["a.py", "c.py", "e.py"], ["b.py", "d.py"]]
