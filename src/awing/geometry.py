"""Affine transforms (3x3 matrices) between source px and crop px, and the one warp of a sample.

Every matrix maps column vectors (x, y, 1); ``a @ b`` applies b first. Pixel centres are integers, so a crop
of ``size`` pixels has its centre at (size - 1) / 2.
"""

import cv2
import numpy as np
from jaxtyping import Float

from awing.arrays import Box, Image, Matrix, Points


def crop_matrix(box: Box, size: int, scale: float = 1.0) -> Matrix:
    """Matrix source px -> crop px for the square around a box (paper 7.3: "the longer side as the length").

    The box's centre becomes the crop's. The square's side is ``scale`` times the box's longer side; its outer edges
    become -0.5 and ``size`` - 0.5, those of the first and the last pixel.

    Raises:
        ValueError: the box has no area.

    >>> apply(crop_matrix(np.array([10.0, 20.0, 30.0, 60.0]), 5), np.array([[20.0, 40.0], [20.0, 60.0]])).tolist()
    [[2.0, 2.0], [2.0, 4.5]]
    """
    x0, y0, x1, y1 = box
    if not is_box(box):
        raise ValueError(f"a box needs x1 > x0 and y1 > y0, found {tuple(map(float, box))}")
    c = (size - 1) / 2
    zoom = zoom_by(size / (scale * max(x1 - x0, y1 - y0)))
    matrix: Matrix = shift(c, c) @ zoom @ shift(-(x0 + x1) / 2, -(y0 + y1) / 2)
    return matrix


def is_box(box: Box) -> bool:
    """Whether x0, y0, x1, y1 are finite with x1 > x0 and y1 > y0."""
    return bool(np.isfinite(box).all() and (box[2:] > box[:2]).all())


def overlap(box: Box, boxes: Float[np.ndarray, "f 4"]) -> Float[np.ndarray, " f"]:
    """Intersection over union of a box with each of several.

    >>> overlap(np.array([0.0, 0.0, 2.0, 2.0]), np.array([[1.0, 0.0, 3.0, 2.0], [2.0, 0.0, 3.0, 1.0]])).round(3)
    array([0.333, 0.   ])
    """
    shared = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(1)
    areas = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return np.asarray(shared / (areas[0] + areas[1] - shared))


def augmentation_matrix(size: int, *, angle: float, zoom: float, dx: float, dy: float, flip: bool) -> Matrix:
    """Matrix crop px -> crop px: mirror, then rotate and zoom about the centre, then shift (paper 7.3).

    ``angle`` is degrees, clockwise as the image is seen; a ``zoom`` above 1 enlarges; ``dx`` and ``dy`` are crop px to
    the right and down; ``flip`` mirrors x to size - 1 - x, and leaves it to the caller to permute the landmarks.

    >>> matrix = augmentation_matrix(5, angle=90, zoom=1, dx=0, dy=0, flip=False)
    >>> apply(matrix, np.array([[4.0, 2.0]])).round(6)  # right of the centre -> below it
    array([[2., 4.]])
    """
    c = (size - 1) / 2
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    matrix: Matrix = shift(c + dx, c + dy) @ zoom_by(zoom) @ rotation @ mirror @ shift(-c, -c)
    return matrix


def similarity(points: Points, target: Points) -> Matrix:
    """Least-squares similarity transform (rotation, scaling and shift, no reflection) from points to a target.

    >>> square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    >>> apply(similarity(square, 3 * square[[1, 2, 3, 0]] + 1), square).round(6).tolist()
    [[7.0, 1.0], [7.0, 7.0], [1.0, 7.0], [1.0, 1.0]]
    """
    a, b = points - points.mean(0), target - target.mean(0)
    cos, sin = (a * b).sum() / (a**2).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / (a**2).sum()
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    matrix: Matrix = shift(*target.mean(0)) @ turn @ shift(*-points.mean(0))
    return matrix


def shift(dx: float, dy: float) -> Matrix:
    """(3, 3) translation by dx px to the right and dy px down."""
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy], [0.0, 0.0, 1.0]])


def zoom_by(factor: float) -> Matrix:
    """(3, 3) scaling by one factor about the origin, the centre of the top left pixel."""
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0], [0.0, 0.0, 1.0]])


def apply(matrix: Matrix, points: Points) -> Points:
    """Transform points (K, 2) by an affine matrix (3, 3), to px of its target frame.

    >>> apply(shift(0.5, 0.5) @ zoom_by(2), np.array([[1.0, 2.0]]))
    array([[2.5, 4.5]])
    """
    transformed: Points = points @ matrix[:2, :2].T + matrix[:2, 2]
    return transformed


def warp(image: Image, matrix: Matrix, size: int) -> Image:
    """Resample an image (H, W, 3) uint8 once, bilinearly, to (size, size, 3); black outside the image.

    ``matrix`` maps source px to crop px; :func:`apply` with the same matrix moves the points.

    >>> image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> warp(image, shift(1, 0), 2)[:, :, 0].tolist()
    [[0, 0], [0, 6]]
    """
    return cv2.warpAffine(image, matrix[:2], (size, size), flags=cv2.INTER_LINEAR)
