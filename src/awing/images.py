"""Image files and pixels: decode, shrink, crop, write. Needs OpenCV and NumPy only."""

import os
from pathlib import Path

import cv2
import numpy as np

from awing.arrays import Image, Matrix
from awing.errors import DataError
from awing.geometry import shift, warp, zoom_by

REDUCED = {  # by how much OpenCV shrinks a JPEG while it decodes it
    8: cv2.IMREAD_REDUCED_COLOR_8,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    1: cv2.IMREAD_COLOR,
}


def read_bytes(path: str | os.PathLike[str]) -> np.ndarray:
    """A file's bytes.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: expected an image, but the file cannot be read: {error.strerror}") from None


def decode(path: str | os.PathLike[str], data: np.ndarray, reduction: int = 1, upright: bool = False) -> Image:
    """An image file's bytes -> RGB. Grey becomes three equal channels, 16 bits become 8, transparency is dropped.

    Args:
        path: For messages.
        data: (N,) uint8.
        reduction: 1, 2, 4 or 8; above 1 of a JPEG only.
        upright: Turn the image as its EXIF orientation says, as a viewer shows it; otherwise as its pixels are stored.

    Raises:
        DataError: truncated, or no image.
    """
    # from memory: from a file OpenCV fills what is missing of a truncated JPEG with grey and says nothing
    flags = REDUCED[reduction] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    doubt = "is it truncated?"
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image, doubt = None, "it claims more pixels than OPENCV_IO_MAX_IMAGE_PIXELS in the environment permits"
    if image is None:
        raise DataError(f"{path}: expected an image, but the file cannot be decoded; {doubt}")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def reduction(zoom: float) -> int:
    """How often a picture may be halved for a crop: by 1, 2, 4 or 8 in all; ``zoom`` is crop px a source px.

    >>> reduction(0.3), reduction(2.0)
    (2, 1)
    """
    return next(factor for factor in REDUCED if factor == 1 or zoom * factor <= 1)


def reduced_to_source(factor: int) -> Matrix:
    """Px of a picture that was averaged over ``factor`` x ``factor`` px -> its source px."""
    matrix: Matrix = shift((factor - 1) / 2, (factor - 1) / 2) @ zoom_by(factor)
    return matrix


def shrink(image: Image, factor: int) -> Image:
    """Average over ``factor`` x ``factor`` px."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    whole = cv2.copyMakeBorder(image, 0, -height % factor, 0, -width % factor, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def crop(image: Image, matrix: Matrix, size: int) -> Image:
    """Warp an image once, without aliasing; black outside the image.

    Args:
        image: Of any size.
        matrix: Source px -> crop px.
        size: Side of the crop, px.

    >>> crop(np.full((8, 8, 3), 9, np.uint8), zoom_by(0.5), 4).shape
    (4, 4, 3)
    """
    factor = reduction(float(np.hypot(matrix[0, 0], matrix[1, 0])))
    return warp(shrink(image, factor), matrix @ reduced_to_source(factor), size)


def save_picture(path: Path, picture: Image) -> None:
    """Write a PNG (or whatever the suffix says); the folder is made.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    except (cv2.error, OSError):  # a suffix that it does not know; a file where the folder should be
        written = False
    if not written:
        raise DataError(f"{path}: the picture cannot be written; is the disk full, and is the suffix one of an image?")
