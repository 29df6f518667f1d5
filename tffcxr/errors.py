"""The one error that a user of tffcxr can cause."""


class InputError(ValueError):
    """A flag, path, table, image or model that cannot be used.

    The message is one line that says what was expected and what was found. Programs print it
    and exit with status 2; it never needs a traceback.
    """
