"""What annotations state, compared with their pictures: sizes, and whether they are of the turned picture."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from awing.data.crops import Crop, record_matrix
from awing.data.images import image_head
from awing.data.records import Bits, Record
from awing.errors import DataError

log = logging.getLogger(__name__)


def settle_sizes(
    records: Sequence[Record], upright: bool, rescale: bool, bits: Bits = None
) -> tuple[list[Record], list[str]]:
    """Compare the sizes that annotations state with the files: the records as they are to be read, and what cannot be.

    A picture whose size is the stated one only when it is turned by its EXIF orientation is read upright. Where both
    sizes are the stated one, the other pictures decide: all of them were annotated with one program.

    Args:
        records: The faces; those without a stated size, or without a file, stay as they are.
        upright: Read every picture upright.
        rescale: Bring the points of a picture that was resized, to the same ratio, to the size that it has.
        bits: How images of 16 bits are reduced; see :func:`awing.data.images.to_8_bits`.
    """
    records = [replace(record, upright=upright, bits=bits) for record in records]
    sized = {r.path: r.size for r in records if r.size and os.path.isfile(r.path)}
    heads, reasons = {}, {}
    for path in sized:
        try:
            heads[path] = image_head(path)
        except DataError as error:
            reasons[path] = str(error)
    turned = {path: _fits(_turned(head), sized[path], head[:2]) for path, head in heads.items()}
    stored = any(_fits(head[:2], sized[path], _turned(head)) for path, head in heads.items())
    one_program = any(turned.values()) and not stored
    kept, unusable = [], []
    for record in records:
        if head := heads.get(record.path):
            as_shown = upright or turned[record.path] or (one_program and head[2] > 1)
            record = replace(record, upright=as_shown)
            if (size := _turned(head) if as_shown else head[:2]) != record.size:
                record, reasons[record.path] = _rescaled(record, size, rescale)
        if reason := reasons.get(record.path):
            unusable.append(f"{record.where}: {reason}")
        else:
            kept.append(record)
    if any(turned.values()):
        shown = len({record.path for record in kept if record.upright})
        log.info("%d of %d images are read upright: the sizes in their annotations say so", shown, len(sized))
    return kept, unusable


def settle_crops(records: Sequence[Record], crop: Crop, scale: float, size: int) -> tuple[list[Record], list[str]]:
    """The records that can be cropped so, and why others cannot."""
    kept, unusable = [], []
    for record in records:
        try:
            record_matrix(record, crop, scale, size)
            kept.append(record)
        except DataError as error:
            unusable.append(f"{record.id}, {error}" if record.id else str(error))
    return kept, unusable


def _turned(head: tuple[int, int, int]) -> tuple[int, int]:
    """Width and height of a picture as viewers show it."""
    width, height, orientation = head
    return (height, width) if orientation > 4 else (width, height)


def _fits(size: tuple[int, int], stated: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a stated size is this one, or of its ratio alone, and not the ``other``."""
    return stated == size != other or (stated != other and _same_ratio(size, stated) and not _same_ratio(other, stated))


def _same_ratio(size: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether one size is the other resized, each side rounded to whole px."""
    return min(stated) > 0 and abs(stated[1] * size[0] / stated[0] - size[1]) <= 1


def _rescaled(record: Record, size: tuple[int, int], rescale: bool) -> tuple[Record, str]:
    """The record in px of its file, or why it cannot be; ``size`` is the file's."""
    assert record.size
    (width, height), (stated_width, stated_height) = size, record.size
    found = f"annotated at {stated_width} x {stated_height} px, but the file has {width} x {height} px"
    if not _same_ratio(size, record.size):
        return record, f"{found}, of another ratio: take the file that was annotated"
    if not rescale:
        return record, f"{found}: take the file that was annotated, or dataset.rescale=true"
    factor = np.array([width / stated_width, height / stated_height])
    points, box = (record.points + 0.5) * factor - 0.5, record.box
    box = None if box is None else (box + 0.5) * np.tile(factor, 2) - 0.5
    return replace(record, points=points, box=box, size=size), ""
