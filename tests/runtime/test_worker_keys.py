"""Workers of an engine mask what secure sums take; the sums have the bits of those of one place."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow_federated as tff

from tests.runtime import loopback
from tests.runtime.executors import contexts, run
from tests.runtime.uniform_bytes import LARGEST_CHI_SQUARE, chi_square
from tffcxr.errors import RunError
from tffcxr.runtime import client_part, device, engine, messages

NUMBERS = tff.TensorType(np.int32, [600])


@tff.federated_computation(tff.FederatedType(NUMBERS, tff.CLIENTS))
def sums(values):
    """A secure sum, and one that needs it; besides, a sum in the clear."""
    total = tff.federated_secure_sum_bitwidth(values, 20)
    add = tff.tensorflow.computation(lambda value, total: value + total, (NUMBERS, NUMBERS))
    moved = tff.federated_map(add, (values, tff.federated_broadcast(total)))
    modular = tff.backends.mapreduce.federated_secure_modular_sum(moved, 1_000_003)
    count = tff.federated_secure_sum(tff.federated_value(1, tff.CLIENTS), 1)
    return total, modular, count, tff.federated_sum(values)


VALUES = [np.arange(600, dtype=np.int32) * (place + 1) for place in range(5)]
PLAIN = sum(VALUES)
EXPECTED = [PLAIN, sum((value + PLAIN) % 1_000_003 for value in VALUES) % 1_000_003, 5, PLAIN]


def parts_of(worker):
    """What has arrived of each client in the first walk: the arrays of the answers."""
    return {
        task.client: [array.view(np.int32) for array in answer.content.arrays]
        for task, answer in zip(worker.tasks, worker.answers)
        if len(task.walks) == 1
    }


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_sums_are_those_of_one_place(workers):
    context, worker = loopback.context(workers)
    for found, expected in zip(run(context, sums, VALUES), EXPECTED):
        assert np.array_equal(found, expected)
    keys = [task for task in worker.tasks if not task.walks]
    assert len(keys) == workers  # Both walks have the same.


def test_no_part_arrives_as_it_is():
    context, worker = loopback.context(1)  # One worker answers in the order of the questions.
    run(context, sums, VALUES)
    arrived = parts_of(worker)
    masked = [array for arrays in arrived.values() for array in arrays if array.size == 600]
    plain = [a for a in masked if any(np.array_equal(a, value) for value in VALUES)]
    assert (len(masked), len(plain)) == (10, 5)  # The latter of the sum in the clear.
    secret = np.concatenate([a for a in masked if not any(a is p for p in plain)])
    assert chi_square(secret) < LARGEST_CHI_SQUARE
    assert chi_square(np.concatenate(plain)) > LARGEST_CHI_SQUARE


def test_a_computation_is_begun_again_where_a_worker_is_replaced():
    # The question after the two keys: the worker has been replaced, and knows no key any more.
    context, worker = loopback.context(2, loses=lambda number: number == 2)
    assert np.array_equal(run(context, sums, VALUES)[0], PLAIN)
    assert len({task.invocation for task in worker.tasks}) == 2


def test_masks_that_are_lost_for_ever_end_with_a_line():
    context, _ = loopback.context(2, loses=lambda _: True)
    with pytest.raises(RunError, match="the masks of secure sums were lost 5 times in a row"):
        run(context, sums, VALUES)


class Changed(loopback.Loopback):
    """Workers whose answers are changed on their way."""

    def __init__(self, change):
        super().__init__(2)
        self.change = change

    def _do(self, worker, computation, sent, shared):
        return self.change(json.loads(sent), super()._do(worker, computation, sent, shared))


@tff.federated_computation(tff.FederatedType(NUMBERS, tff.CLIENTS))
def large_sum(values):
    return tff.federated_secure_sum_bitwidth(values, 30)


def with_other_signs(task, answer):
    """Of one client, as masks of 32 bits might leave them: 2^31 is added."""
    if not task["walks"] or task["client"]:
        return answer
    arrays = tuple(
        (array.view(np.int32) ^ -(2**31)).view(np.uint8) for array in answer.content.arrays
    )
    return engine.Answer(messages.Packed(answer.content.head, arrays))


def test_a_sum_below_zero_is_noticed():
    context = device.DeviceContext(
        ["/CPU:0"], elsewhere=loopback.remote(Changed(lambda _, answer: answer))
    )
    assert np.array_equal(run(context, large_sum, VALUES[:2]), VALUES[0] + VALUES[1])
    context = device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(Changed(with_other_signs)))
    line = "a secure sum of 2 clients is below 0 or larger than 1073741823 for each"
    with pytest.raises(RunError, match=line):
        run(context, large_sum, VALUES[:2])


@pytest.mark.parametrize(("failures", "is_found"), [(1, True), (5, False)])
def test_a_worker_without_a_key_has_the_computation_begun_again(failures, is_found):
    answers: list[engine.Answer] = []

    def without_key(task, answer):
        if task["walks"] or task["client"]:
            return answer
        answers.append(answer)
        failed = engine.Answer(messages.NOTHING, "the computation was given up")
        return failed if len(answers) <= failures else answer

    context = device.DeviceContext(["/CPU:0"], elsewhere=loopback.remote(Changed(without_key)))
    if is_found:
        assert np.array_equal(run(context, large_sum, VALUES[:2]), VALUES[0] + VALUES[1])
    else:
        with pytest.raises(RunError, match="the masks of secure sums were lost 5 times in a row"):
            run(context, large_sum, VALUES[:2])
    assert len(answers) == (2 if is_found else 5)


@pytest.mark.parametrize(("value", "found"), [(-1, "-1 to 0"), (1 << 30, "0 to 1073741824")])
@pytest.mark.parametrize("make", [lambda: loopback.context(1)[0], lambda: contexts()["device"]])
def test_a_value_out_of_range_fails_at_its_client(make, value, found):
    wrong = np.array([value] + [0] * 599, np.int32)
    with pytest.raises(
        RunError, match=f"client 1: .*takes values from 0 to 1073741823, found {found}"
    ):
        run(make(), large_sum, [VALUES[0], wrong])


def test_a_worker_keeps_a_key_until_its_invocation_ends():
    worker = client_part.ClientPart("/CPU:0", device.functions)
    task = engine.Task("computation", "first", (), (), 0, messages.NOTHING)
    key = worker.answer(task, ()).content.head
    assert len(key) == 32 and worker.answer(task, ()).content.head == key
    other = dataclasses.replace(task, invocation="second")
    assert worker.answer(other, ()).content.head != key
    worker.forget("first")
    assert worker.answer(task, ()).failed
    asked = dataclasses.replace(other, walks=((0,),), keys=("00" * 32,))
    assert worker.answer(asked, ()).failed == engine.NO_KEY
