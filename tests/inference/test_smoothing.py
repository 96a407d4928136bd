"""Landmarks of a video without jitter: on made-up faces of 200 px."""

import sys

import numpy as np
import pytest

from awing.errors import ConfigError
from awing.inference.aligner import LOST, Landmarks, Smoother


def faces(*corners, noise=0.0, rng=None):
    """Faces of 20 points at their corners."""
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(-1, 2) * 50.0
    points = np.array([grid + corner for corner in corners])
    points += rng.normal(0, noise, points.shape) if noise else 0
    boxes = np.array([[x, y, x + 200, y + 200] for x, y in corners], dtype=float)
    return Landmarks(points, np.ones(points.shape[:2]), boxes)


def follow(corners, rate=25.0, noise=0.0):
    """Raw and smoothed landmarks of one face, (frames, 20, 2)."""
    smoother, rng = Smoother(rate), np.random.default_rng(0)
    raw = [faces(corner, noise=noise, rng=rng) for corner in corners]
    smooth = [smoother(face, i / rate) for i, face in enumerate(raw)]
    return [np.array([face.points[0] for face in found]) for found in (raw, smooth)]


@pytest.mark.parametrize("rate", [25.0, 30.0])
def test_jitter_of_a_still_face_falls_to_a_third(rate):
    raw, smooth = follow([(100.0, 100.0)] * 200, rate, noise=1.0)
    assert smooth[100:].std(0).mean() <= raw[100:].std(0).mean() / 3
    np.testing.assert_allclose(smooth[100:].mean(0), raw[100:].mean(0), atol=0.5)


@pytest.mark.parametrize("speed", [1.0, 4.0, 16.0])
def test_a_moving_face_lags_at_most_a_frame(speed):
    """From an eighth of its side a second on; px a frame."""
    path = speed * np.arange(100)
    _, smooth = follow([(x, 0.0) for x in path], noise=0.5)
    true = follow([(x, 0.0) for x in path])[0]
    assert 0 <= (true - smooth)[50:, :, 0].mean() <= speed


def test_faces_are_followed_by_overlap():
    smoother = Smoother(25.0)
    for i in range(10):
        corners = [(0.0, 0.0), (400.0, 0.0)] if i % 2 else [(400.0, 0.0), (0.0, 0.0)]
        given = faces(*corners)
        np.testing.assert_allclose(smoother(given, i / 25).points, given.points, atol=1e-9)
    assert len(smoother.tracks) == 2


def test_a_face_that_comes_back_late_starts_anew():
    smoother = Smoother(25.0)
    smoother(faces((0.0, 0.0)), 0.0)
    late = faces((30.0, 0.0))
    assert (smoother(late, 0.04).points[..., 0] < late.points[..., 0]).all()
    anew = smoother(faces((60.0, 0.0)), 0.05 + LOST).points
    np.testing.assert_allclose(anew, faces((60.0, 0.0)).points, rtol=1e-12)
    assert smoother(faces(), 1.0).points.shape == (0,)


def test_smoother_without_its_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "OneEuroFilter", None)
    with pytest.raises(ConfigError, match="pip install OneEuroFilter"):
        Smoother(25.0)
