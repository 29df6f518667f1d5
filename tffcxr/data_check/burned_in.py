"""Text that is burned into the pixels near the border: names and dates of patients stand there."""

from __future__ import annotations

import cv2
import numpy as np

_BORDER = 0.15  # Of the image's side, at each edge.
_CONTRAST = 70  # Grey levels of a letter above what surrounds it.
_STROKE = 9  # Pixels; no stroke of a letter is wider.
_HEIGHTS = (5, 40)  # Pixels of a letter.
_FEWEST = 4  # Letters of a line; side markers such as "L" or "PA" have fewer.


def count_letters(picture: np.ndarray) -> int:
    """How many letters stand in lines of text near the border.

    A letter is a small bright spot with thin strokes; a line is a row of at least four letters of
    similar height.

    Args:
      picture: uint8 [H, W], of at most some 512 pixels a side.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (_STROKE, _STROKE))
    strokes = cv2.morphologyEx(picture, cv2.MORPH_TOPHAT, kernel) > _CONTRAST
    rows, columns = (max(1, round(side * _BORDER)) for side in picture.shape)
    strokes[rows:-rows, columns:-columns] = False
    number, _, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8))
    boxes = stats[1:number]  # Left, top, width, height, area.
    low, high = _HEIGHTS
    heights, widths = boxes[:, cv2.CC_STAT_HEIGHT], boxes[:, cv2.CC_STAT_WIDTH]
    is_letter = (heights >= low) & (heights <= high) & (widths >= 1) & (widths <= 1.5 * heights)
    return _in_lines(boxes[is_letter])


def _in_lines(boxes: np.ndarray) -> int:
    """How many of the boxes [N, 5] stand in lines."""
    boxes = boxes[np.argsort(boxes[:, cv2.CC_STAT_LEFT], kind="stable")]
    lines: list[list[np.ndarray]] = []
    for box in boxes:
        for line in lines:
            if _continues(line[-1], box):
                line.append(box)
                break
        else:
            lines.append([box])
    return sum(len(line) for line in lines if len(line) >= _FEWEST)


def _continues(before: np.ndarray, box: np.ndarray) -> bool:
    """Whether a box is the next letter of a line."""
    left, top, width, height = before[:4]
    gap = box[0] - (left + width)
    is_near = -1 <= gap <= 1.5 * max(height, box[3])
    bottoms = abs((top + height) - (box[1] + box[3]))
    is_level = bottoms <= 0.25 * max(height, box[3]) + 1
    return bool(is_near and is_level and max(height, box[3]) <= 1.6 * min(height, box[3]))
