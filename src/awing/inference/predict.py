"""Landmarks of images and videos on disk: ``awing-predict``, installed, and ``python src/predict.py``."""

import csv
import glob
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from awing.arrays import BOX_COLUMNS
from awing.checkpoint import Checkpoint
from awing.data.images import FEW_LEVELS, read_image
from awing.data.records import Bits, check_bits
from awing.errors import ConfigError, DataError, exit_on_user_error
from awing.inference.aligner import Aligner, Smoother
from awing.inference.writer import PICTURES, Frame, Writer

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")  # and others that OpenCV reads
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
PARSERS: dict[Any, Callable[[str], object]] = {bool: {"true": True, "false": False}.__getitem__, int: int, float: float}
Boxes = list[list[float]]
BoxTable = dict[tuple[str, int | None], Boxes]  # by the name of a file and the number of a frame


def main() -> None:
    with exit_on_user_error():
        sys.exit(int(call_with_options(predict) > 0))  # 1 if some input has an error


def predict(
    input: str,
    output: str = "predictions",
    checkpoint: str = "300w-base",
    boxes: str | None = None,
    heatmaps: bool = False,
    pts: bool = False,
    coco: bool = False,
    aligned: int = 0,
    smooth: bool = False,
    min_confidence: float = 0.3,
    flip_test: bool = False,
    batch_size: int = 16,
    device: str | None = None,
    bits: str | None = None,
    overwrite: bool = False,
) -> int:
    """Find landmarks on images and videos: awing-predict input=PATH [key=value ...].

    Inputs that cannot be read are named in the results and on the screen, and skipped. Returns the number of errors.

    Args:
        input: An image, a video, a folder (with its subfolders), or a pattern: 'input=photos/*.jpg'.
        output: Folder for predictions.json, predictions.csv and overlays/ (default: predictions).
        checkpoint: 300w-base or 300w-small, in the package; a run's best.ckpt; a .safetensors file; official:PATH.
        boxes: x0,y0,x1,y1 for every image, or a .csv file with the columns image, box_x0, box_y0, box_x1, box_y1 (and
            frame, for videos): one face per row (default: a detector finds the faces).
        heatmaps: heatmaps=true also writes pictures of the heatmaps: of all together, and of each landmark and stack.
        pts: pts=true also writes a .pts file for each face.
        coco: coco=true also writes coco.json, the images' faces as COCO keypoints for a labelling tool or for training.
        aligned: aligned=112 also writes each face, 112 px, with eyes, nose and mouth aligned to the usual template.
        smooth: smooth=true removes jitter from the points of a video.
        min_confidence: Detected boxes whose points' mean confidence is lower are dropped; 0 keeps all (default: 0.3).
        flip_test: flip_test=true averages with the mirrored face: a little more accurate, at half the speed.
        batch_size: Number of images, and of faces, in memory at a time (default: 16).
        device: cpu or cuda (default: a GPU if there is one).
        bits: Bits used in 16-bit pictures: 10, 12, ..., or range, each picture's own (default: as in training).
        overwrite: overwrite=true replaces an earlier prediction in output.
    """
    folder = Path(output)
    if (folder / "predictions.json").exists() and not overwrite:
        raise ConfigError(f"{folder} holds predictions.json already: choose another output, or overwrite=true")
    files = find_files(input, folder)
    table, others = read_boxes(boxes, files)
    aligner = Aligner(Checkpoint.read(checkpoint), device, batch_size, flip_test, min_confidence)
    rule = check_bits("bits", bits or aligner.checkpoint.bits)
    frames, images, faces, failed = align_frames(aligner, read_frames(files, rule), table, others), 0, 0, 0
    if smooth:
        frames = smooth_videos(frames)
    for frame in Writer(folder, aligner, heatmaps, pts, coco, aligned).write(frames):
        images, faces, failed = images + 1, faces + len(frame.landmarks.boxes), failed + bool(frame.error)
        if frame.error:
            print(f"{frame.label}: {frame.error}", file=sys.stderr)
        elif sys.stderr.isatty():
            print(f"{images} images, {faces} faces", end="\r", file=sys.stderr)
    for name, number in table:
        print(f"{boxes}: there is no frame {number} of {name}", file=sys.stderr)
    more = {"heatmaps/": heatmaps, "aligned/": aligned, "pts/": pts, "coco.json": coco}
    written = ", ".join(["predictions.csv", "overlays/", *(name for name, given in more.items() if given)])
    print(f"{images} images, {faces} faces, {failed} errors: {folder / 'predictions.json'}, {written}")
    return failed + len(table)


def align_frames(aligner: Aligner, frames: Iterator[Frame], table: BoxTable, others: Boxes | None) -> Iterator[Frame]:
    """Find the landmarks of frames, ``batch_size`` frames at a time; an invalid box becomes its frame's error."""
    while batch := list(islice(frames, aligner.batch_size)):
        ready, faces = [], []
        for frame in batch:
            boxes = table.pop((frame.name, frame.number), others)
            try:
                if frame.image is not None:
                    faces.append(aligner.prepare(frame.image, boxes))
                    ready.append(frame)
            except DataError as error:
                frame.error = str(error)
        for frame, face, frame.landmarks in zip(ready, faces, aligner.align(faces), strict=True):
            if face.detected and not len(frame.landmarks.boxes) and frame.image is not None and frame.number is None:
                low, high = frame.image.min(), frame.image.max()
                if high - low < FEW_LEVELS:
                    shade = "nearly black" if high < FEW_LEVELS else "nearly of one grey"
                    advice = "if the file has 16 bits, give bits=12, or bits=range"
                    frame.error = f"no face: the picture is {shade} ({low} to {high} of 255); {advice}"
        yield from batch
        del batch, ready, frame  # frees their images before the next are read


def smooth_videos(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Smooth the landmarks of each video's frames."""
    name, smoother = None, None
    for frame in frames:
        if frame.time is not None:
            smoother = smoother if smoother and frame.name == name else Smoother(frame.rate)
            name, frame.landmarks = frame.name, smoother(frame.landmarks, frame.time)
        yield frame


def find_files(pattern: str, output: Path) -> dict[str, Path]:
    """Find images and videos by a file, folder or pattern, except those written into ``output``; name -> path."""
    given, written = Path(pattern), {Path(os.path.abspath(output / name)) for name in PICTURES}
    found: Iterable[str | Path] = [given] if given.is_file() else glob.glob(pattern, recursive=True)
    if given.is_dir():
        found = given.rglob("*")
    paths = sorted(Path(os.path.abspath(path)) for path in found)  # a name such as "a/../b.png" must not lead upwards
    paths = [path for path in paths if path.is_file() and path.name[0] != "." and not written & set(path.parents)]
    files = [p for p in paths if p.suffix.lower() in IMAGES + VIDEOS or cv2.haveImageReader(str(p))]
    others = Counter(path.suffix.lower() or path.name for path in set(paths).difference(files))
    left_out = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    if not files:
        known = " ".join(IMAGES + VIDEOS)
        raise ConfigError(f"input {pattern!r}: expected files ending in {known}, found {left_out or 'no file'}")
    if left_out:
        print(f"left out: {left_out} (cannot be read here; convert what is a picture or a video)", file=sys.stderr)
    root = os.path.abspath(given) if given.is_dir() else os.path.commonpath([path.parent for path in files])
    return {path.relative_to(root).as_posix(): path for path in files}


def read_frames(files: dict[str, Path], bits: Bits = None) -> Iterator[Frame]:
    """Read every picture of every file in turn, upright as viewers show it; 16-bit ones by the rule ``bits``."""
    for name, path in files.items():
        if path.suffix.lower() not in VIDEOS:
            try:
                yield Frame(name, read_image(path, upright=True, bits=bits))
            except DataError as error:
                yield Frame(name, error=str(error))
            continue
        video, times = cv2.VideoCapture(str(path)), list[float]()
        expected, rate = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 1), video.get(cv2.CAP_PROP_FPS)
        while (read := video.read())[0]:
            times.append(video.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            yield Frame(name, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB), len(times) - 1, rate, times[-1])
        if len(times) < expected:
            found = f"{len(times)} of {expected} frames or more could be read"
            yield Frame(name, number=len(times), error=f"{path}: {found}")
        if len(times) > 2 and np.ptp(steps := np.diff(times)) > 0.5 * np.median(steps):
            lengths = f"{1000 * steps.min():.0f} to {1000 * steps.max():.0f} ms"
            overlay = f"the overlay has {rate:.4g} a second throughout: go by the predictions' time"
            print(f"{name}: its frames last {lengths}; {overlay}", file=sys.stderr)


def read_boxes(given: str | None, names: Collection[str]) -> tuple[BoxTable, Boxes | None]:
    """Read ``x0,y0,x1,y1`` or a ``.csv`` file: boxes by picture, and those of all others, None to detect them."""
    if given is None:
        return {}, None
    if not given.lower().endswith(".csv"):
        try:
            x0, y0, x1, y1 = map(float, given.split(","))
        except ValueError:
            raise ConfigError(f"boxes: expected x0,y0,x1,y1 or a .csv file, found {given!r}") from None
        return {}, [[x0, y0, x1, y1]]
    if not os.path.isfile(given):
        raise DataError(f"boxes: there is no file {given}")
    table: BoxTable = {}
    with open(given, newline="", encoding="utf-8-sig", errors="replace") as file:
        for row in (rows := csv.DictReader(file)):
            try:
                name, box = row["image"], [float(row[column]) for column in BOX_COLUMNS]
                number = int(row["frame"]) if row.get("frame") else None
            except (KeyError, TypeError, ValueError):
                columns = f"image, {', '.join(BOX_COLUMNS)}, and frame for videos"
                raise DataError(f"{given}:{rows.line_num}: expected the columns {columns}; found {row}") from None
            if name not in names:
                raise DataError(f"{given}:{rows.line_num}: {name!r} is none of the {len(names)} inputs")
            table.setdefault((name, number), []).append(box)
    return table, []


def call_with_options(function: Callable[..., Any]) -> Any:
    """Call a function with ``key=value`` words of the command line; for none or ``--help``, print its docstring."""
    words, signature, values = sys.argv[1:], inspect.signature(function), {}
    if not words or {"-h", "--help"} & set(words):
        print(inspect.getdoc(function))
        sys.exit()
    for word in words:
        key, _, value = word.partition("=")
        if key not in signature.parameters or not value:
            raise ConfigError(f"expected key=value, the key one of {', '.join(signature.parameters)}; found {word!r}")
        kind = signature.parameters[key].annotation
        try:
            values[key] = PARSERS.get(kind, str)(value)
        except (KeyError, ValueError):
            expected = "true or false" if kind is bool else kind.__name__
            raise ConfigError(f"{key}: expected {expected}, found {value!r}") from None
    try:
        signature.bind(**values)
    except TypeError as error:
        raise ConfigError(f"{error}; see --help") from None
    return function(**values)
