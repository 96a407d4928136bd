"""Pictures of faces: arrays of RGB pixels in, arrays of RGB pixels out."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float

from awing.arrays import Image, Points

Lines = Sequence[tuple[int, ...]]  # paths through the landmarks, such as awing.schemes.Scheme.lines
PREDICTED, ANNOTATED = (70, 255, 90), (255, 70, 60)  # green, red


def draw_landmarks(
    canvas: Image, points: Points, lines: Lines = (), color: tuple[int, int, int] = PREDICTED, radius: float = 2.0
) -> None:
    """Draw points, and lines through them, into a picture.

    Points are in its px; those that are not finite are left out, and their lines. Lines are as wide as half a radius.
    """
    drawn = np.isfinite(points).all(1)
    pixels = np.where(drawn[:, None], 16 * points, 0).round().astype(int).tolist()  # in 1/16 px: shift=4
    for line in lines:
        for a, b in pairwise(line):
            if drawn[a] and drawn[b]:
                cv2.line(canvas, pixels[a], pixels[b], color, max(1, round(radius / 2)), cv2.LINE_AA, shift=4)
    for k in np.flatnonzero(drawn):
        cv2.circle(canvas, pixels[k], round(16 * radius), color, -1, cv2.LINE_AA, shift=4)


def overlay(
    crop: Image, points: Points, annotated: Points | None = None, lines: Lines = (), side: int = 320, caption: str = ""
) -> Image:
    """Draw predicted points and lines in green, annotated points in red, on an enlarged crop.

    The crop is square, the points are in its px, and the result has ``side`` px.

    >>> crop = np.zeros((64, 64, 3), np.uint8)
    >>> picture = overlay(crop, np.array([[31.5, 31.5]]), side=128)
    >>> picture.shape, picture[64, 64].tolist()  # green in the middle
    ((128, 128, 3), [70, 255, 90])
    """
    zoom = side / crop.shape[0]
    canvas = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    if annotated is not None:
        draw_landmarks(canvas, (annotated + 0.5) * zoom - 0.5, color=ANNOTATED)
    draw_landmarks(canvas, (points + 0.5) * zoom - 0.5, lines)
    if caption:
        cv2.rectangle(canvas, (0, 0), (side, 18), (0, 0, 0), -1)
        cv2.putText(canvas, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def heatmaps(crop: Image, maps: Float[np.ndarray, "c h w"], boundary: bool, side: int = 320) -> Image:
    """A square crop, the maximum over its landmark maps, and the last map where that is the boundary, side by side.

    Maps are shown from 0 (black) to 1 (white), panels have ``side`` px.

    >>> heatmaps(np.zeros((64, 64, 3), np.uint8), np.zeros((69, 16, 16), np.float32), boundary=True).shape
    (320, 960, 3)
    """
    panels = [cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)]
    for values in [maps[:-1].max(0), maps[-1]] if boundary else [maps.max(0)]:
        levels = (255 * np.clip(values, 0, 1)).round().astype(np.uint8)
        color = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
        panels.append(cv2.resize(color, (side, side), interpolation=cv2.INTER_NEAREST))
    return np.concatenate(panels, 1)


def grid(pictures: Sequence[Image], columns: int = 4) -> Image:
    """Pictures of one size in rows, black where the last row is not full.

    >>> grid([np.zeros((10, 20, 3), np.uint8)] * 5, columns=4).shape
    (20, 80, 3)
    """
    columns = min(columns, len(pictures))
    cells = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])
