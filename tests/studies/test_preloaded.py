"""What the server of forks has imported before it forks."""

from tffcxr import child_process


def test_what_is_preloaded_starts_no_tensorflow_and_has_no_flags():
    code = (
        "from tffcxr.studies import preloaded; from absl import flags; "
        "from tensorflow.python.eager import context; "
        "assert context.context()._context_handle is None; "
        "made = flags.FLAGS.flags_by_module_dict(); "
        "assert not [name for name in made if name.startswith('experiments')], made"
    )
    ended = child_process.ask(code, b"")
    assert ended.returncode == 0, ended.stderr.decode()
