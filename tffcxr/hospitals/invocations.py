"""What a hospital keeps of its clients' computations between the walks of a round."""

from __future__ import annotations

import hashlib
from typing import Any

from tffcxr.hospitals import values_as_fields, wire
from tffcxr.runtime import client_part, device

_CLIENT = 0  # An invocation here is of one client alone.


class Invocations:
    """The invocations that have later walks, at most one of each client.

    Clients may be computed by several threads at once, each client by one.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, client_part.Invocation]] = {}
        self._computed: dict[str, client_part.Invocation] = {}

    def stop(self) -> None:
        """Has whatever is being computed end at its next batch, with an exception."""
        for invocation in list(self._computed.values()):
            invocation.federation.stop()

    def compute(
        self, client: str, device_name: str, message: wire.Message, block: Any, own: list[Any]
    ) -> list[tuple[Any, Any]]:
        """Computes a client's part of a walk, see `client_part.Invocation.compute`.

        A later walk takes up what is kept of the walks before it, if these had the same server
        values; another attempt at the round may bring others, and is computed from the start.

        Args:
          client: its id.
          device_name: of the TensorFlow device that computes it, such as "/GPU:0".
          message: the question, see `questions.HospitalParts`.
          block: the compiled form of the computation.
          own: what the client brings.
        """
        walks, later, arrays = (message.about[name] for name in ("walks", "later", "arrays"))
        before, kept = sum(arrays[:-1]), self._kept.pop(client, None)
        if kept is not None and len(walks) > 1 and kept[0] == _key(message, before):
            invocation = kept[1]
        else:
            _end(kept)
            invocation = client_part.Invocation(
                block, device_name, device.functions, values_as_fields.values
            )
        places = [sum(arrays[:walk]) for walk in range(len(arrays) + 1)]
        shared = [message.fields[start:end] for start, end in zip(places, places[1:])]
        key = _key(message, len(message.fields)) if later else ""
        self._computed[client] = invocation
        try:
            found = invocation.compute(walks, later, _CLIENT, own, shared)
        except BaseException:
            _end((key, invocation))
            raise
        finally:
            del self._computed[client]
        if later:
            self._kept[client] = key, invocation
        else:
            # The aggregations stay, for the caller; what connects them with each other does not.
            _end((key, invocation))
        return found


def _key(message: wire.Message, fields: int) -> str:
    """Of the invocation, and of its server values that the first so many arrays are."""
    about = message.about
    digest = hashlib.sha256(repr([about["round_number"], about["computation"]]).encode())
    for field in message.fields[:fields]:
        digest.update(field.array.tobytes())
    return digest.hexdigest()


def _end(kept: tuple[str, client_part.Invocation] | None) -> None:
    """Lets an invocation go, whose parts would keep each other alive."""
    if kept is not None:
        kept[1].federation.stop()
        kept[1].federation.recorded.clear()
