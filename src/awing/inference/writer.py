"""Output files of a prediction: JSON, a table, COCO keypoints, pictures, videos and ``.pts`` files."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from awing.arrays import BOX_COLUMNS, Box, Image, Points
from awing.data.images import save_picture
from awing.geometry import apply
from awing.inference.aligner import Aligner, Landmarks
from awing.schemes import Scheme
from awing.visualization.overlays import draw_landmarks, landmark_maps, pooled_maps

PICTURES = ("overlays", "heatmaps", "aligned")  # folders of pictures
NO_FACES = Landmarks(np.zeros((0, 0, 2)), np.zeros((0, 0)), np.zeros((0, 4)))


@dataclass
class Frame:
    """An image file or a frame of a video, and the landmarks found on it."""

    name: str  # of the file, relative to the input folder
    image: Image | None = None  # None if it cannot be read
    number: int | None = None  # of a video's frame, from 0
    rate: float = 0.0  # frames per second of the video
    time: float | None = None  # of a video's frame, in seconds, by the video's time stamps
    landmarks: Landmarks = NO_FACES
    error: str | None = None  # why nothing can be found

    @property
    def label(self) -> str:  # for messages and files
        return self.name if self.number is None else f"{self.name}_{self.number:06d}"


@dataclass
class Writer:
    """Write the landmarks of frames, and pictures of them, into a folder."""

    output: Path
    aligner: Aligner
    heatmaps: bool  # also write pictures of each face's heatmaps
    pts: bool  # also write a .pts file of each face
    coco: bool  # also write COCO keypoints of the images
    aligned: int  # side of the pictures of aligned faces, px; 0: none
    videos: dict[str, cv2.VideoWriter] = field(default_factory=dict)

    def write(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Write frames as they come, and yield them; JSON and table are called ``.part`` until complete."""
        self.output.mkdir(parents=True, exist_ok=True)
        parts = self.output / "predictions.json.part", self.output / "predictions.csv.part"
        with parts[0].open("w", encoding="utf-8") as stream, parts[1].open("w", newline="", encoding="utf-8") as table:
            rows, landmarks = csv.writer(table), range(self.aligner.scheme.num_landmarks)
            columns = [f"{value}{i}" for i in landmarks for value in ("x", "y", "confidence")]
            keypoints = coco_keypoints(self.aligner.scheme)
            rows.writerow(["image", "frame", "time", "face", *BOX_COLUMNS, *columns])
            for n, frame in enumerate(frames):
                faces, (points, confidence, boxes) = [], frame.landmarks
                time = None if frame.time is None else round(frame.time, 4)
                rounded = boxes.round(2).tolist(), points.round(2).tolist(), confidence.round(3).tolist()
                for i, (box, xy, c) in enumerate(zip(*rounded, strict=True)):
                    faces.append({"box": box, "points": xy, "confidence": c})
                    rows.writerow([frame.name, frame.number, time, i, *box, *np.column_stack([xy, c]).ravel().tolist()])
                entry = {"image": frame.name, "frame": frame.number, "time": time, "faces": faces, "error": frame.error}
                text = json.dumps({key: value for key, value in entry.items() if value is not None})
                stream.write(f"{',' if n else '['}\n{text}")
                add_image(keypoints, frame, faces)
                if frame.image is not None and not frame.error:
                    self._write_pictures(frame, frame.image)
                yield frame
            stream.write("\n]\n")
        if self.coco:
            (self.output / "coco.json").write_text(json.dumps(keypoints), encoding="utf-8")
        for part in parts:
            part.replace(part.with_suffix(""))

    def _write_pictures(self, frame: Frame, image: Image) -> None:
        canvas = image.copy()
        for i, points in enumerate(frame.landmarks.points):
            draw_landmarks(canvas, points, self.aligner.scheme.lines)
            if self.pts:
                path = self.output / "pts" / f"{frame.label}_{i}.pts"
                path.parent.mkdir(parents=True, exist_ok=True)
                header = f"version: 1\nn_points: {len(points)}\n{{"  # the centre of the first pixel is at (1, 1)
                np.savetxt(path, points + 1, "%.3f", header=header, footer="}", comments="")
            if self.aligned:
                picture = self.aligner.upright(image, points, self.aligned)
                save_picture(self.output / "aligned" / f"{frame.label}_{i}.png", picture)
            if self.heatmaps:
                face = [values[i] for values in frame.landmarks]
                self._write_heatmaps(self.output / "heatmaps" / f"{frame.label}_{i}", image, *face)
        path = self.output / "overlays" / frame.name
        if frame.number is None:
            holds_colour = cv2.haveImageWriter(path.name) and path.suffix.lower() not in (".pgm", ".pbm")
            save_picture(path if holds_colour else path.with_name(f"{path.name}.png"), canvas)
            return
        if frame.name not in self.videos:  # OpenCV finishes the last video when its writer is deleted
            path = path if path.suffix.lower() == ".mp4" else path.with_name(f"{path.name}.mp4")
            path.parent.mkdir(parents=True, exist_ok=True)
            size, code = (image.shape[1], image.shape[0]), cv2.VideoWriter.fourcc(*"mp4v")
            self.videos = {frame.name: cv2.VideoWriter(str(path), code, frame.rate or 25.0, size)}
        self.videos[frame.name].write(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))

    def _write_heatmaps(self, stem: Path, image: Image, points: Points, confidence: np.ndarray, box: Box) -> None:
        """Write the maximum over all maps, beside the face, and each landmark's maps of every stack."""
        pixels, _ = self.aligner.crop(image, box)
        stacks = [maps[0].cpu().numpy() for maps in self.aligner.stacks([pixels])]
        enlarged, matrix = self.aligner.crop(image, box, 320)
        draw_landmarks(enlarged, apply(matrix, points), self.aligner.scheme.lines)
        save_picture(Path(f"{stem}.png"), pooled_maps(enlarged, stacks[-1], self.aligner.codec.boundary))
        captions = {int(k): f"{k}  {confidence[k]:.2f}" for k in confidence.argsort()}
        save_picture(Path(f"{stem}_landmarks.jpg"), landmark_maps(pixels, stacks, captions))


def coco_keypoints(scheme: Scheme) -> dict[str, Any]:
    """COCO keypoints of a scheme, still without images; its lines are the skeleton, 1-based as in COCO."""
    skeleton = [[a + 1, b + 1] for line in scheme.lines for a, b in pairwise(line)]
    category = {"id": 1, "name": scheme.name, "keypoints": list(scheme.names), "skeleton": skeleton}
    return {"images": [], "annotations": [], "categories": [category]}


def add_image(content: dict[str, Any], frame: Frame, faces: list[dict[str, Any]]) -> None:
    """Add an image and its faces to COCO keypoints; ``score`` is the mean confidence of a face's points."""
    if frame.image is None or frame.number is not None:  # a frame of a video is no image file
        return
    image = len(content["images"]) + 1
    height, width = frame.image.shape[:2]
    content["images"].append({"id": image, "file_name": frame.name, "width": width, "height": height})
    for face, confidence in zip(faces, frame.landmarks.confidence, strict=True):
        (x0, y0, x1, y1), points = face["box"], face["points"]
        content["annotations"].append({
            "id": len(content["annotations"]) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
            "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0),
            "keypoints": [v for x, y in points for v in (x, y, 2)], "num_keypoints": len(points),
            "score": round(float(confidence.mean()), 3),
        })  # fmt: skip
