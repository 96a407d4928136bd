"""Landmarks of images and videos on disk: ``awing-predict``, installed, and ``python src/predict.py``."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from awing.checkpoint import Checkpoint
from awing.errors import ConfigError, DataError, exit_on_user_error
from awing.inference.aligner import Aligner
from awing.inference.command import call_with_options
from awing.inference.inputs import BoxTable, Frame, find_files, read_boxes, read_frames
from awing.inference.writer import Writer


def main() -> None:
    """Run the command; its exit status is 1 if some input has an error."""
    with exit_on_user_error():
        sys.exit(int(call_with_options(predict) > 0))


def predict(
    input: str,
    output: str = "predictions",
    checkpoint: str = "300w-small",
    boxes: str | None = None,
    heatmaps: bool = False,
    pts: bool = False,
    min_confidence: float = 0.3,
    flip_test: bool = False,
    batch_size: int = 16,
    device: str | None = None,
    overwrite: bool = False,
) -> int:
    """Find landmarks on images and videos: awing-predict input=PATH [key=value ...].

    What cannot be read is named in the results and on the screen, and the others go on; the number of errors returns.

    Args:
        input: An image, a video, a folder (with the folders in it), or a pattern: 'input=photos/*.jpg'.
        output: Folder for predictions.json, predictions.csv and overlays/ (default: predictions).
        checkpoint: 300w-small, which the package brings; a run's best.ckpt; a .safetensors file; official:PATH.
        boxes: x0,y0,x1,y1 for every image, or a .csv file with the columns image, box_x0, box_y0, box_x1, box_y1 (and
            frame, for videos): a face a row (default: a detector finds the faces).
        heatmaps: heatmaps=true also writes pictures of the heatmaps.
        pts: pts=true also writes a .pts file for each face.
        min_confidence: A detected box whose points' mean confidence is lower is no face; 0 keeps all (default: 0.3).
        flip_test: flip_test=true averages with the mirrored face: a little more accurate, at half the speed.
        batch_size: Faces of an image at a time (default: 16).
        device: cpu or cuda (default: a GPU where there is one).
        overwrite: overwrite=true replaces an earlier prediction in output.
    """
    folder = Path(output)
    if (folder / "predictions.json").exists() and not overwrite:
        raise ConfigError(f"{folder} holds predictions.json already: choose another output, or overwrite=true")
    files = find_files(input, folder)
    table, others = read_boxes(boxes, files)
    aligner = Aligner(Checkpoint.read(checkpoint), device, batch_size, flip_test, min_confidence)
    images = faces = failed = 0
    for frame in Writer(folder, aligner, heatmaps, pts).write(align_frames(aligner, read_frames(files), table, others)):
        images, failed = images + 1, failed + bool(frame.error)
        faces += len(frame.landmarks.boxes) if frame.landmarks else 0
        if frame.error:
            print(f"{frame.label}: {frame.error}", file=sys.stderr)
        elif sys.stderr.isatty():
            print(f"{images} images, {faces} faces", end="\r", file=sys.stderr)
    for name, number in table:
        print(f"{boxes}: there is no frame {number} of {name}", file=sys.stderr)
    print(f"{images} images, {faces} faces, {failed} errors: {folder / 'predictions.json'}, predictions.csv, overlays/")
    return failed + len(table)


def align_frames(
    aligner: Aligner, frames: Iterable[Frame], table: BoxTable, others: list[list[float]] | None
) -> Iterator[Frame]:
    """Find the landmarks of frames, one by one; what is wrong with a box becomes its frame's error."""
    for frame in frames:
        boxes = table.pop((frame.name, frame.number), others)
        try:
            if frame.image is not None:
                frame.landmarks = aligner(frame.image, boxes)
        except DataError as error:
            frame.error = str(error)
        yield frame
