"""How every program starts and ends: paths, flags, and errors in one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
import errno
import logging
import os
import sys
from typing import NoReturn
import warnings

from absl import app, flags

from experiments.flags import help_text, typed
from tffcxr import environment
from tffcxr.errors import InputError, RunError

_USAGE_STATUS = 2
_FULL = (errno.ENOSPC, errno.EDQUOT)


def run(main: Callable[[list[str]], None], operands: str = "") -> None:
    """Parses the flags, runs `main` and ends the program.

    Relative paths mean what they mean where the user stands, also under `bazel run`, which starts
    programs in a folder of its own. `main` gets what is not a flag; `operands` says what that may
    be, nothing by default. A bad flag or an `InputError` is printed as one line and ends
    the program with status 2, a `RunError` or a full disk with 1; Ctrl-C ends it with 130.
    """
    if "BUILD_WORKING_DIRECTORY" in os.environ:
        os.chdir(os.environ["BUILD_WORKING_DIRECTORY"])
    environment.prepare()
    warnings.formatwarning = lambda message, *_: f"WARNING: {message}\n"
    # Readers of images say themselves, in one line, what they cannot read.
    warnings.filterwarnings("ignore", module="pydicom")
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    # Not `app.run`: Keras layers fail where TensorFlow is first imported inside of it (with
    # TensorFlow 2.14), and importing it before would make --help slow.
    app.define_help_flags()
    flags.DEFINE_flag(_HelpFlag())
    typed.remember(sys.argv)
    _run_main(main, _parse(sys.argv, operands)[1:])


class _HelpFlag(flags.BooleanFlag):
    """`--help` with the program's flags in groups; absl prints them by module and alphabet."""

    def __init__(self) -> None:
        super().__init__("help", False, "Show this help.", short_name="?", allow_override=True)

    def parse(self, arg: str | bool | None) -> None:
        super().parse(arg)
        if self.value:
            main = sys.modules["__main__"]
            own = flags.FLAGS.get_key_flags_for_module(typed.current().program)
            print(help_text.of_program(main.__doc__ or "", own))
            sys.exit(0)


def fail(message: str, status: int = _USAGE_STATUS) -> NoReturn:
    """Prints one line and ends the program."""
    print(f"{typed.current().name}: {message}", file=sys.stderr)
    sys.stderr.flush()
    sys.exit(status)


def _parse(argv: Sequence[str], operands: str) -> list[str]:
    try:
        remaining = flags.FLAGS(list(argv))
    except (SystemExit, BrokenPipeError):
        # absl has printed the help, and would have it that this is a failure. `| head` may not have
        # read it all, of which Python would complain when it ends.
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except (flags.Error, OSError) as error:
        fail(" ".join(str(error).split()) + " (--help lists the flags)")
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
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from the last finished round", 130)
