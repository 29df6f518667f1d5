"""Clients' parts of a computation on a Ray cluster: an actor per device.

A task goes to the actor that its client was dealt to. If that actor is lost, with its process, its
machine or the network, the task goes to another, and a new actor is started in its place. Only the
first answer to a task counts. A cluster of this program's own is started again if it is lost.
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
import concurrent.futures
import contextlib
import dataclasses
import functools
import logging
import os
import threading
import time
from typing import Any

import ray
import ray.exceptions

from tffcxr import errors
from tffcxr.runtime import engine, messages, ray_actor, ray_calls, ray_cluster

_logger = logging.getLogger(__name__)

_START_SECONDS = 300.0
_TICK_SECONDS = 1.0
_END_SECONDS = 5.0
_MOST_LOSSES = 5  # Of one task, or of one actor's starts one after the other.
_TASK = dataclasses.fields(engine.Task)
_RESUME = "start the same command again to resume"


class RayEngine:
    """An `engine.Engine` on a cluster.

    Args:
      cluster: the connection; ends with the program.
      files: that every actor must find as they are here, see `ray_actor.fingerprint`.

    Raises:
      errors.InputError: an actor cannot be started, or does not find the files.
    """

    def __init__(self, cluster: ray_cluster.Cluster, files: Sequence[tuple[str, int, str]]) -> None:
        self._cluster = cluster
        self._files = list(files)
        self._settings = ray_actor.tensorflow_settings()
        self._lock = threading.RLock()
        self._calls = ray_calls.Calls()
        self._generation = 0
        self._programs: dict[str, ray_calls.Shared] = {}
        self._waiting: list[ray_calls.Request] = []
        self._stands_since = time.monotonic()
        self._is_closed = False
        self._dispatcher: threading.Thread | None = None
        self._slots = [ray_calls.Slot() for _ in range(cluster.workers)]
        for slot in self._slots:
            self._start(slot)
        try:
            self._await_starts()
        except BaseException:
            self.close()
            raise
        self._dispatcher = threading.Thread(target=self._dispatch, name="ray_answers", daemon=True)
        self._dispatcher.start()

    def describe(self) -> str:
        """Where clients are computed, for a reader."""
        of_hosts: dict[str, list[str]] = {}
        for slot in self._slots:
            of_hosts.setdefault(slot.about["host"], []).append(slot.about["device"])
        hosts = "; ".join(
            f"host {host}: {', '.join(sorted(devices))}"
            for host, devices in sorted(of_hosts.items())
        )
        plural = "s" if len(self._slots) > 1 else ""
        return f"{len(self._slots)} Ray actor{plural} ({hosts})"

    def processes(self) -> list[int]:
        """The process of each actor, on its own machine."""
        return [slot.about["process"] for slot in self._slots]

    def check(self, files: Sequence[tuple[str, int, str]]) -> None:
        """Checks that the actors find further files.

        Raises:
          errors.InputError: one does not.
        """
        found: concurrent.futures.Future[list[dict[str, Any]]] = concurrent.futures.Future()
        self._calls.post(functools.partial(self._describe, list(files), found))
        for about in found.result():
            problem = _problem(about)
            if problem:
                raise errors.InputError(problem)

    def _describe(
        self, files: list[tuple[str, int, str]], found: concurrent.futures.Future
    ) -> None:
        self._files = list(dict.fromkeys([*self._files, *files]))
        try:
            found.set_result(ray.get([slot.actor.describe.remote(files) for slot in self._slots]))
        except Exception as error:  # noqa: BLE001  Whatever it is, it is for who waits.
            found.set_exception(error)

    def lanes(self, sizes: Sequence[int]) -> Sequence[int]:
        """See `engine.Engine`."""
        return engine.deal(sizes, len(self._slots))

    def share(self, content: messages.Packed) -> ray_calls.Shared:
        """See `engine.Engine`."""
        return ray_calls.Shared((content.head, content.arrays))

    def ask(
        self,
        lane: int,
        computation: engine.Computation,
        task: engine.Task,
        shared: Sequence[ray_calls.Shared],
    ) -> concurrent.futures.Future[engine.Answer]:
        """See `engine.Engine`.

        The future's exception is an `errors.RunError` if no actor can do the task.
        """
        request = ray_calls.Request(lane, computation, task, shared, concurrent.futures.Future())
        self._calls.post(functools.partial(self._submit, request))
        return request.future

    def forget(self, invocation: str) -> None:
        """See `engine.Engine`."""
        self._calls.post(functools.partial(self._forget, invocation))

    def _forget(self, invocation: str) -> None:
        self._waiting = [r for r in self._waiting if r.task.invocation != invocation]
        for slot in self._slots:
            for request in [r for r in slot.requests if r.task.invocation == invocation]:
                request.reference = None  # No answer counts any more.
                slot.requests.discard(request)
            if slot.is_ready and not self._cluster.is_lost:
                slot.actor.forget.remote(invocation)

    def close(self) -> None:
        """Ends the actors and leaves the cluster. Harmless when repeated."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if not is_first:
            return
        self._calls.post(None)
        if self._dispatcher is not None:
            self._dispatcher.join()
        with self._lock:
            if not self._cluster.is_lost:
                with contextlib.suppress(ray.exceptions.RayError):  # Of a cluster out of reach.
                    for slot in self._slots:
                        ray.kill(slot.actor)  # Which ends its calls.
                self._calls.end(_END_SECONDS)
            self._slots, self._waiting, self._programs = [], [], {}
            self._cluster.disconnect()

    def _put(self, shared: ray_calls.Shared) -> Any:
        """The reference of server values in the object store of the cluster as it is now."""
        if shared.generation != self._generation and not self._cluster.is_lost:
            if shared.reference is not None:
                self._calls.kept.append(shared.reference)
            shared.reference = ray.put(shared.content)
            shared.generation = self._generation
        return shared.reference

    def _start(self, slot: ray_calls.Slot) -> None:
        """Starts an actor; `_started` gets to know when it answers."""
        slot.is_ready = False
        slot.known, slot.requests = set(), set()
        made = ray.remote(concurrency_groups={"control": 1})(ray_actor.ClientActor)
        slot.actor = made.options(
            num_cpus=0 if self._cluster.on_gpu else 1,
            num_gpus=1 if self._cluster.on_gpu else 0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": ray_cluster.of_workers()},
        ).remote(self._settings, self._cluster.on_gpu)
        slot.reference = slot.actor.describe.remote(self._files)
        self._calls.notify(slot.reference, self._started, slot)

    def _await_starts(self) -> None:
        """Waits until all actors have started; what is lost meanwhile is started again."""
        deadline = time.monotonic() + _START_SECONDS
        while not all(slot.is_ready for slot in self._slots):
            self._take_event()
            for slot in self._slots:
                if slot.problem and (slot.is_hopeless or slot.failures >= _MOST_LOSSES):
                    raise errors.InputError(slot.problem)
            if time.monotonic() > deadline:
                raise errors.InputError(
                    f"a Ray actor could not be started within {_START_SECONDS:.0f} seconds"
                )

    def _dispatch(self) -> None:
        """Runs in a thread of its own: takes up what has happened at the actors."""
        while not self._is_closed:
            try:
                self._take_event()
            except Exception as error:  # noqa: BLE001  Nobody would wait for this thread.
                with self._lock:
                    self._fail(f"the Ray cluster failed: {errors.one_line(error)}")

    def _take_event(self) -> None:
        """Takes up the next thing that happens, if any does within a tick."""
        event = self._calls.next(_TICK_SECONDS)
        with self._lock:
            if self._is_closed:
                return
            if self._cluster.is_lost:
                self._calls.kept.append(event)
                self._reopen()
            if event is not None:
                event()
                if self._cluster.is_lost:
                    self._calls.kept.append(event)
                event = None  # Its arrays go while the object store is there.
            self._check_patience()

    def _started(
        self, slot: ray_calls.Slot, reference: Any, done: concurrent.futures.Future
    ) -> None:
        if slot.reference is not reference:
            return
        error = done.exception()
        if error:
            slot.problem = f"a Ray actor could not be started: {ray_calls.first_line(error)}"
            slot.is_hopeless = ray_calls.cannot_start(error)
        else:
            slot.problem = _problem(done.result())
            slot.is_hopeless = bool(slot.problem)
        if slot.problem:
            slot.failures += 1
            _logger.warning("%s", slot.problem)
            if slot.failures < _MOST_LOSSES:
                self._start(slot)
            return
        slot.is_ready, slot.about = True, done.result()
        waiting, self._waiting = self._waiting, []
        for request in waiting:
            self._submit(request)

    def _submit(self, request: ray_calls.Request) -> None:
        """Sends a task to the actor of its lane, or to the one that has least to do."""
        ready = [each for each in self._slots if each.is_ready]
        if not ready or self._cluster.is_lost:
            self._waiting.append(request)
            return
        slot = self._slots[request.lane]
        if not slot.is_ready:
            slot = min(ready, key=lambda each: len(each.requests))
        if request.computation.name not in slot.known:
            self._load(slot, request.computation)
        shared = [self._put(each) for each in request.shared]
        task = {field.name: getattr(request.task, field.name) for field in _TASK}
        task["argument"] = tuple(request.task.argument)
        request.reference = slot.actor.answer.remote(task, *shared)
        slot.requests.add(request)
        self._calls.notify(request.reference, self._answered, slot, request)

    def _load(self, slot: ray_calls.Slot, computation: engine.Computation) -> None:
        program = self._programs.setdefault(computation.name, ray_calls.Shared(computation.content))
        slot.actor.load.remote(computation.name, self._put(program))
        slot.known.add(computation.name)

    def _answered(
        self,
        slot: ray_calls.Slot,
        request: ray_calls.Request,
        reference: Any,
        done: concurrent.futures.Future,
    ) -> None:
        if request.reference is not reference:
            return
        slot.requests.discard(request)
        error = done.exception()
        if error is None:
            slot.failures = 0
            content, failed = done.result()
            request.future.set_result(engine.Answer(messages.Packed(*content), failed))
        elif ray_calls.is_own(error):
            cause = getattr(error, "cause", None) or error
            request.future.set_exception(
                errors.RunError(f"a Ray actor failed: {errors.one_line(cause)}")
            )
        else:
            self._lost(slot, request, error)

    def _lost(self, slot: ray_calls.Slot, request: ray_calls.Request, error: BaseException) -> None:
        """Gives a lost actor's tasks to others, and starts another in its place."""
        if slot.is_ready and request.reference is not None:
            host = slot.about.get("host", "")
            _logger.warning(
                "a Ray actor on host %s was lost: %s", host, ray_calls.first_line(error)
            )
            orphans = [request, *slot.requests]
            ray.kill(slot.actor)  # It may live, and only be out of reach.
            self._start(slot)
        else:
            orphans = [request]
        for orphan in orphans:
            orphan.losses += 1
            orphan.reference = None
            if orphan.losses > _MOST_LOSSES:
                orphan.future.set_exception(
                    errors.RunError(
                        f"client {orphan.task.client} of a round was lost with {orphan.losses} "
                        f"Ray actors in a row ({ray_calls.first_line(error)}); {_RESUME}"
                    )
                )
            else:
                self._submit(orphan)

    def _reopen(self) -> None:
        """Starts the cluster of this program's own again, and all that was asked there."""
        _logger.warning("the Ray cluster has ended; starting it again")
        self._generation += 1
        requests = [request for slot in self._slots for request in slot.requests]
        self._calls.kept.extend(request.reference for request in requests)
        for request in requests:
            request.reference = None
        self._waiting.extend(requests)
        self._calls.kept.extend(self._slots)
        self._calls.abandon()
        self._slots = [ray_calls.Slot(about=slot.about) for slot in self._slots]
        self._cluster.reconnect()
        self._stands_since = time.monotonic()
        for slot in self._slots:
            self._start(slot)

    def _check_patience(self) -> None:
        """Gives up what no actor has been there for in a long time."""
        if not self._waiting or any(slot.is_ready for slot in self._slots):
            self._stands_since = time.monotonic()
        elif all(slot.failures >= _MOST_LOSSES for slot in self._slots):
            self._fail("no Ray actor can be started any more")
        elif time.monotonic() - self._stands_since > _START_SECONDS:
            self._fail(f"no Ray actor was there for {_START_SECONDS:.0f} seconds")

    def _fail(self, reason: str) -> None:
        """Ends all that is asked."""
        requests = [*self._waiting, *(r for slot in self._slots for r in slot.requests)]
        self._waiting = []
        for request in requests:
            request.reference = None
            if not request.future.done():
                request.future.set_exception(errors.RunError(f"{reason}; {_RESUME}"))


def _problem(about: dict[str, Any]) -> str:
    """What is wrong with what an actor finds, in a line; empty if nothing is."""
    if not about["problem"]:
        return ""
    return (
        f"host {about['host']}: expected the same shards as here, found {about['problem']}; "
        "--cache_dir must be a folder that all machines of the cluster share"
    )


_engines: dict[tuple[str | None, int | None, int], RayEngine] = {}


def start(address: str | None, workers: int | None, files: Sequence[str]) -> RayEngine:
    """The engine of a cluster, which lasts until the program ends.

    Args:
      address: see `ray_cluster.Cluster`.
      workers: see there.
      files: the paths of files that every actor must find; of the first, the content is compared.

    Raises:
      errors.InputError: there is no such cluster, or its machines do not find the files.
    """
    fingerprints = [ray_actor.fingerprint(path, not number) for number, path in enumerate(files)]
    key = (address, workers, os.getpid())
    if key in _engines:
        _engines[key].check(fingerprints)
        return _engines[key]
    started = RayEngine(ray_cluster.Cluster(address, workers), fingerprints)
    _engines[key] = started
    atexit.register(_close, started, os.getpid())
    return started


def _close(started: RayEngine, owner: int) -> None:
    if os.getpid() == owner:  # A fork inherits the exit handler, but not the cluster.
        started.close()
