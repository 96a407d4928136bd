"""The head as a surface and its landmarks. Millimetres: x right, y down, z towards the camera, origin
between the eyes.

The features are laid out in the plane of the face, as seen from straight in front and far away, then lifted on to the
surface. The surface is a grid over (u, v) in [0, 1]: u runs round the head, v from the crown to under the jaw.
"""


import cv2
import numpy as np
from jaxtyping import Float, Float32

from awing.rendering.parameters import Array, FaceParameters, Values

ROWS, COLUMNS = 72, 81

# Rings from the crown to under the jaw: height in front, height at the side, half width, depth in front, side, back.
_RINGS = np.array([
    [-118, -118, 3, -84, -90, -96], [-112, -112, 30, -52, -90, -126], [-98, -98, 50, -29, -90, -150],
    [-80, -80, 63, -13, -90, -170], [-55, -55, 70, -3, -90, -183], [-25, -25, 71, 1, -90, -187],
    [0, -1, 70, -3, -88, -185], [25, 20, 68.5, 0, -86, -178], [50, 39, 66, 4, -84, -165],
    [75, 54, 62, 3, -80, -150], [100, 67, 57, 1, -75, -140], [113, 73, 52, -6, -72, -135],
    [119, 78, 43, -24, -72, -128], [126, 86, 34, -48, -75, -120],
])  # fmt: skip
_STEPS = np.linspace(0, 1, ROWS)
_AROUND = np.linspace(-1, 1, COLUMNS)
AZIMUTH = 1.3 * _AROUND + (np.pi - 1.3) * _AROUND**3  # of every column: most columns are on the face
HEIGHT = np.interp(_STEPS, [0, 0.1, 0.22, 0.93, 1], [-118, -100, -55, 118, 126])  # of every row, in front, mouth shut
# The jaw edge from the temple to the chin, as azimuths and heights of rows.
_JAW = np.radians([85, 85, 84, 80, 68, 46, 22, 0]), np.array([-8, 25, 58, 87, 106, 116, 119.5, 120])


def landmarks(face: FaceParameters) -> Float[np.ndarray, "98 2"]:
    """WFLW's points in the plane of the face, mm; the contour (0-32), which needs the surface, is left at zero."""
    points = np.zeros((98, 2))
    for side, mirror in enumerate(([-1.0, 1.0], [1.0, 1.0])):  # WFLW's lists run left to right on both sides
        eye, pupil = _eye(face, side)
        turn = [0, 1, 2, 3, 4, 5, 6, 7] if side == 0 else [4, 3, 2, 1, 0, 7, 6, 5]
        points[60 + 8 * side : 68 + 8 * side] = (eye * mirror)[turn]
        points[96 + side] = pupil * mirror + [4.0 * face.gaze[0], 0]
        turn = [0, 1, 2, 3, 4, 5, 6, 7, 8] if side == 0 else [4, 3, 2, 1, 0, 8, 7, 6, 5]
        points[33 + 9 * side : 42 + 9 * side] = (_brow(face, side) * mirror)[turn]
    tip, wing = 37 + 3 * face.nose_length, 12.5 + 1.8 * face.nose_width
    points[51:55, 1] = np.linspace(4, tip, 4)
    points[55:60] = np.array([[-1, 7.5], [-0.5, 10], [0, 11.5], [0.5, 10], [1, 7.5]]) * [wing, 1] + [0, tip]
    points[76:96] = _mouth(face)
    return points


def _eye(face: FaceParameters, side: int) -> tuple[Array, Array]:
    """Outer corner, upper lid, inner corner, lower lid back; pupil. For the side of positive x."""
    middle, half = 31.5 + 1.6 * face.eye_spacing, 15.2 + face.eye_size
    outer, inner = np.array([middle + half, -0.8 - 1.3 * face.eye_slant]), np.array([middle - half, 1.6])
    chord = outer + (inner - outer) * np.array([[0.25], [0.5], [0.75]])
    bow = np.array([[0, 0.74], [0, 1], [0, 0.8]])
    lower = chord + bow * (3.8 + 0.3 * face.eye_size - 0.9 * max(face.smile, 0))
    upper = lower + (chord - bow * (6.8 + 0.8 * face.eye_size) - lower) * face.eyes_open[side]
    pupil = np.array([middle, np.clip(2 * face.gaze[1] - 1, upper[1, 1], lower[1, 1])])
    return np.concatenate([[outer], upper, [inner], lower[::-1]]), pupil


def _brow(face: FaceParameters, side: int) -> Array:
    """Outer tip, upper line inwards, lower line back. For the side of positive x."""
    raised, t = face.brow_raise[side], np.linspace(1, 0, 5)
    x = 11.5 + 0.8 * face.eye_spacing + 1.5 * min(raised, 0) + t * (42 + face.eye_spacing)
    y = -18 - 1.5 * face.brow_height - 6.5 * np.sin(np.pi * t**1.35) + t
    y -= 5 * raised * (np.sin(np.pi * (0.25 + 0.6 * t)) if raised > 0 else (1 - t) ** 1.3)
    half = (3.1 + 0.7 * face.brow_thickness) * np.array([0, 0.62, 0.9, 1, 0.85])
    return np.concatenate([np.stack([x, y - half], 1), np.stack([x, y + half], 1)[:0:-1]])


def _mouth(face: FaceParameters) -> Array:
    """Twelve outer, then eight inner points, each from the image-left corner clockwise."""
    smile, gap = face.smile, 27 * face.mouth_open + 6 * max(face.smile - 0.4, 0)
    half = 24.5 + 1.6 * face.mouth_width + (5.5 if smile > 0 else 2.5) * smile - 4.5 * face.mouth_open
    y = 68 + 2 * face.nose_length - 1.5 * max(smile, 0)
    corner = y - 5 * smile + 0.40 * gap
    full = 1 + 0.16 * face.lips
    top = y - full * np.array([5.6, 8.6, 7.4]) + gap * np.array([0.12, -0.03, -0.05]) - smile * np.array([1.2, 0, 0])
    bottom = y + full * np.array([6.2, 9.6, 10.8]) + gap * np.array([0.86, 0.98, 1]) - smile * np.array([1.7, 0.6, 0])
    inner_top = y + np.array([0.5 - 0.9 * smile + 0.02 * gap, 0.8 - 0.05 * gap])
    inner_bottom = y + np.array([0.6 - 0.9 * smile + 0.90 * gap, 0.8 + gap])
    x = half * np.array([0.62, 0.24, 0.32, 0.46])
    points = np.array([
        [-half, corner], [-x[0], top[0]], [-x[1], top[1]], [0, top[2]], [x[1], top[1]], [x[0], top[0]],
        [half, corner], [x[0], bottom[0]], [x[2], bottom[1]], [0, bottom[2]], [-x[2], bottom[1]], [-x[0], bottom[0]],
        [2.5 - half, corner + 0.2], [-x[3], inner_top[0]], [0, inner_top[1]], [x[3], inner_top[0]],
        [half - 2.5, corner + 0.2], [x[3], inner_bottom[0]], [0, inner_bottom[1]], [-x[3], inner_bottom[0]],
    ])  # fmt: skip
    points[:, 1] += 0.08 * face.mouth_shift * points[:, 0]
    points[:, 0] += 4 * face.mouth_shift
    return points


class Head:
    """A head's surface: its grid of vertices, and the way from the plane of the face to (u, v) and on to space."""

    def __init__(self, face: FaceParameters, plane: Float[np.ndarray, "98 2"]) -> None:
        self._profile = _profile(face)
        self._inverse = self._invert()
        front, side, width, z_front, z_side, z_back = self._profile.T[:, :, None]
        cosine = np.cos(AZIMUTH)
        x, y = width * np.sin(AZIMUTH), side + (front - side) * _forward(cosine)
        z = z_side + np.where(cosine > 0, z_front - z_side, z_side - z_back) * cosine
        z = z + np.clip(2.5 * cosine, 0, 1) * _relief(face, plane, x, y)
        self.grid: Float32[np.ndarray, "r c 3"] = np.stack([x, y, z], -1).astype(np.float32)

    def _invert(self) -> Float32[np.ndarray, "r c 2"]:
        """(u, v) at every 2 mm of the plane of the face from (-68, -70), by fixed-point iteration."""
        x, y = np.meshgrid(np.arange(-68, 69, 2.0), np.arange(-70, 160, 2.0))
        front, side, width = self._profile[:, :3].T
        v = np.interp(y, front, _STEPS)
        for _ in range(6):
            sine = np.clip(x / np.interp(v, _STEPS, width), -0.985, 0.985)
            rise = np.interp(v, _STEPS, front - side) * (1 - _forward(np.sqrt(1 - sine**2)))
            v = np.interp(y + rise, front, _STEPS)
        return np.stack([along(np.arcsin(sine)), v], -1).astype(np.float32)

    def locate(self, plane: Values) -> Float32[np.ndarray, "n 2"]:
        """Points of the plane of the face -> (u, v)."""
        return lookup(self._inverse, np.add(plane, (68, 70)) / 2)

    def lift(self, uv: Values) -> Float32[np.ndarray, "n 3"]:
        """(u, v) -> points in space."""
        return lookup(self.grid, np.asarray(uv) * [COLUMNS - 1, ROWS - 1])

    def jaw_edge(self) -> tuple[Float[np.ndarray, " 33"], Float[np.ndarray, " 33"]]:
        """Azimuths and v of the face contour as seen from the front, equally spaced on either side of the chin."""
        at = np.linspace(0, 7, 71)
        azimuth, v = (np.interp(at, range(8), line) for line in (_JAW[0], np.interp(_JAW[1], HEIGHT, _STEPS)))
        steps = np.diff(self.lift(np.stack([along(azimuth), v], 1))[:, :2], axis=0)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1))])
        even = np.linspace(0, length[-1], 17)
        azimuth, v = np.interp(even, length, azimuth), np.interp(even, length, v)
        return np.concatenate([-azimuth, azimuth[-2::-1]]), np.concatenate([v, v[-2::-1]])


def _profile(face: FaceParameters) -> Float[np.ndarray, "r 6"]:
    rings = _RINGS.copy()
    below = np.clip((rings[:, 0] - 68) / 45, 0, 1.3)  # the mouth
    aside = np.clip((rings[:, 1] - 20) / 50, 0, 1)
    rings[:, 0] += below * (4 * face.chin + 24 * face.mouth_open)
    rings[:, 1] += 2.5 * face.chin * aside + 6 * face.mouth_open * np.clip(below, 0, 1)
    rings[:, 2] *= 1 + 0.04 * face.width + 0.055 * face.jaw * aside
    rings[:, 3] -= 7 * face.mouth_open * below
    table = np.stack([np.interp(HEIGHT, _RINGS[:, 0], column) for column in rings.T], 1)
    return np.asarray(cv2.GaussianBlur(table, (1, 0), sigmaX=0.1, sigmaY=1.6, borderType=cv2.BORDER_REPLICATE))


def _relief(face: FaceParameters, plane: Array, x: Array, y: Array) -> Array:
    """Height above the bare head, mm: nose, eyeballs in their sockets, brows, cheeks, lips, chin."""
    eye, wing, tip = 31.5 + 1.6 * face.eye_spacing, plane[59, 0], plane[54, 1]
    upper, lower, chin = plane[79, 1], plane[85, 1], 104 + 4 * face.chin + 19 * face.mouth_open
    bumps = (  # height, x (and -x), y, radii
        (-4.5, 16, -2, 6, 8), (-3, eye, 0, 17, 9), (4.2, eye, -0.5, 10.5, 6.5), (2.6, 28, -19, 20, 5.5),
        (3.5 + 2 * face.smile, 42, 26 - 3 * face.smile, 14, 11), (-2.5, 62, 62, 12, 20),
        (0.6 * wing, wing - 3.5, tip + 5, 4.2, 5),
        (3.5, 0, upper + 8, 25, 13), (2.6, 0, upper + 3, 15, 3.2), (3.4, 0, lower - 4.5, 14, 3.6),
        (-2.6, 0, lower + 5, 17, 4.5), (4.5, 0, chin, 14, 9), (-1.2, 0, plane[57, 1] + 7, 2.5, 5),
    )  # fmt: skip
    aside = np.abs(x)
    z = np.zeros_like(y)
    for height, bx, by, rx, ry in bumps:
        z += height * np.exp(-(((aside - bx) / rx) ** 2) - ((y - by) / ry) ** 2)
    down = [-10, 2, 10, 0.55 * tip, tip - 6, tip, tip + 4.5, tip + 9, tip + 13]
    ridge = np.interp(y, down, [0, 4, 7.5, 13, 19.5, 21.5, 19, 8, 0])
    half = np.interp(y, down, [5, 5.5, 6, 7.5, 9.5, 10.5, 10, 9, 8]) * (1 + 0.08 * face.nose_width)
    return z + ridge * np.exp(-((aside / half) ** 2.2))


def _forward(cosine: Array) -> Array:
    """1 in the middle of the face, falling smoothly to about 0 from its sides backwards."""
    return np.asarray((cosine + np.sqrt(cosine**2 + 0.04)) / (1 + np.sqrt(1.04)))


def along(azimuth: Values | float) -> Array:
    """The u of an azimuth in radians."""
    return np.asarray(np.interp(azimuth, AZIMUTH, (_AROUND + 1) / 2))


def lookup(image: Array, at: Values) -> Array:
    """Bilinear values of a float image at (n, 2) positions (x, y)."""
    at = np.asarray(at, np.float32)
    width = min(len(at), 1024)  # OpenCV limits an image's side to 32,767
    padded = np.zeros((-(-len(at) // width) * width, 2), np.float32)
    padded[: len(at)] = at
    x, y = padded.T.reshape(2, -1, width)
    values: Array = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(-1, image.shape[2])[: len(at)]


def trunk() -> Float32[np.ndarray, "r c 3"]:
    """Neck and shoulders: rings about the neck's axis."""
    heights = np.linspace(60, 330, 44)
    knots = [60, 112, 128, 146, 158, 170, 190, 230, 330]
    width = np.interp(heights, knots, [44, 50, 51, 57, 76, 120, 168, 196, 205])
    front = np.interp(heights, knots, [-60, -47, -46, -46, -44, -40, -32, -20, -10])
    rings = cv2.GaussianBlur(np.stack([width, front], 1), (1, 0), sigmaX=0.1, sigmaY=1.2)
    turn = np.linspace(-np.pi, np.pi, 41)
    x, z = rings[:, :1] * np.sin(turn), -90 + (rings[:, 1:] + 90) * np.cos(turn)
    return np.stack([x, np.broadcast_to(heights[:, None], x.shape), z], -1).astype(np.float32)


def ear(head: Head, side: float) -> Float32[np.ndarray, "r c 3"]:
    """A dished disc that leans back and out from the side (-1 or 1) of the head."""
    r, turn = np.linspace(0, 1, 9)[:, None], np.linspace(0, 2 * np.pi, 25)
    back = 8 + r * np.cos(turn) * 14 * (1 - 0.25 * np.sin(turn))
    down = r * np.sin(turn) * 29
    out = 2 + 4 * np.exp(-(((r - 0.82) / 0.14) ** 2)) - 3.5 * np.exp(-((r - 0.35) ** 2) / 0.04) + 0 * turn
    root = head.lift([[along(np.radians(97) * side), np.interp(20, HEIGHT, _STEPS)]])
    grid = root + back[..., None] * [0.45 * side, 0, -0.89] + out[..., None] * [0.89 * side, 0, 0.45]
    grid += down[..., None] * [0, 1, -0.18]
    return np.asarray(grid[:, :: int(-side)], np.float32)


def long_hair(rng: np.random.Generator) -> Float32[np.ndarray, "r c 3"]:
    """A sheet from the crown round the back and sides of the head down to the shoulders."""
    t = np.linspace(0, 1, 44)[:, None]
    bottom = rng.uniform(60, 165)
    knots = [-112, -100, -80, -50, 0, 60, 165]
    middle = -112 + t * (bottom + 112)
    start = np.radians(np.interp(middle, knots, [30, 45, 58, 70, 80, 80, 62]))
    azimuth = start + (2 * np.pi - 2 * start) * np.linspace(0, 1, 61)
    wave = 2.5 * np.sin(9 * azimuth + 4 * t + rng.uniform(0, 6)) + 1.5 * np.sin(23 * azimuth + 7 * t)
    radius = np.interp(middle, knots, [34, 56, 70, 79, 85, 88, 76 + rng.uniform(0, 16)]) + wave * np.sqrt(t)
    y = middle + t**3 * (5 * np.sin(31 * azimuth) + 8 * np.sin(5 * azimuth + rng.uniform(0, 6)))
    z = -90 + np.where(np.cos(azimuth) > 0, 1.0, 1.28) * radius * np.cos(azimuth) + 10 * t
    return np.stack([radius * np.sin(azimuth), y, z], -1).astype(np.float32)
