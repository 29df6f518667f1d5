"""Text that is burned into the pixels near the border: names and dates of patients stand there.

Lines of 17 to 27 letters in four fonts, white or black, were drawn into corners of radiographs;
thresholds were chosen by lines in other radiographs. Where they differed from what they were drawn
on by more than 90 of 255 grey levels, `is_text` found 77 of 82 in images of 1024 pixels (fonts of
20 to 36 pixels) and 67 of 90 in images of 512 (16 and 20 pixels: 60 of 71, 12 pixels: 7 of 19); of
fainter ones 16 of 41 and 12 of 44. In 978 radiographs of RSNA, the NIH and the COVID-19 image data
collection as they are, whose markers, such as "PORTABLE", are shorter, it finds none; thresholds
were chosen so that this is so.
"""

from __future__ import annotations

import cv2
import numpy as np

_BORDER = 0.15  # Of the image's side, at each edge.
_CONTRAST = 40  # Grey levels between a letter and what surrounds it.
_STROKE = 9  # Pixels; no stroke of a letter is wider.
_HEIGHTS = (5, 50)  # Pixels of a letter.
_FEWEST = 10  # Letters of a line; "PORTABLE" has eight.


def is_text(letters: int) -> bool:
    """Whether so many letters in a line are more than a marker of the technician."""
    return letters >= _FEWEST


def count_letters(picture: np.ndarray) -> int:
    """How many letters stand in the longest line of text near the border.

    A letter is a small spot with thin strokes, a line a row of letters of similar height that are
    all brighter or all darker than what surrounds them.

    Args:
      picture: uint8 [H, W], of at most some 1024 pixels a side.
    """
    return max(_longest_line(picture, hat) for hat in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))


def _longest_line(picture: np.ndarray, hat: int) -> int:
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (_STROKE, _STROKE))
    strokes = cv2.morphologyEx(picture, hat, kernel) > _CONTRAST
    rows, columns = (max(1, round(side * _BORDER)) for side in picture.shape)
    strokes[rows:-rows, columns:-columns] = False
    number, _, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8))
    boxes = stats[1:number]  # Left, top, width, height, area.
    low, high = _HEIGHTS
    heights, widths = boxes[:, cv2.CC_STAT_HEIGHT], boxes[:, cv2.CC_STAT_WIDTH]
    is_letter = (heights >= low) & (heights <= high) & (widths >= 1) & (widths <= 1.5 * heights)
    return max(map(len, _lines(boxes[is_letter])), default=0)


def _lines(boxes: np.ndarray) -> list[list[np.ndarray]]:
    """The boxes [N, 5] by lines, each from left to right."""
    boxes = boxes[np.argsort(boxes[:, cv2.CC_STAT_LEFT], kind="stable")]
    lines: list[list[np.ndarray]] = []
    for box in boxes:
        for line in lines:
            if _continues(line[-1], box):
                line.append(box)
                break
        else:
            lines.append([box])
    return lines


def _continues(before: np.ndarray, box: np.ndarray) -> bool:
    """Whether a box is the next letter of a line."""
    left, top, width, height = before[:4]
    gap = box[0] - (left + width)
    is_near = -1 <= gap <= 1.5 * max(height, box[3])
    bottoms = abs((top + height) - (box[1] + box[3]))
    is_level = bottoms <= 0.25 * max(height, box[3]) + 1
    return bool(is_near and is_level and max(height, box[3]) <= 1.6 * min(height, box[3]))
