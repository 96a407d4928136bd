"""Landmarks of images and videos on disk: ``awing-predict``, installed, and ``python src/predict.py``."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from awing.errors import ConfigError, DataError
from awing.inference.aligner import Aligner, Faces, Landmarks
from awing.inference.inputs import Boxes, Frame, find, frames, holds_prediction
from awing.inference.writer import WRITTEN, Writer
from awing.words import run

MOST_PIXELS = 30e6  # of the pictures that wait for their faces to fill a batch
HELP = """usage: awing-predict input=PATH [key=value ...]

  input=PATH        an image, a video, a folder (with the folders in it), or a pattern: 'input=photos/*.jpg'
  output=DIR        predictions.json, predictions.csv and overlays/ go there              (default: predictions)
  checkpoint=NAME   300w-small, which the package brings; a run's best.ckpt; a .safetensors file; official:PATH
  boxes=BOXES       x0,y0,x1,y1 for every image, or a .csv file with the columns image, box_x0, box_y0, box_x1, box_y1
                    (and frame, for videos): a face a row       (default: a detector finds the faces)
  heatmaps=true     also pictures of the heatmaps            pts=true    also a .pts file for each face
  min_confidence=0.3   a detected box in which the points' mean confidence is lower is taken for no face; 0 keeps all
  flip_test=true         average with the mirrored face: a little more accurate, at half the speed
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
    min_confidence: float = 0.3
    flip_test: bool = False
    batch_size: int = 16
    device: str | None = None
    overwrite: bool = False


def main() -> None:
    """The command; its exit status is 1 where some inputs have an error."""
    try:
        run(lambda options: int(predict(options) > 0), Options, HELP)
    except KeyboardInterrupt:
        sys.exit("stopped: what was predicted so far is in the .part files of output")


def predict(options: Options) -> int:
    """Predict what ``options.input`` names and write it to ``options.output``.

    An image that fails is named in the result and on the screen, and the others go on. Memory does not grow with the
    number of images or frames.

    Returns:
        How many images, videos or frames have an error.

    Raises:
        AwingError: nothing can be predicted, or the output exists.
        OSError: the output cannot be written.
    """
    output = Path(options.output)
    files = find(options.input)
    written = [output / name for name in WRITTEN if (output / name).exists()]
    names = ", ".join(path.name for path in written)
    if written and not options.overwrite:
        raise ConfigError(f"{output} holds {names} already: choose another output, or overwrite=true")
    if written and not holds_prediction(output):
        raise ConfigError(f"{output} holds {names}, and no predictions.json: no prediction's; choose another output")
    boxes = Boxes(options.boxes, set(files))
    aligner = Aligner.load(
        options.checkpoint, options.device, batch_size=options.batch_size, flip_test=options.flip_test,
        min_confidence=options.min_confidence,
    )  # fmt: skip
    if boxes.detected:
        _ = aligner.detector  # an error that it has stops everything before anything is written
    counts = {"images": 0, "faces": 0, "no_face": 0, "failed": 0, "dropped": 0}
    start = shown = time.monotonic()
    for path in written:  # what a second prediction would not replace must not stand beside it
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    output.mkdir(parents=True, exist_ok=True)
    pictures = chain(frames(files), boxes.unused())
    with Writer(output, aligner, options.heatmaps, options.pts) as writer:
        for frame, landmarks in align(aligner, pictures, boxes, options.heatmaps):
            error = writer.add(frame, landmarks)
            counts["images"] += 1
            counts["failed"] += error is not None
            counts["faces"] += len(landmarks.boxes)
            counts["no_face"] += error is None and not len(landmarks.boxes)
            counts["dropped"] += landmarks.dropped
            if error:
                print(f"{frame.label}: {error}", file=sys.stderr)
            if sys.stderr.isatty() and time.monotonic() - shown > 0.5:
                shown = time.monotonic()
                rate = f"{counts['images'] / (shown - start):.1f} images a second"
                print(f"\r{counts['images']} images, {counts['faces']} faces, {rate} ", end="", file=sys.stderr)
    seconds = time.monotonic() - start
    print(
        f"{counts['images']} images in {seconds:.1f} s: {counts['faces']} faces; {counts['no_face']} without a face, "
        f"{counts['failed']} with an error"
    )
    if counts["dropped"]:
        print(f"{counts['dropped']} detected boxes left out: below min_confidence={options.min_confidence}")
    print(f"{output / 'predictions.json'}, predictions.csv and overlays/")
    return counts["failed"]


def align(
    aligner: Aligner, pictures: Iterable[Frame], boxes: Boxes, maps: bool = False
) -> Iterator[tuple[Frame, Landmarks]]:
    """Predict pictures in their order, several at a time; what fails becomes the frame's error."""
    group: list[tuple[Frame, Faces]] = []

    def flush() -> Iterator[tuple[Frame, Landmarks]]:
        found = aligner.align([faces for _, faces in group], maps)
        yield from zip([frame for frame, _ in group], found, strict=True)
        group.clear()

    full = 0.0
    for frame in pictures:
        faces, pixels = Faces(np.zeros((0, 4)), [], detected=False), 0
        if frame.image is not None:
            try:
                faces, pixels = aligner.faces(frame.image, boxes.of(frame)), frame.image.size // 3
            except DataError as error:
                frame = replace(frame, image=None, error=str(error))
        group.append((frame, faces))
        full += max(len(faces.crops) / aligner.batch_size, pixels / MOST_PIXELS, 0.01)
        if full >= 1:
            yield from flush()
            full = 0.0
    yield from flush()
