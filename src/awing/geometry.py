"""3x3 matrices between source px and crop px, and the one warp that a sample undergoes.

Every matrix maps column vectors (x, y, 1); ``a @ b`` applies b first. Pixel centres are integers, so a crop of
``size`` pixels has its centre at (size - 1) / 2.
"""

import cv2
import numpy as np

from awing.arrays import Box, Image, Matrix, Points


def crop_matrix(box: Box, size: int, scale: float = 1.0) -> Matrix:
    """Source px -> crop px for the square around a box (paper 7.3: "the longer side as the length of a square").

    Args:
        box: x0, y0, x1, y1 in source px.
        size: Side of the crop in px.
        scale: The square's side is ``scale`` times the box's longer side.

    Raises:
        ValueError: the box has no area.

    >>> apply(crop_matrix(np.array([10.0, 20.0, 30.0, 60.0]), 5), np.array([[20.0, 40.0]]))
    array([[2., 2.]])
    """
    x0, y0, x1, y1 = box
    if not (x1 > x0 and y1 > y0):
        raise ValueError(f"a box needs x1 > x0 and y1 > y0, found {tuple(map(float, box))}")
    zoom = size / (scale * max(x1 - x0, y1 - y0))
    return shift((size - 1) / 2, (size - 1) / 2) @ zoom_by(zoom) @ shift(-(x0 + x1) / 2, -(y0 + y1) / 2)


def augmentation_matrix(size: int, *, angle: float, zoom: float, dx: float, dy: float, flip: bool) -> Matrix:
    """Crop px -> crop px: mirror, then rotate (degrees, clockwise as seen) and zoom about the centre, then shift (px)."""
    c = (size - 1) / 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    return shift(c + dx, c + dy) @ zoom_by(zoom) @ rotation @ mirror @ shift(-c, -c)


def shift(dx: float, dy: float) -> Matrix:
    """Translation by (dx, dy)."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def zoom_by(factor: float) -> Matrix:
    """Isotropic scaling about the origin."""
    return np.diag([factor, factor, 1.0])


def apply(matrix: Matrix, points: Points) -> Points:
    """Transform (K, 2) points."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def warp(image: Image, matrix: Matrix, size: int) -> Image:
    """Resample an image once into a (size, size) crop, bilinearly; black outside the image."""
    return cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR)
