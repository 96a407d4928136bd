"""Overlays: strokes leave as much of a small face visible as of a large one."""

import numpy as np

from awing.data.synthetic import render_face
from awing.schemes import get_scheme
from awing.visualization.overlays import draw_landmarks


def test_draw_landmarks_covers_the_same_share_of_any_face():
    points, shares = render_face(0, "test", 8).points, []
    for side in (80, 320, 1280):
        placed = (points - points.min(0)) * side / np.ptp(points, axis=0).max() + side / 4
        canvas = np.full((3 * side // 2, 3 * side // 2, 3), 128, np.uint8)
        draw_landmarks(canvas, placed, get_scheme("wflw98").lines)
        shares.append(np.abs(canvas.astype(float) - 128).sum() / side**2)
    assert max(shares) < 1.6 * min(shares)
