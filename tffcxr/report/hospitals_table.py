"""What the report of a coordinator says of its hospitals, which keep their images."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses

from tffcxr.report import results_table, run_reader

NO_RESULTS = (
    "No results: a hospital keeps those of fewer images or patients than its policy.toml says "
    "(smallest_count). Each hospital's own report has its results."
)
_MEGABYTE = 1e6


@dataclasses.dataclass(frozen=True)
class Hospital:
    """A hospital's part in the rounds of all trainings.

    Attributes:
      site: its name.
      took_part: in so many rounds.
      rounds: of so many.
      work_seconds: mean time at work per round that it took part in; None without any.
      wait_seconds: mean of the rest of these rounds' time; None without any.
      received_megabytes: that the coordinator received from it in all rounds, 10**6 bytes each.
      sent_megabytes: that the coordinator sent to it.
    """

    site: str
    took_part: int
    rounds: int
    work_seconds: float | None
    wait_seconds: float | None
    received_megabytes: float
    sent_megabytes: float


@dataclasses.dataclass(frozen=True)
class Hospitals:
    """All hospitals of a run.

    Attributes:
      hospitals: in the order of their names.
      without_results: the names of those that reported no result, in a complete run.
      empty_columns: of `rounds.csv`, those of metrics that no round has.
      partly_empty_columns: those that only some rounds have.
    """

    hospitals: Sequence[Hospital]
    without_results: Sequence[str]
    empty_columns: Sequence[str]
    partly_empty_columns: Sequence[str]


def of(run: run_reader.Run) -> Hospitals | None:
    """Returns what is known of the hospitals, None in a run that had none."""
    table = run.hospitals
    if table.empty:
        return None
    training = table["variant"] if "variant" in table else table["round"] * 0
    rounds = len({*zip(training, table["round"])})
    hospitals = []
    for site, rows in table.groupby("site", sort=True):
        present = rows[rows["took_part"] == "yes"]
        hospitals.append(
            Hospital(
                str(site),
                len(present),
                rounds,
                float(present["work_seconds"].mean()) if len(present) else None,
                float(present["wait_seconds"].mean()) if len(present) else None,
                float(rows["received_bytes"].sum()) / _MEGABYTE,
                float(rows["sent_bytes"].sum()) / _MEGABYTE,
            )
        )
    with_results = {results_table.client(row) for row in run.rows}
    # What models measure; the loss of training is known of all that take part.
    columns = [name for name in run.rounds if "/" in name and not name.endswith(("_loss", "_rate"))]
    missing = {name: int(run.rounds[name].isna().sum()) for name in columns}
    return Hospitals(
        hospitals,
        [each.site for each in hospitals if run.complete and each.site not in with_results],
        [name for name in columns if missing[name] == len(run.rounds)],
        [name for name in columns if 0 < missing[name] < len(run.rounds)],
    )
