"""What annotations state, compared with their pictures: sizes, whether they are of the turned one, crops."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from awing.data.crops import Crop, record_matrix
from awing.data.images import Head, image_head
from awing.data.records import Bits, Record
from awing.errors import DataError

log = logging.getLogger(__name__)


def settle(
    records: Sequence[Record], crop: Crop, scale: float, size: int, upright: bool, rescale: bool, bits: Bits = None
) -> tuple[list[Record], list[str]]:
    """The records as their pictures are to be read, and why others cannot be read or cropped so.

    A picture whose size is the stated one only when it is turned by its EXIF orientation is read upright, and with
    ``upright`` every one. Where both sizes are the stated one, the other pictures decide: all of them were annotated
    with one program. ``rescale`` brings points of a picture that was resized, to the same ratio, to the size that it
    has. What states no size, or has no file, is not compared. For ``bits`` see :func:`awing.data.images.to_8_bits`.
    """
    records = [replace(record, upright=upright, bits=bits) for record in records]
    sizes = {record.path: record.size for record in records if record.size}
    heads = dict[Path, Head]()
    for path in sizes:
        with suppress(DataError):  # missing or broken: what reads its pixels says so
            heads[path] = image_head(path)
    alike = {p: (_same_ratio(head.stored, sizes[p]), _same_ratio(head.shown, sizes[p])) for p, head in heads.items()}
    one_program = (False, True) in alike.values() and (True, False) not in alike.values()
    kept, unusable = [], []
    for record in records:
        try:
            if head := heads.get(record.path):
                as_shown = upright or alike[record.path] == (False, True) or (one_program and head.turned)
                record = _rescaled(replace(record, upright=as_shown), head.shown if as_shown else head.stored, rescale)
            record_matrix(record, crop, scale, size)
            kept.append(record)
        except DataError as error:
            unusable.append(str(error))
    if not upright and (shown := {record.path for record in kept if record.upright}):
        log.info("%d of %d images are read upright: the sizes in their annotations say so", len(shown), len(sizes))
    return kept, unusable


def _same_ratio(size: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether one size is the other resized, each side rounded to whole px."""
    return abs(stated[1] * size[0] / stated[0] - size[1]) <= 1


def _rescaled(record: Record, size: tuple[int, int], rescale: bool) -> Record:
    """The record in px of its file, whose size is ``size``; a DataError says why it cannot be."""
    if not record.size or record.size == size:
        return record
    stated = "{}: annotated at {} x {} px, but the file has {} x {} px".format(record.where, *record.size, *size)
    if not _same_ratio(size, record.size):
        raise DataError(f"{stated}, of another ratio: take the file that was annotated")
    if not rescale:
        raise DataError(f"{stated}: take the file that was annotated, or dataset.rescale=true")
    factor = np.divide(size, record.size)
    box = None if record.box is None else (record.box + 0.5) * np.tile(factor, 2) - 0.5
    return replace(record, points=(record.points + 0.5) * factor - 0.5, box=box, size=size)
