"""The error of an image that cannot be used."""

from tffcxr.errors import InputError


class ImageError(InputError):
    """A file that is not an image, is damaged, or is of a kind that is not a plain radiograph.

    The message starts with the path. Callers that read many images name the file and skip it.
    """
