"""From an image file to a crop: one decode, one warp."""

import math
import os
from functools import lru_cache
from typing import Any

import h5py
import numpy as np
from PIL import Image as ImageFile

from awing.arrays import Image, Matrix
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply, warp
from awing.images import decode, read_bytes, reduced_to_source, reduction, shrink

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # whose size is looked up; Pillow knows many that nobody has here
MEGAPIXELS = 100  # no more of one image inside a file of many


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


def plain(array: Any, root: h5py.File) -> h5py.Dataset:
    """What an HDF5 file holds itself, no more than ``MEGAPIXELS`` of it; chunks are decompressed whole.

    Raises:
        ValueError: it is no array, lies in another file, or is too large.
    """
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
    return h5py.File(path)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of an image as its pixels are stored, from the head of the file alone.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with ImageFile.open(path, formats=FORMATS) as file:
            return int(file.width), int(file.height)
    except (OSError, ValueError, ArithmeticError, LookupError, ImageFile.DecompressionBombError) as error:
        raise DataError(f"{path}: expected an image, but its size cannot be read: {error}") from None
