"""What a prediction writes: JSON, a table, pictures, videos and ``.pts`` files."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from awing.arrays import Image
from awing.data.images import save_picture
from awing.inference.aligner import Aligner, Landmarks
from awing.inference.inputs import BOX, Frame
from awing.visualization.overlays import draw_landmarks, heatmaps


@dataclass
class Writer:
    """Writer of the landmarks of frames, and of pictures of them, into a folder."""

    output: Path
    aligner: Aligner
    heatmaps: bool  # also write a picture of each face's heatmaps
    pts: bool  # also write a .pts file of each face
    videos: dict[str, cv2.VideoWriter] = field(default_factory=dict)

    def write(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Write frames as they come, and pass them on; JSON and table are called ``.part`` until all are in them."""
        self.output.mkdir(parents=True, exist_ok=True)
        parts = self.output / "predictions.json.part", self.output / "predictions.csv.part"
        with parts[0].open("w", encoding="utf-8") as stream, parts[1].open("w", newline="", encoding="utf-8") as table:
            rows, separator = csv.writer(table), "["
            landmarks = range(self.aligner.scheme.num_landmarks)
            columns = [f"{value}{i}" for i in landmarks for value in ("x", "y", "confidence")]
            rows.writerow(["image", "frame", "face", *BOX, *columns])
            for frame in frames:
                faces = _to_json(frame.landmarks) if frame.landmarks else []
                entry = {"image": frame.name, "frame": frame.number, "faces": faces, "error": frame.error}
                text = json.dumps({key: value for key, value in entry.items() if value is not None})
                stream.write(f"{separator}\n{text}")
                separator = ","
                for i, face in enumerate(faces):
                    cells = np.column_stack([face["points"], face["confidence"]]).ravel().tolist()
                    rows.writerow([frame.name, frame.number, i, *face["box"], *cells])
                if frame.image is not None and frame.landmarks:
                    self._write_pictures(frame, frame.image, frame.landmarks)
                yield frame
            stream.write("\n]\n")
        for part in parts:
            part.replace(part.with_suffix(""))

    def _write_pictures(self, frame: Frame, image: Image, found: Landmarks) -> None:
        canvas = image.copy()
        for i, (box, points) in enumerate(zip(found.boxes, found.points, strict=True)):
            radius = max(1.0, float((box[2:] - box[:2]).max()) / 120)
            draw_landmarks(canvas, points, self.aligner.scheme.lines, radius=radius)
            if self.pts:
                _write_pts(self.output / "pts" / f"{frame.label}_{i}.pts", points)
            if self.heatmaps:
                crop, _ = self.aligner.crop(image, box)
                picture = heatmaps(crop, self.aligner.maps([crop])[0].cpu().numpy(), self.aligner.codec.boundary)
                save_picture(self.output / "heatmaps" / f"{frame.label}_{i}.png", picture)
        path = self.output / "overlays" / frame.name
        if frame.number is None:
            save_picture(path, canvas)
            return
        if frame.name not in self.videos:  # OpenCV finishes the last one when its writer goes
            path = path if path.suffix.lower() == ".mp4" else path.with_name(f"{path.name}.mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            size, code = (image.shape[1], image.shape[0]), cv2.VideoWriter.fourcc(*"mp4v")
            self.videos = {frame.name: cv2.VideoWriter(str(path), code, frame.rate or 25.0, size)}
        self.videos[frame.name].write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))


def _to_json(found: Landmarks) -> list[dict[str, list[Any]]]:
    return [
        {"box": box.round(2).tolist(), "points": points.round(2).tolist(), "confidence": confidence.round(3).tolist()}
        for box, points, confidence in zip(found.boxes, found.points, found.confidence, strict=True)
    ]


def _write_pts(path: Path, points: np.ndarray) -> None:
    """Write landmarks as 300-W does: the centre of the first pixel is at (1, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "\n".join(f"{x + 1:.3f} {y + 1:.3f}" for x, y in points)
    path.write_text(f"version: 1\nn_points: {len(points)}\n{{\n{rows}\n}}\n")
