"""What a prediction reads: files, the pictures in them, and boxes."""

import csv
import glob
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from awing.arrays import Image
from awing.data.images import read_image
from awing.errors import ConfigError, DataError
from awing.inference.aligner import Landmarks

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
BoxTable = dict[tuple[str, int | None], list[list[float]]]  # by the name of a file and the number of a frame


@dataclass
class Frame:
    """An image file or a frame of a video, and what was found on it."""

    name: str  # of the file, from the folder that was given
    image: Image | None = None  # None if it cannot be read
    number: int | None = None  # of a video's frame, from 0
    rate: float = 0.0  # frames per second of the video
    landmarks: Landmarks | None = None
    error: str | None = None  # why there are none

    @property
    def label(self) -> str:
        """Name for messages and files."""
        return self.name if self.number is None else f"{self.name}_{self.number:06d}"


def find_files(pattern: str, output: Path) -> dict[str, Path]:
    """Find images and videos by a file, a folder or a pattern: their names, from the folder given, and paths.

    Pictures that an earlier prediction wrote into ``output`` are left out.
    """
    given, written = Path(pattern), {Path(os.path.abspath(output / name)) for name in ("overlays", "heatmaps")}
    if given.is_dir():
        found = [str(path) for path in given.rglob("*")]
    else:
        found = [pattern] if given.is_file() else glob.glob(pattern, recursive=True)
    paths = sorted(Path(os.path.abspath(path)) for path in found)  # the name of "a/../b.png" must not lead up
    files = [path for path in paths if path.suffix.lower() in IMAGES + VIDEOS and not written & set(path.parents)]
    if not files:
        raise ConfigError(f"input {pattern!r}: expected files ending in {' '.join(IMAGES + VIDEOS)}, found none")
    root = os.path.abspath(given) if given.is_dir() else os.path.commonpath([path.parent for path in files])
    return {path.relative_to(root).as_posix(): path for path in files}


def read_frames(files: dict[str, Path]) -> Iterator[Frame]:
    """Read every picture of every file in turn; upright, as a viewer shows it."""
    for name, path in files.items():
        if path.suffix.lower() in VIDEOS:
            yield from _read_video(name, path)
            continue
        try:
            yield Frame(name, read_image(path, upright=True))
        except DataError as error:
            yield Frame(name, error=str(error))


def _read_video(name: str, path: Path) -> Iterator[Frame]:
    video, number = cv2.VideoCapture(str(path)), 0
    expected, rate = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 1), video.get(cv2.CAP_PROP_FPS)
    while (read := video.read())[0]:
        yield Frame(name, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), number, rate)
        number += 1
    video.release()
    if number < expected:
        yield Frame(name, number=number, error=f"{path}: {number} of {expected} frames or more could be read")


def read_boxes(given: str | None, names: Collection[str]) -> tuple[BoxTable, list[list[float]] | None]:
    """Read ``x0,y0,x1,y1``, the box of every picture, or a ``.csv`` file with boxes of the files of these names.

    Returns:
        The boxes of each picture, and those of all others: None if a detector is to find them.
    """
    if given is None:
        return {}, None
    if given.lower().endswith(".csv"):
        return _read_table(Path(given), names), []
    try:
        x0, y0, x1, y1 = map(float, given.split(","))
    except ValueError:
        raise ConfigError(f"boxes: expected x0,y0,x1,y1 or a .csv file, found {given!r}") from None
    return {}, [[x0, y0, x1, y1]]


def _read_table(path: Path, names: Collection[str]) -> BoxTable:
    if not path.is_file():
        raise DataError(f"boxes: there is no file {path}")
    table: BoxTable = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in (rows := csv.DictReader(file)):
            try:
                name, box = row["image"], [float(row[column]) for column in BOX]
                number = int(row["frame"]) if row.get("frame") else None
            except (KeyError, TypeError, ValueError):
                columns = f"image, {', '.join(BOX)}, and frame for videos"
                raise DataError(f"{path}:{rows.line_num}: expected the columns {columns}; found {row}") from None
            if name not in names:
                raise DataError(f"{path}:{rows.line_num}: {name!r} is none of the {len(names)} inputs")
            table.setdefault((name, number), []).append(box)
    return table
