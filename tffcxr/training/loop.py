"""The loop over rounds that the federated and the centralised training share.

After every round the metrics are appended to the CSV files and then the state is saved; a resumed
run starts from the last whole checkpoint and drops the rows of later rounds. All randomness is a
function of (seed, round, client), so repeated rounds give the same results.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import math
import pathlib
import time
from typing import Any, Protocol

import tensorflow as tf

from tffcxr import run_tables
from tffcxr.errors import InputError, RunError, one_line
from tffcxr.evaluation import registry
from tffcxr.training import selection
from tffcxr.training.checkpoints import Checkpoints
from tffcxr.training.image_ledger import ImageLedger
from tffcxr.training.plan import Plan, Rounds, Stage
from tffcxr.training.privacy_ledger import Ledger
from tffcxr.training.quarantine import Quarantine
from tffcxr.training.round_log import RoundLog


class TrainingFailed(RunError):  # noqa: N818
    """Training cannot continue; the message gives the reason in one line."""


@dataclasses.dataclass(frozen=True)
class ClientResult:
    """One client's part in a round.

    Attributes:
      client: its id.
      images: that it trained on, repetitions included.
      train_loss: mean over its labels, NaN without one.
      status: "ok", or why its update was left out.
      update_norm: the length of its update, where the server may know it; otherwise NaN, and so
        are the others.
      cosine: of the angle between its update and the round's.
      cosine_others: the median of the cosines of the angles with each other client's update.
      clipped: 1 if the aggregator made its update shorter, otherwise 0.
      counted: 1 if its update went into the round's, 0 if the aggregator left it out.
      suspicion: what is unusual, see `tffcxr.training.suspicion`; empty for nothing.
    """

    client: str
    images: int
    train_loss: float
    status: str = "ok"
    update_norm: float = math.nan
    cosine: float = math.nan
    cosine_others: float = math.nan
    clipped: float = math.nan
    counted: float = math.nan
    suspicion: str = ""


@dataclasses.dataclass(frozen=True)
class RoundResult:
    """What one round brought.

    Attributes:
      clients: sorted by id.
      train_loss: mean over the labels of the clients that succeeded.
      validation: what the evaluator measures, such as `<finding>/<metric>`, all clients together.
      validation_by_client: the same for each client by itself.
    """

    clients: tuple[ClientResult, ...]
    train_loss: float
    validation: Mapping[str, float]
    validation_by_client: Mapping[str, Mapping[str, float]]


class Training(Protocol):
    """The interface between the loop and a training."""

    def initial_state(self, round_number: int) -> Any:
        """A state with the structure that round `round_number` leaves behind."""

    def advance(
        self, state: Any, round_number: int, stage: Stage, learning_rate: float
    ) -> tuple[Any, RoundResult]:
        """Runs one round; the first of a stage takes over the state of the stage before."""


_EPSILON = "epsilon"
_Observer = Callable[[Mapping[str, Any], RoundResult, Any], None]


@dataclasses.dataclass(frozen=True)
class Journal:
    """The files that a training writes.

    Attributes:
      rounds: the CSV file with a row per round; None for none.
      clients: the CSV file with a row per round and client; None for none.
      checkpoints: the folder of its checkpoints; None for none, and then nothing is resumed.
      best: the metric by whose columns the best round's checkpoint is kept beside the latest, see
        `selection.best_round`; None for none.
      observers: called after every round with `(row, result, state)`, for progress and
        TensorBoard; `row` is that of the CSV file.
      tables: called likewise, before the state is saved, to write further files: a round that was
        saved is in them, and one that is repeated replaces what is there.
      by_client: columns of the evaluator that `clients` has, too, of each client's own images.
      ledger: accounts for the privacy that rounds cost, in the column `epsilon`, and ends the
        training before a round that could exceed its budget; None without differential privacy.
      image_ledger: accounts for the privacy of single images, in the column `epsilon` of `clients`;
        None without such.
      quarantine: lists hostile and broken clients; with it `clients` has `run_tables.OF_UPDATES`,
        too. None without such a list.
    """

    rounds: pathlib.Path | None
    clients: pathlib.Path | None
    checkpoints: pathlib.Path | None
    best: registry.Metric | None = None
    observers: Sequence[_Observer] = ()
    by_client: Sequence[str] = ()
    tables: Sequence[_Observer] = ()
    ledger: Ledger | None = None
    image_ledger: ImageLedger | None = None
    quarantine: Quarantine | None = None


def round_columns(measured: Sequence[str], has_epsilon: bool = False) -> list[str]:
    """The columns of `rounds.csv`, with those of the `Evaluator` in between."""
    *numbers, stage = run_tables.ROUNDS.columns
    kept = [name for name in numbers if name != _EPSILON or has_epsilon]
    return [*kept, *measured, stage]


@dataclasses.dataclass(frozen=True)
class Standing:
    """Where a training stands.

    Attributes:
      rounds: the rows of `rounds.csv` so far, of texts where they were read from it.
      clients: likewise those of `clients.csv`; empty without a journal of them.
      state: after the last of these rounds.
    """

    rounds: Sequence[Mapping[str, Any]]
    clients: Sequence[Mapping[str, Any]]
    state: Any

    @property
    def number(self) -> int:
        """Rounds finished so far."""
        return len(self.rounds)


def run(training: Training, plan: Rounds, measured: Sequence[str], journal: Journal) -> Standing:
    """Trains from the last checkpoint, or from the start, to the end.

    That is the end of the plan, or before it where the last stage stops early or a privacy budget
    is spent; how many rounds are done then is a function of the rounds' losses and of who took part
    alone, so a resumed run ends in the same round.

    Args:
      training: federated or centralised.
      plan: its rounds.
      measured: the columns of its evaluator.
      journal: where to write.

    Returns:
      Where the training stands at its end.

    Raises:
      InputError: the files of the run that is to be resumed are damaged.
      TrainingFailed: every client of a round failed, or the disk is full.
    """
    # Only the last is kept: a state may take gigabytes.
    (end,) = collections.deque(iterate(training, plan, measured, journal), maxlen=1)
    return end


def iterate(
    training: Training, plan: Rounds, measured: Sequence[str], journal: Journal
) -> Iterator[Standing]:
    """Trains as `run` does, and gives where it stands at the start and after every round."""
    checkpoints = Checkpoints(journal.checkpoints) if journal.checkpoints else None
    rounds = _round_log(journal, measured)
    of_clients = [*run_tables.client_columns(journal.quarantine is not None), *journal.by_client]
    of_images = [_EPSILON] if journal.image_ledger else []
    columns = [*of_clients, *of_images]
    clients = RoundLog(journal.clients, columns) if journal.clients else None
    restored = checkpoints.load_latest(training.initial_state) if checkpoints else None
    done, state = restored if restored else (0, training.initial_state(1))
    with _failures():
        finished: list[Mapping[str, Any]] = list(_finished(rounds, done)) if rounds else []
        client_rows: list[Mapping[str, Any]] = list(clients.rewind(done)) if clients else []
    if journal.quarantine:
        journal.quarantine.resume(client_rows)
    losses = [selection.validation_loss(row) for row in finished]
    yield Standing(tuple(finished), tuple(client_rows), state)
    for number in range(done + 1, plan.rounds + 1):
        with _failures():
            started = time.monotonic()
            before, stage = plan.stage_of(number)
            if selection.stops(losses[before:], stage.patience):
                return
            if journal.ledger and journal.ledger.is_spent(client_rows, number):
                return
            rate = stage.schedule.rate(losses[before:])
            state, result = training.advance(state, number, stage, rate)
            row = _row(number, stage, rate, result, time.monotonic() - started)
            taking_part = _client_rows(number, result, of_clients, journal, client_rows)
            client_rows.extend(taking_part)
            if journal.ledger:
                row[_EPSILON] = journal.ledger.epsilon(client_rows)
            finished.append(row)
            if rounds:
                rounds.append([row])
            if clients:
                clients.append(taking_part)
            for write in journal.tables:
                write(row, result, state)
            if checkpoints:
                best = selection.best_round(finished, journal.best) if journal.best else None
                checkpoints.save(number, state, best)
            losses.append(selection.validation_loss(row))
            for observe in journal.observers:
                observe(row, result, state)
        yield Standing(tuple(finished), tuple(client_rows), state)


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Raises `TrainingFailed` for a disk that is full, and for what fails in TensorFlow."""
    try:
        yield
    except OSError as error:
        raise TrainingFailed(
            f"cannot write the run's files: {error.strerror or error} ({error.filename}); "
            "free some space and start the same command again to resume"
        ) from error
    except tf.errors.OpError as error:
        raise TrainingFailed(f"training failed: {one_line(error)}") from error


def load_best(
    training: Training, plan: Plan, measured: Sequence[str], journal: Journal
) -> tuple[int, Any]:
    """The best round of a finished training by `journal.best`, and the state after it.

    Raises:
      InputError: its checkpoint is missing or damaged.
    """
    assert journal.best and journal.checkpoints
    log = _round_log(journal, measured)
    assert log
    rows = log.rewind(plan.rounds)
    number = selection.best_round(rows, journal.best)
    return number, Checkpoints(journal.checkpoints).load(number, training.initial_state)


def _round_log(journal: Journal, measured: Sequence[str]) -> RoundLog | None:
    if not journal.rounds:
        return None
    return RoundLog(journal.rounds, round_columns(measured, journal.ledger is not None))


def _finished(rounds: RoundLog, done: int) -> list[dict[str, str]]:
    """The rows of the rounds up to the checkpoint's, whose losses the schedule needs."""
    rows = rounds.rewind(done)
    found = [row["round"] for row in rows]
    if found != [str(number) for number in range(1, done + 1)]:
        raise InputError(
            f"{rounds.path}: expected a row for each of the rounds 1 to {done}, which the last "
            f"checkpoint has finished, found {len(found)} rows; use another folder"
        )
    return rows


def _row(
    number: int, stage: Stage, rate: float, result: RoundResult, seconds: float
) -> dict[str, Any]:
    succeeded = [client for client in result.clients if client.status == "ok"]
    return {
        "round": number,
        "seconds": round(seconds, 3),
        "images": sum(client.images for client in succeeded),
        "clients": len(succeeded),
        "failed_clients": len(result.clients) - len(succeeded),
        "learning_rate": rate,
        "train_loss": result.train_loss,
        **result.validation,
        "stage": stage.name,
    }


def _client_rows(
    number: int,
    result: RoundResult,
    columns: Sequence[str],
    journal: Journal,
    before: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The rows of `clients.csv` of a round, after those before it."""
    rows = [_client_row(number, client, result, columns) for client in result.clients]
    if journal.quarantine:
        journal.quarantine.judge(rows)
    if journal.image_ledger:
        for row in rows:
            row[_EPSILON] = journal.image_ledger.epsilon([*before, *rows], row["client"])
    return rows


def _client_row(
    number: int, client: ClientResult, result: RoundResult, columns: Sequence[str]
) -> dict[str, Any]:
    measured = result.validation_by_client.get(client.client, {})
    row = {"round": number, **dataclasses.asdict(client), "quarantine": "", **measured}
    return {column: row[column] for column in columns}
