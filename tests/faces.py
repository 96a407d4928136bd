"""Faces drawn from ellipses, with the landmarks of WFLW and of 300-W."""

import numpy as np


def arc(center, radii, first, last, count):
    """Points on an ellipse from one angle to another; degrees, clockwise as seen, 0 to the right."""
    angle = np.deg2rad(np.linspace(first, last, count))
    return np.stack([center[0] + radii[0] * np.cos(angle), center[1] + radii[1] * np.sin(angle)], -1)


def loop(center, radii, count):
    """A closed ellipse from its left end over its top."""
    return arc(center, radii, 180, 540, count + 1)[:-1]


def face(scheme):
    """(K, 2) landmarks of a frontal, symmetric face in [0, 1], in the order of ``wflw98`` or ``ibug68``."""
    dense = scheme == "wflw98"
    left, right = (0.32, 0.33), (0.68, 0.33)
    left_brow, right_brow = (arc((x, 0.25), (0.13, 0.07), 200, 340, 5) for x in (0.31, 0.69))
    left_lower, right_lower = (arc((x, 0.25), (0.10, 0.035), 340, 200, 4) for x in (0.31, 0.69))
    ridge = np.stack([np.full(4, 0.5), np.linspace(0.35, 0.53, 4)], -1)
    parts = [
        arc((0.5, 0.38), (0.42, 0.57), 185, -5, 33 if dense else 17),
        *([left_brow, left_lower, right_brow, right_lower] if dense else [left_brow, right_brow]),
        ridge,
        arc((0.5, 0.56), (0.09, 0.05), 165, 15, 5),
        *(loop(eye, (0.08, 0.035), 8 if dense else 6) for eye in (left, right)),
        loop((0.5, 0.75), (0.17, 0.08), 12),
        loop((0.5, 0.75), (0.13, 0.03), 8),
    ]
    return np.concatenate(parts + ([[left, right]] if dense else []))


def random_face(scheme, size, rng):
    """A face turned, sheared, jittered by 0.5 % and put into ``size`` px, some of it outside."""
    points = face(scheme) - 0.5
    turn = np.deg2rad(rng.uniform(-40, 40))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shear = np.array([[rng.uniform(0.6, 1.0), rng.uniform(-0.2, 0.2)], [0.0, 1.0]])
    points = points @ (rotation @ shear).T * rng.uniform(0.7, 1.0) + rng.uniform(0.4, 0.6, 2)
    return (points + rng.normal(0, 0.005, points.shape)) * size
