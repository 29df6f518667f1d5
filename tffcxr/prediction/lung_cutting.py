"""Cuts the lungs out of radiographs, for models that were trained on the lungs alone.

    image ─► lung model ─► mask ─► cleaned ─► black outside, or the whole image where the mask is
                                              not plausible

The steps are those of `tffcxr.studies.predicted_lungs` and of the shards of such a training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
import dataclasses

import numpy as np

from tffcxr.datasets import lung_regions
from tffcxr.datasets.imaging import images
from tffcxr.models.files.export import Exported
from tffcxr.prediction.reading import Image


class LungCutter:
    """Makes images black outside of the lungs.

    Args:
      lung_model: a model that marks lungs.
      fit: how images were fitted to the squares that are cut, one of `options.FITS`.
    """

    def __init__(self, lung_model: Exported, fit: str):
        self._model = lung_model
        self._fit = fit

    def cut(self, read: Iterable[Image]) -> Iterator[Image]:
        """Yields every image with its square cut out, in order; those that are refused as they are.

        Args:
          read: the images, with their pictures.
        """
        for image in read:
            if image.square is None or image.picture is None:
                yield image
            else:
                yield self._cut(image, image.square, image.picture)

    def _cut(self, image: Image, square: np.ndarray, picture: np.ndarray) -> Image:
        about = self._model.metadata
        size, shape = about.image_size, picture.shape[:2]
        found = self._model.keras(self._model.fitted(picture)[np.newaxis], training=False)
        mask = lung_regions.clean(found.numpy()[0, ..., 0] >= about.threshold)
        content = mask[images.place_in_square(shape, size, about.fit)]
        reason = lung_regions.implausible(content)
        if reason is not None:
            warning = (
                f"the whole image was used, since its predicted lungs are implausible: {reason}"
            )
            return dataclasses.replace(image, warnings=(*image.warnings, warning))
        region = images.take_nearest(content, *shape).astype(np.uint8)
        lungs = images.fit_to_square(region, len(square), self._fit, is_mask=True)
        return dataclasses.replace(image, square=square * lungs[..., np.newaxis])
