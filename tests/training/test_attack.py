"""Rehearsed attacks: who attacks, what they send, and that the others stay as they were."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.learning import tiny
from tffcxr import errors, runtime
from tffcxr.learning import tampering
from tffcxr.training import attack

# The site b-c has one client, whose name begins as if it were one of the site b.
SITE_OF = {"a": "a", "b-client_00": "b", "b-client_01": "b", "b-client_05": "b-c", "bb": "bb"}


def attackers(kind, *names, strength=None, has_classes=False):
    return attack.Attack(kind, names, strength).by(SITE_OF, 0, has_classes)


def test_a_name_is_that_of_a_client_or_of_a_site():
    assert attackers("sign", "a", "b").clients == {"a", "b-client_00", "b-client_01"}
    assert attackers("sign", "b-client_01").clients == {"b-client_01"}
    with pytest.raises(errors.InputError, match="^--attackers: expected names of a, .* 'c'"):
        attackers("sign", "a", "c")
    with pytest.raises(errors.InputError, match="^--attackers: expected a client that is honest"):
        attackers("sign", *SITE_OF)


@pytest.mark.parametrize(
    "kind,strength,factor,noise",
    [("scale", None, 10, 0), ("scale", 3, 3, 0), ("sign", None, -1, 0), ("noise", 2, 0, 2)],
)
def test_what_is_sent(kind, strength, factor, noise):
    found = attackers(kind, "a", strength=strength).tampering("a", 1)
    assert (found["factor"], found["noise"]) == (factor, noise)
    honest = attackers(kind, "a", strength=strength).tampering("bb", 1)
    assert (honest["factor"], honest["noise"]) == (1, 0)


def test_noise_differs_between_rounds_and_clients_and_repeats():
    seeds = {
        (client, number): tuple(attackers("noise", "a", "bb").tampering(client, number)["seed"])
        for client in ("a", "bb")
        for number in (1, 2)
    }
    assert len(set(seeds.values())) == 4
    assert tuple(attackers("noise", "a").tampering("a", 2)["seed"]) == seeds["a", 2]


def test_updates_by_hand():
    runtime.use("device")
    update = {"trainable": (np.float32([[3.0, 0.0]] * 200),), "statistics": (np.float32([0, 40]),)}
    length = (9 * 200 + 1600) ** 0.5
    tamper = tampering.build_of_update(tff.types.to_type(tf.nest.map_structure(_type, update)))

    def sent(*value):
        return tf.nest.map_structure(np.asarray, tamper(update, tampering.value(*value)))

    def same(found, factor):
        tf.nest.map_structure(
            lambda ours, theirs: np.testing.assert_array_equal(ours, factor * theirs),
            found["trainable"], update["trainable"],
        )  # fmt: skip

    same(sent(1.0, 0.0, (1, 2)), 1)
    same(sent(-2.0, 0.0, (1, 2)), -2)
    noise = sent(0.0, 3.0, (1, 2))
    flat = np.concatenate([part.ravel() for part in tf.nest.flatten(noise)])
    # 402 normal numbers: the error of their length is 1 / sqrt(2 * 402).
    assert np.linalg.norm(flat) == pytest.approx(3 * length, rel=5 / 804**0.5)
    again = sent(0.0, 3.0, (1, 2))
    tf.nest.map_structure(np.testing.assert_array_equal, noise, again)


def test_labels_are_turned_and_the_unknown_stays():
    batch = {
        "images": np.float32([[5]]),
        "labels": np.float32([[0, 1, np.nan]]),
        "masks": np.float32([[1, 0]]),
    }
    batches = tf.data.Dataset.from_tensors(batch)
    (found,) = attackers("labels", "a").poisoned("a", batches)
    np.testing.assert_array_equal(found["labels"], [[1, 0, np.nan]])
    np.testing.assert_array_equal(found["masks"], [[0, 1]])
    np.testing.assert_array_equal(found["images"], [[5]])
    (found,) = attackers("labels", "a").poisoned("bb", batches)
    np.testing.assert_array_equal(found["labels"], batch["labels"])
    classes = tf.data.Dataset.from_tensors({"labels": np.float32([[0, 0, 1], [1, 0, 0]])})
    (found,) = attackers("labels", "a", has_classes=True).poisoned("a", classes)
    np.testing.assert_array_equal(found["labels"], [[1, 0, 0], [0, 1, 0]])


def test_a_process_with_attackers_averages_what_they_send():
    runtime.use("device")
    honest, attacked = (tiny.scalar_process(has_attackers=flag) for flag in (False, True))
    clients = [tiny.client(honest.initialize_client(), tiny.scalars([x])) for x in (4.0, 2.0, 6.0)]
    values = [(1.0, 0.0), (-1.0, 0.0), (1.0, 0.0)]
    updates = []
    for each in clients:
        state, *_ = honest.next(honest.initialize(), [each])
        updates.append(_weight(state) - _weight(honest.initialize()))
    state, *_ = attacked.next(
        attacked.initialize(),
        [
            {**each, "tampering": tampering.value(*value, (0, 0))}
            for each, value in zip(clients, values)
        ],
    )
    expected = (updates[0] - updates[1] + updates[2]) / 3
    assert _weight(state) - _weight(honest.initialize()) == pytest.approx(expected, rel=1e-5)


def _weight(state):
    return float(np.ravel(state["weights"]["trainable"][0])[0])


def _type(value):
    return (value.dtype.type, list(value.shape))
