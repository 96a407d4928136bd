"""Renderer of a parametric 3-D head, painted, lit and in perspective, with WFLW's 98 points on the drawn features.

Millimetres: x right, y down, z towards the camera, origin between the eyes. Features are laid out in the plane of the
face, as seen from straight in front and far away, and projected on to the head, a grid of horizontal ellipses.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from numpy.typing import NDArray

from awing.data.synthetic.face import CONTOUR, FaceParameters, landmarks

Array = NDArray[Any]

SIZE, TEXTURE = 224, 256  # sides of a picture and of the head's texture, px
ROWS, COLUMNS = 64, 73  # of the head's grid
_TURN = np.linspace(-1, 1, COLUMNS)
AZIMUTH = 1.3 * _TURN + (np.pi - 1.3) * _TURN**3  # of every column: most of them are on the face
HEIGHT = np.interp(np.linspace(0, 1, ROWS), [0, 0.1, 0.22, 0.85, 1], [-118, -100, -55, 100, 122])  # mouth shut
# Ellipses: height, half width, depth at the front, at the widest place and at the back
HEAD = np.array([[-118, 3, -84, -90, -96], [-112, 30, -52, -90, -126], [-98, 50, -29, -90, -150],
                 [-80, 63, -13, -90, -170], [-55, 70, -3, -90, -183], [-25, 71, 1, -90, -187], [0, 70, -3, -88, -185],
                 [25, 68.5, 0, -86, -178], [45, 66, 4, -82, -165], [60, 62, 4, -74, -140], [75, 57, 3, -66, -115],
                 [90, 50, 2, -55, -92], [104, 41, 0, -44, -72], [113, 31, -5, -38, -58], [119, 19, -13, -34, -48],
                 [122, 3, -28, -32, -38]])  # fmt: skip
TRUNK = np.array([[60, 44, -60, -90, -125], [112, 48, -47, -90, -135], [140, 52, -46, -90, -138],
                  [152, 66, -45, -90, -140], [190, 165, -32, -90, -155], [330, 205, -10, -90, -170]])  # fmt: skip
LONG_HAIR = np.array([[-118, 5, -60, -95, -100], [-40, 80, -60, -95, -196], [150, 84, -60, -95, -180]])
_HAIRLINE = [0, 20, 40, 56, 66, 74, 82, 90, 100, 120, 180], [-72, -70, -62, -48, -32, -16, 5, 14, -4, 60, 75]
ABOVE = np.interp(np.degrees(np.abs(AZIMUTH)), *_HAIRLINE) - HEIGHT[:, None]  # height above the hairline, per vertex
_EARS = 11 * np.exp(-(((np.abs(AZIMUTH) - 1.72) / 0.17) ** 2) - ((HEIGHT[:, None] - 18) / 24) ** 2)
_BULGE = np.maximum(_EARS, 9 * np.clip(ABOVE / 20, 0, 1) ** 0.7)
EARS_AND_HAIR = _BULGE[..., None] * np.stack([np.sin(AZIMUTH), 0 * AZIMUTH, np.cos(AZIMUTH)], 1)


class RenderedFace(NamedTuple):
    """RGB picture, points and a detector-like box (x0, y0, x1, y1) in px, and :meth:`FaceParameters.flags`."""

    image: UInt8[np.ndarray, "h w 3"]
    points: Float[np.ndarray, "98 2"]
    box: Int[np.ndarray, " 4"]
    flags: Int[np.ndarray, " 6"]


def render(face: FaceParameters) -> RenderedFace:
    """Draw a face; the same parameters always give the same picture."""
    rng, plane = np.random.default_rng(face.seed), landmarks(face)
    grid = head(face, plane)
    at = locate(grid, plane)
    sides = np.sign(np.arange(33) - 16)  # the contour: the jaw's edge, on the far side of a turned head its silhouette
    edge = np.radians(sides * np.clip(85 - sides * face.pose[0], 30, 85))
    at[:33, 0] = np.interp(edge, AZIMUTH, np.arange(COLUMNS))
    at[:33, 1] = np.interp([*CONTOUR, *CONTOUR[-2::-1]], HEIGHT, np.arange(ROWS))
    points = project(lookup(grid, at[None])[0], face)[:, :2]
    n = rng.integers(2, 9)  # blurred blots of similar colours
    blots = rng.uniform(0.15, 0.7) + rng.normal(0, 0.1, (n, n, 1)) + rng.normal(0, 0.07, (n, n, 3))
    image = cv2.resize(blots, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC).clip(0.02, 1) ** 2
    image = (image * (face.exposure * np.array(face.tint))).astype(np.float32)
    strands = cv2.resize(rng.normal(0.85, 0.17, (9, TEXTURE)), (TEXTURE, TEXTURE)).astype(np.float32)[..., None]
    hair = strands * np.array(face.hair, np.float32)
    if face.long_hair:  # falls behind the shoulders
        draw(image, ellipses(LONG_HAIR, np.linspace(-118, 150, 16)), hair, face)
    heights = np.linspace(60, 330, 24)
    clothes = np.where(heights[:, None] > 155, face.cloth, np.multiply(face.skin, 0.7)).astype(np.float32)
    draw(image, ellipses(TRUNK, heights), clothes[:, None], face, 0.3)
    draw(image, grid + EARS_AND_HAIR, head_texture(face, grid, plane, hair), face)
    image = cv2.GaussianBlur(np.sqrt(np.clip(image, 0, 1)), (0, 0), 0.45 + face.blur)
    image += 0.008 * rng.standard_normal(image.shape, np.float32)
    low, high = points.min(0), points.max(0)  # a detector's box is not tight
    middle = (low + high) / 2 + rng.normal(0, 0.02, 2) * (high - low)
    half = (high - low) / 2 * rng.uniform(0.97, 1.12, 2)
    box = np.clip(np.round([*(middle - half), *(middle + half)]), 0, SIZE - 1).astype(np.int64)
    return RenderedFace(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8), points, box, face.flags())


def ellipses(table: Array, heights: Array) -> Float32[np.ndarray, "r c 3"]:
    """Grid of a surface of horizontal ellipses, smoothed along y."""
    columns = np.stack([np.interp(heights, table[:, 0], column) for column in table[:, 1:].T], 1)
    columns = cv2.GaussianBlur(columns, (1, 0), 0.1, sigmaY=len(heights) / 50, borderType=cv2.BORDER_REPLICATE)
    half, front, side, back = columns.T[..., None]
    depth = side + np.where(np.cos(AZIMUTH) > 0, front - side, side - back) * np.cos(AZIMUTH)
    return np.stack([half * np.sin(AZIMUTH), heights[:, None] + 0 * AZIMUTH, depth], -1).astype(np.float32)


def head(face: FaceParameters, plane: Array) -> Float32[np.ndarray, "r c 3"]:
    """Grid of the head with nose, eyeballs in their sockets, brows, cheeks, lips and chin."""
    grid = ellipses(HEAD * [1, 1 + 0.045 * face.traits[0], 1, 1, 1], HEIGHT)
    grid[..., 1] += 24 * face.mouth_open * np.clip((grid[..., 1] - 68) / 45, 0, 1.3)
    x, y = np.abs(grid[..., 0]), grid[..., 1]
    wing, tip, upper, lower = plane[59, 0], plane[54, 1], plane[79, 1], plane[85, 1]
    bumps = [  # height, x (and -x), y, radii
        (-4.5, 16, -2, 6, 8), (-3, 31.5, 0, 17, 9), (4.2, 31.5, -0.5, 10.5, 6.5), (2.6, 28, -19, 20, 5.5),
        (3.5 + 2 * face.smile, 42, 26 - 3 * face.smile, 14, 11), (0.6 * wing, wing - 3.5, tip + 5, 4.2, 5),
        (3.5, 0, upper + 8, 25, 13), (2.6, 0, upper + 3, 15, 3.2), (3.4, 0, lower - 4.5, 14, 3.6),
        (-2.6, 0, lower + 5, 17, 4.5), (4.5, 0, 104 + 19 * face.mouth_open, 14, 9),
    ]  # fmt: skip
    relief = sum(size * np.exp(-(((x - bx) / rx) ** 2) - ((y - by) / ry) ** 2) for size, bx, by, rx, ry in bumps)
    down = [-10, 2, 10, 0.55 * tip, tip - 6, tip, tip + 4.5, tip + 9, tip + 13]
    ridge = np.interp(y, down, [0, 4, 7.5, 13, 19.5, 21.5, 19, 8, 0])
    half = np.interp(y, down, [5, 5.5, 6, 7.5, 9.5, 10.5, 10, 9, 8]) * wing / 12.5
    grid[..., 2] += np.clip(2.5 * np.cos(AZIMUTH), 0, 1) * (relief + ridge * np.exp(-((x / half) ** 2.2)))
    return grid


def locate(grid: Array, plane: Array) -> Float[np.ndarray, "n 2"]:
    """Points of the plane of the face -> column and row of the head's grid."""
    row = np.interp(plane[:, 1], grid[:, 0, 1], np.arange(ROWS))
    half = np.interp(row, np.arange(ROWS), grid[..., 0].max(1))
    azimuth = np.arcsin(np.clip(plane[:, 0] / half, -0.99, 0.99))
    return np.stack([np.interp(azimuth, AZIMUTH, np.arange(COLUMNS)), row], 1)


def lookup(image: Array, at: Array) -> Array:
    """Bilinear values of an image at (h, w, 2) positions (x, y)."""
    x, y = np.moveaxis(np.asarray(at, np.float32), -1, 0)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def rotation(face: FaceParameters, share: float = 1.0) -> Array:
    yaw, pitch, roll = np.radians(face.pose) * share
    about_x, about_y, about_z = (cv2.Rodrigues(axis)[0] for axis in np.diag([-pitch, yaw, roll]))
    return np.asarray(about_z @ about_y @ about_x)


def project(points: Array, face: FaceParameters, share: float = 1.0) -> Array:
    """Project (..., 3) mm to (..., 3): x, y in px and depth, greater where nearer. ``share`` of the pose is applied."""
    pivot, middle = np.array([0, 25, -85]), np.array([0, 42, -15])  # of the head; of the face, placed in the middle
    seen = (points - pivot) @ rotation(face, share).T - rotation(face) @ (middle - pivot)
    zoom = face.scale * face.distance / (face.distance - seen[..., 2:])
    return np.concatenate([seen[..., :2] * zoom + (SIZE - 1) / 2, seen[..., 2:]], -1)


def draw(image: Array, grid: Array, texture: Array, face: FaceParameters, share: float = 1.0) -> None:
    """Draw a textured surface in linear light: Lambert's law, wrapped round the terminator; sky light; a highlight."""
    normal = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0)) @ rotation(face, share).T
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    azimuth, elevation = np.radians(face.light)
    lamp = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    half, wrap = lamp + np.array([0, 0, 1]), np.array([0.30, 0.18, 0.14])  # most in red: light scatters in skin
    sky = 0.82 - 0.18 * normal[..., 1:2]
    direct = 1.15 * np.maximum((normal @ lamp)[..., None] + wrap, 0) / (1 + wrap)
    direct += 0.2 * (normal @ half / np.linalg.norm(half)).clip(0)[..., None] ** 14
    light = face.exposure * np.array(face.tint) * (face.ambient * sky + (1 - face.ambient) * direct)
    at, seen = rasterize(project(grid, face, share).astype(np.float32))
    scale = (np.array(texture.shape[1::-1]) - 1) / (np.array(grid.shape[1::-1]) - 1)
    image[seen] = (lookup(texture, at * np.float32(scale)) ** 2 * lookup(light.astype(np.float32), at))[seen]


def rasterize(screen: Array) -> tuple[Float32[np.ndarray, "h w 2"], Array]:
    """Column and row of the grid at every pixel, and a mask of where it is visible; nearer cells cover farther ones."""
    a, b, c, d = (s.reshape(-1, 3) for s in (screen[:-1, :-1], screen[:-1, 1:], screen[1:, :-1], screen[1:, 1:]))
    middle, across, down = (a + b + c + d) / 4, (b + d - a - c) / 2, (c + d - a - b) / 2
    area = across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]
    outlines = np.round(np.stack([a, b, d, c], 1)[..., :2] * 16).astype(np.int32)
    front, cells = np.flatnonzero(area > 1e-3), np.full((SIZE, SIZE), -1, np.int32)
    for cell in front[np.argsort(middle[front, 2])].tolist():
        cv2.fillConvexPoly(cells, outlines[cell], cell, shift=4)
    y, x = np.nonzero(cells >= 0)
    cell = cells[y, x]
    dx, dy = (np.stack([x, y], 1, dtype=np.float32) - middle[cell, :2]).T
    u = (dx * down[cell, 1] - dy * down[cell, 0]) / area[cell]  # the cell is approximated by a parallelogram
    v = (dy * across[cell, 0] - dx * across[cell, 1]) / area[cell]
    row, column = np.divmod(cell, COLUMNS - 1)
    at = np.zeros((SIZE, SIZE, 2), np.float32)
    at[y, x] = np.stack([column, row], 1) + (np.stack([u, v], 1) + 0.5).clip(0, 1)
    return at, cells >= 0


def head_texture(face: FaceParameters, grid: Array, plane: Array, hair: Array) -> Float32[np.ndarray, "n n 3"]:
    """Texture of the head: skin, open eyes and mouth, hair, occluder; outlines pass through the landmarks."""

    def paint(image: Array, outline: Array, colour: Any) -> None:
        corners = locate(grid, outline) * (TEXTURE - 1) / [COLUMNS - 1, ROWS - 1] * 16
        cv2.fillPoly(image, [corners.round().astype(np.int32)], (np.array(colour) * 255).tolist(), cv2.LINE_AA, 4)

    skin, lipstick, white = np.array(face.skin), np.array([0.68, 0.08, 0.17]), (0.89, 0.86, 0.82)
    dark, lash = skin * [0.62, 0.5, 0.46], np.minimum(skin * 0.18, 0.12)
    lid = mix(mix(skin, dark, 0.5), lipstick * 0.6, 0.7 * face.makeup)
    lips = mix(skin * [0.87, 0.54, 0.53], lipstick, 0.9 * face.makeup)
    outside = np.tile(np.round(skin * 255).astype(np.uint8), (TEXTURE, TEXTURE, 1))
    inside, openings = np.full_like(outside, (60, 14, 16)), np.zeros_like(outside)
    eyes, base, mouth, hole = (plane[60:68], plane[68:76]), plane[57, 1], smooth(plane[76:88]), smooth(plane[88:96])

    for side, eye in zip((-1, 1), eyes, strict=True):  # soft shades
        paint(outside, ellipse([42 * side, 30], 15, 11), mix(skin * [1, 0.92, 0.9], lipstick, 0.18 * face.makeup))
        paint(outside, ellipse([19 * side, 8], 5, 9), mix(skin, dark, 0.3))
        paint(outside, ellipse([12 * side, base - 3], 5, 6), mix(skin, dark, 0.6))
        paint(outside, ellipse(eye.mean(0) - [0, 4], 18, 9), lid)
    paint(outside, ellipse([0, base + 1], 12, 3), dark)
    paint(outside, ellipse([0, plane[85, 1] + 5], 14, 3), mix(skin, dark, 0.7))
    outside = np.asarray(cv2.GaussianBlur(outside, (0, 0), 3.5))

    for side, eye, brow, pupil in zip((-1, 1), eyes, (plane[33:42], plane[42:51]), plane[96:98], strict=True):
        lids = smooth(eye)
        paint(outside, smooth(brow), mix(skin, np.multiply(face.hair, 0.6), 0.85))
        for rise, colour in ((4.8, dark * 0.9), (3.9, lid), (-0.8, dark), (1.5 + 0.6 * face.makeup, lash)):
            paint(outside, lids - [0, rise], colour)
        paint(outside, ellipse([6.5 * side, base - 3.2], 3.2, 1.7), dark * 0.5)
        paint(inside, ellipse(eye.mean(0), 20, 12), white)
        for radius, tone in ((6, np.multiply(face.iris, 0.35)), (5, face.iris), (2.5, (0.02, 0.02, 0.02))):
            paint(inside, ellipse(pupil, radius, radius), tone)
        paint(inside, ellipse([pupil[0] + 2 * np.sign(face.light[0]), pupil[1] - 2.2], 1.1, 1.1), (1, 1, 1))
        paint(openings, lids, (1, 1, 1))
    paint(outside, mouth, lips)
    paint(outside, np.concatenate([mouth[:37], hole[24::-1]]), lips * 0.85)
    paint(outside, np.add(hole, (0, 0.5)), lips * 0.35)
    half, gap = 0.4 * np.ptp(hole[:, 0]), plane[94, 1] - plane[90, 1]
    if gap > 1.5:
        paint(inside, ellipse(plane[90], half, min(0.45 * gap, 6)), white)
        paint(openings, hole, (1, 1, 1))
    opened = cv2.GaussianBlur(openings, (0, 0), 0.5)[..., 0] / np.float32(255)
    image = np.asarray(cv2.blendLinear(inside, outside, opened, 1 - opened))
    if face.occluder == "sunglasses":
        for lens in (ellipse([-31.5, 1], 22, 16), ellipse([31.5, 1], 22, 16), ellipse([0, -5], 14, 2)):
            paint(image, lens, (0.08, 0.08, 0.09))
    elif face.occluder == "mask":
        paint(image, np.array([[-70, 160], [-70, 34], [-20, 26], [0, 20], [20, 26], [70, 34], [70, 160]]), face.cloth)
    above = cv2.resize(ABOVE.astype(np.float32), (TEXTURE, TEXTURE))[..., None]
    shadow = 1 - 0.3 * np.clip(1 + above / 14, 0, 1)  # of the hair on the skin
    return mix(image / np.float32(255) * shadow, hair, np.clip(above / 10 + 2 * hair.mean(2, keepdims=True), 0, 1))


def smooth(points: Array) -> Float[np.ndarray, "m 2"]:
    """Closed Catmull-Rom curve through points, with six steps from one to the next."""
    a, b, c, d = (np.roll(points, shift, 0)[:, None] for shift in (1, 0, -1, -2))
    t = np.arange(6)[:, None] / 6
    curve: Array = b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return curve.reshape(-1, 2)


def ellipse(centre: Any, rx: float, ry: float) -> Float[np.ndarray, "m 2"]:
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    return np.asarray(np.stack([rx * np.cos(turn), ry * np.sin(turn)], 1) + centre)


def mix(a: Any, b: Any, share: Any) -> Array:
    return np.asarray((1 - share) * np.asarray(a) + share * np.asarray(b))
