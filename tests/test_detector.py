"""The face detector, and what the aligner makes of its boxes."""

import builtins

import cv2
import numpy as np
import pytest
import torch

from awing import Aligner
from awing.data import read_300w
from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.detector import FaceDetector, to_landmarks
from awing.errors import ConfigError
from awing.metrics import nme
from awing.schemes import get_scheme


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


def test_mapped_boxes_lie_where_landmarks_do_for_each_filter(real_data):
    """Turned faces have their landmarks beside dlib's box: the median offset of each filter is taken out."""
    detector, offsets = FaceDetector(), {}
    for record in read_300w(real_data / "300w", "train", allow_partial=True).records[::10]:
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


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 30, 3), (300, 40, 3), (2200, 3000, 3)])
def test_where_no_face_is_none_is_found(shape):
    boxes, scores = FaceDetector()(np.full(shape, 120, np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_a_large_photograph_is_searched_at_a_smaller_size(records):
    image = read_image(records[0].path)
    small, large = FaceDetector(), FaceDetector(longest=max(image.shape[:2]))
    zoomed = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    expected, _ = small(image)
    found, _ = large(zoomed)
    assert len(expected) and len(found)
    assert np.abs(found[0] / 4 - expected[0]).max() < 0.1 * (expected[0][2] - expected[0][0])


def test_joints_of_a_body_need_boxes():
    aligner = Aligner.load("300w-small", "cpu")
    aligner.scheme = get_scheme("lsp14")
    with pytest.raises(ConfigError, match="lsp14 are joints, and the detector finds faces: give boxes"):
        aligner.detect(np.zeros((50, 50, 3), np.uint8))


def test_without_dlib_the_answer_is_how_to_get_it(monkeypatch):
    load = builtins.__import__

    def without(name, *rest):
        if name == "dlib":
            raise ImportError(name)
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'awing\[detect\]', or give boxes"):
        FaceDetector()
