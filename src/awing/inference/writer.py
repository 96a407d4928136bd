"""What a prediction writes: JSON, a table, pictures, videos and .pts files."""

import csv
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from awing.arrays import Image
from awing.data.images import save_picture
from awing.errors import DataError
from awing.inference.aligner import Aligner, Landmarks
from awing.inference.inputs import BOX, PICTURES, Frame
from awing.visualization.overlays import draw_landmarks, heatmaps

WRITTEN = ("predictions.json", "predictions.json.part", "predictions.csv", "predictions.csv.part", *PICTURES)


class Writer:
    """Write results as they come; JSON and table are called ``.part`` until the last one is in them.

    Args:
        output: The folder.
        aligner: Gives crops and heatmaps.
        heatmaps: Also write a picture of each face's heatmaps.
        pts: Also write a ``.pts`` file of each face.
    """

    def __init__(self, output: Path, aligner: Aligner, heatmaps: bool, pts: bool) -> None:
        self.output, self.aligner, self.heatmaps, self.pts = output, aligner, heatmaps, pts
        self.stack, self.first = ExitStack(), True
        self.video: tuple[str, cv2.VideoWriter] | None = None

    def __enter__(self) -> "Writer":
        self.json = self.stack.enter_context((self.output / "predictions.json.part").open("w", encoding="utf-8"))
        self.json.write("[")
        table = self.stack.enter_context((self.output / "predictions.csv.part").open("w", newline="", encoding="utf-8"))
        self.csv = csv.writer(table)
        columns = [f"{axis}{i}" for i in range(self.aligner.scheme.num_landmarks) for axis in ("x", "y", "confidence")]
        self.csv.writerow(["image", "frame", "face", *BOX, *columns])
        return self

    def __exit__(self, kind: object, *_: object) -> Literal[False]:
        self._close_video()
        self.json.write("\n]\n")
        self.stack.close()
        if kind is None:
            for name in ("predictions.json", "predictions.csv"):
                (self.output / f"{name}.part").replace(self.output / name)
        return False

    def add(self, frame: Frame, landmarks: Landmarks) -> str | None:
        """Write one frame's results and pictures.

        Returns:
            The frame's error, or that of its pictures; None without.
        """
        error = frame.error
        if frame.image is not None:
            try:
                self._write_pictures(frame, frame.image, landmarks)
            except DataError as problem:
                error = str(problem)
            except OSError as problem:
                error = f"{problem.filename}: {problem.strerror}"
        number = {} if frame.number is None else {"frame": frame.number}
        faces = [
            {"box": box.round(2).tolist(), "points": points.round(2).tolist(), "confidence": scores.round(3).tolist()}
            for box, points, scores in zip(landmarks.boxes, landmarks.points, landmarks.confidence, strict=True)
        ]
        entry = {"image": frame.name, **number, "faces": faces, **({"error": error} if error else {})}
        self.json.write(f"{'' if self.first else ','}\n{json.dumps(entry)}")
        self.first = False
        for i, face in enumerate(faces):
            cells = [v for (x, y), c in zip(face["points"], face["confidence"], strict=True) for v in (x, y, c)]
            self.csv.writerow([frame.name, "" if frame.number is None else frame.number, i, *face["box"], *cells])
        return error

    def _write_pictures(self, frame: Frame, image: Image, landmarks: Landmarks) -> None:
        self._draw(frame, image.copy(), landmarks)
        for i, box in enumerate(landmarks.boxes):
            if self.pts:
                _write_pts(self.output / "pts" / f"{frame.label}_{i}.pts", landmarks.points[i])
            if self.heatmaps:
                face_crop, _ = self.aligner.crop(image, box)
                picture = heatmaps(face_crop, landmarks.maps[i], self.aligner.codec.boundary)
                save_picture(self.output / "heatmaps" / f"{frame.label}_{i}.png", picture)

    def _draw(self, frame: Frame, canvas: Image, landmarks: Landmarks) -> None:
        for box, points in zip(landmarks.boxes, landmarks.points, strict=True):
            radius = max(1.0, float((box[2:] - box[:2]).max()) / 120)
            draw_landmarks(canvas, points, self.aligner.scheme.lines, radius=radius)
        path = self.output / "overlays" / frame.name
        if frame.number is None:
            save_picture(path, canvas)
            return
        if self.video is None or self.video[0] != frame.name:
            self._close_video()
            self.video = frame.name, _open_video(path, frame.rate, canvas)
        self.video[1].write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))

    def _close_video(self) -> None:
        if self.video:
            self.video[1].release()
            self.video = None


def _open_video(path: Path, rate: float, first: Image) -> cv2.VideoWriter:
    if path.suffix.lower() != ".mp4":
        path = path.with_name(f"{path.name}.mp4")
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = first.shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate or 25.0, (width, height))
    if not video.isOpened():
        raise DataError(f"{path}: the video cannot be written; is the disk full?")
    return video


def _write_pts(path: Path, points: np.ndarray) -> None:
    """As 300-W has them: the centre of the first pixel is at (1, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n")
