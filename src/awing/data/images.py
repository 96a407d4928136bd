"""Image files and pixels: decode, shrink, crop, write. Needs OpenCV and NumPy; h5py and Pillow for some data sets."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from awing.arrays import Image, Matrix
from awing.data.records import Bits, Record
from awing.errors import DataError
from awing.geometry import apply, shift, warp, zoom_by

REDUCED = {  # flags with which OpenCV decodes a JPEG 8, 4, 2 times smaller
    8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR,
}  # fmt: skip
FEW_LEVELS = 32  # an eighth of the 256 levels


def read_image(path: str | os.PathLike[str], reduction: int = 1, upright: bool = False, bits: Bits = None) -> Image:
    """Decode an image to RGB. Grey becomes three equal channels, 16 bits become 8, transparency is dropped.

    ``reduction`` by 1, 2, 4 or 8 is done by :func:`shrink`, for a JPEG by the decoder, which is faster. ``upright``
    turns the image by its EXIF orientation, as viewers show it; annotations usually ignore that. For ``bits`` see
    :func:`to_8_bits`. A file that is missing, truncated or no image raises a DataError.
    """
    image, is_reduced = _decode(path, reduction, upright)
    return shrink(to_8_bits(image, bits), 1 if is_reduced else reduction)


def read_record(record: Record, reduction: int = 1) -> Image:
    """Read the image of a record by its ``upright`` and ``bits``, with its resolution divided by ``reduction``."""
    if not record.entry:
        return read_image(record.path, reduction, record.upright, record.bits)
    try:  # MATLAB stored (channels, width, height), or (width, height) if it is grey
        pixels = _open(str(record.path), os.getpid())[record.entry][()]
    except (OSError, KeyError) as error:
        raise DataError(f"{record.name}: expected the pixels of an image: {error}") from None
    return shrink(np.ascontiguousarray(np.broadcast_to(pixels, (3, *pixels.shape[-2:])).T), reduction)


def to_8_bits(image: np.ndarray, bits: Bits) -> Image:
    """Reduce a 16-bit image to 8 bits: by the range of ``bits``, or by the image's own minimum and maximum ("range").

    Floating-point images are always reduced by their minimum and maximum.

    >>> pixels = np.array([[[0, 2048, 4095]]], np.uint16)  # of a camera with 12 bits
    >>> [to_8_bits(pixels, bits).ravel().tolist() for bits in (None, 12, "range")]
    [[0, 8, 15], [0, 128, 255], [0, 127, 255]]
    """
    if image.dtype == np.uint8:
        return image
    if bits == "range" or image.dtype != np.uint16:
        low, high = float(image.min()), float(image.max())
        return np.asarray(((image - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    return np.asarray(np.minimum(image >> (int(bits or 16) - 8), 255).astype(np.uint8))


def uses_few_bits(record: Record, image: Image) -> bool:
    """Whether a record's 16-bit image, reduced to ``image``, spans less than an eighth of the 256 levels."""
    return bool(not record.entry and np.ptp(image) < FEW_LEVELS and _decode(record.path)[0].dtype == np.uint16)


def _decode(path: str | os.PathLike[str], reduction: int = 1, upright: bool = False) -> tuple[np.ndarray, bool]:
    """Decode to RGB pixels of 8 or 16 bits; also return whether they are already reduced."""
    try:  # from memory: when it reads a file, OpenCV silently fills the missing part of a truncated JPEG with grey
        data = np.fromfile(path, dtype=np.uint8)
        is_jpeg = data[:2].tobytes() == b"\xff\xd8"  # whatever its name says
        flags = REDUCED[reduction if is_jpeg else 1] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.imdecode(data, flags if is_jpeg else flags | cv2.IMREAD_ANYDEPTH)
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), is_jpeg  # type: ignore[arg-type]  # None: cv2.error
    except OSError as error:
        raise DataError(f"{path}: expected an image, but the file cannot be read: {error.strerror}") from None
    except cv2.error:  # no bytes, too many pixels, or no image
        why = "is it truncated, or larger than OPENCV_IO_MAX_IMAGE_PIXELS in the environment permits?"
        raise DataError(f"{path}: expected an image, but the file cannot be decoded; {why}") from None


class Head(NamedTuple):
    """Width and height of an image, as stored and as viewers show it, and whether its EXIF orientation turns it."""

    stored: tuple[int, int]
    shown: tuple[int, int]
    turned: bool


def image_head(path: str | os.PathLike[str]) -> Head:
    """Read the size and EXIF orientation of an image from the file's header alone."""
    from PIL import Image as ImageFile  # in the train extra

    try:
        with ImageFile.open(path) as file:
            turned = "exif" in file.info and file.format in ("JPEG", "MPO", "PNG", "WEBP")  # formats that OpenCV turns
            orientation = file.getexif().get(0x0112, 1) if turned else 1
            return Head(file.size, file.size[::-1] if orientation > 4 else file.size, orientation > 1)
    except OSError as error:
        raise DataError(f"{path}: expected an image, but its size cannot be read: {error}") from None


def save_picture(path: Path, picture: Image) -> None:
    """Write a PNG, or another format by the file's suffix; the folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (cv2.haveImageWriter(path.name) and cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))):
        raise DataError(f"{path}: the picture cannot be written; is the disk full, and is the suffix one of an image?")


def crop(image: Image, matrix: Matrix, size: int) -> Image:
    """Warp an image once, without aliasing; black outside the image. ``matrix`` is source px -> crop px."""
    factor = reduction_for(matrix)
    return warp(shrink(image, factor), matrix @ reduced_to_source(factor), size)


def read_crop(record: Record, matrix: Matrix, size: int, moved: Matrix | None = None) -> Image:
    """Decode an image and crop it as :func:`crop` does, with ``matrix`` and the augmentation ``moved`` in one warp."""
    whole = matrix if moved is None else moved @ matrix
    factor = reduction_for(whole)
    image, to_source = read_record(record, factor), reduced_to_source(factor)
    check_overlap(record, image, matrix @ to_source, size)
    return warp(image, whole @ to_source, size)


def check_overlap(record: Record, image: Image, matrix: Matrix, size: int) -> None:
    """Raise if a crop lies wholly outside its image; ``matrix`` is px of ``image`` -> crop px, without rotation."""
    height, width = image.shape[:2]
    first, last = apply(matrix, np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]]))  # the image's corners
    if first.max() >= size - 0.5 or last.min() <= -0.5:
        raise DataError(f"{record.where}: the face's box lies outside the image; check the annotation")


def reduction_for(matrix: Matrix) -> int:
    """Factor by which an image may be reduced before it is warped: 1, 2, 4 or 8; ``matrix`` is source px -> crop px.

    >>> reduction_for(zoom_by(0.3)), reduction_for(zoom_by(2))
    (2, 1)
    """
    zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    return next(factor for factor in REDUCED if factor == 1 or zoom * factor <= 1)


def shrink(image: Image, factor: int) -> Image:
    """Average over ``factor`` x ``factor`` px, so that the next resampling does not alias."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    whole = cv2.copyMakeBorder(image, 0, -height % factor, 0, -width % factor, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)


def reduced_to_source(factor: int) -> Matrix:
    """Matrix to source px from px of an image that was averaged over ``factor`` x ``factor`` px."""
    return np.asarray(shift((factor - 1) / 2, (factor - 1) / 2) @ zoom_by(factor))


@lru_cache(maxsize=4)
def _open(path: str, process: int) -> Any:
    """Open a file once per process: a handle must not be shared with a forked process."""
    import h5py  # in the train extra

    return h5py.File(path)
