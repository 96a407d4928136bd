"""The face detector."""

import sys

import cv2
import numpy as np
import pytest

from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.errors import ConfigError
from awing.inference.detector import FaceDetector, to_landmarks


def finds(boxes, center, side):
    """Whether a box lies about where it should."""
    return any(
        np.abs((box[:2] + box[2:]) / 2 - center).max() < 0.35 * side and 0.7 < (box[2] - box[0]) / side < 1.4
        for box in boxes
    )


def test_detector_finds_real_faces(real_faces):
    """Most of them, and in the mean where their landmarks are."""
    detector, offsets = FaceDetector(), []
    for record in real_faces:
        truth = landmark_box(record)
        center, side = (truth[:2] + truth[2:]) / 2, (truth[2:] - truth[:2]).max()
        boxes = [box for box in detector(read_image(record.path)) if finds([box], center, side)]
        if boxes:
            box = boxes[0]
            offsets.append([*((box[:2] + box[2:]) / 2 - center) / side, np.log((box[2] - box[0]) / side)])
    assert len(offsets) >= 0.85 * len(real_faces)
    assert np.abs(np.median(offsets, 0)).max() < 0.06, np.median(offsets, 0)


@pytest.mark.parametrize(("width", "height", "face"), [(1000, 750, 80), (4000, 3000, 120)])
def test_detector_finds_small_faces(real_faces, width, height, face):
    """80 px; above 3000 px a picture is reduced first."""
    detector, hits = FaceDetector(), 0
    for record in real_faces[:2]:
        image, box = read_image(record.path), landmark_box(record)
        zoom, corner = face / (box[2:] - box[:2]).max(), np.array([width // 3, height // 3])
        small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        picture = np.full((height, width, 3), 128, np.uint8)
        picture[corner[1] :, corner[0] :][: small.shape[0], : small.shape[1]] = small
        hits += finds(detector(picture), (box[:2] + box[2:]) / 2 * zoom + corner, face)
    assert hits == 2


def test_to_landmarks_depends_on_the_filter():
    """Turned faces have their landmarks beside dlib's box."""
    boxes = np.array([[0.0, 0.0, 1000.0, 1000.0]]).repeat(2, 0)
    assert to_landmarks(boxes, np.array([1, 2])).round().tolist() == [[135, 136, 1075, 1076], [-100, 124, 884, 1108]]


def test_detector_without_dlib_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ConfigError, match="pip install dlib-bin, or give boxes"):
        FaceDetector()
