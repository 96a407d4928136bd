"""Fit the detector's boxes to landmark boxes on training faces; measure it on held-out ones.

    python benchmarks/detector.py DIR [checkpoint=NAME]

DIR holds 300w/. Also the recall of faces pasted into larger pictures; with a checkpoint, the NME of the test faces
through the landmark crop and the detector's box.
"""

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from rich.progress import track

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.data.records import Record
from awing.inference.aligner import Aligner
from awing.inference.detector import THRESHOLD, TO_LANDMARKS, FaceDetector, to_landmarks
from awing.metrics import nme

CONF = Path(__file__).resolve().parents[1] / "conf"
CUT = ["dataset.val_fraction=0.1", "dataset.test_fraction=0.1", "dataset.split_seed=0"]


def main() -> None:
    folder, *words = sys.argv[1:]
    checkpoint = next((word.removeprefix("checkpoint=") for word in words), None)
    overrides = [
        "dataset=300w",
        "dataset.crop=landmarks",
        "dataset.loader.input_size=128",
        "dataset.scheme=ibug68",
        *CUT,
    ]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("evaluate", [*overrides, "dataset.allow_partial=true", f"paths.data_dir={folder}"])
    data = instantiate(cfg.dataset)
    data.setup()
    detector = FaceDetector()
    print(f"threshold {THRESHOLD}")
    print("\ntraining faces: filter, faces, median and standard deviation of shift x, shift y, size")
    found = [pair for pair in match(detector, data.annotations["train"].records)[0] if pair is not None]
    rows = np.array([offsets(raw, box) for raw, _, box in found])
    filters = np.array([which for _, which, _ in found])
    for which in range(len(TO_LANDMARKS)):
        its = rows[filters == which]
        if len(its):
            print(which, len(its), np.median(its, 0).round(3).tolist(), its.std(0).round(3).tolist())
    for split in ("val", "test"):
        measure(detector, split, data.annotations[split].records, checkpoint)
    print("\nvalidation faces on grey: picture and face in px, faces found, s a picture")
    for width, height in ((1000, 750), (1920, 1080), (2000, 1500), (4000, 3000)):
        for face in (60, 80, 100, 120, 200):
            found, seconds = paste(detector, data.annotations["val"].records[::12], width, height, face)
            print(f"{width} x {height}, {face}: {found} of 15, {seconds:.2f} s")


def measure(detector: FaceDetector, split: str, records: list[Record], checkpoint: str | None) -> None:
    """Recall, spread of the boxes, and NME."""
    matches, others, seconds = match(detector, records)
    boxes = [None if m is None else to_landmarks(m[0][None], np.array([m[1]]))[0] for m in matches]
    pairs = [(box, square(landmark_box(r))) for box, r in zip(boxes, records, strict=True) if box is not None]
    spread = np.array([offsets(box, truth) for box, truth in pairs]).std(0)
    print(
        f"\n{split}: {len(pairs)} of {len(records)} faces found ({100 * len(pairs) / len(records):.1f} %), "
        f"{others} other boxes, {1000 * seconds / len(records):.0f} ms an image; "
        f"standard deviation of x, y in sides, of log size: {spread.round(3).tolist()}"
    )
    if checkpoint is None:
        return
    aligner = Aligner.load(checkpoint, "cpu")
    errors: dict[str, list[float]] = {"landmark crop": [], "detector": [], "landmark crop, found faces": []}
    for record, box in zip(track(records, "aligning"), boxes, strict=True):
        norm = torch.tensor([aligner.scheme.normaliser("inter_ocular", record.points, record.labelled)])
        truth = torch.from_numpy(record.points)[None]
        image = read_image(record.path)

        def error(box: np.ndarray, image=image, truth=truth, norm=norm) -> float:
            return float(nme(torch.from_numpy(aligner(image, box[None]).points), truth, norm))

        errors["landmark crop"].append(error(landmark_box(record)))
        if box is not None:
            errors["landmark crop, found faces"].append(errors["landmark crop"][-1])
            errors["detector"].append(error(box))
    for name, values in errors.items():
        print(f"{split} NME, inter-ocular, {name}: {100 * np.mean(values):.2f} % of {len(values)} faces")


def paste(detector: FaceDetector, records: list[Record], width: int, height: int, face: int) -> tuple[int, float]:
    """How many faces are found on a grey picture, resized to ``face`` px, and the mean time."""
    hits, seconds = 0, 0.0
    for record in records:
        image, truth = read_image(record.path), square(landmark_box(record))
        zoom = face / (truth[2] - truth[0])
        small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        picture, x, y = np.full((height, width, 3), 128, np.uint8), width // 3, height // 3
        picture[y : y + small.shape[0], x : x + small.shape[1]] = small
        start = time.perf_counter()
        boxes, _ = detector.raw(picture)
        seconds += time.perf_counter() - start
        hits += any(overlap(box, zoom * truth + [x, y, x, y]) >= 0.3 for box in boxes)
    return hits, seconds / len(records)


def match(
    detector: FaceDetector, records: list[Record]
) -> tuple[list[tuple[np.ndarray, int, np.ndarray] | None], int, float]:
    """For each face dlib's box with the largest overlap, at least 0.3, its filter, and the landmark box's square."""
    result, others, start = [], 0, time.perf_counter()
    for record in track(records, "detecting"):
        boxes, filters = detector.raw(read_image(record.path))
        truth = square(landmark_box(record))
        overlaps = np.array([overlap(box, truth) for box in boxes])
        others += int((overlaps < 0.1).sum())
        best = int(overlaps.argmax()) if len(overlaps) else -1
        hit = best >= 0 and overlaps[best] >= 0.3
        result.append((boxes[best], int(filters[best]), truth) if hit else None)
    return result, others, time.perf_counter() - start


def square(box: np.ndarray) -> np.ndarray:
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([center - half, center + half])


def offsets(box: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where the square lies from a box: shift in sides of the box, and its size."""
    side = box[2] - box[0]
    center = (truth[:2] + truth[2:] - box[:2] - box[2:]) / 2 / side
    return np.array([*center, (truth[2] - truth[0]) / side])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    shared = np.prod((np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])).clip(0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


if __name__ == "__main__":
    main()
