r"""Shows the curves and HParams of a run or a sweep in the browser, with TensorBoard.

  ./bazelw run //experiments:tensorboard -- --logdir=runs/cheXviz

It serves until Ctrl-C. New rounds of a run in training appear automatically.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import pathlib
import signal
import socket

from absl import flags

from experiments.flags import command_line
from tffcxr.errors import InputError

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "logdir",
    None,
    "Folder of a run or a sweep, or any folder with event files below it.",
)
flags.DEFINE_integer(
    "port",
    None,
    "Port to serve on; 0 for any free port. Default: 6006, or the next free port.",
    lower_bound=0,
    upper_bound=65535,
)
flags.DEFINE_string(
    "host",
    "localhost",
    "Address to serve on. TensorBoard asks for no password: anyone who can reach the address sees "
    "the curves.",
)

_IN_RUN = "tensorboard"
_DEFAULT_PORT = 6006
_PORTS_TRIED = 100


def main(unused_operands: list[str]) -> None:
    """Serves until Ctrl-C or SIGTERM; both end the program with status 0."""
    if FLAGS.logdir is None:
        raise InputError("--logdir: expected the folder of a run or of a sweep, found none")
    folder = find_events(pathlib.Path(FLAGS.logdir))
    with contextlib.suppress(KeyboardInterrupt):
        print(f"TensorBoard shows {folder} at {_serve(folder)} until Ctrl-C", flush=True)
        while True:
            signal.pause()


def find_events(folder: pathlib.Path) -> pathlib.Path:
    """The folder with the event files: `tensorboard/` of a run or a sweep, or the folder itself.

    Raises:
      InputError: not a folder, or no event files below it.
    """
    if not folder.is_dir():
        raise InputError(f"--logdir: expected the folder of a run or of a sweep, found {folder}")
    inside = folder / _IN_RUN
    found = inside if inside.is_dir() else folder
    if next(found.rglob("*.tfevents.*"), None) is None:
        raise InputError(
            f"--logdir: expected a run, a sweep or event files, found none below {found} "
            "(a run has some once its first round is finished)"
        )
    return found


def _serve(folder: pathlib.Path) -> str:
    """Starts the server in the background and returns its address."""
    given = {"logdir": str(folder), "host": FLAGS.host, "port": _free_port(FLAGS.host, FLAGS.port)}
    # TensorBoard reads event files in a process of its own, to which it talks over the loopback.
    os.environ.setdefault("no_grpc_proxy", "localhost")
    from tensorboard import default, program

    for name in given:  # TensorBoard's parser knows absl's flags, and has the same names itself.
        delattr(FLAGS, name)
    server = program.TensorBoard(default.get_plugins())
    server.configure(**given)
    with contextlib.redirect_stderr(io.StringIO()):  # Says how else it might read files.
        return server.launch()


def _free_port(host: str, wanted: int | None) -> int:
    """The wanted port; without one, the first free port from 6006.

    Raises:
      InputError: no such address, or the port is in use.
    """
    first = _DEFAULT_PORT if wanted is None else wanted
    last = first + _PORTS_TRIED - 1 if wanted is None else first
    for port in range(first, last + 1):
        try:
            with socket.create_server((host, port)) as found:
                return found.getsockname()[1]
        except OSError as error:
            if port == last or error.errno != errno.EADDRINUSE:
                raise InputError(
                    f"--host, --port: expected a free port of this machine, found {host}:{port}: "
                    f"{error.strerror}"
                ) from error
    raise AssertionError("the last port returns or raises")


if __name__ == "__main__":
    command_line.run(main)
