"""Tests of run_tables: what is written has the columns that readers expect."""

import pandas as pd
import pytest

from tffcxr import run_tables
from tffcxr.report import run_files

_TABLES = [value for value in vars(run_tables).values() if isinstance(value, run_tables.Table)]


def _example(schema):
    return pd.DataFrame({name: ["a" if name in schema.texts else 0.5] for name in schema.always})


@pytest.mark.parametrize("schema", _TABLES, ids=lambda schema: schema.file)
def test_what_is_written_can_be_read(tmp_path, schema):
    schema.write(tmp_path, _example(schema))
    found = run_files.read_table(tmp_path, schema)
    assert (tmp_path / schema.file).exists()
    pd.testing.assert_frame_equal(found, _example(schema))


def test_other_columns_are_not_written(tmp_path):
    table = _example(run_tables.CASES)
    for wrong, name in (
        (table.drop(columns="dice"), "'dice'"),
        (table.assign(patient="P-1"), "'patient'"),
        (table[sorted(table)], "expected columns"),
    ):
        with pytest.raises(ValueError, match=f"cases.csv: .*{name}"):
            run_tables.CASES.write(tmp_path, wrong)
    assert not list(tmp_path.iterdir())


def test_columns_of_tasks_stand_between_those_of_all_rounds():
    columns = list(run_tables.ROUNDS.columns)
    run_tables.ROUNDS.check(
        [*columns[:-1], "A/auroc", "No Lung Opacity / Not Normal/loss", "stage"]
    )
    # Joined logs have a training loss and perhaps a learning rate for each model.
    run_tables.ROUNDS.check([*columns[:5], "unet/train_loss", "stage"])
    with pytest.raises(ValueError, match="rounds.csv: expected columns"):
        run_tables.ROUNDS.check([*columns, "note"])


def test_a_schema_knows_its_own_columns():
    with pytest.raises(ValueError, match="found {'b'}"):
        run_tables.Table("t.csv", ("a",), texts=frozenset({"b"}))
