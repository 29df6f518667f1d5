"""Workers in this process that see nothing of a task but its bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import concurrent.futures
import dataclasses
import functools
import json

import numpy as np

from tffcxr.runtime import client_part, device, engine, messages, parts


class Loopback:
    """An `engine.Engine` whose workers are objects.

    Args:
      workers: how many there are.
      loses: (number of the question, counted from 0) -> whether the worker that gets it has just
        been replaced by one that knows nothing.
    """

    def __init__(self, workers: int = 1, loses: Callable[[int], bool] = lambda _: False) -> None:
        self._loses = loses
        self._threads = [concurrent.futures.ThreadPoolExecutor(1) for _ in range(workers)]
        self._workers = [self._worker() for _ in range(workers)]
        self.computations: list[engine.Computation] = []
        self.tasks: list[engine.Task] = []
        self.answers: list[engine.Answer] = []
        self.shared: list[messages.Packed] = []
        self.forgotten: list[str] = []

    @staticmethod
    def _worker() -> client_part.ClientPart:
        return client_part.ClientPart("/CPU:0", device.functions)

    def lanes(self, sizes: Sequence[int]) -> list[int]:
        return engine.deal(sizes, len(self._workers))

    def share(self, content: messages.Packed) -> int:
        self.shared.append(content)
        return len(self.shared) - 1

    def ask(self, lane, computation, task, shared):
        if self._loses(len(self.tasks)):
            self._workers[lane] = self._worker()
        self.computations.append(computation)
        self.tasks.append(task)
        fields = {**dataclasses.asdict(task), "argument": _to_texts(task.argument)}
        sent = json.dumps(fields)
        contents = [_from_texts(_to_texts(self.shared[handle])) for handle in shared]
        worker = self._workers[lane]
        return self._threads[lane].submit(self._do, worker, computation, sent, contents)

    def _do(self, worker, computation, sent, shared):
        fields = json.loads(sent)
        fields["argument"] = _from_texts(fields["argument"])
        worker.load(computation)
        answer = worker.answer(engine.Task(**fields), shared)
        self.answers.append(answer)
        return engine.Answer(_from_texts(_to_texts(answer.content)), answer.failed)

    def forget(self, invocation: str) -> None:
        self.forgotten.append(invocation)
        for worker in self._workers:
            worker.forget(invocation)


def _to_texts(packed: messages.Packed) -> list[str]:
    return [packed.head.hex(), *(array.tobytes().hex() for array in packed.arrays)]


def _from_texts(texts: list[str]) -> messages.Packed:
    head, *arrays = map(bytes.fromhex, texts)
    return messages.Packed(head, tuple(np.frombuffer(array, np.uint8) for array in arrays))


def context(workers: int = 1, **kwargs) -> tuple[device.DeviceContext, Loopback]:
    loopback = Loopback(workers, **kwargs)
    return device.DeviceContext(["/CPU:0"], elsewhere=remote(loopback)), loopback


def remote(workers: engine.Engine) -> Callable[..., parts.Parts]:
    """What a context takes to have clients computed by an engine's workers."""
    return functools.partial(engine.RemoteParts, workers)
