"""What annotations state, compared with their pictures: sizes, and whether they are of the turned picture."""

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
    sizes = {record.path: record.size for record in records if record.size}
    heads = dict[Path, Head]()
    for path in sizes:
        with suppress(DataError):  # missing or broken: what reads its pixels says so
            heads[path] = image_head(path)
    alike = {p: (_same_ratio(head.stored, sizes[p]), _same_ratio(head.shown, sizes[p])) for p, head in heads.items()}
    one_program = (False, True) in alike.values() and (True, False) not in alike.values()
    kept, unusable = [], []
    for record in records:
        problem = ""
        if head := heads.get(record.path):
            as_shown = upright or alike[record.path] == (False, True) or (one_program and head.turned)
            record = replace(record, upright=as_shown)
            record, problem = _rescaled(record, head.shown if as_shown else head.stored, rescale)
        if problem:
            unusable.append(f"{record.where}: {problem}")
        else:
            kept.append(record)
    if not upright and (shown := {record.path for record in kept if record.upright}):
        log.info("%d of %d images are read upright: the sizes in their annotations say so", len(shown), len(sizes))
    return kept, unusable


def settle_crops(records: Sequence[Record], crop: Crop, scale: float, size: int) -> tuple[list[Record], list[str]]:
    """The records that can be cropped so, and why others cannot."""
    kept, unusable = [], []
    for record in records:
        try:
            record_matrix(record, crop, scale, size)
            kept.append(record)
        except DataError as error:
            unusable.append(str(error))
    return kept, unusable


def _same_ratio(size: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether one size is the other resized, each side rounded to whole px."""
    return abs(stated[1] * size[0] / stated[0] - size[1]) <= 1


def _rescaled(record: Record, size: tuple[int, int], rescale: bool) -> tuple[Record, str]:
    """The record in px of its file, or why it cannot be; ``size`` is the file's."""
    if not record.size or record.size == size:
        return record, ""
    stated = "{} x {} px, but the file has {} x {} px".format(*record.size, *size)
    if not _same_ratio(size, record.size):
        return record, f"annotated at {stated}, of another ratio: take the file that was annotated"
    if not rescale:
        return record, f"annotated at {stated}: take the file that was annotated, or dataset.rescale=true"
    factor = np.divide(size, record.size)
    box = None if record.box is None else (record.box + 0.5) * np.tile(factor, 2) - 0.5
    return replace(record, points=(record.points + 0.5) * factor - 0.5, box=box, size=size), ""
