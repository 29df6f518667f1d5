"""Derived seeds are stable and distinct."""

import subprocess
import sys

from tffcxr.clients import seeds


def test_the_same_in_every_process():
    here = seeds.derive_seed(1, "training", 2, "north")
    code = "from tffcxr.clients import seeds; print(seeds.derive_seed(1, 'training', 2, 'north'))"
    there = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    assert there.strip() == str(here)


def test_distinct_for_each_part_its_type_and_order():
    parts = [(1, 2), (2, 1), (12,), ("1", 2), (1, "2"), (1, 2, 0), (-1, 2), ("1\x1fint:2",)]
    derived = {seeds.derive_seed(*part) for part in parts}
    assert len(derived) == len(parts)
    assert all(0 <= half < 2**31 for pair in derived for half in pair)
