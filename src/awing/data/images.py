"""Image files and pixels: decode, shrink, crop, write. Needs OpenCV and NumPy, and h5py for files of many images."""

import math
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from awing.arrays import Image, Matrix
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply, shift, warp, zoom_by

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # whose size is looked up; Pillow knows many that nobody has here
MEGAPIXELS = 100  # no more of one image inside a file of many
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


def read_crop(record: Record, matrix: Matrix, size: int, moved: Matrix | None = None) -> Image:
    """Decode an image and warp it once; black outside the image.

    An image that shrinks to a half or less is first averaged over 2 x 2, 4 x 4 or 8 x 8 px, so that it does not alias;
    a JPEG is decoded at that size at once, which is faster.

    Args:
        record: Its image is read.
        matrix: Source px -> crop px.
        size: Side of the crop, px.
        moved: Crop px -> crop px, an augmentation; the warp is of both matrices at once.

    Raises:
        DataError: the file cannot be read as an image, or the crop lies wholly outside it before it is moved.
    """
    whole = matrix if moved is None else moved @ matrix
    image, to_source = decode_for(record, whole)
    height, width = image.shape[:2]
    check_overlap(record, matrix @ to_source, size, width, height)
    return warp(image, whole @ to_source, size)


def check_overlap(record: Record, matrix: Matrix, size: int, width: int, height: int) -> None:
    """Refuse a crop of which nothing lies in its picture of ``width`` x ``height`` px; ``matrix`` starts from these.

    Raises:
        DataError: the face is named.
    """
    low, high = -0.5, size - 0.5
    corners = apply(np.linalg.inv(matrix), np.array([[low, low], [low, high], [high, low], [high, high]])) + 0.5
    if (corners.max(0) <= 0).any() or (corners.min(0) >= (width, height)).any():
        height, width = read_image(record.path, record.entry).shape[:2]
        raise DataError(
            f"{record.name}: the face's box lies outside the image of {width} x {height} px; check the annotation"
        )


def decode_for(record: Record, matrix: Matrix) -> tuple[Image, Matrix]:
    """Decode an image as small as a crop permits.

    Args:
        record: Its image is read.
        matrix: Source px -> crop px; only its zoom matters.

    Returns:
        The image, shrunk by 1, 2, 4 or 8, and the matrix from its px to source px.
    """
    factor = reduction(float(np.hypot(matrix[0, 0], matrix[1, 0])))
    data = None if record.entry else read_bytes(record.path)
    if data is not None and data[:2].tobytes() == b"\xff\xd8":  # a JPEG, whatever its name says
        image = decode(record.path, data, factor)
    else:
        whole = _read_entry(record.path, record.entry) if data is None else decode(record.path, data)
        image = shrink(whole, factor)
    return image, reduced_to_source(factor)


def read_image(path: str | os.PathLike[str], entry: str = "") -> Image:
    """Decode an image file to RGB as its pixels are stored: annotations know nothing of EXIF orientation.

    Grey becomes three equal channels, 16 bits become 8, transparency is dropped.

    Args:
        path: The file.
        entry: Name of the image in it, if it is an HDF5 file of many.

    Raises:
        DataError: the file is missing, truncated or no image.
    """
    return _read_entry(path, entry) if entry else decode(path, read_bytes(path))


def _read_entry(path: str | os.PathLike[str], entry: str) -> Image:
    """An image that MATLAB stored: (channels, width, height), or (width, height) if it is grey."""
    try:
        file = _open(str(path), os.getpid())
        stored = plain(file[entry], file)
        shape = stored.shape
        if stored.dtype != np.uint8 or len(shape) not in (2, 3) or shape[:-2] not in ((), (3,)) or 0 in shape:
            raise ValueError(f"shape {shape}, {stored.dtype}")
        pixels = stored[()]
    except (OSError, RuntimeError, KeyError, AttributeError, ValueError) as error:
        raise DataError(f"{path}:{entry}: expected the uint8 pixels of an image, found {error}") from None
    return np.ascontiguousarray(np.broadcast_to(pixels, (3, *shape[-2:])).T)


def plain(array: Any, root: Any) -> Any:
    """What an HDF5 file holds itself, no more than ``MEGAPIXELS`` of it; chunks are decompressed whole.

    Raises:
        ValueError: it is no array, lies in another file, or is too large.
    """
    import h5py  # in the train extra

    if not isinstance(array, h5py.Dataset) or array.shape is None:
        raise ValueError("no array")
    if array.is_virtual or array.external or array.file.filename != root.filename:
        raise ValueError("an array in another file")
    pixels = max(math.prod(array.shape), math.prod(array.chunks or ())) * array.dtype.itemsize / 3
    if pixels > MEGAPIXELS * 1e6:
        raise ValueError(f"shape {array.shape}, chunks {array.chunks}, {array.dtype}: over {MEGAPIXELS} megapixels")
    return array


@lru_cache(maxsize=4)
def _open(path: str, process: int) -> Any:
    """One open file a process: a handle must not be shared with a forked one."""
    import h5py  # in the train extra

    return h5py.File(path)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of an image as its pixels are stored, from the head of the file alone.

    Raises:
        DataError: the file is missing or no image.
    """
    from PIL import Image as ImageFile  # in the train extra

    try:
        with ImageFile.open(path, formats=FORMATS) as file:
            return int(file.width), int(file.height)
    except (OSError, ValueError, ArithmeticError, LookupError, ImageFile.DecompressionBombError) as error:
        raise DataError(f"{path}: expected an image, but its size cannot be read: {error}") from None
