"""Nothing of a table is cut off, whatever its width."""

import re

import pytest

from tffcxr.report import text_table


def test_names_that_are_too_long_go_on_in_the_next_line():
    name = "/a/" + "b" * 200 + "/end.h5"
    text = text_table.format_table(["weights", "best"], [[name, "0.5"], ["none", "0.25"]], 1)
    heading, rule, *lines = text.splitlines()
    assert heading.split() == ["weights", "best"]
    assert max(map(len, text.splitlines())) == len(rule) == 100
    *first, second = lines
    assert first[0].endswith("0.5") and second.split() == ["none", "0.25"]
    assert "".join(line[:94].strip() for line in first) == name


def test_names_are_broken_where_they_have_parts():
    names = ["clients_per_round", "images_of_the_site"] * 4
    cells = [["Lung Opacity, left"] * 8 + ["1"]]
    lines = text_table.format_table([*names, "best"], cells, 8).splitlines()
    assert lines[0].split()[:3] == ["row", "clients_per_", "images_of_"]
    assert lines[1].split()[:2] == ["round", "the_site"]
    assert lines[3].split()[:3] == ["1", "Lung", "Lung"]
    assert [line.split()[0] for line in lines[4:6]] == ["Opacity,", "left"]


@pytest.mark.parametrize("names", [1, 2, 5])
@pytest.mark.parametrize("numbers", [1, 7, 30])
def test_every_column_is_shown(names, numbers):
    headings = [f"name {i} of the configuration" for i in range(names)]
    headings += [f"metric {i}" for i in range(numbers)]
    cells = [
        [f"value-{i}-{row}" for i in range(names)] + [f"{i}.{row} ± 0.1" for i in range(numbers)]
        for row in range(3)
    ]
    text = text_table.format_table(headings, cells, names)
    assert all(len(line) <= 100 for line in text.splitlines())
    flat = " ".join(text.split())
    for row in cells:
        assert all(re.search(rf"(^| ){re.escape(cell)}( |$)", flat) for cell in row)
    blocks = text.split("\n\n")
    for block in blocks:  # Every row is named in every block.
        rows = [line for line in block.splitlines() if "value-0-" in line or line[0] in "123"]
        assert len(rows) == 3
    assert len(blocks) > 1 or numbers < 30


def test_a_table_that_fits_is_one_block_with_numbers_on_the_right():
    text = text_table.format_table(["rate", "best"], [["0.1", "0.500"], ["0.05", "1.000"]], 1)
    assert text.splitlines() == ["rate   best", "----  -----", "0.1   0.500", "0.05  1.000"]
