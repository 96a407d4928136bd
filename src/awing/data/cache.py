"""Cache of squares around faces at the resolution of training, so that large photographs need not be decoded."""

import hashlib
import os
import threading
from pathlib import Path

import cv2
import numpy as np

from awing.arrays import Matrix
from awing.data.images import check_overlap, crop, read_record, reduced_to_source, reduction_for
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply, shift

QUALITY = 92  # of the JPEGs


class CropCache:
    """Cache files with the part of each larger picture that its augmented training crops can show.

    A file's name is a hash of its picture's path from ``root``, file size and modification time, of the crop and of the
    settings. A picture without a file is read itself. Evaluation uses no cache. ``max_extent`` is the augmentation's.

    A sample's points are exactly those of an uncached one; its pixels differ by at most 3 grey levels of 255 on average
    over a set and 8 over a crop (64 px of real faces; less in larger crops).
    """

    def __init__(self, folder: Path, root: Path, size: int, max_extent: float) -> None:
        self.folder, self.root, self.size, self.max_extent = folder, root, size, max_extent

    def picture(self, record: Record, matrix: Matrix) -> tuple[Record, Matrix]:
        """Record to read pixels from, and matrix from its px to source px; ``matrix`` is source px -> crop px."""
        if self.folder.is_dir() and (file := self._file(record, matrix)).exists():
            return Record(file, record.points, record.labelled), self._view(matrix)[0]
        return record, np.eye(3)

    def write(self, record: Record, matrix: Matrix) -> Path | None:
        """Write the file of a face unless it exists or would save nothing; return the file, None if there is none."""
        image, (view, side) = read_record(record), self._view(matrix)
        check_overlap(record, image, matrix, self.size)
        if side * side > 0.7 * image.shape[0] * image.shape[1]:
            return None
        file = self._file(record, matrix)
        if not file.exists():
            pixels = cv2.cvtColor(crop(image, np.linalg.inv(view), side), cv2.COLOR_RGB2BGR)
            part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                part.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
                part.replace(file)
            except OSError as error:
                raise DataError(f"{error}; name another folder for the crops: dataset.cache=DIR") from None
        return file

    def _file(self, record: Record, matrix: Matrix) -> Path:
        state = record.path.stat()
        picture = [os.path.relpath(record.path, self.root), record.entry, record.upright, record.bits]
        picture += [state.st_size, state.st_mtime_ns]
        settings = [self._view(matrix)[0].round(3).tolist(), self.size, round(self.max_extent, 3), QUALITY]
        return self.folder / f"{hashlib.sha256(repr(picture + settings).encode()).hexdigest()[:32]}.jpg"

    def _view(self, matrix: Matrix) -> tuple[Matrix, int]:
        """Matrix from cached px to source px, and the side of the cached square."""
        zoom, factor = float(np.hypot(matrix[0, 0], matrix[1, 0])), reduction_for(matrix)
        half = (self.max_extent * self.size + 1) / zoom  # source px; one extra crop px for the interpolation
        center = apply(np.linalg.inv(matrix), np.full((1, 2), (self.size - 1) / 2))[0]
        x, y = np.floor((center - half) / factor) * factor
        return shift(x, y) @ reduced_to_source(factor), int(np.ceil(2 * half / factor)) + 1
