"""Squares around faces, kept at the resolution that training needs: no photograph is decoded for a small part of it."""

import hashlib
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from awing.arrays import Matrix
from awing.data.images import read_crop, read_image, reduced_to_source, reduction
from awing.data.records import Record
from awing.geometry import apply, shift

QUALITY = 92  # of the JPEGs


class CropCache:
    """Files that hold what the augmented crops of a training set can show, for pictures that are larger.

    A file is found by its face (path, crop, settings) and by its picture's size and time of change: a picture that
    changed is read itself until the cache is written again. The file holds the picture's own pixels, averaged over
    2 x 2, 4 x 4 or 8 x 8 px where the crop is that much smaller. A sample's points are exactly those of an uncached
    one; its pixels differ by at most 3 grey levels of 255 on average over a set and 8 over a crop (64 px of real faces;
    less in larger crops). Evaluation never reads the cache.

    Args:
        folder: Where the files are.
        size: Side of the crop, px.
        reach: :attr:`awing.data.Augmentation.reach`.
    """

    def __init__(self, folder: Path, size: int, reach: float) -> None:
        self.folder, self.size, self.reach = folder, size, reach

    def picture(self, record: Record, matrix: Matrix) -> tuple[Record, Matrix]:
        """The record to read pixels from, and its px -> source px; the record itself where nothing is cached.

        Args:
            record: A face.
            matrix: Source px -> crop px, not augmented.
        """
        view, _ = self._view(matrix)
        file = self._file(record, view)
        if file is None or not file.exists():
            return record, np.eye(3)
        return Record(file, record.points, record.labelled), view

    def write(self, record: Record, matrix: Matrix) -> bool:
        """Write the file of a face unless it is there or would save nothing; returns whether the face has one.

        Raises:
            DataError: the picture cannot be read.
        """
        view, side = self._view(matrix)
        file = self._file(record, view)
        if file is None:
            read_image(record.path, record.entry)  # says what is wrong with it
            return False
        if file.exists():
            return True
        height, width = read_image(record.path, record.entry).shape[:2]
        if side * side > 0.7 * height * width:
            return False
        pixels = cv2.cvtColor(read_crop(record, np.linalg.inv(view), side), cv2.COLOR_RGB2BGR)
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob(f"{file.name.split('-')[0]}-*.jpg"):
            stale.unlink(missing_ok=True)
        unfinished = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        unfinished.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
        unfinished.replace(file)
        return True

    def _view(self, matrix: Matrix) -> tuple[Matrix, int]:
        """Cached px -> source px, and the side of the cached square."""
        zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        factor = reduction(zoom)
        half = (self.reach * self.size + 1) / zoom  # source px; one px more for the interpolation
        center = apply(np.linalg.inv(matrix), np.full((1, 2), (self.size - 1) / 2))[0]
        x, y = np.floor((center - half) / factor) * factor
        return shift(x, y) @ reduced_to_source(factor), int(np.ceil(2 * half / factor)) + 1

    def _file(self, record: Record, view: Matrix) -> Path | None:
        try:
            found = os.stat(record.path)
        except OSError:
            return None
        face = f"{record.path.resolve()}/{record.entry}/{view.round(3).tolist()}/{self.size}/{self.reach:.3f}"
        state = f"{found.st_size}/{found.st_mtime_ns}"
        return self.folder / f"{_digest(face)}-{_digest(state)}.jpg"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
