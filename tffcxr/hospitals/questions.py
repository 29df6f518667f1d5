"""What the coordinator asks hospitals in a round: their clients' parts of the computations.

The argument of such a computation has an `AtClient` in place of what the client brings. The answer
has what the aggregations take. Of results at clients, only single numbers leave a hospital, such as
losses and counts; everything else, and the client's state in any case, stays there, and another
`AtClient` stands for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import math
import secrets
import threading
from typing import Any

import tensorflow_federated as tff

from tffcxr.errors import RunError
from tffcxr.hospitals import exchange, masked_fields, values_as_fields, wire
from tffcxr.hospitals.answer_files import AnswerFolder
from tffcxr.runtime import computation_ids, placed, values

COMPUTE, KEY = "compute", "key"
LATE = "no answer in time"
# What a hospital says where it cannot answer; its own log says more, which may name files.
FAILED = "failed at the hospital, whose log says why"
OTHER_COMPUTATION = "the hospital has built another computation of the same settings"
TOO_FEW_IMAGES = "fewer training images than the hospital's policy wants behind an update"
OTHER_WEIGHTS = "the hospital has trained this round on other weights, and adds noise to one answer"
FEWEST_HOSPITALS = 2  # In a secure sum, which would otherwise be one hospital's own part.
# Why it adds its part to no such secure sum; the first, since it was started again meanwhile.
NO_KEY = "the hospital has no key for this attempt at the round"
OTHER_ATTEMPT = "the hospital was asked for another secure sum in the same attempt"
OTHER_CLIENTS = "the hospital was asked for a secure sum of others of its clients in the same round"
TOO_FEW_HOSPITALS = "fewer hospitals in a secure sum than the hospital's policy wants"
WRONG_KEY = "a key for a secure sum is not signed by the hospital that it is said to be of"
NOT_MASKED = "a secure sum without the hospitals whose masks hide a part"
_CPU = "/CPU:0"
_LONGEST_REASON = 300  # Letters of what a hospital may say of why it did not answer.
_Key = tuple[str, str]  # A client, and a digest of what it is asked.


@dataclasses.dataclass(frozen=True)
class AtClient(values.Elsewhere):
    """What a client brings to a computation, or what it keeps of the result.

    Attributes:
      client: its id.
      round_number: the round that is computed.
      state: the round after which its private state is meant; 0 for the state that all begin with.
      kept: rounds, of which the client must be able to return to its state.
    """

    client: str
    round_number: int
    state: int = 0
    kept: tuple[int, ...] = ()


class Questions:
    """The questions of one round, each asked once however often the round is tried.

    A round is tried again without the clients that do not answer in time. What the others have
    computed does not depend on these, so their answers serve again; until then they are on disk.

    Args:
      hub: reaches the hospitals.
      answers: where the arrays of answers are until the round ends.
      site_of: client to its hospital.
      about: what every question has beside that of `HospitalParts`.
      seconds: after which a question that is not answered is late; of each by itself.

    Attributes:
      work_seconds: how long each hospital has worked on them.
      lost: hospitals whose key did not come, and why; they are not asked for one again.
    """

    def __init__(
        self,
        hub: exchange.Hub,
        answers: AnswerFolder,
        site_of: Mapping[str, str],
        about: Mapping[str, Any],
        seconds: float,
    ) -> None:
        self._hub = hub
        self._answers = answers
        self._site_of = site_of
        self._about = dict(about)
        self._seconds = seconds
        self._asked: dict[_Key, concurrent.futures.Future[wire.Message]] = {}
        self._lock = threading.RLock()  # Callbacks of answers that are there come at once.
        self.work_seconds: dict[str, float] = {}
        self.lost: dict[str, str] = {}

    def ask(
        self, client: str, about: Mapping[str, Any], fields: Sequence[wire.Field]
    ) -> concurrent.futures.Future[wire.Message]:
        """Asks a client's hospital; the future is cancelled when the answer is late.

        Args:
          client: its id.
          about: what this question is about.
          fields: serialized, as other clients get them, too.
        """
        key = client, _digest(about, fields)
        with self._lock:
            if key in self._asked:
                return self._asked[key]
            message = wire.Message(COMPUTE, {**self._about, **about}, tuple(fields))
            site = self._site_of[client]
            asked = self._asked[key] = self._hub.ask(site, message, self._answers)
        # By its key, since a timer that holds the answer would keep it alive, and be kept by it.
        timer = threading.Timer(self._seconds, self._withdraw, [key])
        timer.daemon = True
        timer.start()
        asked.add_done_callback(functools.partial(self._note, client, timer))
        return asked

    def agree(self, clients: Sequence[str], round_number: int) -> dict[str, Any]:
        """Has the hospitals of an attempt at the round agree on masks.

        Args:
          clients: whose parts are summed.
          round_number: counted from 1.

        Returns:
          What their questions have of it: `attempt`, `clients` and `keys`, see `masks.py`.

        Raises:
          Absent: a client's hospital has sent no key.
          RunError: all clients are of one hospital.
        """
        site_of = {client: self._site_of[client] for client in clients}
        sites = sorted(set(site_of.values()))
        if len(sites) < FEWEST_HOSPITALS:
            raise RunError(
                f"round {round_number}: expected clients of at least {FEWEST_HOSPITALS} hospitals "
                f"for a secure sum, found those of {', '.join(sites)} alone"
            )
        attempt = secrets.token_hex(16)
        keys = {}
        if not self.lost.keys() & sites:
            keys = self._keys(sites, {"round_number": round_number, "attempt": attempt})
        for place, client in enumerate(clients):
            if site_of[client] in self.lost:
                raise Absent(place, self.lost[site_of[client]])
        return {"attempt": attempt, "clients": site_of, "keys": keys}

    def _keys(self, sites: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of hospitals for an attempt; those without one are lost."""
        asked = {
            site: self._hub.ask(site, wire.Message(KEY, {**self._about, **about})) for site in sites
        }
        concurrent.futures.wait(asked.values(), self._seconds)
        keys = {}
        for site, future in asked.items():
            self._hub.withdraw(future)  # Changes nothing where there is an answer.
            try:
                keys[site] = _answer(future).about["key"]
            except (_NoAnswerError, KeyError) as error:
                self.lost[site] = str(error) if isinstance(error, _NoAnswerError) else FAILED
        return keys

    def drop(self, asked: Sequence[concurrent.futures.Future[wire.Message]]) -> None:
        """Takes questions back whose answers another attempt at the round cannot use."""
        with self._lock:
            dropped = [key for key, future in self._asked.items() if future in asked]
        for key in dropped:
            self._withdraw(key)
        with self._lock:
            for key in dropped:
                del self._asked[key]

    def close(self) -> None:
        """Takes back what was not answered, and removes the answers."""
        with self._lock:
            keys = list(self._asked)
        for key in keys:
            self._withdraw(key)
        with self._lock:
            self._asked.clear()
        self._answers.clear()

    def _withdraw(self, key: _Key) -> None:
        with self._lock:
            asked = self._asked.get(key)
        if asked is not None and not asked.done():
            self._hub.withdraw(asked)

    def _note(
        self, client: str, timer: threading.Timer, done: concurrent.futures.Future[wire.Message]
    ) -> None:
        """Adds up how long the hospital has worked, as it says itself."""
        timer.cancel()
        if done.cancelled() or done.exception() is not None:
            return
        seconds = done.result().about.get("seconds")
        if not (isinstance(seconds, (int, float)) and 0 <= seconds < math.inf):
            seconds = 0.0
        site = self._site_of[client]
        with self._lock:
            self.work_seconds[site] = self.work_seconds.get(site, 0.0) + seconds


class HospitalParts:
    """A `parts.Parts` of clients at hospitals.

    Args:
      questions: of the round.
      comp: the computation.
      compiled: its compiled form.
      argument: as `values.ingest` has made it.
      clients: how many there are.
    """

    ahead = 1  # Every client has a lane of its own, so that all are asked at once.
    masks = True

    def __init__(
        self,
        questions: Questions,
        comp: tff.Computation,
        compiled: tff.framework.ComputationBuildingBlock,
        argument: Any,
        clients: int,
    ) -> None:
        self._questions = questions
        self._state_type = state_type(compiled)
        self._computation = computation_ids.computation_id(comp)
        self._argument = argument
        self._clients = clients
        self._walks: list[placed.Walk] = []
        self._fields: list[list[wire.Field]] = []
        self._sent: set[placed.ServerValue] = set()
        self._masking: dict[str, Any] | None = None

    def lanes(self) -> Sequence[int]:
        """See `parts.Parts`."""
        return range(self._clients)

    def ask(self, client: int, walk: placed.Walk) -> concurrent.futures.Future[wire.Message]:
        """See `parts.Parts`."""
        if not self._walks or self._walks[-1] is not walk:
            self._share(walk)
        brought = self._brought(client)
        about = {
            **dataclasses.asdict(brought),
            "computation": self._computation,
            "walks": [[each.number for each in one.joint] for one in self._walks],
            "later": [each.number for each in walk.later],
            "arrays": [len(fields) for fields in self._fields],
        }
        if any(each.summands is not None for each in walk.joint):
            about["masking"] = self._agreement(brought.round_number)
        fields = [field for of_walk in self._fields for field in of_walk]
        return self._questions.ask(brought.client, about, fields)

    def values(
        self, client: int, walk: placed.Walk, asked: concurrent.futures.Future[wire.Message]
    ) -> list[Any]:
        """See `parts.Parts`; reads them from the disk.

        Raises:
          Absent: the client's hospital did not answer in time, or could not.
        """
        stay = [stays(each, self._state_type) for each in walk.joint]
        sent = [each for each, stays_there in zip(walk.joint, stay) if not stays_there]
        found = _values(asked, client, [masked_fields.sent_type(a, self._clients) for a in sent])
        values_left = map(masked_fields.received, sent, found)
        brought = self._brought(client)
        kept = AtClient(brought.client, brought.round_number, state=brought.round_number)
        return [kept if stays_there else next(values_left) for stays_there in stay]

    def give_up(self, asked: Sequence[concurrent.futures.Future[wire.Message]]) -> None:
        """See `parts.Parts`; what is not masked stays, for another attempt at the round."""
        if self._masking is not None:
            self._questions.drop(asked)
        self.close()

    def close(self) -> None:
        """See `parts.Parts`."""
        self._walks, self._fields, self._argument = [], [], None
        self._sent.clear()

    def _agreement(self, round_number: int) -> dict[str, Any]:
        """What the hospitals have agreed on for the secure sums of all walks."""
        if self._masking is None:
            clients = [self._brought(client).client for client in range(self._clients)]
            self._masking = self._questions.agree(clients, round_number)
        return self._masking

    def _brought(self, client: int) -> AtClient:
        """What stands for what a client brings."""
        (brought,) = values.of_client(self._argument, client, _CPU)
        return brought

    def _share(self, walk: placed.Walk) -> None:
        """Notes the server values that this walk needs and none before it, serialized once."""
        new = [each for each in walk.common() if each not in self._sent]
        self._fields.append(
            [
                field.serialized()
                for place, each in enumerate(new)
                for field in values_as_fields.fields(each.get(), each.type_spec, f"server/{place}")
            ]
        )
        self._sent.update(new)
        self._walks.append(walk)


class Absent(placed.ClientError):
    """A client has no part in the round; its hospital did not answer in time, or could not."""


def state_type(compiled: tff.framework.ComputationBuildingBlock) -> tff.Type:
    """The type of what a client keeps, in a computation whose clients bring `<state, data>`."""
    for _, element in tff.structure.iter_elements(compiled.type_signature.parameter):
        if isinstance(element, tff.FederatedType) and not element.all_equal:
            return element.member["state"]
    raise TypeError(f"expected clients that bring a state, found {compiled.type_signature}")


def stays(aggregation: placed.Aggregation, of_state: tff.Type) -> bool:
    """Whether what an aggregation takes never leaves a hospital, see the module.

    Args:
      aggregation: of the computation.
      of_state: see `state_type`.
    """
    found = masked_fields.type_of(aggregation)
    return aggregation.is_collected and (
        found.is_equivalent_to(of_state) or not values_as_fields.is_scalar(found)
    )


class _NoAnswerError(Exception):
    """A hospital did not answer; the message says why."""


def _answer(asked: concurrent.futures.Future[wire.Message]) -> wire.Message:
    """What a hospital has answered.

    Raises:
      _NoAnswerError: nothing in time, or that it cannot.
    """
    try:
        answer = asked.result()
    except concurrent.futures.CancelledError:
        raise _NoAnswerError(LATE) from None
    if "failed" in answer.about:
        raise _NoAnswerError(" ".join(str(answer.about["failed"]).split())[:_LONGEST_REASON])
    return answer


def _values(
    asked: concurrent.futures.Future[wire.Message], client: int, types: Sequence[tff.Type]
) -> list[Any]:
    """The values of an answer that do not stay at the client.

    Raises:
      Absent: there are none.
    """
    try:
        return values_as_fields.values(_answer(asked).fields, types)
    except _NoAnswerError as error:
        raise Absent(client, str(error)) from error
    except wire.MessageError as error:
        reason = f"answered with other values: {error}"
    raise Absent(client, reason[:_LONGEST_REASON])


def _digest(about: Mapping[str, Any], fields: Sequence[wire.Field]) -> str:
    digest = hashlib.sha256(repr(sorted(about.items())).encode())
    for chunk in itertools.chain.from_iterable(field.chunks for field in fields):
        digest.update(chunk)
    return digest.hexdigest()
