"""What a server of forks has imported before it forks: nothing that a program has to do itself."""

from tests.experiments import programs


def test_it_starts_no_tensorflow_and_has_no_flags():
    process = programs.fork(_check)
    process.join()
    assert process.exitcode == 0


def _check() -> None:
    # Beside these imports, this process has run nothing.
    from absl import flags
    from tensorflow.python.eager import context

    from tffcxr.studies import preloaded  # noqa: F401

    assert context.context()._context_handle is None
    made = flags.FLAGS.flags_by_module_dict()
    assert not [name for name in made if name.startswith("experiments")], made
