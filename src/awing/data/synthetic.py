"""Rendered faces: a data set for training a 98-point detector with nothing on disk and nothing to download.

A parametric head is modelled in millimetres (x to the image's right, y down, z towards the camera, origin between the
eyes). Its features are painted on the surface's texture and seen through a perspective camera; the landmarks are points
of the same texture, so they lie on what is drawn. Order and meaning are WFLW's, and like WFLW's they exist behind
occluders. The face contour (0-32) follows WFLW's habit for turned heads: point k slides along its mesh row from the jaw
edge towards the middle of the face, up to 30 degrees from it, to where the camera sees that row's outermost point. On
the near side that is the jaw edge itself, on the far side the visible silhouette.
"""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from awing.errors import DataError

FLAGS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
SIZE = 224  # pixels a side
VERSION = 1  # of the pictures: a set on disk written by another version is another set
EVENT = "0--Rendered"
_HI = 336  # pixels a side while rendering; reduced by area at the end, which smooths every edge
_TEXTURE = 448
_ROWS, _COLUMNS = 76, 81

Array = np.ndarray[Any, np.dtype[Any]]
Colour = tuple[float, float, float]  # RGB in [0, 1]


@dataclass(frozen=True)
class FaceParameters:
    """What a face looks like. Angles in degrees; identity in standard deviations; the defaults are a plain frontal face.

    ``yaw`` is positive towards the image's right, ``pitch`` positive downwards, ``roll`` positive clockwise.
    """

    texture_seed: int = 0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    distance: float = 900.0  # of the camera, mm
    face_size: float = 0.65  # longer side of the points' box over the image's side
    shift: tuple[float, float] = (0.0, 0.0)  # of the points' box, over the image's side
    width: float = 0.0
    jaw: float = 0.0
    chin: float = 0.0
    nose_width: float = 0.0
    nose_length: float = 0.0
    eye_size: float = 0.0
    eye_spacing: float = 0.0
    eye_slant: float = 0.0
    lips: float = 0.0
    mouth_width: float = 0.0
    brow_thickness: float = 0.0
    brow_height: float = 0.0
    age: float = 0.2  # 0 to 1
    mouth_open: float = 0.0  # 0 to 1
    smile: float = 0.0  # -1 to 1
    eyes_open: tuple[float, float] = (1.0, 1.0)  # image-left, image-right; 0 is shut
    brow_raise: tuple[float, float] = (0.0, 0.0)  # -1 to 1
    mouth_shift: float = 0.0  # sideways, -1 to 1
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 to 1
    skin: Colour = (0.86, 0.66, 0.54)
    hair: Colour = (0.22, 0.14, 0.09)
    iris: Colour = (0.30, 0.20, 0.12)
    hair_style: str = "short"  # short, long, bald
    hairline: float = 0.0  # mm downwards
    beard: float = 0.0  # 0 to 1
    makeup: float = 0.0  # 0 to 1
    makeup_colour: Colour = (0.70, 0.08, 0.15)
    cloth: Colour = (0.25, 0.35, 0.55)
    light: tuple[float, float] = (-25.0, 35.0)  # azimuth to the image's right, elevation
    ambient: float = 0.5  # share of the light without direction
    exposure: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    occluder: str = "none"
    blur: float = 0.0  # sigma, px
    blur_kind: str = "gaussian"  # gaussian, motion, lowres


class RenderedFace(NamedTuple):
    """An RGB picture, its 98 points, a detector-like box (x0, y0, x1, y1) and six 0/1 flags in the order of `FLAGS`."""

    image: UInt8[np.ndarray, "h w 3"]
    points: Float[np.ndarray, "98 2"]
    box: Int[np.ndarray, " 4"]
    flags: dict[str, int]
    parameters: FaceParameters
    covered: int  # points behind the occluder


# Painting ------------------------------------------------------------------------------------------------------------


class _Painter:
    """Anti-aliased, soft-edged shapes on a float RGB image, given in any coordinates that `to_pixels` understands."""

    def __init__(self, image: Array, to_pixels: Any = None) -> None:
        self.image = image
        self.to_pixels = to_pixels or (lambda points: np.asarray(points, np.float32))
        self.cover = np.zeros(image.shape[:2], np.float32)

    def fill(self, outline: Any, colour: Any, opacity: float = 1.0, soft: float = 0.6, within: Any = None) -> None:
        self._blend([self.to_pixels(outline)], None, colour, opacity, soft, within)

    def stroke(
        self, lines: Sequence[Any], colour: Any, width: float, opacity: float = 1.0, soft: float = 0.6, within: Any = None
    ) -> None:
        self._blend([self.to_pixels(line) for line in lines], width, colour, opacity, soft, within)

    def _blend(
        self, shapes: list[Array], width: float | None, colour: Any, opacity: float, soft: float, within: Any
    ) -> None:
        pad = 3 * soft + (width or 0) + 2
        corners = np.concatenate(shapes)
        low = np.maximum(np.floor(corners.min(0) - pad), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0) + pad) + 1, self.image.shape[1::-1]).astype(int)
        if (high <= low).any():
            return
        region = (slice(low[1], high[1]), slice(low[0], high[0]))
        alpha = self._mask(shapes, low, high, width, soft)
        if within is not None:
            alpha *= self._mask([self.to_pixels(within)], low, high, None, 0.5)
        alpha *= opacity
        for channel, value in enumerate(np.asarray(colour, np.float32)):
            patch = self.image[region][..., channel]
            patch += alpha * (value - patch)
        np.maximum(self.cover[region], alpha, out=self.cover[region])

    def _mask(self, shapes: list[Array], low: Array, high: Array, width: float | None, soft: float) -> Array:
        height, width_px = high[1] - low[1], high[0] - low[0]
        zoom = 4 if soft >= 3 else 1  # a very soft edge needs few pixels
        mask = np.zeros((-(-height // zoom), -(-width_px // zoom)), np.uint8)
        fixed = [np.round(((shape - low + 0.5) / zoom - 0.5) * 16).astype(np.int32) for shape in shapes]
        if width is None:
            cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(mask, fixed, False, 255, max(1, round(width / zoom)), cv2.LINE_AA, 4)
        if soft > 0:
            mask = cv2.GaussianBlur(mask, (0, 0), soft / zoom)
        if zoom > 1:
            mask = cv2.resize(mask, (0, 0), fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
        return mask[:height, :width_px].astype(np.float32) / 255


def _spline(points: Any, samples: int = 6) -> Array:
    """Catmull-Rom curve through the points, `samples` steps between neighbours."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, samples, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, p.shape[1]), p[-2:-1]])


def _ellipse(x: float, y: float, rx: float, ry: float, angle: float = 0.0) -> Array:
    t = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.stack([x + rx * np.cos(t) * c - ry * np.sin(t) * s, y + rx * np.cos(t) * s + ry * np.sin(t) * c], 1)


@lru_cache
def _noise(kind: str) -> Float32[np.ndarray, "n n"]:
    """Fixed noise tiles of zero mean and unit variance: `fine` and `coarse` blots, `strand` hairs along y."""
    sigma = {"fine": (1.2, 1.2), "coarse": (18.0, 18.0), "strand": (0.9, 60.0)}[kind]
    noise = np.random.default_rng(0).standard_normal((_TEXTURE, _TEXTURE)).astype(np.float32)
    noise = cv2.GaussianBlur(np.tile(noise, (2, 2)), (0, 0), sigmaX=sigma[0], sigmaY=sigma[1])[_TEXTURE // 2 : _TEXTURE * 3 // 2, _TEXTURE // 2 : _TEXTURE * 3 // 2]
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


# Landmarks in the plane of the face, mm --------------------------------------------------------------------------------


def _landmarks(face: FaceParameters) -> Float[np.ndarray, "98 2"]:
    """The features' points as seen from the front, face contour excluded (zeros)."""
    points = np.zeros((98, 2))
    for left in (True, False):
        side = 0 if left else 1
        sign = -1.0 if left else 1.0
        eye, pupil = _eye(face, side)
        brow = _brow(face, side)
        mirror = np.array([sign, 1.0])
        order = [0, 1, 2, 3, 4, 5, 6, 7] if left else [4, 3, 2, 1, 0, 7, 6, 5]
        points[60 + 8 * side : 68 + 8 * side] = (eye * mirror)[order]
        points[96 + side] = pupil * mirror + [4.0 * face.gaze[0], 0.0]
        order = [0, 1, 2, 3, 4, 5, 6, 7, 8] if left else [4, 3, 2, 1, 0, 8, 7, 6, 5]
        points[33 + 9 * side : 42 + 9 * side] = (brow * mirror)[order]
    tip = 37.0 + 3.0 * face.nose_length
    wing = 12.5 + 1.8 * face.nose_width
    points[51:55] = [[0.0, 4.0 + (tip - 4.0) * k / 3] for k in range(4)]
    base = tip + 10.0
    points[55:60] = [[-wing, base - 2.5], [-wing * 0.5, base], [0, base + 1.5], [wing * 0.5, base], [wing, base - 2.5]]
    points[76:96] = _mouth(face)
    return points


def _eye(face: FaceParameters, side: int) -> tuple[Array, Array]:
    """Outer corner, upper lid, inner corner, lower lid (inner to outer) and pupil, on the positive side."""
    cx, half = 31.5 + 1.6 * face.eye_spacing, 14.5 + 1.0 * face.eye_size
    outer, inner = np.array([cx + half, -0.8 - 1.3 * face.eye_slant]), np.array([cx - half, 1.6])
    t = np.array([0.25, 0.5, 0.75])
    arc = np.stack([0 * t, np.array([0.74, 1.0, 0.80])], 1)
    chord = outer + (inner - outer) * t[:, None]
    lower = chord + arc * (3.8 + 0.3 * face.eye_size - 0.9 * max(face.smile, 0))
    upper = chord - arc * (6.2 + 0.7 * face.eye_size)
    upper = lower + (upper - lower) * face.eyes_open[side]
    middle = (outer + inner) / 2
    pupil = np.array([middle[0], -1.0 + 2.0 * face.gaze[1]])
    pupil[1] = np.clip(pupil[1], upper[1, 1], lower[1, 1])
    return np.concatenate([[outer], upper, [inner], lower[::-1]]), pupil


def _brow(face: FaceParameters, side: int) -> Array:
    """Outer tip, upper line to the inner end, lower line back, on the positive side."""
    raised = face.brow_raise[side]
    t = np.array([1.0, 0.75, 0.5, 0.25, 0.0])
    x = 11.5 + 0.8 * face.eye_spacing + 1.5 * min(raised, 0) + t * (42.0 + face.eye_spacing)
    middle = -18.0 - 1.5 * face.brow_height - 6.5 * np.sin(np.pi * np.clip(t, 0, 1) ** 1.35) + 1.0 * t
    middle -= raised * (5.0 * np.sin(np.pi * (0.25 + 0.6 * t)) if raised > 0 else 5.0 * (1 - t) ** 1.3)
    half = (3.1 + 0.7 * face.brow_thickness) * np.array([0.0, 0.62, 0.9, 1.0, 0.85])
    upper, lower = np.stack([x, middle - half], 1), np.stack([x, middle + half], 1)
    return np.concatenate([upper, lower[:0:-1]])


def _mouth(face: FaceParameters) -> Array:
    """Twelve outer and eight inner points, from the image-left corner clockwise."""
    smile, gap = face.smile, 24.0 * face.mouth_open + 3.5 * max(face.smile - 0.45, 0)
    half = 24.5 + 1.6 * face.mouth_width + 5.5 * smile * (0.5 if smile < 0 else 1.0) - 4.5 * face.mouth_open
    full = 1 + 0.16 * face.lips
    y = 68.0 + 2.0 * face.nose_length - 1.5 * max(smile, 0)
    corner = y - 5.0 * smile + 0.36 * gap
    x = np.array([0.62, 0.24, 0.0]) * half
    upper = y - np.array([5.6, 8.6, 7.4]) * full - 0.10 * gap
    lower = y + gap + np.array([10.8, 9.6, 6.2])[::-1] * (full - 0.10 * max(smile, 0))
    inner = np.array([0.46, 0.0]) * half
    top, bottom = y - 0.10 * gap + np.array([0.5 - 0.9 * smile, 0.8]), y + gap + np.array([0.4 - 0.9 * smile - 0.12 * gap, 0.8])
    lower += np.array([-1.7 * smile - 0.10 * gap, -0.6 * smile, 0.0])
    outer_points = [
        [-half, corner], [-x[0], upper[0]], [-x[1], upper[1]], [0, upper[2]], [x[1], upper[1]], [x[0], upper[0]],
        [half, corner], [x[0], lower[0]], [0.32 * half, lower[1]], [0, lower[2]], [-0.32 * half, lower[1]], [-x[0], lower[0]],
    ]  # fmt: skip
    inner_points = [
        [-half + 2.5, corner + 0.2], [-inner[0], top[0]], [0, top[1]], [inner[0], top[0]],
        [half - 2.5, corner + 0.2], [inner[0], bottom[0]], [0, bottom[1]], [-inner[0], bottom[0]],
    ]  # fmt: skip
    points = np.array(outer_points + inner_points)
    points[:, 0] += 4.0 * face.mouth_shift
    points[:, 1] += 0.08 * face.mouth_shift * points[:, 0]
    return points


# The head's surface ----------------------------------------------------------------------------------------------------

# Rings from the crown to under the jaw: height in front, height at the side, half width, depth in front, side, back.
_RINGS = np.array(
    [
        [-118, -118, 3, -84, -90, -96],
        [-112, -112, 30, -52, -90, -126],
        [-98, -98, 50, -29, -90, -150],
        [-80, -80, 63, -13, -90, -170],
        [-55, -55, 70, -3, -90, -183],
        [-25, -25, 71, 1, -90, -187],
        [0, -1, 70, -3, -88, -185],
        [25, 20, 68.5, 0, -86, -178],
        [50, 39, 65.5, 4, -84, -165],
        [75, 54, 61, 3, -80, -150],
        [100, 67, 56, 1, -75, -140],
        [113, 74, 52, -6, -72, -135],
        [119, 81, 43, -24, -72, -128],
        [126, 92, 34, -48, -75, -120],
    ],
    np.float64,
)  # fmt: skip
_V = np.linspace(0, 1, _ROWS)
_NOMINAL = np.interp(_V, [0, 0.1, 0.22, 0.93, 1], [-118, -100, -55, 118, 126])
_PHI = 1.3 * np.linspace(-1, 1, _COLUMNS) + (np.pi - 1.3) * np.linspace(-1, 1, _COLUMNS) ** 3
_CONTOUR = np.radians([[85, 85, 84, 80, 68, 46, 22, 0]]).T, np.array([-8.0, 25, 58, 86, 104, 114, 117, 117.5])


def _forward(cosine: Any) -> Any:
    """1 in the middle of the face, falling smoothly to about 0 at its sides."""
    return (cosine + np.sqrt(cosine**2 + 0.04)) / (1 + np.sqrt(1.04))


class _Head:
    """The surface of a head: a grid of vertices, and the way from the plane of the face to the grid."""

    def __init__(self, face: FaceParameters, plane: Array) -> None:
        self.rows = self._profile(face)
        self.inverse = self._invert()
        front, side, width, z_front, z_side, z_back = self.rows.T[:, :, None]
        cosine, sine = np.cos(_PHI), np.sin(_PHI)
        x, y = width * sine, side + (front - side) * _forward(cosine)
        z = z_side + np.where(cosine > 0, (z_front - z_side), (z_side - z_back)) * cosine
        z = z + np.clip(cosine * 2.5, 0, 1) * self._relief(face, plane, x, y)
        self.grid = np.stack([x, y, z], -1).astype(np.float32)

    @staticmethod
    def _profile(face: FaceParameters) -> Array:
        rings = _RINGS.copy()
        below = np.clip((rings[:, 0] - 68) / 45, 0, 1.3)
        rings[:, 0] += below * (4.0 * face.chin + 22.0 * face.mouth_open)
        rings[:, 1] += np.clip((rings[:, 1] - 50) / 24, 0, 1) * 2.5 * face.chin
        rings[:, 3] -= below * 7.0 * face.mouth_open
        rings[:, 2] *= 1 + 0.035 * face.width + 0.045 * face.jaw * np.clip((rings[:, 1] - 20) / 50, 0, 1)
        table = np.stack([np.interp(_NOMINAL, _RINGS[:, 0], column) for column in rings.T], 1)
        return cv2.GaussianBlur(table, (1, 0), sigmaX=0.1, sigmaY=1.6, borderType=cv2.BORDER_REPLICATE)

    def _invert(self) -> Float32[np.ndarray, "r c 2"]:
        """Texture coordinates (u, v) in [0, 1] at every 2 mm of the plane of the face, from (-68, -70)."""
        x, y = np.meshgrid(np.arange(-68, 69, 2.0), np.arange(-70, 150, 2.0))
        front, side, width = self.rows[:, 0], self.rows[:, 1], self.rows[:, 2]
        v = np.interp(y, front, _V)
        for _ in range(6):
            sine = np.clip(x / np.interp(v, _V, width), -0.985, 0.985)
            drop = (np.interp(v, _V, front) - np.interp(v, _V, side)) * (1 - _forward(np.sqrt(1 - sine**2)))
            v = np.interp(y + drop, front, _V)
        u = np.interp(np.arcsin(sine), _PHI, np.linspace(0, 1, _COLUMNS))
        return np.stack([u, v], -1).astype(np.float32)

    def locate(self, plane: Any) -> Float32[np.ndarray, "n 2"]:
        """Points of the plane of the face in texture coordinates."""
        cells = ((np.asarray(plane) + [68, 70]) / 2).astype(np.float32)
        return cv2.remap(self.inverse, cells[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]

    def lift(self, uv: Any) -> Float32[np.ndarray, "n 3"]:
        cells = (np.asarray(uv) * [_COLUMNS - 1, _ROWS - 1]).astype(np.float32)
        return cv2.remap(self.grid, cells[None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]

    @staticmethod
    def _relief(face: FaceParameters, plane: Array, x: Array, y: Array) -> Array:
        """Height of the features above the bare skull, mm: nose, sockets, eyeballs, brows, cheeks, lips, chin."""
        tip, wing = plane[54, 1], plane[59, 0]
        mouth, lower, chin = plane[78, 1] + 8, plane[85, 1], 104 + 4 * face.chin + 18 * face.mouth_open
        ax = np.abs(x)
        eye = 31.5 + 1.6 * face.eye_spacing
        bumps = [  # height, x, y, radius x, radius y
            (-4.5, 16, -2, 6, 8), (-3.0, eye, 0, 17, 9), (4.2, eye, -0.5, 10.5, 6.5), (2.6, 28, -19, 20, 5.5),
            (3.5 + 2 * face.smile, 42, 26 - 3 * face.smile, 14, 11), (-2.5, 62, 62, 12, 20),
            (wing * 0.62, wing - 3.5, tip + 5, 4.2, 5.0),
        ]  # fmt: skip
        middle = [
            (3.5, mouth, 25, 13), (2.6, (mouth + plane[78, 1]) / 2 - 1, 15, 3.2), (3.4, lower - 4.5, 14, 3.6),
            (-2.6, lower + 5.0, 17, 4.5), (4.5, chin, 14, 9), (-1.2, plane[57, 1] + 7, 2.5, 5),
        ]  # fmt: skip
        z = sum(h * np.exp(-(((ax - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)) for h, cx, cy, rx, ry in bumps)
        z = z + sum(h * np.exp(-((x / rx) ** 2 + ((y - cy) / ry) ** 2)) for h, cy, rx, ry in middle)
        heights = np.array([-10, 2, 10, 0.55 * tip, tip - 6, tip, tip + 4.5, tip + 9, tip + 13])
        ridge = np.interp(y, heights, [0, 4, 7.5, 13, 19.5, 21.5, 19, 8, 0])
        half = np.interp(y, heights, [5, 5.5, 6, 7.5, 9.5, 10.5, 10, 9, 8]) * (1 + 0.08 * face.nose_width)
        return np.asarray(z + ridge * np.exp(-((ax / half) ** 2.2)))

    def contour(self) -> tuple[Array, Array]:
        """Azimuths and rows (in [0, 1]) of the 33 fixed contour points, equally spaced as seen from the front."""
        phi = np.interp(np.linspace(0, 7, 71), range(8), _CONTOUR[0][:, 0])
        v = np.interp(np.interp(np.linspace(0, 7, 71), range(8), _CONTOUR[1]), _NOMINAL, _V)
        curve = self.lift(np.stack([_u(phi), v], 1))[:, :2]
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
        at = np.linspace(0, length[-1], 17)
        phi, v = np.interp(at, length, phi), np.interp(at, length, v)
        return np.concatenate([-phi, phi[-2::-1]]), np.concatenate([v, v[-2::-1]])


def _u(phi: Any) -> Any:
    return np.interp(phi, _PHI, np.linspace(0, 1, _COLUMNS))


# The texture -----------------------------------------------------------------------------------------------------------


def _mix(a: Any, b: Any, share: float) -> Array:
    return np.asarray(a, np.float32) * (1 - share) + np.asarray(b, np.float32) * share


def _paint_texture(face: FaceParameters, head: _Head, plane: Array, rng: np.random.Generator) -> Array:
    skin = np.asarray(face.skin, np.float32)
    image = np.empty((_TEXTURE, _TEXTURE, 3), np.float32)
    mottle = 1 + 0.035 * np.roll(_noise("coarse"), rng.integers(_TEXTURE), 1) + 0.018 * _noise("fine")
    np.multiply(mottle[..., None], skin, out=image)
    scale = np.float32(_TEXTURE - 1)
    painter = _Painter(image, lambda points: head.locate(points) * scale)
    dark, rosy = skin * np.float32([0.62, 0.5, 0.46]), skin * np.float32([1.02, 0.74, 0.70])
    for sign in (-1, 1):  # warm cheeks and soft hollows
        painter.fill(_ellipse(sign * 40, 32, 17, 13), rosy, 0.45, 12)
        painter.fill(_ellipse(sign * 19, 8, 5, 9), dark, 0.35, 6)
        painter.fill(_ellipse(sign * (plane[59, 0] + 3), plane[59, 1] - 1, 3, 6), dark, 0.5, 4)
    painter.fill(_ellipse(0, plane[54, 1], 10, 8), rosy, 0.3, 6)
    painter.fill(_ellipse(0, plane[85, 1] + 5, 14, 3), dark, 0.42, 5)
    painter.fill(_ellipse(0, plane[57, 1] + 1, 15, 3), dark, 0.55, 4)
    _paint_age(face, painter, plane, dark)
    if face.beard:
        _paint_beard(face, painter, plane)
    if face.makeup:
        for sign in (-1, 1):
            blush = _mix(skin, face.makeup_colour, 0.6)
            painter.fill(_ellipse(sign * 44, 28, 15, 7, -sign * 25), blush, 0.75 * face.makeup, 8)
    _paint_nose(painter, plane, dark)
    _paint_mouth(face, painter, plane)
    for side in (0, 1):
        _paint_eye(face, painter, plane, side)
        _paint_brow(face, painter, plane, side, rng)
    _paint_hair(face, image, rng)
    return image


def _paint_age(face: FaceParameters, painter: _Painter, plane: Array, dark: Array) -> None:
    fold = 0.25 * face.age + 0.35 * max(face.smile, 0)
    for sign, corner in ((-1, plane[76]), (1, plane[82])):
        line = _spline([[sign * (plane[59, 0] + 4), plane[59, 1] - 8], [corner[0] + sign * 6, (plane[59, 1] + corner[1]) / 2],
                        corner + [sign * 8, 3]])  # fmt: skip
        painter.stroke([line], dark, 3, fold, 1.6)
        for eye in (plane[60:68].mean(0) if sign < 0 else plane[68:76].mean(0),):
            painter.stroke([_spline(eye + [[-11, 8], [0, 11.5], [12, 8]])], dark, 3, 0.12 + 0.35 * face.age, 1.8)
    raised = max(*face.brow_raise, 0) * 0.5 + max(face.age - 0.5, 0)
    for k in range(3):
        y = -40 - 9 * k
        painter.stroke([_spline([[-30, y + 2], [-12, y - 1], [8, y], [30, y + 1]])], dark, 2, 0.6 * raised, 1.2)
    frown = max(-face.brow_raise[0], -face.brow_raise[1], 0)
    painter.stroke([[[-4, -14], [-5, -24]], [[4, -14], [5, -24]]], dark, 2, 0.6 * frown, 1.2)


def _paint_beard(face: FaceParameters, painter: _Painter, plane: Array) -> None:
    mouth = plane[82] + [3, -1]
    half = [[0, plane[57, 1] + 4], [12, plane[57, 1] + 3], mouth, [mouth[0] + 10, mouth[1] + 2], [52, 48], [63, 15], [67, 15]]
    half += [[66, 60], [54, 100], [20, 140], [0, 145]]
    outline = np.array(half + [[-x, y] for x, y in half[::-1]])
    colour = _mix(face.hair, face.skin, 0.15)
    painter.fill(outline, colour, 0.35 + 0.5 * face.beard, 5)


def _paint_nose(painter: _Painter, plane: Array, dark: Array) -> None:
    for sign, wing in ((-1, plane[55]), (1, plane[59])):
        painter.stroke([_spline(wing + [[sign * -1, -9], [sign * 2.0, -5], [sign * 1.5, -0.5], [-sign * 2.5, 1.2]])],
                       dark * 0.8, 2, 0.6, 1.0)  # fmt: skip
        painter.fill(_ellipse(wing[0] * 0.55, plane[57, 1] - 3.2, 4.0, 1.9, -sign * 14), dark * 0.28, 0.95, 0.9)


def _paint_mouth(face: FaceParameters, painter: _Painter, plane: Array) -> None:
    skin = np.asarray(face.skin, np.float32)
    colour = _mix(skin * np.float32([0.92, 0.62, 0.60]), (0.62, 0.22, 0.22), 0.35)
    colour = _mix(colour, face.makeup_colour, 0.9 * face.makeup)
    outer, inner = plane[76:88], plane[88:96]
    top, bottom = _spline(outer[:7]), _spline(np.concatenate([outer[6:], outer[:1]]))
    in_top, in_bottom = _spline(inner[:5]), _spline(np.concatenate([inner[4:], inner[:1]]))
    mouth = np.concatenate([top, bottom])
    painter.fill(mouth, colour, 0.95, 0.9)
    upper = np.concatenate([top, in_top[::-1]])
    painter.fill(upper, colour * 0.72, 0.6, 1.2, within=mouth)
    middle = (inner[6] + outer[9]) / 2
    painter.fill(_ellipse(middle[0], middle[1] - 0.5, 8, 1.6), np.minimum(colour * 1.25 + 0.1, 1), 0.5, 2.2, within=mouth)
    hole = np.concatenate([in_top, in_bottom])
    gap = inner[6, 1] - inner[2, 1]
    if gap > 1.5:
        painter.fill(hole, (0.16, 0.03, 0.04), 1.0, 0.5)
        if gap > 9:
            painter.fill(_ellipse(middle[0], inner[6, 1] - 1, 10, 0.3 * gap), (0.62, 0.25, 0.26), 0.9, 2, within=hole)
        teeth = np.concatenate([in_top[2:-2], (in_top[2:-2] * [0.93, 1] + [0, min(0.75 * gap, 7.5)])[::-1]])
        painter.fill(teeth, (0.93, 0.90, 0.84), 1.0, 0.6, within=hole)
        gaps = [[[x, inner[2, 1]], [x, inner[2, 1] + 8]] for x in middle[0] + np.arange(-15, 16, 5.0)]
        painter.stroke(gaps, (0.55, 0.45, 0.4), 1, 0.35, 0.5, within=hole)
        painter.stroke([in_top], (0.15, 0.03, 0.04), 3, 0.6, 1.2, within=hole)
    else:
        painter.stroke([(in_top + in_bottom[::-1]) / 2], colour * 0.3, 2, 0.85, 0.6)
    painter.fill(_ellipse(*outer[0], 2, 1.8), colour * 0.35, 0.5, 1.2)
    painter.fill(_ellipse(*outer[6], 2, 1.8), colour * 0.35, 0.5, 1.2)


def _paint_eye(face: FaceParameters, painter: _Painter, plane: Array, side: int) -> None:
    skin = np.asarray(face.skin, np.float32)
    eye = plane[60 + 8 * side : 68 + 8 * side]
    upper, lower = _spline(eye[:5]), _spline(np.concatenate([eye[4:], eye[:1]]))[::-1]
    opening = np.concatenate([upper, lower[::-1]])
    away = 1 if side else -1
    centre, pupil = eye.mean(0), plane[96 + side]
    dark = skin * np.float32([0.5, 0.38, 0.34])
    lid = upper - [0, 4.2] + (upper - centre) * [0.06, 0.25]
    painter.fill(np.concatenate([lid - [0, 1.5], lower[::-1] + [0, 2]]), dark, 0.28, 3.0)
    if face.makeup:
        shadow = np.concatenate([lid - [0, 4], upper[::-1] + [0, 1]])
        painter.fill(shadow, _mix(face.makeup_colour, (0.25, 0.15, 0.3), 0.55), 0.75 * face.makeup, 2.2)
    painter.stroke([lid], dark * 0.75, 2, 0.6, 0.9)
    painter.fill(opening, (0.90, 0.88, 0.86), 1.0, 0.5)
    painter.fill(_ellipse(eye[4 - 4 * side, 0] + away * 1.2, eye[4 - 4 * side, 1], 2.0, 1.6), (0.72, 0.42, 0.40), 0.8, 0.7, opening)
    iris = np.asarray(face.iris, np.float32)
    painter.fill(_ellipse(*pupil, 6.0, 6.0), iris * 0.35, 1.0, 0.5, opening)
    painter.fill(_ellipse(*pupil, 5.0, 5.0), iris, 1.0, 0.9, opening)
    painter.fill(_ellipse(pupil[0], pupil[1] + 1.8, 3.6, 2.4), np.minimum(iris * 1.6, 1), 0.6, 1.2, opening)
    painter.fill(_ellipse(*pupil, 2.4, 2.4), (0.02, 0.02, 0.02), 1.0, 0.5, opening)
    painter.stroke([upper + [0, 1.2]], (0.1, 0.06, 0.05), 3, 0.5, 1.3, opening)
    glint = pupil + [2.0 * np.sign(face.light[0]), -2.2]
    painter.fill(_ellipse(*glint, 1.15, 1.15), (1.0, 1.0, 1.0), 0.95, 0.45, opening)
    lash = np.minimum(skin * 0.18, 0.12)
    thick = 2 + round(2 * face.makeup)
    painter.stroke([upper], lash, thick, 0.95, 0.5)
    painter.stroke([lower], dark * 0.7, 1, 0.55, 0.6)
    if face.makeup > 0.3:
        painter.stroke([[eye[4 * side], eye[4 * side] + [away * 4, -2.5]]], lash, 2, 0.9, 0.5)


def _paint_brow(face: FaceParameters, painter: _Painter, plane: Array, side: int, rng: np.random.Generator) -> None:
    brow = plane[33 + 9 * side : 42 + 9 * side]
    outer_first = brow if side == 0 else brow[[4, 3, 2, 1, 0, 8, 7, 6, 5]]
    upper, lower = _spline(outer_first[:5]), _spline(outer_first[[0, 8, 7, 6, 5]])
    colour = np.asarray(face.hair, np.float32) * 0.7
    painter.fill(np.concatenate([upper, lower[::-1]]), colour, 0.55, 1.3)
    t = rng.uniform(0, len(upper) - 1.001, 46)
    k = t.astype(int)
    root = lower[k] + (upper[k] - lower[k]) * rng.uniform(-0.05, 0.6, (46, 1))
    tip = root + (upper[k] - lower[k]) * 0.45 + [3.2 if side else -3.2, 0.3]
    painter.stroke(list(np.stack([root, tip], 1)), colour * 0.8, 1, 0.55, 0.4)


def _paint_hair(face: FaceParameters, image: Array, rng: np.random.Generator) -> None:
    mask = _hair_mask(face)
    if mask is None:
        return
    strand = np.roll(_noise("strand"), rng.integers(_TEXTURE), 1)
    alpha = np.clip(mask / 9 + 0.25 * strand + 0.3, 0, 1)
    shade = np.clip(0.8 + 0.22 * strand, 0.3, 1.6)
    for channel, value in enumerate(face.hair):
        image[..., channel] += alpha * (shade * np.float32(value) - image[..., channel])


def _hair_mask(face: FaceParameters, rows: int = _TEXTURE, columns: int = _TEXTURE) -> Array | None:
    """Distance of every texel above the hairline, mm, or None where there is no hair."""
    if face.hair_style == "bald":
        return None
    phi = np.interp(np.linspace(0, 1, columns), np.linspace(0, 1, _COLUMNS), _PHI)
    nominal = np.interp(np.linspace(0, 1, rows), _V, _NOMINAL)
    line = np.interp(np.degrees(np.abs(phi)), [0, 30, 52, 64, 74, 82, 90, 100, 120, 180], [-64, -62, -50, -34, -18, 4, 14, -4, 60, 75])
    line = line + face.hairline * np.clip(np.cos(phi), 0, 1) + 2.5 * np.sin(5 * phi + face.texture_seed % 7)
    return np.asarray(line[None] - nominal[:, None], np.float32)


# Rasterising -----------------------------------------------------------------------------------------------------------


def _rasterize(screen: Array, shape: tuple[int, int], two_sided: bool) -> tuple[Array, Array, Array, Array]:
    """Pixels (row, column) that a grid of (x, y, depth) covers, and the grid coordinates (u, v) and depth seen there.

    Every cell is two triangles, A B C and D C B. Painter's algorithm: the pixels in the cells' boxes are listed from the
    farthest cell to the nearest, and the last one written stays.
    """
    a, b, c, d = (part.reshape(-1, 3).T for part in (screen[:-1, :-1], screen[:-1, 1:], screen[1:, :-1], screen[1:, 1:]))
    area = (d[0] - a[0]) * (c[1] - b[1]) - (d[1] - a[1]) * (c[0] - b[0])
    low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), np.minimum(c, d))[:2]), 0).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), np.maximum(c, d))[:2]).astype(np.int32)
    wide = np.minimum(high[0], shape[1] - 1) - low[0] + 1
    tall = np.minimum(high[1], shape[0] - 1) - low[1] + 1
    keep = np.flatnonzero((wide > 0) & (tall > 0) & ((np.abs(area) if two_sided else area) > 1e-6))
    keep = keep[np.argsort(a[2, keep] + d[2, keep])]
    counts = wide[keep] * tall[keep]
    owner = np.repeat(keep, counts)
    offset = np.arange(len(owner), dtype=np.int32) - np.repeat((np.cumsum(counts) - counts).astype(np.int32), counts)
    y, x = np.divmod(offset, wide[owner])
    x, y = x + low[0, owner], y + low[1, owner]
    p, q = _solve(a, b, c, owner, x, y)
    far = np.flatnonzero(p + q > 1)
    p2, q2 = _solve(d, c, b, owner[far], x[far], y[far])
    u, v = p, q
    u[far], v[far] = 1 - p2, 1 - q2
    inside = np.flatnonzero((u >= -1e-4) & (v >= -1e-4) & (u <= 1.0001) & (v <= 1.0001))
    owner, u, v = owner[inside], u[inside], v[inside]
    top = a[2, owner] * (1 - u) + b[2, owner] * u
    depth = top * (1 - v) + v * (c[2, owner] * (1 - u) + d[2, owner] * u)
    row, column = np.divmod(owner, screen.shape[1] - 1)
    nearest = np.full(shape[0] * shape[1], -1, np.int32)
    nearest[y[inside] * shape[1] + x[inside]] = np.arange(len(inside), dtype=np.int32)
    pixel = np.flatnonzero(nearest >= 0)
    chosen = nearest[pixel]
    uv = np.stack([column[chosen] + u[chosen], row[chosen] + v[chosen]], 1)
    return pixel // shape[1], pixel % shape[1], uv.astype(np.float32), depth[chosen]


def _solve(a: Array, b: Array, c: Array, owner: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Weights (p, q) with (x, y) = A + p (B - A) + q (C - A) for the owner's triangle."""
    e, f = b - a, c - a
    area = e[0] * f[1] - e[1] * f[0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    dx, dy = x - a[0, owner], y - a[1, owner]
    p = dx * (f[1] / area)[owner] - dy * (f[0] / area)[owner]
    q = dy * (e[0] / area)[owner] - dx * (e[1] / area)[owner]
    return p, q


class _Camera:
    """Rotation of the head about its middle, then a perspective view; `fit` sets scale and principal point."""

    pivot = np.array([0.0, 25.0, -85.0])

    def __init__(self, face: FaceParameters, share: float = 1.0) -> None:
        yaw, pitch, roll = np.radians([face.yaw * share, face.pitch * share, face.roll * share])
        about_x = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
        self.rotation = (about_z @ about_y @ about_x).astype(np.float32)
        self.distance, self.scale, self.centre = face.distance, 1.0, np.zeros(2)

    def project(self, points: Array, pivot: Array | None = None) -> Array:
        """(..., 3) mm -> (x, y, depth), x and y in pixels, depth greater where nearer."""
        pivot = self.pivot if pivot is None else pivot
        seen = (points - pivot) @ self.rotation.T + pivot
        zoom = self.scale * self.distance / (self.distance - seen[..., 2:])
        return np.concatenate([seen[..., :2] * zoom + self.centre, seen[..., 2:]], -1)


@dataclass
class _Canvas:
    """The picture being rendered, with depth and light."""

    image: Array
    face: FaceParameters
    depth: Array = field(init=False)

    def __post_init__(self) -> None:
        self.depth = np.full(self.image.shape[:2], -np.inf, np.float32)
        azimuth, elevation = np.radians(self.face.light)
        self.light = np.array(
            [np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32
        )
        half = self.light + [0, 0, 1]
        self.half = (half / np.linalg.norm(half)).astype(np.float32)

    def draw(self, grid: Array, texture: Array, camera: _Camera, gloss: float, two_sided: bool = False,
             pivot: Array | None = None) -> None:  # fmt: skip
        screen = camera.project(grid, pivot).astype(np.float32)
        r, c, uv, depth = _rasterize(screen, self.image.shape[:2], two_sided)
        near = depth > self.depth[r, c]
        r, c, uv, depth = r[near], c[near], uv[near], depth[near]
        if not len(r):
            return
        rows, columns = grid.shape[:2]
        normals = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0)).astype(np.float32) @ camera.rotation.T
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
        at = uv.astype(np.float32)
        normal = _sample(normals, at)
        if two_sided:
            normal = normal * np.where(normal[:, 2:] < 0, -1, 1).astype(np.float32)
        scale = np.array([(texture.shape[1] - 1) / (columns - 1), (texture.shape[0] - 1) / (rows - 1)], np.float32)
        albedo = _sample(texture, at * scale)
        self.image[r, c] = self._shade(albedo, normal, gloss)
        self.depth[r, c] = depth

    def _shade(self, albedo: Array, normal: Array, gloss: float) -> Array:
        """Lambert's law wrapped round the terminator (most for red, as light leaves skin), sky light and a highlight."""
        normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
        ambient, facing = self.face.ambient, normal @ self.light
        sky = ambient * (0.82 - 0.18 * normal[:, 1])
        shine = (1 - ambient) * gloss * np.clip(normal @ self.half, 0, 1) ** 14 * (facing > 0)
        for channel, wrap in enumerate((0.30, 0.18, 0.14)):
            diffuse = np.clip((facing + wrap) / (1 + wrap), 0, None)
            linear = albedo[:, channel] ** 2 * (sky + 1.15 * (1 - ambient) * diffuse) + shine
            albedo[:, channel] = linear * (self.face.tint[channel] * self.face.exposure)
        return albedo


def _sample(image: Array, at: Array) -> Array:
    """Bilinear values of an image at (n, 2) positions, in strips because OpenCV limits a side to 32,767."""
    width = 1024
    padded = np.zeros((-(-len(at) // width) * width, 2), np.float32)
    padded[: len(at)] = at
    values = cv2.remap(image, padded.reshape(-1, width, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(values.reshape(-1, image.shape[2])[: len(at)])


# The rest of the person ------------------------------------------------------------------------------------------------


def _body() -> Array:
    """Neck and shoulders as rings around (0, y, -85)."""
    y = np.array([86, 112, 128, 146, 158, 170, 190, 230, 330], np.float64)
    width = np.interp(np.linspace(86, 330, 40), y, [46, 50, 51, 57, 76, 120, 168, 196, 205])
    front = np.interp(np.linspace(86, 330, 40), y, [-52, -46, -46, -46, -44, -40, -32, -20, -10])
    rows = np.linspace(86, 330, 40)
    rings = cv2.GaussianBlur(np.stack([width, front, rows], 1), (1, 0), sigmaX=0.1, sigmaY=1.2)
    phi = np.linspace(-np.pi, np.pi, 41)
    x = rings[:, :1] * np.sin(phi)
    z = -85 + (rings[:, 1:2] + 85) * np.cos(phi)
    return np.stack([x, np.broadcast_to(rings[:, 2:], x.shape), z], -1).astype(np.float32)


def _body_texture(face: FaceParameters, rng: np.random.Generator) -> Array:
    image = np.empty((128, 128, 3), np.float32)
    image[:] = np.asarray(face.skin, np.float32)
    shade = np.interp(np.linspace(86, 330, 128), [86, 118, 135, 160], [0.45, 0.55, 0.86, 1.0]).astype(np.float32)
    image *= shade[:, None, None]
    x = np.linspace(-1, 1, 128)
    collar = 30 + 8 * np.exp(-((x / 0.12) ** 2)) * rng.uniform(0.2, 3.0)
    mask = np.clip((np.arange(128)[:, None] - collar[None]) / 1.2, 0, 1)[..., None].astype(np.float32)
    weave = 1 + 0.1 * cv2.resize(_noise("coarse"), (128, 128))[..., None]
    stripes = 1 + 0.25 * rng.integers(2) * np.sign(np.sin(np.arange(128) * rng.uniform(0.3, 1.2)))[:, None, None]
    return np.asarray(image * (1 - mask) + mask * np.asarray(face.cloth, np.float32) * weave * stripes, np.float32)


def _ear(head: _Head, sign: float) -> Array:
    """An ear as a disc of rings, leaning back and out from the side of the head."""
    r, a = np.linspace(0, 1, 9)[:, None], np.linspace(0, 2 * np.pi, 25)[None]
    base = head.lift(np.array([[_u(np.radians(97.0) * sign), np.interp(20, _NOMINAL, _V)]]))[0]
    along = r * np.cos(a) * 15 * (1 - 0.25 * np.sin(a))
    up = r * np.sin(a) * 30
    out = 2.5 + 4.5 * np.exp(-(((r - 0.82) / 0.14) ** 2)) - 3.5 * np.exp(-(((r - 0.35) / 0.2) ** 2)) + 0 * a
    lean = np.array([0.55 * sign, 0.0, -0.84])
    normal = np.array([0.84 * sign, 0.0, 0.55])
    grid = base + (along + 9)[..., None] * lean + up[..., None] * [0, 1, 0] + out[..., None] * normal
    grid[..., 2] += -0.18 * up
    return np.asarray(grid if sign < 0 else grid[:, ::-1], np.float32)


def _ear_texture(face: FaceParameters) -> Array:
    skin = np.asarray(face.skin, np.float32) * np.float32([1.0, 0.9, 0.88])
    shade = np.interp(np.linspace(0, 1, 32), [0, 0.3, 0.6, 0.8, 1], [0.5, 0.55, 0.85, 1.0, 0.9]).astype(np.float32)
    return np.asarray(np.broadcast_to(shade[:, None, None] * skin, (32, 32, 3)), np.float32)


def _curtain(head: _Head, face: FaceParameters, rng: np.random.Generator) -> Array:
    """Long hair: a sheet round the back and sides of the head, down to the shoulders."""
    phi = np.radians(np.linspace(68, 292, 61))
    t = np.linspace(0, 1, 40)[:, None]
    y = -70 + t * rng.uniform(170, 240)
    width = np.interp(t, [0, 0.25, 0.5, 1], [66, 82, 84, 80 + 10 * rng.uniform()])
    wave = 3 * np.sin(9 * phi + 6 * t + rng.uniform(0, 6)) + 2 * np.sin(23 * phi + 9 * t)
    x = (width + wave) * np.sin(phi)
    z = -88 + (100 + wave) * np.cos(phi) + 12 * t
    return np.stack([x, y + 0 * phi, z], -1).astype(np.float32)


def _hair_texture(face: FaceParameters, rng: np.random.Generator) -> Array:
    strand = np.roll(_noise("strand"), rng.integers(_TEXTURE), 1)[:256]
    return np.asarray(np.clip(0.75 + 0.25 * strand, 0.25, 1.6)[..., None] * np.asarray(face.hair, np.float32), np.float32)


def _background(rng: np.random.Generator) -> Array:
    """A blurred scene without people: gradient, shapes, blotches."""
    size = 84
    corners = rng.uniform(0.05, 0.95, 3) + rng.normal(0, 0.15, (2, 2, 3))
    image = cv2.resize(corners.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    painter = _Painter(image)
    for _ in range(rng.integers(0, 14)):
        x, y, a, b = rng.uniform(0, size, 2).tolist() + rng.uniform(3, 26, 2).tolist()
        colour = np.clip(image[int(y), int(x)] + rng.normal(0, 0.25, 3), 0, 1)
        if rng.random() < 0.5:
            painter.fill(_ellipse(x, y, a, b, rng.uniform(0, 180)), colour, 0.9, rng.uniform(0, 3))
        else:
            painter.fill([[x - a, y - b], [x + a, y - b], [x + a, y + b], [x - a, y + b]], colour, 0.9, rng.uniform(0, 3))
    noise = cv2.resize(_noise("fine" if rng.random() < 0.5 else "coarse")[:128, :128], (size, size))
    image *= 1 + rng.uniform(0, 0.2) * noise[..., None]
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 2.5))
    return cv2.resize(np.clip(image, 0, 1), (_HI, _HI), interpolation=cv2.INTER_CUBIC) ** 2


# Occluders -------------------------------------------------------------------------------------------------------------


class _Occluder:
    """Draws one thing in front of the face; `painter.cover` then says which pixels lie behind it."""

    def __init__(self, painter: _Painter, face: FaceParameters, camera: _Camera, points: Array, rng: np.random.Generator):
        self.painter, self.face, self.camera, self.points, self.rng = painter, face, camera, points, rng
        self.mm = camera.scale
        light = np.sqrt(face.exposure * np.asarray(face.tint, np.float32))
        self.lit = lambda colour: np.clip(np.asarray(colour, np.float32) * light, 0, 1)
        self.colour = rng.uniform(0.05, 0.95, 3).astype(np.float32)

    def _seen(self, points: Any) -> Array:
        return self.camera.project(np.asarray(points, np.float32))[:, :2]

    def _frames(self) -> Iterator[tuple[int, Array]]:
        eye = 31.5 + 1.6 * self.face.eye_spacing
        squareness = self.rng.uniform(0.55, 1.0)
        t = np.linspace(0, 2 * np.pi, 40)
        for sign in (-1, 1):
            x = sign * (eye + 21 * np.sign(np.cos(t)) * np.abs(np.cos(t)) ** squareness)
            y = 2 + 15.5 * np.sign(np.sin(t)) * np.abs(np.sin(t)) ** squareness
            yield sign, self._seen(np.stack([x, y, 12 - 0.009 * x**2], 1))

    def _wire(self, colour: Array, width: float) -> None:
        eye = 31.5 + 1.6 * self.face.eye_spacing
        self.painter.stroke([self._seen([[x, -3 - 0.03 * (100 - x * x) / 4, 12] for x in (-10, -4, 4, 10)])], colour, width)
        for sign in (-1, 1):
            if sign * self.face.yaw < 12:
                edge = eye + 20
                self.painter.stroke([self._seen([[sign * edge, -4, 12 - 0.009 * edge**2], [sign * 73, -2, -84]])], colour, width)

    def glasses(self) -> None:
        colour, width = self.lit(self.colour * 0.4), max(1, 1.6 * self.mm)
        for _, lens in self._frames():
            self.painter.stroke([lens], colour, width)
            self.painter.fill(lens, (0.9, 0.95, 1.0), 0.08)
        self._wire(colour, width)

    def sunglasses(self) -> None:
        colour = self.lit(self.colour * 0.15)
        for _, lens in self._frames():
            self.painter.fill(lens, colour, 0.97)
            middle = lens.mean(0)
            sheen = middle + (lens - middle) * [0.5, 0.25] + [0, -6 * self.mm]
            self.painter.fill(sheen, self.lit((0.6, 0.65, 0.7)), 0.35, 3 * self.mm, within=lens)
            self.painter.stroke([lens], colour * 0.5, max(1, 2 * self.mm))
        self._wire(colour, max(1, 2.5 * self.mm))

    def mask(self) -> None:
        p = self.points
        rim = np.concatenate([p[4:29], [(p[28] + p[53]) / 2 + (p[53] - p[51]) * 0.1], p[53:54], [(p[4] + p[53]) / 2 + (p[53] - p[51]) * 0.1]])
        middle = rim.mean(0)
        rim = middle + (rim - middle) * 1.04
        base = self.lit(_mix((0.75, 0.86, 0.92), self.colour, self.rng.choice([0.0, 0.9])))
        self.painter.fill(rim, base, 1.0)
        self.painter.fill(rim + [0, 14 * self.mm], base * 0.6, 0.5, 8 * self.mm, within=rim)
        ends = np.stack([p[6], p[57], p[26]])
        for k in np.linspace(-0.1, 0.8, 4):
            fold = _spline(ends + (p[16] - p[57]) * [[k * 0.6], [k], [k * 0.6]])
            self.painter.stroke([fold], base * 0.7, 2, 0.7, 1.0, within=rim)
            self.painter.stroke([fold + [0, 3]], np.minimum(base * 1.2, 1), 2, 0.5, 1.0, within=rim)

    def hand(self) -> None:
        skin = self.lit(np.asarray(self.face.skin) * [0.97, 0.92, 0.9])
        target = self.points[self.rng.choice([16, 54, 90, 8, 24, 96, 97])]
        angle = self.rng.uniform(-0.9, 0.9)
        along = np.array([np.sin(angle), -np.cos(angle)])
        across = np.array([-along[1], along[0]])
        palm = target - along * 48 * self.mm
        wrist = palm - along * 130 * self.mm
        self.painter.stroke([[palm, wrist]], skin * 0.85, 52 * self.mm)
        self.painter.fill(_ellipse(*palm, 40 * self.mm, 38 * self.mm), skin * 0.95, 1.0, 1.0)
        for k, length in ((-1.5, 66), (-0.5, 78), (0.5, 74), (1.5, 58)):
            root = palm + across * k * 18 * self.mm
            tip = root + (along * length + across * k * 6) * self.mm
            bend = (root + tip) / 2 + across * 2 * self.mm
            finger = _spline([root, bend, tip])
            self.painter.stroke([finger + 0.8 * self.mm], skin * 0.5, 19 * self.mm, 1.0, 0.8)
            self.painter.stroke([finger], skin, 17 * self.mm, 1.0, 0.8)
            self.painter.stroke([finger - across * 3 * self.mm], np.minimum(skin * 1.15, 1), 4 * self.mm, 0.5, 2.5 * self.mm)
            self.painter.fill(_ellipse(*(tip + along * 2 * self.mm), 5 * self.mm, 5 * self.mm), _mix(skin, (1, 0.8, 0.8), 0.5), 0.8, 1)

    def scarf(self) -> None:
        p, base = self.points, self.lit(self.colour)
        top = _spline([p[5] - (p[16] - p[5]) * 0.12, (p[5] + p[57]) / 2 + (p[57] - p[54]) * 0.7, p[57] + (p[57] - p[54]) * 0.2,
                       (p[27] + p[57]) / 2 + (p[57] - p[54]) * 0.7, p[27] - (p[16] - p[27]) * 0.12])  # fmt: skip
        down = (p[16] - p[51]) * 0.9
        outline = np.concatenate([top, (top * [1, 1] + down)[::-1]])
        self.painter.fill(outline, base, 1.0, 1.0)
        for k in np.linspace(0.06, 0.9, 8):
            shift = down * k + np.array([0, 4 * self.mm * self.rng.normal()])
            self.painter.stroke([top + shift], base * self.rng.uniform(0.45, 0.8), 5 * self.mm, 0.7, 2.0 * self.mm, within=outline)
            self.painter.stroke([top + shift - [0, 5 * self.mm]], np.minimum(base * 1.25 + 0.05, 1), 3 * self.mm, 0.5, 1.5 * self.mm, within=outline)

    def microphone(self) -> None:
        at = (self.points[85] * 0.6 + self.points[16] * 0.4) + self.rng.normal(0, 8 * self.mm, 2)
        side = self.rng.choice([-1, 1])
        metal, ball = self.lit((0.2, 0.2, 0.22)), self.lit(self.colour * 0.35)
        end = at + np.array([side * 60, 150]) * self.mm
        self.painter.stroke([[at, end]], metal, 22 * self.mm)
        self.painter.stroke([[at - [4 * self.mm, 0], end - [4 * self.mm, 0]]], metal * 2.2, 5 * self.mm, 0.6, 2 * self.mm)
        disc = _ellipse(*at, 23 * self.mm, 25 * self.mm)
        self.painter.fill(disc, ball, 1.0)
        for k in range(-4, 5):
            lines = [at + np.array([[-25, k * 5.5], [25, k * 5.5 + 8]]) * self.mm, at + np.array([[k * 5.5, -25], [k * 5.5 + 8, 25]]) * self.mm]
            self.painter.stroke(lines, ball * 0.4, 1, 0.6, 0.5, within=disc)
        self.painter.fill(_ellipse(at[0] - 8 * self.mm, at[1] - 9 * self.mm, 8 * self.mm, 8 * self.mm), self.lit((0.8, 0.8, 0.8)), 0.5, 5 * self.mm, within=disc)

    def strands(self) -> None:
        left = self.rng.random() < 0.5
        brow, eye, jaw = (self.points[k] for k in ((37, 96, 6) if left else (42, 97, 26)))
        up = self.points[51] - self.points[16]
        path = np.stack([brow + up * 0.75, brow + up * 0.12, eye + (jaw - eye) * 0.25, jaw - up * 0.15])
        for _ in range(5):
            spread = self.rng.normal(0, 9 * self.mm, (26, 1, 1)) * np.array([0.3, 1.0, 1.2, 1.6])[:, None] * [1, 0.15]
            locks = [_spline(path + move + self.rng.normal(0, 1.5 * self.mm, path.shape)) for move in spread]
            self.painter.stroke(locks, self.lit(np.asarray(self.face.hair) * self.rng.uniform(0.6, 1.5)), max(1, 1.3 * self.mm), 0.9, 0.5)

    def patch(self) -> None:
        centre = self.points[self.rng.integers(33, 98)]
        radius = self.rng.uniform(0.18, 0.34) * np.ptp(self.points, 0).max()
        angles = np.sort(self.rng.uniform(0, 2 * np.pi, self.rng.integers(4, 9)))
        outline = centre + radius * self.rng.uniform(0.8, 1.4, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        self.painter.fill(outline, self.lit(self.colour), 1.0)
        for _ in range(self.rng.integers(4, 14)):
            spot = centre + self.rng.normal(0, 0.6 * radius, 2)
            shape = _ellipse(*spot, *(radius * self.rng.uniform(0.05, 0.4, 2)), self.rng.uniform(0, 180))
            self.painter.fill(shape, self.lit(self.rng.uniform(0, 1, 3)), 0.9, self.rng.uniform(0.3, 2), within=outline)


OCCLUDERS = ("glasses", "sunglasses", "mask", "hand", "scarf", "microphone", "strands", "patch")


# A whole picture -------------------------------------------------------------------------------------------------------


def render(face: FaceParameters) -> RenderedFace:
    """Draws one face; the same parameters always give the same picture."""
    rng = np.random.default_rng(face.texture_seed)
    plane = _landmarks(face)
    head = _Head(face, plane)
    camera = _Camera(face)
    points = _project_points(camera, head, plane)
    low, high = points.min(0), points.max(0)
    camera.scale = face.face_size * _HI / (high - low).max()
    camera.centre = _HI * (0.5 + np.array(face.shift)) - 0.5 - camera.scale * (low + high) / 2
    points = points * camera.scale + camera.centre
    linear = _draw_person(face, head, plane, camera, rng)
    image = np.sqrt(np.clip(linear, 0, 1))
    painter = _Painter(image)
    if face.occluder != "none":
        getattr(_Occluder(painter, face, camera, points, rng), face.occluder)()
    at = np.clip(np.round(points), 0, _HI - 1).astype(int)
    covered = int((painter.cover[at[:, 1], at[:, 0]] > 0.5).sum())
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = _blur(image, face, rng)
    image += rng.normal(0, 0.006, image.shape).astype(np.float32)
    points = (points + 0.5) * SIZE / _HI - 0.5
    image = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return RenderedFace(image, points, _box(points, rng), flags_of(face, covered), face, covered)


def _draw_person(face: FaceParameters, head: _Head, plane: Array, camera: _Camera, rng: np.random.Generator) -> Array:
    canvas = _Canvas(_background(rng) * face.exposure * np.float32(face.tint), face)
    trunk = _Camera(face, 0.3)
    trunk.scale, trunk.centre = camera.scale, camera.centre
    canvas.draw(_body(), _body_texture(face, rng), trunk, 0.02)
    grid, mask = head.grid, _hair_mask(face, _ROWS, _COLUMNS)
    if mask is not None:
        outward = grid - np.array([0, -10, -85], np.float32)
        outward /= np.linalg.norm(outward, axis=-1, keepdims=True) + 1e-6
        grid = grid + outward * (9 * np.clip(mask / 20, 0, 1) ** 0.7)[..., None]
    canvas.draw(grid, _paint_texture(face, head, plane, rng), camera, 0.10)
    for sign in (-1.0, 1.0):
        canvas.draw(_ear(head, sign), _ear_texture(face), camera, 0.05, two_sided=True)
    if face.hair_style == "long":
        canvas.draw(_curtain(head, face, rng), _hair_texture(face, rng), camera, 0.06, two_sided=True)
    return canvas.image


def _project_points(camera: _Camera, head: _Head, plane: Array) -> Array:
    points = camera.project(head.lift(head.locate(plane)))[:, :2]
    phi, v = head.contour()
    inner = np.minimum(np.abs(phi), np.radians(30)) * np.sign(phi)
    slide = phi[:, None] + (inner - phi)[:, None] * np.linspace(0, 1, 40)
    rows = np.broadcast_to(v[:, None], slide.shape)
    lines = head.lift(np.stack([_u(slide), rows], -1).reshape(-1, 2)).reshape(33, 40, 3)
    seen = camera.project(lines)[..., :2]
    across = camera.rotation[:2, 0] / np.linalg.norm(camera.rotation[:2, 0])
    best = np.argmax((seen @ across) * np.sign(phi)[:, None], 1)
    points[:33] = seen[np.arange(33), best]
    return np.asarray(points, np.float64)


def _blur(image: Array, face: FaceParameters, rng: np.random.Generator) -> Array:
    if face.blur < 0.2:
        return image
    if face.blur_kind == "lowres":
        small = cv2.resize(image, (0, 0), fx=1 / (1 + face.blur), fy=1 / (1 + face.blur), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    if face.blur_kind == "motion":
        reach = int(np.ceil(2 * face.blur))
        kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        angle = rng.uniform(0, np.pi)
        end = 16 * 1.7 * face.blur * np.array([np.cos(angle), np.sin(angle)])
        ends = np.round(16 * reach + np.stack([-end, end])).astype(int)
        cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0, 1, cv2.LINE_8, 4)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    return cv2.GaussianBlur(image, (0, 0), face.blur)


def _box(points: Array, rng: np.random.Generator) -> Array:
    """A detector's box: the points' tight one, moved by about 3 % and scaled by up to 12 %."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2 + rng.normal(0, 0.03, 2) * (high - low)
    half = (high - low) / 2 * rng.uniform(0.96, 1.12, 2)
    return np.clip(np.round(np.concatenate([centre - half, centre + half])), 0, SIZE - 1).astype(np.int64)


def flags_of(face: FaceParameters, covered: int) -> dict[str, int]:
    """WFLW's six attributes as functions of the parameters and of the number of covered points.

    pose: abs(yaw) > 30 or abs(pitch) > 20; expression: mouth over 0.35 open, abs(smile) > 0.6, an eye less than 0.35
    open or a brow moved by over 0.7; illumination: ambient share < 0.25, exposure outside 0.5 to 1.5 or tint channels
    over 0.4 apart; make-up: strength > 0.5; occlusion: at least 8 points covered; blur: sigma > 1.8 px.
    """
    return {
        "pose": int(abs(face.yaw) > 30 or abs(face.pitch) > 20),
        "expression": int(
            face.mouth_open > 0.35 or abs(face.smile) > 0.6 or min(face.eyes_open) < 0.35 or max(map(abs, face.brow_raise)) > 0.7
        ),
        "illumination": int(face.ambient < 0.25 or not 0.5 <= face.exposure <= 1.5 or max(face.tint) - min(face.tint) > 0.4),
        "makeup": int(face.makeup > 0.5),
        "occlusion": int(covered >= 8),
        "blur": int(face.blur > 1.8),
    }


# Sampling --------------------------------------------------------------------------------------------------------------

_SKINS = ((1.0, 0.87, 0.79), (0.95, 0.77, 0.65), (0.87, 0.67, 0.52), (0.76, 0.54, 0.39), (0.57, 0.37, 0.25), (0.40, 0.25, 0.17), (0.27, 0.17, 0.13))
_HAIRS = ((0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.30, 0.18, 0.10), (0.42, 0.19, 0.08), (0.66, 0.48, 0.26), (0.84, 0.72, 0.50), (0.62, 0.61, 0.60))
_IRISES = ((0.22, 0.13, 0.07), (0.36, 0.24, 0.12), (0.40, 0.42, 0.25), (0.35, 0.50, 0.62), (0.45, 0.52, 0.50))
_LIPSTICKS = ((0.70, 0.06, 0.14), (0.80, 0.22, 0.38), (0.45, 0.05, 0.20), (0.85, 0.35, 0.28), (0.35, 0.10, 0.35))


def sample_parameters(rng: np.random.Generator) -> FaceParameters:
    """Draws a face from the population; each flag is set on 15 to 35 % of the faces."""
    tone = rng.uniform(0, len(_SKINS) - 1.001)
    skin = _mix(_SKINS[int(tone)], _SKINS[int(tone) + 1], tone % 1) * rng.normal(1, 0.025, 3)
    hair = np.array(_HAIRS[rng.integers(0, 3 if tone > 3.5 else len(_HAIRS))]) * rng.uniform(0.8, 1.2)
    feminine = rng.random() < 0.5
    traits = ("width", "jaw", "chin", "nose_width", "nose_length", "eye_size", "eye_spacing", "eye_slant", "lips", "mouth_width",
              "brow_thickness", "brow_height")  # fmt: skip
    identity = {name: float(np.clip(rng.normal(), -2, 2)) for name in traits}
    values: dict[str, Any] = dict(
        texture_seed=int(rng.integers(2**31)),
        distance=float(rng.uniform(500, 1500)),
        face_size=float(rng.uniform(0.58, 0.70)),
        shift=(float(rng.normal(0, 0.025)), float(rng.normal(0.04, 0.025))),
        age=float(rng.beta(1.5, 3)),
        skin=tuple(np.clip(skin, 0, 1).tolist()),
        hair=tuple(np.clip(hair, 0, 1).tolist()),
        iris=_IRISES[rng.integers(0, 2 if tone > 3 else len(_IRISES))],
        hair_style=str(rng.choice(["short", "long", "bald"], p=[0.25, 0.7, 0.05] if feminine else [0.8, 0.08, 0.12])),
        hairline=float(rng.normal(2, 6)),
        beard=float(rng.uniform(0.1, 1)) if not feminine and rng.random() < 0.4 else 0.0,
        cloth=tuple(rng.uniform(0.05, 0.9, 3).tolist()),
        makeup_colour=_LIPSTICKS[rng.integers(len(_LIPSTICKS))],
        makeup=float(rng.uniform(0.55, 1) if rng.random() < 0.4 else rng.uniform(0, 0.4)) if feminine else 0.0,
    )
    return FaceParameters(**values, **identity, **_sample_pose(rng), **_sample_expression(rng), **_sample_hazards(rng))


def _sample_pose(rng: np.random.Generator) -> dict[str, Any]:
    yaw, pitch, roll = rng.normal(0, (12, 7, 8))
    kind = rng.random()
    if kind < 0.17:
        yaw = rng.choice([-1, 1]) * rng.uniform(30, 70)
    elif kind < 0.23:
        pitch = rng.choice([-1, 1]) * rng.uniform(20, 32)
    return {"yaw": float(yaw), "pitch": float(pitch), "roll": float(roll * (1 + (rng.random() < 0.1)))}


def _sample_expression(rng: np.random.Generator) -> dict[str, Any]:
    strong = rng.random(4) < 0.08
    blink = rng.uniform(0, 0.3, 2) if strong[0] else np.full(2, rng.uniform(0.75, 1.15))
    if strong[0] and rng.random() < 0.3:
        blink[rng.integers(2)] = 1.0
    brow = np.full(2, rng.uniform(-1, 1) * (1.0 if strong[1] else 0.5)) + rng.normal(0, 0.08, 2)
    return {
        "mouth_open": float(rng.uniform(0.35, 1) if strong[2] else max(0, rng.normal(-0.05, 0.12))),
        "smile": float(rng.uniform(0.6, 1) if strong[3] else np.clip(rng.normal(0.1, 0.25), -0.8, 0.6)),
        "eyes_open": tuple(blink.tolist()),
        "brow_raise": tuple(np.clip(brow, -1, 1).tolist()),
        "mouth_shift": float(rng.normal(0, 0.3)),
        "gaze": tuple(np.clip(rng.normal(0, 0.35, 2), -1, 1).tolist()),
    }


def _sample_hazards(rng: np.random.Generator) -> dict[str, Any]:
    """Light, occluder and blur."""
    azimuth, elevation = rng.uniform(-50, 50), rng.uniform(5, 55)
    values: dict[str, Any] = {"ambient": rng.uniform(0.4, 0.7), "exposure": rng.uniform(0.75, 1.2)}
    tint = rng.normal(1, 0.04, 3)
    kind = rng.random()
    if kind < 0.08:
        values["ambient"], azimuth = rng.uniform(0.03, 0.2), rng.choice([-1, 1]) * rng.uniform(55, 100)
    elif kind < 0.13:
        values["exposure"] = rng.uniform(0.06, 0.3)
    elif kind < 0.17:
        tint = np.array([1.0, rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.5)])[:: rng.choice([-1, 1])]
    elif kind < 0.2:
        values["exposure"] = rng.uniform(1.8, 2.8)
    values |= {"light": (float(azimuth), float(elevation)), "tint": tuple(tint.tolist())}
    values["occluder"] = str(rng.choice(OCCLUDERS)) if rng.random() < 0.28 else "none"
    values["blur"] = float(rng.uniform(1.8, 4.5) if rng.random() < 0.2 else rng.uniform(0, 0.7))
    values["blur_kind"] = str(rng.choice(["gaussian", "motion", "lowres"]))
    return values


def render_face(seed: int, split: str, index: int) -> RenderedFace:
    """Face `index` of a split: a function of these three alone, whatever process draws it and in whatever order.

    Example:
        >>> face = render_face(0, "train", 3)
        >>> face.image.shape, face.points.shape
        ((224, 224, 3), (98, 2))
    """
    return render(sample_parameters(np.random.default_rng([seed, ("train", "test").index(split), index])))


# Files -----------------------------------------------------------------------------------------------------------------

_SUBSETS = ("largepose", "expression", "illumination", "makeup", "occlusion", "blur")  # the files' names for FLAGS
_LISTS = Path("WFLW_annotations")


def write_dataset(root: Path, *, train: int = 2000, test: int = 500, seed: int = 0, workers: int = 0) -> None:
    """Writes a rendered data set in WFLW's own layout, unless it is there already.

    Args:
        root: Folder of the data set; created where absent.
        train: Number of training faces, one an image.
        test: Number of test faces.
        seed: Faces of another seed are other faces.
        workers: Processes; 0 is one a core. The files do not depend on it.

    Raises:
        DataError: `root` holds something else: another data set or one rendered with other settings.
    """
    settings = {"version": VERSION, "seed": seed, "train": train, "test": test}
    done, started = root / "settings.json", root / "unfinished.json"
    if done.exists():
        found = json.loads(done.read_text())
        if found == settings:
            return
        raise DataError(f"{root} holds faces rendered with {found}, not {settings}: name another folder or remove this one")
    if root.exists() and any(root.iterdir()) and not started.exists():
        raise DataError(f"{root} is not empty and holds no rendered faces: name another folder; nothing was written")
    (root / "WFLW_images" / EVENT).mkdir(parents=True, exist_ok=True)
    started.write_text(json.dumps(settings))
    for split, count in (("train", train), ("test", test)):
        _write_lists(root / _LISTS, split, _write_images(root, seed, split, count, workers or os.cpu_count() or 1))
    started.replace(done)


def _write_images(root: Path, seed: int, split: str, count: int, workers: int) -> list[str]:
    from rich.progress import track

    write = partial(_write_face, root / "WFLW_images", seed, split)
    label = f"Rendering {count} {split} faces"
    if workers == 1:
        return [write(index) for index in track(range(count), label)]
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        return list(track(pool.map(write, range(count), chunksize=8), label, total=count))


def _write_face(folder: Path, seed: int, split: str, index: int) -> str:
    """Writes one picture; returns its line in the list of 207 columns."""
    face = render_face(seed, split, index)
    name = f"{EVENT}/0_Rendered_{split}_{index:05d}.jpg"
    data = cv2.imencode(".jpg", face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    (folder / name).write_bytes(data.tobytes())
    numbers = [f"{value:.6f}" for value in face.points.ravel()]
    return " ".join([*numbers, *map(str, face.box), *map(str, face.flags.values()), name])


def _write_lists(folder: Path, split: str, lines: list[str]) -> None:
    lists = {f"list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt": lines}
    if split == "test":
        rows = [line.split() for line in lines]
        short = [" ".join([*row[:196], row[-1]]) for row in rows]
        lists["list_98pt_test/list_98pt_test.txt"] = short
        for column, subset in enumerate(_SUBSETS, 200):
            chosen = [line for line, row in zip(short, rows, strict=True) if row[column] == "1"]
            lists[f"list_98pt_test/list_98pt_test_{subset}.txt"] = chosen
    for name, chosen in lists.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in chosen))
