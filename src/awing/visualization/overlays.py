"""Pictures of faces: arrays of RGB pixels in, arrays of RGB pixels out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float

from awing.arrays import Image, Points

Lines = Sequence[tuple[int, ...]]  # paths through the landmarks, such as awing.schemes.Scheme.lines
PREDICTED, ANNOTATED = (70, 255, 90), (255, 70, 60)  # green, red


def draw_landmarks(
    canvas: Image, points: Points, lines: Lines = (), color: tuple[int, int, int] = PREDICTED, extent: float = 0.0
) -> None:
    """Draw points (px) and lines through them into a picture; points that are not finite are left out.

    A point's radius is 1/120 of the longer side of their box, or of ``extent`` px if that is longer (for points of only
    a part of a face). A line's width is half of that; lines thinner than a pixel are drawn fainter instead.
    """
    drawn = np.isfinite(points).all(1)
    if not drawn.any():
        return
    radius = max(extent, float(np.ptp(points[drawn], axis=0).max())) / 120
    pixels = np.where(drawn[:, None], 16 * points, 0).round().astype(int).tolist()  # in 1/16 px: shift=4
    lined = canvas if radius >= 3 else canvas.copy()
    for line in lines:
        for a, b in pairwise(line):
            if drawn[a] and drawn[b]:
                cv2.line(lined, pixels[a], pixels[b], color, max(1, round(radius / 2)), cv2.LINE_AA, shift=4)
    if radius < 3:
        cv2.addWeighted(lined, radius / 3, canvas, 1 - radius / 3, 0, dst=canvas)
    disc = round(16 * max(0.25, radius - 0.5))  # antialiasing adds half a pixel
    for k in np.flatnonzero(drawn):
        cv2.circle(canvas, pixels[k], disc, color, -1, cv2.LINE_AA, shift=4)


def overlay(
    crop: Image, points: Points, annotated: Points | None = None, lines: Lines = (), side: int = 320, caption: str = ""
) -> Image:
    """Draw predicted points and lines in green, annotated points in red, on a square crop enlarged to ``side`` px.

    >>> crop = np.zeros((64, 64, 3), np.uint8)
    >>> picture = overlay(crop, np.array([[31.5, 31.5]]), side=128)
    >>> picture.shape, int(picture[64, 64].argmax())  # green in the middle
    ((128, 128, 3), 1)
    """
    zoom = side / crop.shape[0]
    canvas = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    extent = 0.8 * side  # size of a face, whichever of its points are given
    if annotated is not None:
        draw_landmarks(canvas, (annotated + 0.5) * zoom - 0.5, color=ANNOTATED, extent=extent)
    draw_landmarks(canvas, (points + 0.5) * zoom - 0.5, lines, extent=extent)
    if caption:
        write_caption(canvas, caption)
    return canvas


def pooled_maps(crop: Image, maps: Float[np.ndarray, "c h w"], boundary: bool, side: int = 320) -> Image:
    """A square crop, the maximum over its landmark maps, and the last map where that is the boundary: ``side`` px each.

    >>> pooled_maps(np.zeros((64, 64, 3), np.uint8), np.zeros((69, 16, 16), np.float32), boundary=True).shape
    (320, 960, 3)
    """
    shown = [maps[:-1].max(0), maps[-1]] if boundary else [maps.max(0)]
    crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.concatenate([crop, *(_colored(values, side) for values in shown)], 1)


def landmark_maps(
    crop: Image, maps: Sequence[Float[np.ndarray, "c h w"]], captions: Mapping[int, str], side: int = 96
) -> Image:
    """Draw each landmark's maps over the darkened crop: a cell per landmark, with a panel for each set of maps.

    The sets in ``maps`` are those of the stacks, optionally preceded by the target. ``captions`` has the landmarks to
    draw, in this order.

    >>> stacks = [np.zeros((69, 16, 16), np.float32)] * 2
    >>> landmark_maps(np.zeros((64, 64, 3), np.uint8), stacks, {36: "36", 45: "45"}).shape  # 18 px of caption
    (116, 388, 3)
    """
    dark = cv2.cvtColor(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) // 2, cv2.COLOR_RGB2GRAY)
    cells = []
    for k, caption in captions.items():
        panels = np.concatenate([np.maximum(dark[..., None], _colored(values[k], side)) for values in maps], 1)
        cells.append(cv2.copyMakeBorder(panels, 18, 2, 0, 2, cv2.BORDER_CONSTANT))
        write_caption(cells[-1], caption)
    return grid(cells, columns=max(1, 1200 // cells[0].shape[1]))


def grid(pictures: Sequence[Image], columns: int = 4) -> Image:
    """Arrange pictures of one size in rows, black where the last row is not full.

    >>> grid([np.zeros((10, 20, 3), np.uint8)] * 5, columns=4).shape
    (20, 80, 3)
    """
    columns = min(columns, len(pictures))
    cells = [*pictures, *[np.zeros_like(pictures[0])] * (-len(pictures) % columns)]
    return np.vstack([np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)])


def _colored(values: Float[np.ndarray, "h w"], side: int) -> Image:
    levels = (255 * np.clip(values, 0, 1)).round().astype(np.uint8)
    color = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(color, (side, side), interpolation=cv2.INTER_NEAREST))


def write_caption(canvas: Image, caption: str) -> None:
    """Write a line of text into the first 18 px."""
    cv2.rectangle(canvas, (0, 0), (canvas.shape[1], 17), (0, 0, 0), -1)
    cv2.putText(canvas, caption, (4, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255, 255, 255), 1, cv2.LINE_AA)
