"""What the server process of `programs` imports before it forks: all that takes time."""

import gc

from tffcxr.studies import preloaded  # noqa: F401

# isort: split
# TensorFlow is there, with the environment that it needs.
from tffcxr.datasets.phantoms import phantom, phantom_drawing  # noqa: F401
from tffcxr.datasets.sources import covidx, kermany, lungs, rsna, siim  # noqa: F401
from tffcxr.models.networks import resnext, standard, unet  # noqa: F401
from tffcxr.report.figures import panels
from tffcxr.runtime import device  # noqa: F401
from tffcxr.studies import run_hparams  # noqa: F401

# A program draws its few phantoms before processes that help it would have started, and as small
# as a tiny network reads them.
phantom_drawing._CHUNK = 1000
phantom_drawing.SIZE = 64
panels._DOTS_PER_INCH = 40  # Drawing the figures at full size is a tenth of a tiny run.
gc.freeze()  # As in the server of a sweep: forks need not look for garbage in what is imported.
