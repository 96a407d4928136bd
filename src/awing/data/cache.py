"""Squares around faces, kept at the resolution that training needs: no photograph is decoded for a small part of it."""

import hashlib
import json
import os
import re
import threading
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from awing.arrays import Matrix
from awing.data.images import check_overlap, read_crop, read_image, reduced_to_source, reduction
from awing.data.records import Record
from awing.errors import DataError
from awing.geometry import apply, shift
from awing.reading import parse_json

VERSION = 1  # of how the files are made
QUALITY = 92  # of the JPEGs


class CropCache:
    """Files that hold what the augmented crops of a training set can show, for pictures that are larger.

    A file is found by the content of its picture, by the crop and by the settings, so it never stands for another
    picture. ``index.json`` keeps the hash of each picture with its size and time of change: where these are the same,
    the hash is taken from there; else the picture is read and hashed again, but not decoded. A picture whose file is
    not there is read itself.

    The file holds the picture's own pixels, averaged over 2 x 2, 4 x 4 or 8 x 8 px where the crop is that much
    smaller. A sample's points are exactly those of an uncached one; its pixels differ by at most 3 grey levels of 255
    on average over a set and 8 over a crop (64 px of real faces; less in larger crops). Evaluation never reads it.

    Args:
        folder: Where the files are.
        root: The data set's folder; the index names pictures from there.
        size: Side of the crop, px.
        max_extent: :attr:`awing.data.augment.Augmentation.max_extent`.
    """

    def __init__(self, folder: Path, root: Path, size: int, max_extent: float) -> None:
        self.folder, self.root, self.size, self.max_extent = folder, root, size, max_extent
        self.states: dict[str, list[int | str]] = {}  # of the pictures that were hashed here
        self._lock = threading.Lock()

    def picture(self, record: Record, matrix: Matrix) -> tuple[Record, Matrix]:
        """The record to read pixels from, and its px -> source px; the record itself where nothing is cached.

        Args:
            record: A face.
            matrix: Source px -> crop px, not augmented.
        """
        if self._index:
            view, _ = self._view(matrix)
            file = self.file(record, matrix)
            if file is not None and file.exists():
                return Record(file, record.points, record.labelled), view
        return record, np.eye(3)

    def write(self, record: Record, matrix: Matrix) -> Path | None:
        """Write the file of a face unless it is there or would save nothing; returns the file that the face has.

        Raises:
            DataError: the picture cannot be read, the crop lies outside it, or the file cannot be written.
        """
        view, side = self._view(matrix)
        file = self.file(record, matrix, afresh=True)
        if file is not None and file.exists():
            return file
        height, width = read_image(record.path, record.entry).shape[:2]
        check_overlap(record, matrix, self.size, width, height)
        if file is None or side * side > 0.7 * height * width:
            return None
        pixels = cv2.cvtColor(read_crop(record, np.linalg.inv(view), side), cv2.COLOR_RGB2BGR)
        self._put(file, cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())
        return file

    def finish(self) -> None:
        """Write the index; delete crops of pictures that are in it no more, and what an interrupted writing left."""
        index = {name: state for name, state in self._index.items() if (self.root / name).exists()} | self.states
        if self.folder.is_dir():
            self._index = index
            self._put(self.folder / "index.json", json.dumps(index, indent=0).encode())
        contents = {str(state[-1])[:16] for state in index.values()}
        for file in self.folder.glob("*-*.*"):
            ours = re.fullmatch(r"([0-9a-f]{16})-[0-9a-f]{16}\.(jpg|\d+-\d+)", file.name)
            if ours and (ours[1] not in contents or ours[2] != "jpg"):
                file.unlink(missing_ok=True)

    def file(self, record: Record, matrix: Matrix, afresh: bool = False) -> Path | None:
        """Where the crop of a face would be; None where its picture cannot be read. ``afresh`` trusts no index."""
        content = self._content(record.path, afresh)
        view = self._view(matrix)[0].round(3).tolist()
        crop = f"{VERSION}/{QUALITY}/{record.entry}/{view}/{self.size}/{self.max_extent:.3f}"
        return self.folder / f"{content[:16]}-{hashlib.sha256(crop.encode()).hexdigest()[:16]}.jpg" if content else None

    def _view(self, matrix: Matrix) -> tuple[Matrix, int]:
        """Cached px -> source px, and the side of the cached square."""
        zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        factor = reduction(zoom)
        half = (self.max_extent * self.size + 1) / zoom  # source px; one px more for the interpolation
        center = apply(np.linalg.inv(matrix), np.full((1, 2), (self.size - 1) / 2))[0]
        x, y = np.floor((center - half) / factor) * factor
        return shift(x, y) @ reduced_to_source(factor), int(np.ceil(2 * half / factor)) + 1

    @cached_property
    def _index(self) -> dict[str, list[int | str]]:
        """Picture -> size, time of change and SHA-256; empty where there is none, or one that cannot be read."""
        try:
            index = parse_json((self.folder / "index.json").read_bytes())
        except (OSError, ValueError):
            return {}
        states = index.items() if isinstance(index, dict) else ()
        return {name: state for name, state in states if _is_state(state)}

    def _content(self, path: Path, afresh: bool) -> str:
        """The hash of a file; empty where it cannot be read."""
        name = os.path.relpath(path, self.root)
        try:
            found = os.stat(path)
            state = [found.st_size, found.st_mtime_ns]
            with self._lock:  # a file of many pictures is read by one thread
                for known in (self.states.get(name), None if afresh else self._index.get(name)):
                    if known and known[:2] == state:
                        return str(known[-1])
                self.states[name] = [*state, hashlib.sha256(path.read_bytes()).hexdigest()]
                return str(self.states[name][-1])
        except OSError:
            return ""

    def _put(self, file: Path, content: bytes) -> None:
        """Write a file that is whole or not there."""
        unfinished = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(content)
            unfinished.replace(file)
        except OSError as error:
            raise DataError(
                f"{file} cannot be written: {error.strerror}; name another folder with dataset.cache=DIR"
            ) from None


def _is_state(found: object) -> bool:
    """Whether it is a size, a time and a SHA-256, which becomes the name of a file."""
    return isinstance(found, list) and len(found) == 3 and bool(re.fullmatch("[0-9a-f]{64}", str(found[2])))
