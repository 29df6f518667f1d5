"""The errors that programs print as one line, without a traceback."""


class InputError(ValueError):
    """A flag, path, table, image or model that cannot be used.

    The message is one line that says what was expected and what was found. Programs print it
    and exit with status 2; it never needs a traceback.
    """


class RunError(RuntimeError):
    """A run with correct input that cannot continue.

    The message is one line with the reason and what may help. Programs print it and exit with
    status 1.
    """
