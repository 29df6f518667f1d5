"""What TensorBoard's HParams dashboard gets, read back from its files."""

import math

from tensorboard.plugins.hparams import plugin_data_pb2
import tensorflow as tf

from tffcxr.training import hparams

_SESSION = "_hparams_/session_start_info"


def _values(folder):
    found = {}
    (path,) = folder.glob("events*")
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            assert (value.tag, event.step) not in found
            found[value.tag, event.step] = value
    return found


def _trial(**changes):
    described = {
        "name": "rate=0.1/repeat_1",
        "hparams": {"rate": "0.1", "model": "unet", "limit": "nan"},
        "results": {"sweep/best": 0.75, "sweep/last": math.nan},
        "curves": {"A/auroc": {1: 0.5, 2: math.nan, 3: 0.75}},
    }
    return hparams.Trial(**{**described, **changes})


def test_record_of_a_run(tmp_path):
    hparams.write(tmp_path, [_trial()])
    values = _values(tmp_path / "rate=0.1" / "repeat_1")
    data = plugin_data_pb2.HParamsPluginData.FromString(
        values[_SESSION, 0].metadata.plugin_data.content
    )
    recorded = data.session_start_info.hparams
    assert recorded["rate"].number_value == 0.1
    assert recorded["model"].string_value == "unet"
    assert recorded["limit"].string_value == "nan"
    assert data.session_start_info.group_name == "rate=0.1/repeat_1"
    numbers = {
        key: float(tf.make_ndarray(value.tensor))
        for key, value in values.items()
        if key[0] != _SESSION
    }
    # What is undefined is not there.
    assert numbers == {("sweep/best", 0): 0.75, ("A/auroc", 1): 0.5, ("A/auroc", 3): 0.75}


def test_writing_again_replaces_what_was_there(tmp_path):
    hparams.write(tmp_path, [_trial(), _trial(name="other")])
    mine = tmp_path / "other" / "notes.txt"
    mine.write_text("not ours")
    hparams.write(tmp_path, [_trial(results={"sweep/best": 0.5}), _trial(name="other")])
    values = _values(tmp_path / "rate=0.1" / "repeat_1")
    assert float(tf.make_ndarray(values["sweep/best", 0].tensor)) == 0.5
    _values(tmp_path / "other")
    assert mine.exists()
