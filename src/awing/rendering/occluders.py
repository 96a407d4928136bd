"""Things in front of a face, drawn on the finished picture at the places that its landmarks and camera give."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from awing.rendering.camera import Camera
from awing.rendering.painting import Painter, ellipse, mix, spline
from awing.rendering.parameters import Array, FaceParameters, Values


class _Scene(NamedTuple):
    painter: Painter
    face: FaceParameters
    camera: Camera
    points: Array
    rng: np.random.Generator
    mm: float  # pixels
    colour: Array  # drawn at random

    def lit(self, colour: Values) -> Array:
        """A colour in this picture's light."""
        light = np.sqrt(self.face.exposure * np.asarray(self.face.tint))
        return np.asarray(np.clip(colour * light, 0, 1), np.float32)

    def seen(self, space: Values) -> Array:
        return self.camera.project(space)[:, :2]


def draw_occluder(
    painter: Painter, face: FaceParameters, camera: Camera, points: Float[np.ndarray, "98 2"], rng: np.random.Generator
) -> None:
    """Draws `face.occluder`; the painter's cover then tells which pixels lie behind it."""
    draw = {
        "glasses": _glasses, "sunglasses": _sunglasses, "mask": _mask, "hand": _hand, "scarf": _scarf,
        "strands": _strands, "patch": _patch,
    }[face.occluder]  # fmt: skip
    draw(_Scene(painter, face, camera, points, rng, camera.scale, rng.uniform(0.05, 0.95, 3)))


def _lenses(s: _Scene, size: float) -> list[Array]:
    turn, square, lenses = np.linspace(0, 2 * np.pi, 40), s.rng.uniform(0.55, 1), []
    c, d = (np.sign(f) * np.abs(f) ** square for f in (np.cos(turn), np.sin(turn)))
    for side in (-1, 1):
        x = side * (31.5 + 1.6 * s.face.eye_spacing) + 21 * size * c
        lenses.append(s.seen(np.stack([x, 2 + 15.5 * size * d, 13 - 0.009 * x**2], 1)))
    return lenses


def _wires(s: _Scene, colour: Array, width: float) -> None:
    eye = 31.5 + 1.6 * s.face.eye_spacing
    s.painter.stroke([s.seen([[x, 0.02 * x * x - 5, 14] for x in (-12, -6, 0, 6, 12)])], colour, width)
    for side in (-1, 1):
        if side * s.face.yaw < 12:  # the far arm is behind the head
            arm = [[side * (eye + 20), -4, 13 - 0.009 * (eye + 20) ** 2], [side * 72, -3, -50], [side * 73, -2, -84]]
            s.painter.stroke([s.seen(arm)], colour, width)


def _glasses(s: _Scene) -> None:
    frame, width = s.lit(s.colour * 0.4), 1.6 * s.mm
    for lens in _lenses(s, 1.0):
        s.painter.fill(lens, s.lit((0.9, 0.95, 1)), 0.08)
        s.painter.stroke([lens], frame, width)
    _wires(s, frame, width)


def _sunglasses(s: _Scene) -> None:
    glass = s.lit(s.colour * 0.15)
    for lens in _lenses(s, s.rng.uniform(1, 1.2)):
        s.painter.fill(lens, glass, 0.97)
        sheen = lens.mean(0) + (lens - lens.mean(0)) * [0.5, 0.25] - [0, 6 * s.mm]
        s.painter.fill(sheen, s.lit((0.6, 0.65, 0.7)), 0.35, 3 * s.mm, lens)
        s.painter.stroke([lens], glass * 0.5, 2 * s.mm)
    _wires(s, glass, 2.5 * s.mm)


def _drape(s: _Scene, top: Array, down: Array, folds: int, colour: Array, clip: Array) -> None:
    for t in np.linspace(0.08, 0.92, folds):
        fold = top + down * t * (1 - 0.3 * np.linspace(-1, 1, len(top))[:, None] ** 2) + s.rng.normal(0, 1.5 * s.mm, 2)
        s.painter.stroke([fold], colour * 0.7, 3 * s.mm, 0.7, 1.3 * s.mm, clip)
        crest = np.add(fold, (0, 3 * s.mm))
        s.painter.stroke([crest], np.minimum(colour * 1.2 + 0.02, 1), 2 * s.mm, 0.5, 1.2 * s.mm, clip)


def _mask(s: _Scene) -> None:
    p, cloth = s.points, s.lit(mix((0.74, 0.85, 0.92), s.colour, s.rng.choice([0, 0.9])))
    bridge, sag = p[52] + (p[53] - p[52]) * 0.4, (p[57] - p[54]) * 0.6
    upper = spline([p[5], (p[5] + bridge) / 2 + sag, bridge, (p[27] + bridge) / 2 + sag, p[27]])
    rim = np.concatenate([upper, p[26:5:-1]])
    rim = rim.mean(0) + (rim - rim.mean(0)) * 1.04
    s.painter.fill(rim, cloth)
    s.painter.fill(rim + (p[16] - p[57]) * 0.35, cloth * 0.6, 0.5, 8 * s.mm, rim)
    _drape(s, spline([p[6], p[57], p[26]]), p[16] - p[57], 4, cloth, rim)


def _scarf(s: _Scene) -> None:
    p, cloth = s.points, s.lit(s.colour)
    lip, out = p[57] - p[54], (p[27] - p[5]) * 0.08
    left, right = (p[5] + p[57]) / 2, (p[27] + p[57]) / 2
    top = spline([p[5] - out, left + lip * 0.7, p[57] + lip * 0.2, right + lip * 0.7, p[27] + out])
    down = (p[16] - p[51]) * 1.1
    outline = np.concatenate([top, top[::-1] + down])
    s.painter.fill(outline, cloth, 1, 0.8)
    _drape(s, top, down, 9, cloth, outline)


def _hand(s: _Scene) -> None:
    skin = s.lit(np.multiply(s.face.skin, [0.97, 0.92, 0.9]))
    angle = s.rng.uniform(-0.9, 0.9)
    along = np.array([np.sin(angle), -np.cos(angle)]) * s.mm
    across = along[::-1] * [-1, 1]
    palm = s.points[s.rng.choice([16, 54, 90, 8, 24, 96, 97])] - along * 48
    s.painter.stroke([[palm, palm - along * 160]], skin * 0.85, 52 * s.mm)
    s.painter.fill(ellipse(palm, 40 * s.mm, 38 * s.mm), skin * 0.95, 1, 0.8)
    for k, length in ((-1.5, 66), (-0.5, 78), (0.5, 74), (1.5, 58)):
        root = palm + across * 18 * k
        tip = root + along * length + across * 6 * k
        finger = spline([root, (root + tip) / 2 + across * 2, tip])
        s.painter.stroke([finger + 0.8 * s.mm], skin * 0.5, 19 * s.mm)
        s.painter.stroke([finger], skin, 17 * s.mm, 1, 0.7)
        s.painter.stroke([finger - across * 3], np.minimum(skin * 1.15, 1), 4 * s.mm, 0.5, 2.5 * s.mm)
        s.painter.fill(ellipse(tip + along * 2, 5 * s.mm, 5 * s.mm), mix(skin, (1, 0.8, 0.8), 0.4), 0.8, 0.8)


def _strands(s: _Scene) -> None:
    brow, eye, jaw = s.points[[37, 96, 6] if s.rng.random() < 0.5 else [42, 97, 26]]
    up = s.points[51] - s.points[16]
    path = np.stack([brow + up * 0.75, brow + up * 0.12, eye + (jaw - eye) * 0.25, jaw - up * 0.15])
    for _ in range(5):
        spread = s.rng.normal(0, 8 * s.mm, (26, 1, 1)) * np.array([[0.3], [1], [1.2], [1.6]]) * [1, 0.15]
        locks = [spline(path + lock + s.rng.normal(0, 1.5 * s.mm, (4, 2))) for lock in spread]
        s.painter.stroke(locks, s.lit(np.multiply(s.face.hair, s.rng.uniform(0.6, 1.4))), 1.3 * s.mm, 0.9, 0.4)


def _patch(s: _Scene) -> None:
    centre, size = s.points[s.rng.integers(33, 98)], s.rng.uniform(0.18, 0.34) * np.ptp(s.points, 0).max()
    corners = int(s.rng.integers(4, 9))
    turn = 2 * np.pi * (np.arange(corners) + s.rng.uniform(0, 0.8, corners)) / corners
    radius = size * s.rng.uniform(0.8, 1.4, (corners, 1))
    outline = centre + radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    s.painter.fill(outline, s.lit(s.colour))
    for _ in range(s.rng.integers(4, 14)):
        at, (rx, ry) = centre + s.rng.normal(0, 0.6 * size, 2), size * s.rng.uniform(0.05, 0.4, 2)
        spot = ellipse(at, rx, ry, s.rng.uniform(0, 180))
        s.painter.fill(spot, s.lit(s.rng.uniform(0, 1, 3)), 0.9, s.rng.uniform(0.3, 2), outline)
