"""What `--weights` names, and what it means for `--width`."""

from __future__ import annotations

import json
import pathlib

from absl import flags

from tffcxr.errors import InputError

FLAGS = flags.FLAGS


def check() -> None:
    """Checks that the weights are there and that the networks are as wide.

    Raises:
      InputError: they are not.
    """
    wanted = width()
    if wanted not in (None, FLAGS.width):
        raise InputError(
            f"--width: expected {wanted:g}, that of the run whose --weights are given, "
            f"found {FLAGS.width:g}"
        )
    path = _path()
    if path is None or path.is_file():
        return
    from tffcxr.models.files import run_models

    try:
        run_models.in_run(path)
    except InputError as error:
        raise InputError(f"--weights: {error}") from error


def width() -> float | None:
    """The width of the networks of the run that `--weights` is, or has as one of its model files.

    None for other weights, and for runs that do not say.

    Raises:
      InputError: the run's configuration cannot be used.
    """
    folder = _path()
    if folder is not None and folder.is_file():
        models = folder.absolute().parent
        folder = models.parent if models.name == "models" else None
    if folder is None or not (folder / "config.json").is_file():
        return None
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        given = config.get("derived", {}).get("width")
        if given is None or 0 < given <= 1:
            return given
        found = f"width {given}"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        found = " ".join(str(error).split())
    raise InputError(
        f"--weights: expected a run's configuration in {folder / 'config.json'}, found {found}"
    )


def _path() -> pathlib.Path | None:
    """The file or folder that `--weights` names; None where it names none.

    Raises:
      InputError: there is none.
    """
    if FLAGS.weights in ("none", "imagenet"):
        return None
    path = pathlib.Path(FLAGS.weights)
    try:
        if FLAGS.weights and (path.is_file() or path.is_dir()):
            return path
        found = repr(FLAGS.weights)
    except OSError as error:
        found = f"{error.strerror}: {FLAGS.weights[:80]!r}"
    raise InputError(f"--weights: expected none, imagenet, a run's folder or a file, found {found}")
