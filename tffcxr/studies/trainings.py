"""The trainings of a study: one across all clients, and baselines side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import pathlib
import sys
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from tffcxr import options
from tffcxr.clients.client_data import ClientData
from tffcxr.clients.sampling import Sampler
from tffcxr.evaluation import registry
from tffcxr.files import write_atomically
from tffcxr.hospitals import coordinated_training, coordinator, hospital_log, member, serving
from tffcxr.studies import hostile_clients, side_by_side, training_privacy
from tffcxr.training import loop, noise_key, selection
from tffcxr.training.attack import Attackers
from tffcxr.training.centralised import CentralisedTraining, Turns
from tffcxr.training.checkpoints import Checkpoints
from tffcxr.training.evaluators.validation import Evaluator
from tffcxr.training.event_writer import TensorBoard, name_weights
from tffcxr.training.federated import FederatedTraining, ledger_of
from tffcxr.training.noise_key import NoiseKey
from tffcxr.training.plan import Plan
from tffcxr.training.privacy_ledger import Ledger
from tffcxr.training.progress import Progress
from tffcxr.training.quarantine import Quarantine
from tffcxr.training.run_directory import RunDirectory

FEDERATED, SITE, POOLED = "federated", "site", "pooled"
Federation = coordinator.Coordinator | member.Member | None

_ROUNDS = "rounds"

Weights = Sequence[np.ndarray]  # In the order of `model.weights`.


@dataclasses.dataclass(frozen=True)
class Training:
    """What a federated training and its baselines have in common.

    Attributes:
      directory: the run's folder.
      plan: how the model is trained.
      data: the clients' images.
      evaluator: measures after every round; trainings that run side by side share it.
      split: the images that it measures on, "validation" or "test"; for the progress.
      sampler: which clients take part in a round.
      best: the metric by which the best round is kept, see `selection`; None for the last one.
      by_client: columns of `rounds.csv` that `clients.csv` has, too, of each client's own images.
      histograms: whether TensorBoard gets the weights of the federated model.
      variant: a name for files, where one run trains several models; otherwise empty.
      federation: this program's side of a run over hospitals; None where all clients are here.
      ledger: of a plan with differential privacy, from `_private` on.
      attackers: clients that do harm, as a rehearsal; None for none.
    """

    directory: RunDirectory
    plan: Plan
    data: ClientData
    evaluator: Evaluator
    split: str
    sampler: Sampler
    best: registry.Metric | None = None
    by_client: Sequence[str] = ()
    histograms: bool = False
    variant: str = ""
    federation: Federation = None
    ledger: Ledger | None = None
    attackers: Attackers | None = None


@dataclasses.dataclass(frozen=True)
class Trained:
    """The models that a training leaves behind.

    Attributes:
      last: client -> weights after the last round; the same for all clients where all is shared.
      reported: the same after the round that is reported: the best by `Training.best`; without
        that, the last.
      round: the number of the reported round, counted from 1.
      rounds: how many rounds were trained; less than planned if training stopped early.
      planned: how many rounds there would have been without early stopping.
      is_chosen: whether the reported round was chosen by `Training.best`; False also where that
        could not be calculated in any round, so that the last one is reported.
      privacy: `epsilon` and `delta` of all rounds, with differential privacy.
    """

    last: Mapping[str, Weights]
    reported: Mapping[str, Weights]
    round: int
    rounds: int
    planned: int
    is_chosen: bool
    privacy: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def about_rounds(self) -> dict[str, Any]:
        """What a row of `metrics.json` says of them."""
        stopped = {"planned_rounds": self.planned} if self.rounds < self.planned else {}
        return {"round": self.round, "rounds": self.rounds, **stopped, **self.privacy}


def train_federated(setup: Training) -> Trained:
    """Trains across all clients, from where an earlier program stopped.

    Raises:
      InputError: the files of the run that is to be resumed are damaged.
      loop.TrainingFailed: training broke off.
    """
    if isinstance(setup.federation, member.Member):
        return _serve(setup, setup.federation)
    setup = _private(setup)
    hostile_clients.check_count(setup.plan.aggregator, setup.sampler.count)
    if isinstance(setup.federation, coordinator.Coordinator):
        return _coordinate(setup, setup.federation)
    if setup.attackers:
        print(f"{_title(setup, FEDERATED)}: {setup.attackers}", file=sys.stderr)
    listing = _quarantine(setup)
    training = FederatedTraining(
        setup.plan,
        setup.data,
        setup.sampler,
        setup.evaluator,
        noise_key=_noise_key(setup),
        attackers=setup.attackers,
        quarantine=listing,
    )
    journal = _journal(setup, FEDERATED, _histograms_of(setup, training), listing)
    return _trained(_run(setup, FEDERATED, training, journal), training.client_weights)


def _private(setup: Training) -> Training:
    """With the ledger and the noise of a plan that has differential privacy."""
    ledger = ledger_of(setup.plan, setup.sampler)
    if ledger is None:
        return setup
    print(f"{_title(setup, FEDERATED)}: {ledger.plan}", file=sys.stderr)
    plan = training_privacy.with_noise(
        setup.plan, ledger.noise_multiplier, float(setup.sampler.count)
    )
    return dataclasses.replace(setup, plan=plan, ledger=ledger)


def _coordinate(setup: Training, hospitals: coordinator.Coordinator) -> Trained:
    """Trains across hospitals; where task blocks are private, they stand as they began."""
    name = setup.variant or FEDERATED
    listing = _quarantine(setup)
    journal = _journal(setup, FEDERATED, None, listing)
    assert journal.checkpoints
    training = coordinated_training.CoordinatedTraining(
        setup.plan,
        setup.data,
        setup.sampler,
        setup.evaluator,
        hospitals,
        name,
        Checkpoints(journal.checkpoints).rounds,
        _noise_key(setup),
        listing,
    )
    training.check_draws(hospitals.site_of)
    path = setup.directory.path / f"hospitals{_suffix(setup)}.csv"
    log = hospital_log.HospitalLog(path, hospitals)
    standing = hospital_log.Standing(name, setup.plan.rounds, hospitals)
    journal = dataclasses.replace(
        journal, observers=(*journal.observers, standing), tables=(*journal.tables, log)
    )
    ended = _run(setup, FEDERATED, training, journal)
    end = training.end(ended.last, ended.rounds, ended.reported, ended.round, ended.is_chosen)
    hospitals.finish(name, end)
    return _trained(ended, training.client_weights)


def _quarantine(setup: Training) -> Quarantine:
    """What lists hostile and broken clients."""
    return Quarantine(
        _title(setup, FEDERATED),
        setup.sampler,
        setup.plan.quarantine == options.EXCLUDE,
        setup.plan.aggregator,
    )


def _noise_key(setup: Training) -> NoiseKey:
    """What decides the noise of an aggregator that adds some, kept in the run's folder."""
    return NoiseKey(setup.directory.path / noise_key.FILE, setup.variant)


def _serve(setup: Training, hospital: member.Member) -> Trained:
    """Takes part in a training that a coordinator leads."""
    if setup.plan.privacy:
        setup = dataclasses.replace(setup, plan=training_privacy.with_noise(setup.plan))
    training = FederatedTraining(
        setup.plan, setup.data, setup.sampler, setup.evaluator, noise_key=_noise_key(setup)
    )
    clients = tuple(sorted(setup.sampler.client_ids))
    suffix = _suffix(setup)
    path = setup.directory.path
    log = hospital_log.OwnRounds(
        path / f"{_ROUNDS}{suffix}.csv",
        path / f"clients{suffix}.csv",
        setup.plan,
        setup.evaluator.columns,
    )
    name = setup.variant or FEDERATED
    ended = hospital.serve(
        serving.Served(name, training, setup.plan, setup.data, setup.evaluator, clients, log)
    )
    of_images = training_privacy.image_ledger(setup.plan)
    if of_images is not None:
        of_images.write(path, name, log.client_rows())
    return Trained(
        ended.last, ended.reported, ended.round, ended.rounds, ended.planned, ended.is_chosen
    )


def train_baselines(setup: Training, groups: Mapping[str, Sequence[str]]) -> dict[str, Trained]:
    """Trains the same model on the pooled images of each group of clients.

    The trainings are independent and run side by side; see `side_by_side`.

    Args:
      setup: as for the federated training.
      groups: the name of each training, "pooled" or "site_" with the site's name, to the clients
        whose images it gets.

    Raises:
      InputError: the files of the run that is to be resumed are damaged.
      loop.TrainingFailed: training broke off.
    """
    turns = Turns(setup.plan, setup.data.element_spec)
    return side_by_side.run(
        {name: _baseline(setup, name, clients, turns) for name, clients in groups.items()}
    )


def setting_of(plans: Mapping[str, Plan], setting: str) -> Any:
    """A setting that the plans of all networks have in common; otherwise each network's, by name.

    Args:
      plans: by network, at least one.
      setting: an attribute of `Plan`.
    """
    values = {network: getattr(plan, setting) for network, plan in plans.items()}
    return values if len(set(values.values())) > 1 else next(iter(values.values()))


def site_name(site: str) -> str:
    """The name of a site's own training, in `groups` and in the names of files."""
    return f"{SITE}_{site}"


def save_weights(model: tf.keras.Model, weights: Weights, path: pathlib.Path) -> None:
    """Writes weights as the HDF5 file that `--weights=FILE` loads."""
    model.set_weights(weights)
    with tempfile.TemporaryDirectory(prefix="tffcxr-") as folder:
        saved = pathlib.Path(folder) / path.name
        model.save_weights(saved, save_format="h5")
        write_atomically(path, lambda file: file.write(saved.read_bytes()))


def _baseline(
    setup: Training, name: str, clients: Sequence[str], turns: Turns
) -> Callable[[], Trained]:
    """What trains one baseline when it is called."""
    training = CentralisedTraining(setup.plan, setup.data, clients, setup.evaluator, turns)
    journal = _journal(setup, name, None)

    def weights_of(state: Any, round_number: int) -> Mapping[str, Weights]:
        del round_number
        return dict.fromkeys(clients, list(state["weights"]))

    return lambda: _trained(_run(setup, name, training, journal), weights_of)


@dataclasses.dataclass(frozen=True)
class _Ended:
    """A training that has ended; see `Trained`."""

    last: Any
    reported: Any
    round: int
    rounds: int
    planned: int
    is_chosen: bool
    privacy: Mapping[str, float]


def _trained(ended: _Ended, weights_of: Callable[[Any, int], Mapping[str, Weights]]) -> Trained:
    last = weights_of(ended.last, ended.rounds)
    reported = last if ended.round == ended.rounds else weights_of(ended.reported, ended.round)
    return Trained(
        last,
        reported,
        ended.round,
        ended.rounds,
        ended.planned,
        ended.is_chosen,
        ended.privacy,
    )


def _run(setup: Training, name: str, training: loop.Training, journal: loop.Journal) -> _Ended:
    planned, columns = setup.plan.rounds, setup.evaluator.columns
    end = loop.run(training, setup.plan, columns, journal)
    by_budget = training_privacy.is_spent(journal, end, planned)
    if end.number < planned:
        why = ", before another could exceed the privacy budget" if by_budget else ""
        print(
            f"{_title(setup, name)}: stopped early after round {end.number}/{planned}{why}",
            file=sys.stderr,
        )
    privacy = training_privacy.write(
        journal, setup.directory.path, setup.variant or FEDERATED, end.clients, by_budget
    )
    if setup.best is None:
        return _Ended(end.state, end.state, end.number, end.number, planned, False, privacy)
    number, state = loop.load_best(training, setup.plan, columns, journal)
    is_chosen = selection.is_known(end.rounds, setup.best)
    return _Ended(end.state, state, number, end.number, planned, is_chosen, privacy)


def _journal(
    setup: Training,
    name: str,
    weights_of: Callable[[Any, int], Mapping[str, np.ndarray]] | None,
    listing: Quarantine | None = None,
) -> loop.Journal:
    """The files of a training; the federated one has `rounds.csv` and `clients.csv`."""
    path = setup.directory.path
    suffix = _suffix(setup)
    is_federated = name == FEDERATED
    rounds = f"{_ROUNDS}{suffix}.csv" if is_federated else f"{_ROUNDS}{suffix}_{name}.csv"
    return loop.Journal(
        rounds=path / rounds,
        clients=path / f"clients{suffix}.csv" if is_federated else None,
        checkpoints=path / "checkpoints" / f"{name}{suffix}",
        best=setup.best,
        by_client=setup.by_client if is_federated else (),
        ledger=setup.ledger if is_federated else None,
        image_ledger=training_privacy.image_ledger(setup.plan) if is_federated else None,
        quarantine=listing,
        observers=(
            side_by_side.stop_if_asked,
            Progress(_title(setup, name), setup.plan.rounds, setup.split),
            TensorBoard(path / "tensorboard" / f"{name}{suffix}", weights_of),
        ),
    )


def _suffix(setup: Training) -> str:
    """What the names of a training's files end with."""
    return f"_{setup.variant}" if setup.variant else ""


def _title(setup: Training, name: str) -> str:
    """What the progress calls a training."""
    return " ".join(part for part in (setup.variant, name) if part).replace("_", " ")


def _histograms_of(
    setup: Training, training: FederatedTraining
) -> Callable[[Any, int], Mapping[str, np.ndarray]] | None:
    """Names the weights of the first client's model after a round, for TensorBoard."""
    if not setup.histograms:
        return None
    names = [weight.name for weight in setup.plan.structure().keras.weights]

    def weights_of(state: Any, round_number: int) -> Mapping[str, np.ndarray]:
        first, weights = next(iter(training.client_weights(state, round_number).items()))
        return name_weights([f"{first}/{name}" for name in names], weights)

    return weights_of
