"""The square of an image that becomes the network's input; no part of the protocol changes results as much.

* ``provided``: the data set's own box, which does not depend on the ground truth.
* ``landmarks``: the tight box of the labelled landmarks (paper 7.6.2; all its ablations).
* ``official``: the crop of the authors' WFLW evaluation, which uses the ground truth; only for checking their weights.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from awing.arrays import Box, Matrix, Points
from awing.data.images import Head, image_head
from awing.data.records import Bits, Record
from awing.errors import ConfigError, DataError
from awing.geometry import apply, augmentation_matrix, crop_matrix, shift

Crop = Literal["provided", "landmarks", "official"]
log = logging.getLogger(__name__)


def record_matrix(record: Record, crop: Crop, scale: float, size: int) -> Matrix:
    """Matrix source px -> crop px for one annotated face; see :func:`box_matrix`."""
    if crop == "landmarks":
        return box_matrix(landmark_box(record), crop, scale, size)
    if record.box is None:
        why = f" ({record.no_box})" * bool(record.no_box)
        raise DataError(
            f"{record.where}: crop={crop} needs a provided box and there is none{why}; use dataset.crop=landmarks"
        )
    return box_matrix(record.box, crop, scale, size, record.points[record.labelled])


def box_matrix(box: Box, crop: Crop, scale: float, size: int, points: Points | None = None) -> Matrix:
    """Matrix source px -> crop px for the square around a box: a translation and an isotropic scaling.

    Args:
        box: (4,) x0, y0, x1, y1 in source px, of the kind that the crop requires.
        crop: Kind of crop; see the top of this module.
        scale: The square's side is ``scale`` times the box's longer side; ``official`` fixes the side and takes only 1.
        size: Side of the crop, px.
        points: Ground truth, by which the ``official`` square may be enlarged; None where there is none.
    """
    if crop != "official":
        return crop_matrix(box, size, scale)
    if scale != 1:
        raise ConfigError(f"crop=official has a size of its own: expected dataset.crop_scale=1, found {scale}")
    center = (box[:2] + box[2:]) / 2
    side = 0.8 * (1.05 * (box[2] - box[0]) + 1.05 * (box[3] - box[1]))

    def square(side: float, pixels: int) -> Matrix:
        return crop_matrix(np.concatenate([center - side / 2, center + side / 2]), pixels)

    def holds(matrix: Matrix, low: float, high: float) -> bool:
        return points is None or bool((low <= (inside := apply(matrix, points))).all() and (inside <= high).all())

    # in the authors' frame of 450 px: the central 360 px, or the whole frame with a border of 100 px
    while not holds(square(side, 450), 10, 440):
        side *= 1.05
    return square(side * (360 if holds(square(side * 360 / 450, 256), 5, 250) else 650) / 450, size)


def landmark_box(record: Record) -> Box:
    """Tight box of the labelled landmarks, source px; of a horizontal or vertical line, the square around it."""
    points = record.points[record.labelled]
    if len(points) < 2 or not (sides := np.ptp(points, axis=0)).any() or not np.isfinite(points).all():
        raise DataError(f"{record.where}: the labelled landmarks span no box")
    margin = np.where(sides == 0, sides.max() / 2, 0)
    return np.concatenate([points.min(0) - margin, points.max(0) + margin])


@dataclass(frozen=True)
class BoxJitter:
    """Simulated detector error: each box moves by ``shift`` sides in a random direction, and is scaled by ``scale``."""

    shift: float = 0.0
    scale: float = 1.0

    def __call__(self, matrix: Matrix, box: float, size: int, index: int) -> Matrix:
        """Matrix source px -> crop px of the changed box, from that of the true box, whose side is ``box`` crop px."""
        angle = np.random.default_rng([0, index]).uniform(0, 2 * np.pi)
        dx, dy = self.shift * box * np.cos(angle), self.shift * box * np.sin(angle)
        resized = augmentation_matrix(size, angle=0, zoom=1 / self.scale, dx=0, dy=0, flip=False)
        return np.asarray(resized @ shift(-dx, -dy) @ matrix)


def usable_records(
    records: Sequence[Record], crop: Crop, scale: float, size: int, upright: bool, rescale: bool, bits: Bits = None
) -> tuple[list[Record], list[str]]:
    """Return the records, with how their pictures are to be read, and the reasons why others cannot be read or cropped.

    With ``upright``, every picture is turned by its EXIF orientation; otherwise those that were annotated so, by the
    sizes in their annotations. ``rescale`` scales points of a picture that was resized at a fixed aspect ratio to its
    present size. Without a stated size or a file, nothing is compared. For ``bits`` see
    :func:`awing.data.images.to_8_bits`.
    """
    records = [replace(record, upright=upright, bits=bits) for record in records]
    sizes = {record.path: record.size for record in records if record.size}
    heads = dict[Path, Head]()
    for path in sizes:
        with suppress(DataError):  # missing or broken: reported when its pixels are read
            heads[path] = image_head(path)
    turned = set(heads) if upright else _annotated_upright(heads, sizes)
    kept, unusable = [], []
    for record in records:
        try:
            if head := heads.get(record.path):
                as_shown = record.path in turned
                record = _rescaled(replace(record, upright=as_shown), head.shown if as_shown else head.stored, rescale)
            record_matrix(record, crop, scale, size)
            kept.append(record)
        except DataError as error:
            unusable.append(str(error))
    if not upright and (shown := {record.path for record in kept if record.upright}):
        log.info("%d of %d images are read upright: the sizes in their annotations say so", len(shown), len(sizes))
    return kept, unusable


def _annotated_upright(heads: Mapping[Path, Head], sizes: Mapping[Path, tuple[int, int]]) -> set[Path]:
    """Pictures that have the size that their annotations state only after their turn by the EXIF orientation.

    If both sizes fit, the other pictures decide, since one program annotated all.
    """
    stored = {path for path, head in heads.items() if _same_ratio(head.stored, sizes[path])}
    shown = {path for path, head in heads.items() if _same_ratio(head.shown, sizes[path])}
    if shown - stored and not stored - shown:
        return {path for path, head in heads.items() if head.turned}
    return shown - stored


def _same_ratio(size: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether two sizes have the same aspect ratio, given that sides are rounded to whole px."""
    return abs(stated[1] * size[0] / stated[0] - size[1]) <= 1


def _rescaled(record: Record, size: tuple[int, int], rescale: bool) -> Record:
    """Convert a record to px of its file, whose size is ``size``; a DataError says why this is impossible."""
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
