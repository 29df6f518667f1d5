"""What a hospital's clients were asked to train in each round that has noise of their own.

The epsilon of single images (`--dp_sgd_noise`) counts each planned round of a client once. So a
hospital computes such a round of one set of server values and of one private state alone, however
often it is asked. That holds when the hospital is started again, too: digests are on its disk
before anything is computed.
"""

from __future__ import annotations

import hashlib
import json
import pathlib

from tffcxr import files
from tffcxr.errors import RunError, one_line
from tffcxr.hospitals import questions, wire
from tffcxr.hospitals.work import CannotError

FILE = "noised_rounds.json"


class NoisedRounds:
    """The rounds of some clients of a training.

    Args:
      folder: a folder per client is made there.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def begin(self, client: str, round_number: int, message: wire.Message) -> None:
        """Notes what a client is asked to train, before it does.

        Args:
          client: whose images.
          round_number: of the training.
          message: the question, see `questions.HospitalParts`. A later walk of the same computation
            has the server values of those before it, too.

        Raises:
          CannotError: the client was asked to train the round on something else before.
          RunError: what was noted cannot be read.
          OSError: it cannot be written.
        """
        path = self._folder / client / FILE
        noted = _read(path)
        before, now = noted.get(str(round_number), []), _digests(message)
        if any(one != other for one, other in zip(before, now)):
            raise CannotError(
                questions.OTHER_WEIGHTS,
                f"client {client}: expected the weights that it was asked to train in round "
                f"{round_number} before, found others: --dp_sgd_noise hides an image in one answer "
                "of a round, and a second one would cost its epsilon again",
            )
        if len(now) > len(before):
            files.write_json(path, {**noted, str(round_number): now})


def _read(path: pathlib.Path) -> dict[str, list[str]]:
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(each, list) for each in found.values()):
            return found
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: expected digests of rounds, found {one_line(error)}") from error
    raise RunError(f"{path}: expected digests of rounds, found something else")


def _digests(message: wire.Message) -> list[str]:
    """The SHA-256 of what each walk of a question depends on."""
    about = message.about
    what = [about["computation"], int(about["state"])]
    digests, place = [], 0
    for walk, arrays in zip(about["walks"], about["arrays"], strict=True):
        digest = hashlib.sha256(json.dumps([*what, walk, arrays]).encode())
        for field in message.fields[place : place + arrays]:
            digest.update(f"{field.array.dtype.str}{field.array.shape}".encode())
            digest.update(field.array.tobytes())
        digests.append(digest.hexdigest())
        place += arrays
    return digests
