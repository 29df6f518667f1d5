"""The same as plain TFF, whose models of Keras are made in graphs: after all other tests here.

TFF makes them by functions of TensorFlow 1, and Keras models made before no longer run.
"""

import collections
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tests.own_model import toy
import tffcxr
from tffcxr.errors import InputError

RATE = 0.1
LOSSES = [tf.keras.losses.MeanSquaredError(), tf.keras.losses.SparseCategoricalCrossentropy()]
DATA = {"north": toy.two_outputs_dataset(12, 0), "south": toy.two_outputs_dataset(8, 1)}


def _with_plain_tff(weights, rounds):
    """The weights after rounds of `tff.learning`'s own FedAvg."""
    datasets = [
        dataset.map(lambda x, y: collections.OrderedDict(x=x, y=(y["risk"], y["kind"])))
        for dataset in DATA.values()
    ]
    spec = datasets[0].element_spec

    def model_fn():
        return tff.learning.models.from_keras_model(
            toy.functional_two_outputs(), loss=LOSSES, input_spec=spec
        )

    process = tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(RATE),
        server_optimizer_fn=tff.learning.optimizers.build_sgdm(1.0),
    )
    state = process.set_model_weights(
        process.initialize(), tff.learning.models.ModelWeights(weights, [])
    )
    for _ in range(rounds):
        state = process.next(state, datasets).state
    return process.get_model_weights(state).trainable


def test_a_model_with_two_outputs_gets_the_weights_that_plain_tff_gives_it():
    model = toy.functional_two_outputs()
    start = model.get_weights()
    clients = tffcxr.clients_from_datasets(DATA)
    settings: dict[str, Any] = {"loss": LOSSES, "optimizer": "sgd", "learning_rate": RATE}
    ours = tffcxr.train(model, clients, rounds=3, verbose=False, **settings).model().get_weights()

    # The process for those who drive TFF themselves is one of TFF's own, and the same training.
    process = tffcxr.learning_process(model, clients, **settings)
    assert isinstance(process, tff.learning.templates.LearningProcess)
    state = process.initialize()
    for number in range(1, 4):
        data = [clients.train_dataset(client, number, 1) for client in clients.ids]
        state = process.next(state, data).state
    driven = process.get_model_weights(state).trainable
    with pytest.raises(InputError, match=r"private: .* the default; found private=\['risk'\]"):
        tffcxr.learning_process(model, clients, private=["risk"], **settings)

    plain = _with_plain_tff(start, rounds=3)
    for one, other, reference, before in zip(ours, driven, plain, start):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, reference, rtol=1e-4, atol=1e-5)
        assert not np.allclose(one, before, atol=1e-3)
