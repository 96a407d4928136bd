"""Landmarks of images and videos on disk: ``awing-predict``, installed, and ``python src/predict.py``."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from awing.aligner import Aligner, Landmarks, checked_boxes
from awing.errors import ConfigError, DataError
from awing.prediction.inputs import Boxes, Frame, find, frames
from awing.prediction.writer import WRITTEN, Writer
from awing.words import run

HELP = """usage: awing-predict input=PATH [key=value ...]

  input=PATH        an image, a video, a folder (with the folders in it), or a pattern: 'input=photos/*.jpg'
  output=DIR        predictions.json, predictions.csv and overlays/ go there              (default: predictions)
  checkpoint=NAME   300w-small, which the package brings; a run's best.ckpt; a .safetensors file; official:PATH
  boxes=BOXES       x0,y0,x1,y1 for every image, or a .csv file with the columns image, box_x0, box_y0, box_x1, box_y1
                    (and frame, for videos): a face a row       (default: a detector finds the faces)
  heatmaps=true     also pictures of the heatmaps            pts=true    also a .pts file for each face
  batch_size=16     faces at a time                          device=cpu  or cuda (default: a GPU where there is one)
  overwrite=true    replace an earlier prediction in output
"""


@dataclass
class Options:
    """What ``awing-predict`` takes; see :data:`HELP`."""

    input: str
    output: str = "predictions"
    checkpoint: str = "300w-small"
    boxes: str | None = None
    heatmaps: bool = False
    pts: bool = False
    batch_size: int = 16
    device: str | None = None
    overwrite: bool = False


def main() -> None:
    """The command; its exit status is 1 where some inputs could not be read."""
    try:
        run(lambda options: int(predict(options) > 0), Options, HELP)
    except KeyboardInterrupt:
        sys.exit("stopped: what was predicted so far is in the .part files of output")


def predict(options: Options) -> int:
    """Predict what ``options.input`` names and write it to ``options.output``.

    An image that cannot be read is named in the result and on the screen, and the others go on. Memory does not grow
    with the number of images or frames.

    Returns:
        How many images could not be read.

    Raises:
        AwingError: nothing can be predicted, or the output exists.
    """
    output = Path(options.output)
    written = [output / name for name in WRITTEN]
    files = find(options.input, without=written)
    if not options.overwrite and (found := [path.name for path in written if path.exists()]):
        raise ConfigError(f"{output} holds {', '.join(found)} already: choose another output, or overwrite=true")
    boxes = Boxes(options.boxes, set(files))
    aligner = Aligner.load(options.checkpoint, options.device, options.batch_size)
    counts = {"images": 0, "faces": 0, "no_face": 0, "failed": 0}
    start = shown = time.monotonic()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{output} cannot be made: {error.strerror}") from None
    with Writer(output, aligner, options.heatmaps, options.pts) as writer:
        for frame, landmarks in align(aligner, frames(files), boxes, options.batch_size):
            writer.add(frame, landmarks)
            counts["images"] += 1
            counts["failed"] += frame.error is not None
            counts["faces"] += len(landmarks.boxes)
            counts["no_face"] += frame.error is None and not len(landmarks.boxes)
            if frame.error:
                print(f"{frame.label}: {frame.error}", file=sys.stderr)
            if sys.stderr.isatty() and time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                rate = f"{counts['images'] / (shown - start):.1f} images a second"
                print(f"\r{counts['images']} images, {counts['faces']} faces, {rate} ", end="", file=sys.stderr)
    seconds = time.monotonic() - start
    print(
        f"{counts['images']} images in {seconds:.1f} s: {counts['faces']} faces; {counts['no_face']} without a face, "
        f"{counts['failed']} could not be read\n{output / 'predictions.json'}, predictions.csv and overlays/"
    )
    return counts["failed"]


def align(
    aligner: Aligner, pictures: Iterator[Frame], boxes: Boxes, batch_size: int
) -> Iterator[tuple[Frame, Landmarks]]:
    """Predict pictures, ``batch_size`` at a time, in their order; what fails becomes the frame's error."""
    k = aligner.scheme.num_landmarks
    none = Landmarks(np.zeros((0, k, 2)), np.zeros((0, k)), np.zeros((0, 4)))
    group: list[tuple[Frame, Any]] = []

    def flush() -> Iterator[tuple[Frame, Landmarks]]:
        usable = [(frame.image, its) for frame, its in group if frame.image is not None]
        found = iter(aligner.align([image for image, _ in usable], [its for _, its in usable]))
        for frame, _ in group:
            landmarks = none if frame.image is None else next(found)
            yield frame, aligner.only_faces(landmarks) if boxes.detected else landmarks
        group.clear()

    for frame in pictures:
        its: Any = []
        if frame.image is not None:
            try:
                given = boxes.of(frame)
                its = checked_boxes(aligner.detect(frame.image) if given is None else given, frame.image)
            except DataError as error:
                frame = Frame(frame.name, None, frame.number, frame.rate, str(error))
        group.append((frame, its))
        if len(group) == batch_size:
            yield from flush()
    yield from flush()
