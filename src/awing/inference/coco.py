"""Predictions as COCO keypoints, which labelling tools take as annotations to correct and training as its own."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from awing.inference.writer import Frame
from awing.schemes import Scheme


def coco_keypoints(scheme: Scheme) -> dict[str, Any]:
    """COCO keypoints of a scheme without images; its lines are the skeleton, 1-based as COCO has it."""
    skeleton = [[a + 1, b + 1] for line in scheme.lines for a, b in pairwise(line)]
    category = {"id": 1, "name": scheme.name, "keypoints": list(scheme.names), "skeleton": skeleton}
    return {"images": [], "annotations": [], "categories": [category]}


def add_image(content: dict[str, Any], frame: Frame) -> None:
    """Add an image and its faces; ``score`` is the mean confidence of a face's points."""
    if frame.image is None or frame.number is not None:  # a video's frame is no file
        return
    image, faces = len(content["images"]) + 1, frame.landmarks
    height, width = frame.image.shape[:2]
    content["images"].append({"id": image, "file_name": frame.name, "width": width, "height": height})
    rows: Iterable[Any] = zip(faces.boxes.round(2), faces.points.round(2), faces.confidence, strict=True)
    for (x0, y0, x1, y1), points, confidence in rows:
        content["annotations"].append({
            "id": len(content["annotations"]) + 1, "image_id": image, "category_id": 1, "iscrowd": 0,
            "bbox": [float(v) for v in (x0, y0, x1 - x0, y1 - y0)], "area": float((x1 - x0) * (y1 - y0)),
            "keypoints": [v for x, y in points.tolist() for v in (x, y, 2)], "num_keypoints": len(points),
            "score": round(float(confidence.mean()), 3),
        })  # fmt: skip
