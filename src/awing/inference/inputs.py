"""What a prediction reads: files, the pictures in them, and boxes."""

import csv
import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2

from awing.arrays import Image
from awing.data.images import decode, read_bytes
from awing.errors import ConfigError, DataError, did_you_mean
from awing.reading import lines

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
PICTURES = ("overlays", "heatmaps", "pts")  # folders that a prediction writes
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")


@dataclass(frozen=True)
class Frame:
    """One picture to predict, or the reason why there is none.

    Args:
        name: Of its file, from the folder that was given.
        number: Of the frame in a video, from 0; None for an image.
        rate: Frames a second of the video.
    """

    name: str
    image: Image | None
    number: int | None = None
    rate: float = 0.0
    error: str | None = None

    @property
    def label(self) -> str:
        """Its name for people and files.

        >>> Frame("clip.mp4", None, 12).label
        'clip.mp4_000012'
        """
        return self.name if self.number is None else f"{self.name}_{self.number:06d}"


def find(pattern: str) -> dict[str, Path]:
    """The files of an input: their names in results, from the folder that was given, and their paths.

    Pictures that an earlier prediction wrote are left out, and counted on the screen.

    Args:
        pattern: A file, a folder, or a pattern of files.

    Raises:
        ConfigError: there is none.
    """
    given = Path(pattern)
    if given.is_dir():
        root, found = given, sorted(path for path in given.rglob("*") if path.suffix.lower() in IMAGES + VIDEOS)
    elif given.is_file():
        root, found = given.parent, [given]
    else:
        paths = [Path(path) for path in sorted(glob.glob(pattern, recursive=True))]
        found = [path.parent.resolve() / path.name for path in paths]  # of "a/../b.png", a name must not lead up
        root = Path(os.path.commonpath([path.parent for path in found])) if found else given
    there = [path for path in found if path.is_file()]
    files = [path for path in there if not _predicted(path)]
    if wrote := len(there) - len(files):
        print(f"left out: {wrote} pictures that earlier predictions wrote", file=sys.stderr)
    if not files:
        what = "has no image or video in it" if given.is_dir() else "is no file, folder or pattern of files"
        raise ConfigError(f"input {pattern!r} {what}; expected files ending in {' '.join(IMAGES + VIDEOS)}")
    # a name of bytes that are no UTF-8 has them as \xff: results are text
    return {os.fsencode(path.relative_to(root)).decode(errors="backslashreplace"): path for path in files}


def holds_prediction(folder: Path) -> bool:
    """Whether a prediction was written there, finished or not."""
    return any((folder / name).exists() for name in ("predictions.json", "predictions.json.part"))


def _predicted(path: Path) -> bool:
    return any(folder.name in PICTURES and holds_prediction(folder.parent) for folder in path.absolute().parents)


def frames(files: dict[str, Path]) -> Iterator[Frame]:
    """Every picture of every file, in turn; upright, as a viewer shows it."""
    for name, path in files.items():
        if _is_video(path):
            yield from _video(name, path)
            continue
        try:
            yield Frame(name, decode(path, read_bytes(path), upright=True))
        except DataError as error:
            yield Frame(name, None, error=str(error))


def _video(name: str, path: Path) -> Iterator[Frame]:
    video = cv2.VideoCapture(str(path))
    try:
        count, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
        number = 0
        while (read := video.read())[0]:
            yield Frame(name, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), number, rate)
            number += 1
        if number < max(count, 1):  # the head of a file that cannot be opened claims none
            error = f"{path}: {number} of {int(max(count, 0)) or 'an unknown number of'} frames could be read"
            yield Frame(name, None, number, rate, error)
    finally:
        video.release()


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


class Boxes:
    """The boxes that a user gives.

    Args:
        given: None: there are none. ``x0,y0,x1,y1``: the same for all. Otherwise a ``.csv`` file.
        names: Of the inputs.

    Raises:
        ConfigError: it is neither.
        DataError: the file is broken, or has rows of no input, of a video without a frame, or of an image with one.
    """

    def __init__(self, given: str | None, names: set[str]) -> None:
        self.same: list[list[float]] | None = None
        self.table: dict[tuple[str, int | None], list[list[float]]] | None = None
        self.detected = given is None  # a detector is to find them
        if given is None:
            return
        if Path(given).suffix.lower() == ".csv":
            self.table = _read_boxes(Path(given), names)
            return
        try:
            x0, y0, x1, y1 = (float(word) for word in given.split(","))
        except ValueError:
            raise ConfigError(f"boxes: expected x0,y0,x1,y1 or a .csv file, found {given!r}") from None
        self.same = [[x0, y0, x1, y1]]

    def of(self, frame: Frame) -> list[list[float]] | None:
        """The boxes of one frame, once; None where they are detected."""
        return self.same if self.table is None else self.table.pop((frame.name, frame.number), [])

    def unused(self) -> Iterator[Frame]:
        """For each video, after its last frame: an error that names the frames that have boxes and did not come."""
        left: dict[str, list[str]] = {}
        for name, number in self.table or ():
            if number is not None:  # of an image that cannot be read, its own error says so
                left.setdefault(name, []).append(str(number))
        for name, numbers in left.items():
            yield Frame(name, None, error=f"it has boxes for frames that it does not have: {', '.join(numbers)}")


def _read_boxes(path: Path, names: set[str]) -> dict[tuple[str, int | None], list[list[float]]]:
    table: dict[tuple[str, int | None], list[list[float]]] = {}
    unusable: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(lines(file), strict=True)
            if missing := {"image", *BOX} - set(rows.fieldnames or ()):
                raise DataError(f"{path}:1: expected the columns image, {', '.join(BOX)}; missing {sorted(missing)}")
            for row in rows:
                where = f"{path}:{rows.line_num}"
                if row["image"] not in names:
                    near = did_you_mean(str(row["image"]), names)
                    unusable.append(f"{where}: {row['image']!r} is none of the {len(names)} inputs.{near}")
                    continue
                try:
                    box = [float(row[column]) for column in BOX]
                    frame = int(row["frame"]) if row.get("frame") else None
                except (TypeError, ValueError):
                    raise DataError(f"{where}: expected four numbers, and a whole one as frame, found {row}") from None
                if (frame is None) == _is_video(Path(row["image"])):
                    kind = "a video: expected a frame's number" if frame is None else "an image: expected no frame"
                    unusable.append(f"{where}: {row['image']!r} is {kind}")
                table.setdefault((row["image"], frame), []).append(box)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: expected comma-separated values in UTF-8, found: {error}") from None
    if unusable:
        raise DataError("\n".join(unusable))
    return table
