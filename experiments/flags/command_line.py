"""How every program starts and ends: paths, flags, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import errno
import logging
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
import warnings

from absl import app, flags

from experiments.flags import flag_errors, flagfile, help_text, typed
from tffcxr import environment
from tffcxr.errors import InputError, RunError

if TYPE_CHECKING:
    from tffcxr.training.run_directory import RunDirectory

_USAGE_STATUS = 2
_INTERRUPTED_STATUS = 128 + signal.SIGINT
_TERMINATED_STATUS = 128 + signal.SIGTERM
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Terminated(KeyboardInterrupt):
    """SIGTERM; the clean-up after Ctrl-C also handles it."""


def run(main: Callable[[list[str]], None], operands: str = "") -> None:
    """Parses the flags, runs `main` and ends the program.

    Relative paths are relative to the user's working directory, also under `bazel run`, which
    starts programs in a folder of its own. `main` gets the operands; `operands` describes them, and
    without it none are accepted. A bad flag or an `InputError` is printed as one line and ends the
    program with status 2, a `RunError` or a full disk with 1. Ctrl-C ends it with 130 and SIGTERM
    with 143, after the same clean-up.
    """
    _leave_own_folder()
    if typed.by_bazel():
        os.chdir(os.environ[typed.BAZEL_FOLDER])
    environment.prepare()
    warnings.formatwarning = lambda message, *_: f"WARNING: {message}\n"
    # The image readers report unreadable files themselves, in one line.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    # Of TensorBoard and google.rpc; pyproject.toml keeps the setuptools that has it.
    warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
    # Not `app.run`: Keras layers fail where TensorFlow is first imported inside of it (with
    # TensorFlow 2.14), and importing it before would make --help slow.
    app.define_help_flags()
    flags.DEFINE_flag(_HelpFlag())
    typed.remember(sys.argv)
    arguments = _parse(sys.argv, operands)[1:]
    with _sigterm_raises():
        _run_main(main, arguments)


class _HelpFlag(flags.BooleanFlag):
    """`--help` with the program's flags in groups; absl prints them by module and alphabet."""

    def __init__(self) -> None:
        super().__init__("help", False, "Show this help.", short_name="?", allow_override=True)

    def parse(self, arg: str | bool | None) -> None:
        super().parse(arg)
        if self.value:
            main = sys.modules["__main__"]
            own = flags.FLAGS.get_key_flags_for_module(typed.current().program)
            print(help_text.of_program(typed.as_started(main.__doc__ or ""), own))
            sys.exit(0)


def fail(message: str, status: int = _USAGE_STATUS) -> NoReturn:
    """Prints one line and ends the program."""
    print(f"{typed.current().name}: {message}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(status)


@contextlib.contextmanager
def on_interruption(what_next: Callable[[], str]) -> Iterator[None]:
    """Appends `what_next()` to the line that Ctrl-C and SIGTERM print."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        interruption.args = (what_next(),)
        raise


@contextlib.contextmanager
def guarded(directory: RunDirectory) -> Iterator[None]:
    """Prints one line if Ctrl-C, SIGTERM or the loss of its folder ends a run.

    Raises:
      RunError: the folder was removed, moved away or replaced while the run was using it.
    """

    def what_next() -> str:
        if directory.has_finished_rounds:
            return "the same command resumes from the last finished round"
        return "no round was finished; the same command starts again"

    try:
        with on_interruption(what_next):
            yield
    except Exception as error:
        if not directory.is_gone:
            raise
        raise RunError(
            f"--output_dir: {directory.path} was removed or moved while this run was using it; "
            "the same command starts a new run"
        ) from error


def _leave_own_folder() -> None:
    """Keeps programs from shadowing packages of the same name, such as TensorBoard.

    Bazel starts a program as a file, and Python then looks for packages in the file's folder first.
    The file may be a link, so that the folder it lies in and the folder it leads to differ.
    """
    own = {
        os.path.realpath(os.path.dirname(os.path.dirname(file)))
        for file in (os.path.abspath(__file__), os.path.realpath(__file__))
    }
    sys.path[:] = [path for path in sys.path if os.path.realpath(path) not in own]


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Has SIGTERM raise `Terminated` in the main thread."""

    def terminate(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parse(argv: Sequence[str], operands: str) -> list[str]:
    try:
        remaining = flags.FLAGS(flagfile.resolved(argv))
    except (SystemExit, BrokenPipeError):
        # absl has printed the help and exits with a status of failure. `| head` may have closed
        # the pipe, which Python would report at exit.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except InputError as error:
        fail(f"{error} (--help lists the flags)")
    except (flags.Error, OSError) as error:
        fail(flag_errors.described(error) + " (--help lists the flags)")
    if len(remaining) > 1 and not operands:
        fail(f"expected flags only, found {remaining[1]!r} (--help lists the flags)")
    return remaining


def _run_main(main: Callable[[list[str]], None], operands: list[str]) -> None:
    try:
        main(operands)
    except InputError as error:
        fail(str(error))
    except RunError as error:
        fail(str(error), 1)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        fail(f"{error.strerror}: {error.filename}; free some space and start again", 1)
    except KeyboardInterrupt as error:
        is_terminated = isinstance(error, Terminated)
        happened = "terminated" if is_terminated else "interrupted"
        status = _TERMINATED_STATUS if is_terminated else _INTERRUPTED_STATUS
        fail("; ".join([happened, *map(str, error.args)]), status)
