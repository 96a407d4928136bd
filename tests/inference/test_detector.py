"""The face detector, and what the aligner makes of its boxes."""

import builtins

import cv2
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from awing import Aligner
from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.data.readers import read_300w
from awing.errors import ConfigError
from awing.inference.detector import FaceDetector, to_landmarks
from awing.metrics import nme


@pytest.fixture(scope="module")
def records(real_data):
    return read_300w(real_data / "300w", "train", allow_partial=True).records[::100]


def test_real_faces_are_found_where_their_landmarks_are(records):
    detector, hits = FaceDetector(), 0
    for record in records:
        boxes, scores = detector(read_image(record.path))
        assert len(boxes) == len(scores)
        truth = landmark_box(record)
        center, side = (truth[:2] + truth[2:]) / 2, (truth[2:] - truth[:2]).max()
        far = [np.abs((box[:2] + box[2:]) / 2 - center).max() / side for box in boxes]
        sizes = [(box[2] - box[0]) / side for box in boxes]
        hits += any(f < 0.35 and 0.7 < s < 1.4 for f, s in zip(far, sizes, strict=True))
    assert hits >= 0.85 * len(records), f"{hits} of {len(records)}"


def test_mapped_boxes_lie_where_landmarks_do_for_each_filter(real_data, config):
    """Turned faces have their landmarks beside dlib's box: the median offset of each filter is taken out.

    Of held-out faces, to which nothing was fitted.
    """
    detector, offsets = FaceDetector(), {}
    cut = ["dataset.val_fraction=0.1", "dataset.test_fraction=0.1", "dataset.split_seed=0", "dataset.input_size=128"]
    data = [f"paths.data_dir={real_data}", "dataset=300w", "dataset.allow_partial=true", "dataset.crop=landmarks"]
    held_out = instantiate(config("evaluate", *data, *cut).dataset)
    held_out.setup()
    for record in held_out.annotations["val"].records + held_out.annotations["test"].records:
        truth = landmark_box(record)
        center, side = (truth[:2] + truth[2:]) / 2, (truth[2:] - truth[:2]).max()
        raw, _, filters = detector.raw(read_image(record.path))
        for box, which in zip(to_landmarks(raw, filters), filters, strict=True):
            shift = ((box[:2] + box[2:]) / 2 - center) / side
            if np.abs(shift).max() < 0.35:  # another's face otherwise
                offsets.setdefault(int(which), []).append([*shift, np.log((box[2] - box[0]) / side)])
    medians = {which: np.median(rows, 0) for which, rows in offsets.items() if len(rows) >= 15}
    assert {0, 1, 2} <= medians.keys()
    for which, median in medians.items():
        assert np.abs(median).max() < 0.05, (which, median)


def test_the_aligner_finds_landmarks_without_boxes(records):
    aligner, errors = Aligner.load("300w-small", "cpu"), []
    for record in records[:8]:
        found = aligner(read_image(record.path))
        norm = torch.tensor([aligner.scheme.normaliser("inter_ocular", record.points, record.labelled)])
        truth = torch.from_numpy(record.points)[None]
        errors.append(min((float(nme(torch.from_numpy(p)[None], truth, norm)) for p in found.points), default=1.0))
        assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
    assert np.median(errors) < 0.05, errors


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 30, 3), (1, 9000, 3), (9000, 1, 3)])
def test_where_no_face_is_none_is_found(shape):
    boxes, scores = FaceDetector()(np.full(shape, 120, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def pasted(record, width, height, face):
    """A real face of ``face`` px on grey, and the square around its landmarks."""
    image, box = read_image(record.path), landmark_box(record)
    zoom = face / (box[2:] - box[:2]).max()
    small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    picture = np.full((height, width, 3), 128, np.uint8)
    x, y = width // 3, height // 3
    picture[y : y + small.shape[0], x : x + small.shape[1]] = small
    return picture, (box[:2] + box[2:]) / 2 * zoom + (x, y)


@pytest.mark.parametrize(("width", "height", "face"), [(1000, 750, 80), (1920, 1080, 80), (4000, 3000, 120)])
def test_small_faces_in_large_pictures_are_found(records, width, height, face):
    """80 px, and up to 3000 px no larger ones in larger pictures."""
    detector, hits = FaceDetector(), 0
    for record in records[:6]:
        picture, center = pasted(record, width, height, face)
        boxes, _ = detector(picture)
        hits += any(
            np.abs((b[:2] + b[2:]) / 2 - center).max() < 0.35 * face and b[2] - b[0] < 1.4 * face for b in boxes
        )
    assert hits >= 5


def test_the_largest_box_comes_first_by_what_is_returned(monkeypatch):
    """The smaller of dlib's boxes can be the larger around landmarks: filter 1 makes boxes smaller, filter 0 larger."""
    raw = np.array([[0.0, 0, 100, 100], [200.0, 0, 298, 98]])
    monkeypatch.setattr(FaceDetector, "raw", lambda *_: (raw, np.array([1.0, 2.0]), np.array([1, 0])))
    boxes, scores = FaceDetector()(np.zeros((9, 9, 3), np.uint8))
    assert (np.diff(boxes[:, 2] - boxes[:, 0]) < 0).all() and scores.tolist() == [2, 1]


def test_without_dlib_the_answer_is_how_to_get_it(monkeypatch):
    load = builtins.__import__

    def without(name, *rest):
        if name == "dlib":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match="pip install dlib-bin, or give boxes"):
        FaceDetector()
