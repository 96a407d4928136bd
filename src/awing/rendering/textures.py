"""What is painted on the surfaces: skin, features, hair, clothes."""

import cv2
import numpy as np
from jaxtyping import Float, Float32

from awing.rendering.geometry import AZIMUTH, HEIGHT, Head
from awing.rendering.painting import TILE, Painter, ellipse, mix, noise, spline
from awing.rendering.parameters import Array, FaceParameters


def _strands(rng: np.random.Generator) -> Array:
    return np.roll(noise("strand"), rng.integers(TILE), 1)


_DOWN = np.array([0.0, 1.0])


def head_texture(
    face: FaceParameters, head: Head, plane: Float[np.ndarray, "98 2"], rng: np.random.Generator
) -> Float32[np.ndarray, "n n 3"]:
    """Skin, features and scalp over (u, v). The features' outlines pass through the landmarks in `plane`."""
    skin = np.asarray(face.skin, np.float32)
    front = np.exp(-(np.linspace(-1.6, 1.6, TILE, dtype=np.float32) ** 2))  # the sides stretch the texture
    mottle = 1 + front * (0.03 * np.roll(noise("coarse"), rng.integers(TILE), 1) + 0.016 * noise("fine"))
    mottle *= np.interp(_heights(TILE), [112, 121], [1, 0.6]).astype(np.float32)[:, None]  # under the jaw
    image = mottle[..., None] * skin
    painter = Painter(image, lambda points: head.locate(points) * np.float32(TILE - 1))
    dark, rosy = skin * [0.62, 0.5, 0.46], skin * [1.0, 0.78, 0.74]
    wing, base = plane[59]
    blush = mix(mix(skin, rosy, 0.45), face.makeup_colour, 0.22 * face.makeup)
    for side in (-1, 1):
        painter.fill(ellipse([side * 41, 30], 15, 10, -25 * side), blush, 0.75, 11)
        painter.fill(ellipse([side * 19, 8], 5, 9), dark, 0.3, 5)
        painter.fill(ellipse([side * (wing + 3), base - 1], 3, 6), dark, 0.45, 3.5)
    painter.fill(ellipse(plane[54], 10, 8), rosy, 0.3, 5)
    painter.fill(ellipse(plane[85] + 5 * _DOWN, 14, 3), dark, 0.42, 4)
    painter.fill(ellipse(plane[57] + _DOWN, 13, 3), dark, 0.5, 3.5)
    if face.beard:
        _paint_beard(face, painter, plane)
    _paint_folds(face, painter, plane, dark)
    for side, (x, y) in ((-1, plane[55]), (1, plane[59])):
        edge = np.array([[-1, -9], [2, -5], [1.5, -0.5], [-2.5, 1.2]]) * [side, 1] + [x, y]
        painter.stroke([spline(edge)], dark * 0.8, 2, 0.45, 0.9)
        painter.fill(ellipse([0.54 * x, plane[57, 1] - 3.2], 3.2, 1.7, -14 * side), dark * 0.35, 0.95, 0.8)
    _paint_mouth(face, painter, plane[76:88], plane[88:96])
    for side in (0, 1):
        _paint_eye(face, painter, plane[60 + 8 * side : 68 + 8 * side], plane[96 + side], side)
        _paint_brow(face, painter, plane[33 + 9 * side : 42 + 9 * side], side, rng)
    _paint_scalp(face, image, rng)
    return image


def _paint_beard(face: FaceParameters, painter: Painter, plane: Array) -> None:
    x, y = plane[82]
    half = np.array([
        [0, plane[57, 1] + 4], [12, plane[57, 1] + 3], [x + 4, y - 3], [x + 14, y], [50, 56], [59, 30], [64, 6],
        [67, 10], [66, 60], [54, 100], [20, 140], [0, 145],
    ])  # fmt: skip
    outline = np.concatenate([half, half[::-1] * [-1, 1]])
    painter.fill(outline, mix(face.hair, face.skin, 0.15), 0.25 + 0.55 * face.beard, 6)


def _paint_folds(face: FaceParameters, painter: Painter, plane: Array, dark: Array) -> None:
    wing, base = plane[59]
    for side, (x, y), eye in ((-1, plane[76], plane[60:68]), (1, plane[82], plane[68:76])):
        cheek = [[side * (wing + 4), base - 8], [x + side * 6, (base + y) / 2], [x + side * 8, y + 3]]
        painter.stroke([spline(cheek)], dark, 3, 0.22 * face.age + 0.32 * max(face.smile, 0), 1.6)
        bag = eye.mean(0) + np.array([[-11, 8], [0, 11.5], [12, 8]])
        painter.stroke([spline(bag)], dark, 3, 0.1 + 0.32 * face.age, 1.8)
        painter.stroke([[[side * 4, -14], [side * 5, -24]]], dark, 2, 0.6 * max(-min(face.brow_raise), 0), 1.2)
    for y in (-40, -49, -58):
        forehead = spline([[-30, y + 2], [-12, y - 1], [8, y], [30, y + 1]])
        painter.stroke([forehead], dark, 2, 0.3 * max(*face.brow_raise, 0) + 0.5 * max(face.age - 0.5, 0), 1.2)


def _paint_mouth(face: FaceParameters, painter: Painter, outer: Array, inner: Array) -> None:
    skin = np.asarray(face.skin, np.float32)
    lips = mix(mix(skin * [0.95, 0.66, 0.65], (0.66, 0.25, 0.26), 0.3), face.makeup_colour, 0.9 * face.makeup)
    top, bottom = spline(outer[:7]), spline(outer[[6, 7, 8, 9, 10, 11, 0]])
    inner_top, inner_bottom = spline(inner[:5]), spline(inner[[4, 5, 6, 7, 0]])
    whole, hole = np.concatenate([top, bottom]), np.concatenate([inner_top, inner_bottom])
    gap, middle = inner[6, 1] - inner[2, 1], (inner[6] + outer[9]) / 2
    painter.fill(whole, lips, 0.95, 0.8)
    painter.fill(np.concatenate([top, inner_top[::-1]]), lips * 0.74, 0.6, 1.1, whole)
    painter.fill(ellipse(middle - 0.5 * _DOWN, 8, 1.6), np.minimum(lips * 1.25 + 0.1, 1), 0.5, 1.9, whole)
    if gap > 1.5:
        painter.fill(hole, (0.16, 0.03, 0.04), 1, 0.5)
        tongue = ellipse([middle[0], inner[6, 1]], 0.5 * np.ptp(inner[:, 0]) * 0.8, 0.32 * gap)
        painter.fill(tongue, (0.60, 0.24, 0.25), 0.9 * (gap > 8), 1.5, hole)
        (left, right), up = inner[[1, 3], 0] * 1.35, inner[2, 1]
        low = up + min(0.62 * gap, 7) + 1.5
        teeth = spline([[left, up - 4], [left, low - 2.2], [middle[0], low], [right, low - 2.2], [right, up - 4]])
        painter.fill(teeth, (0.90, 0.87, 0.81), 1, 0.8, hole)
        gaps = [[[x, up], [x, low - 1.5]] for x in middle[0] + np.arange(-12, 13, 4.8)]
        painter.stroke(gaps, (0.5, 0.4, 0.36), 1, 0.3, 0.5, hole)
        painter.stroke([inner_top], (0.15, 0.03, 0.04), 3, 0.6, 1.2, hole)
    else:
        painter.stroke([(inner_top + inner_bottom[::-1]) / 2], lips * 0.3, 2, 0.85, 0.5)
    for corner in (outer[0], outer[6]):
        painter.fill(ellipse(corner, 2, 1.8), lips * 0.35, 0.5, 1.1)


def _paint_eye(
    face: FaceParameters, painter: Painter, eye: Array, pupil: Array, side: int
) -> None:
    skin, iris = np.asarray(face.skin, np.float32), np.asarray(face.iris, np.float32)
    upper, lower = spline(eye[:5]), spline(eye[[4, 5, 6, 7, 0]])
    opening = np.concatenate([upper, lower])
    inner, outwards = eye[4 - 4 * side], 2 * side - 1
    dark, lash = skin * [0.5, 0.38, 0.34], np.minimum(skin * 0.18, 0.12)
    crease = upper - 4.2 * _DOWN + (upper - eye.mean(0)) * [0.06, 0.25]
    painter.fill(np.concatenate([crease - 1.5 * _DOWN, lower + 2 * _DOWN]), dark, 0.28, 2.8)
    shadow = np.concatenate([crease - 4 * _DOWN, upper[::-1] + _DOWN])
    painter.fill(shadow, mix(face.makeup_colour, (0.25, 0.15, 0.3), 0.55), 0.75 * face.makeup, 2.2)
    painter.stroke([crease], dark * 0.75, 2, 0.55, 0.8)
    painter.fill(opening, (0.88, 0.85, 0.83), 1, 0.5)
    painter.fill(ellipse(np.add(inner, (1.2 * outwards, 0)), 2, 1.6), (0.72, 0.42, 0.40), 0.8, 0.7, opening)
    painter.fill(ellipse(pupil, 6.1, 6.1), iris * 0.35, 1, 0.5, opening)
    painter.fill(ellipse(pupil, 5, 5), iris, 1, 0.8, opening)
    painter.fill(ellipse(pupil + 2 * _DOWN, 3.4, 2.2), np.minimum(iris * 1.5, 1), 0.5, 1.1, opening)
    painter.fill(ellipse(pupil, 2.5, 2.5), (0.02, 0.02, 0.02), 1, 0.4, opening)
    painter.stroke([upper + 1.4 * _DOWN], (0.1, 0.06, 0.05), 3, 0.55, 1.2, opening)
    glint = np.add(pupil, (2 * np.sign(face.light[0]), -2.2))
    painter.fill(ellipse(glint, 1.1, 1.1), (1, 1, 1), 0.95, 0.4, opening)
    painter.stroke([lower], dark * 0.7, 1, 0.55, 0.6)
    painter.stroke([upper], lash, 2 + round(1.4 * face.makeup), 0.95, 0.5)
    if face.makeup > 0.3:
        outer = eye[4 * side]
        painter.stroke([[outer, np.add(outer, (4 * outwards, -2.5))]], lash, 2, 0.9, 0.5)


def _paint_brow(
    face: FaceParameters, painter: Painter, brow: Array, side: int, rng: np.random.Generator
) -> None:
    upper, lower = spline(brow[:5]), spline(brow[[8, 7, 6, 5, 4] if side else [0, 8, 7, 6, 5]])
    colour = np.asarray(face.hair, np.float32) * 0.7
    painter.fill(np.concatenate([upper, lower[::-1]]), colour, 0.55, 1.1)
    at = rng.integers(len(upper), size=46)
    height = upper[at] - lower[at]
    root = lower[at] + height * rng.uniform(-0.05, 0.6, (46, 1))
    hairs = np.stack([root, root + 0.45 * height + [6.4 * side - 3.2, 0.3]], 1)
    painter.stroke(list(hairs), colour * 0.8, 1, 0.5, 0.4)


def _paint_scalp(face: FaceParameters, image: Array, rng: np.random.Generator) -> None:
    above, strand = above_hairline(face, TILE, TILE), _strands(rng)
    shade = 1 - 0.3 * np.clip(1 + above / 14, 0, 1) * (above > -14)  # the hair's soft shadow on the skin
    alpha = np.clip(above / 10 + 0.18 * strand + 0.2, 0, 1)
    tone = np.clip(0.85 + 0.22 * strand, 0.3, 1.5)
    for channel, value in enumerate(face.hair):
        patch = image[..., channel]
        patch *= shade
        patch += alpha * (tone * np.float32(value) - patch)


def above_hairline(face: FaceParameters, rows: int, columns: int) -> Float32[np.ndarray, "rows columns"]:
    """Height above the hairline over (u, v), mm; -1000 everywhere on a bald head."""
    azimuth = np.interp(np.linspace(0, 1, columns), np.linspace(0, 1, len(AZIMUTH)), AZIMUTH)
    knots = [0, 20, 40, 56, 66, 74, 82, 90, 100, 120, 180]
    line = np.interp(np.degrees(np.abs(azimuth)), knots, [-72, -70, -62, -48, -32, -16, 5, 14, -4, 60, 75])
    line += face.hairline * np.clip(np.cos(azimuth), 0, 1) + 2.5 * np.sin(5 * azimuth + face.texture_seed % 7)
    line -= 1000 if face.hair_style == "bald" else 0
    return np.asarray(line.astype(np.float32) - _heights(rows)[:, None])


def _heights(rows: int) -> Float32[np.ndarray, " rows"]:
    return np.interp(np.linspace(0, 1, rows), np.linspace(0, 1, len(HEIGHT)), HEIGHT).astype(np.float32)


def hair_texture(face: FaceParameters, rng: np.random.Generator) -> Float32[np.ndarray, "n n 3"]:
    tone = np.clip(0.8 + 0.22 * _strands(rng), 0.25, 1.5)
    return np.asarray(tone[..., None] * np.asarray(face.hair, np.float32))


def ear_texture(face: FaceParameters) -> Float32[np.ndarray, "n n 3"]:
    depth = np.interp(np.linspace(0, 1, 32), [0, 0.3, 0.6, 0.8, 1], [0.5, 0.55, 0.85, 1, 0.9])
    return np.tile((depth[:, None, None] * face.skin * [1, 0.9, 0.88]).astype(np.float32), (1, 32, 1))


def trunk_texture(face: FaceParameters, rng: np.random.Generator) -> Float32[np.ndarray, "n n 3"]:
    """Neck in the chin's shadow, and clothes."""
    t = np.linspace(0, 1, 128)[:, None]
    shadow = np.interp(t, [0, 0.2, 0.28, 0.37], [0.42, 0.5, 0.85, 1])
    collar = 0.32 + 0.07 * rng.uniform() * np.exp(-((np.linspace(-1, 1, 128) / 0.12) ** 2))
    cloth = 1 + 0.1 * cv2.resize(noise("coarse"), (128, 128))
    cloth *= 1 + 0.25 * rng.integers(2) * np.sign(np.sin(128 * t * rng.uniform(0.3, 1.2)))
    dressed = np.clip((t - collar) * 100, 0, 1)[..., None]
    image = shadow[..., None] * face.skin * (1 - dressed) + cloth[..., None] * face.cloth * dressed
    return np.asarray(image, np.float32)
