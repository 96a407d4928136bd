"""Parameters of a rendered face, a population to draw them from, and the landmarks seen from the front."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Colour = tuple[float, float, float]  # RGB in [0, 1]

SKINS = np.array([[1, 0.87, 0.79], [0.95, 0.77, 0.65], [0.87, 0.67, 0.52], [0.76, 0.54, 0.39], [0.42, 0.27, 0.19]])
IRISES = ((0.22, 0.13, 0.07), (0.36, 0.24, 0.12), (0.38, 0.40, 0.24), (0.32, 0.46, 0.58))

# A neutral face: heights of the contour's points 0-16; right brow and eye, from the outer end inwards and back below;
# nose; mouth, with the share by which each point follows the jaw down
CONTOUR = (-8, 1.7, 11.3, 21, 30.6, 40.2, 49.7, 59, 68.1, 76.9, 85.5, 93.7, 101.7, 108.5, 114.1, 118.2, 122)
BROW = np.array([[53.5, -17], [43, -24.7], [32.5, -26.4], [22, -23.9], [11.5, -20.6], [11.5, -15.4], [22, -17.7],
                 [32.5, -20.8], [43, -20.8]])  # fmt: skip
EYE = np.array([[46.7, -0.8], [39.1, -5.2], [31.5, -6.4], [23.9, -4.4], [16.3, 1.6], [23.9, 4], [31.5, 4.2],
                [39.1, 2.6]])  # fmt: skip
NOSE = np.array([[0, 4], [0, 15], [0, 26], [0, 37], [-12.5, 44.5], [-6, 47], [0, 48.5], [6, 47], [12.5, 44.5]])
MOUTH = np.array([[-24.5, 0, 0.4], [-15.2, -5.6, 0.12], [-5.9, -8.6, -0.03], [0, -7.4, -0.05], [5.9, -8.6, -0.03],
                  [15.2, -5.6, 0.12], [24.5, 0, 0.4], [15.2, 6.2, 0.86], [7.8, 9.6, 0.98], [0, 10.8, 1],
                  [-7.8, 9.6, 0.98], [-15.2, 6.2, 0.86], [-22, 0.2, 0.4], [-11.3, 0.5, 0.02], [0, 0.8, -0.05],
                  [11.3, 0.5, 0.02], [22, 0.2, 0.4], [11.3, 0.6, 0.9], [0, 0.8, 1], [-11.3, 0.6, 0.9]])  # fmt: skip


@dataclass(frozen=True)
class FaceParameters:
    """All visible properties of a face; the defaults are a plain frontal face in soft light. Angles are degrees."""

    seed: int = 0  # of the background, strands of hair and the box's error
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw to the image's right, pitch downwards, roll clockwise
    distance: float = 900.0  # of the camera, mm
    scale: float = 0.9  # pixels per millimetre
    traits: tuple[float, ...] = (0.0,) * 5  # head's width, nose, eyes, lips, brows, in standard deviations
    mouth_open: float = 0.0  # 0 to 1
    smile: float = 0.0  # -1 to 1
    eyes_open: tuple[float, float] = (1.0, 1.0)  # image-left first; 0 is shut
    brow_raise: float = 0.0  # -1 to 1
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 to 1
    skin: Colour = (0.90, 0.71, 0.58)
    iris: Colour = (0.30, 0.20, 0.12)
    hair: Colour = (0.22, 0.14, 0.09)
    long_hair: bool = False
    cloth: Colour = (0.25, 0.35, 0.55)  # of shirt and mask
    makeup: float = 0.0  # 0 to 1
    light: tuple[float, float] = (-25.0, 35.0)  # azimuth to the image's right, elevation
    ambient: float = 0.5  # share of the light that has no direction
    exposure: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    occluder: str = "none"  # or "sunglasses", which hide over 10 points, or "mask", which hides over 40
    blur: float = 0.0  # sigma in pixels

    def flags(self) -> Int[np.ndarray, " 6"]:
        """WFLW's attributes: pose, expression, illumination, make-up, occlusion, blur."""
        return np.array([
            abs(self.pose[0]) > 30 or abs(self.pose[1]) > 20,
            self.mouth_open > 0.35 or abs(self.smile) > 0.6 or abs(self.brow_raise) > 0.7 or min(self.eyes_open) < 0.35,
            self.ambient < 0.25 or not 0.5 <= self.exposure <= 1.5 or max(self.tint) - min(self.tint) > 0.4,
            self.makeup > 0.5,
            self.occluder != "none",
            self.blur > 1.8,
        ]).astype(np.int64)  # fmt: skip


def sample_face(seed: int, split: str, index: int) -> FaceParameters:
    """Draw a face from the population; each flag is set on 15 to 35 % of the faces."""
    rng = np.random.default_rng([seed, ("train", "test").index(split), index])
    tone, side, shadowed = rng.uniform(0, 4), rng.choice([-1.0, 1.0]), rng.random() < 0.09
    return FaceParameters(
        seed=int(rng.integers(2**31)),
        pose=(side * rng.uniform(30, 70) if rng.random() < 0.17 else rng.normal(0, 12),
              side * rng.uniform(20, 32) if rng.random() < 0.06 else rng.normal(0, 7), rng.normal(0, 10)),
        distance=rng.uniform(500, 1500), scale=rng.uniform(0.8, 0.95),
        traits=tuple(rng.normal(0, 1, 5).clip(-2, 2).tolist()),
        mouth_open=rng.uniform(0.35, 1) if rng.random() < 0.08 else max(0, rng.normal(-0.05, 0.12)),
        smile=rng.uniform(0.6, 1) if rng.random() < 0.08 else rng.uniform(-0.3, 0.6),
        eyes_open=tuple(rng.uniform(0, 0.3, 2).tolist()) if rng.random() < 0.08 else (rng.uniform(0.75, 1.15),) * 2,
        brow_raise=side * rng.uniform(0.7, 1) if rng.random() < 0.08 else rng.uniform(-0.5, 0.5),
        gaze=tuple(rng.normal(0, 0.35, 2).clip(-1, 1).tolist()),
        skin=tuple(np.array([np.interp(tone, range(5), channel) for channel in SKINS.T]).tolist()),
        iris=IRISES[rng.integers(2 if tone > 2.5 else 4)],
        hair=tuple((np.array([0.85, 0.6, 0.4]) * rng.uniform(0.2, 0.4 if tone > 2.5 else 0.95) ** 1.6).tolist()),
        long_hair=bool(rng.random() < 0.4), cloth=tuple(rng.uniform(0.05, 0.9, 3).tolist()),
        makeup=rng.uniform(0.5, 1) if rng.random() < 0.22 else rng.uniform(0, 0.3),
        light=(side * rng.uniform(55, 100) if shadowed else rng.uniform(-50, 50), rng.uniform(5, 55)),
        ambient=rng.uniform(0.03, 0.2) if shadowed else rng.uniform(0.4, 0.7),
        exposure=rng.uniform(0.06, 0.3) if rng.random() < 0.05 else rng.uniform(0.8, 1.25),
        tint=(1.0, rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.5)) if rng.random() < 0.04 else (1.0, 1.0, 1.0),
        occluder=str(rng.choice(["sunglasses", "mask"])) if rng.random() < 0.22 else "none",
        blur=rng.uniform(1.8, 4.5) if rng.random() < 0.2 else rng.uniform(0, 0.7),
    )  # fmt: skip


def landmarks(face: FaceParameters) -> Float[np.ndarray, "98 2"]:
    """WFLW's points in the plane of the face; the contour (0-32), which needs the surface, is left at zero."""
    _, nose, size, lips, thickness = face.traits
    points = np.zeros((98, 2))
    for side, mirror in enumerate(([-1, 1], [1, 1])):  # WFLW's lists run left to right on both sides
        eye = (EYE - EYE[2]) * (1 + 0.07 * size) + EYE[2]
        eye[1:4] = eye[:4:-1] + (eye[1:4] - eye[:4:-1]) * face.eyes_open[side]
        brow = np.add(BROW, (0, 20)) * [1, 1 + 0.12 * thickness] - [0, 20 + 5 * face.brow_raise]
        points[60 + 8 * side : 68 + 8 * side] = (eye * mirror)[[4, 3, 2, 1, 0, 7, 6, 5] if side else slice(8)]
        points[33 + 9 * side : 42 + 9 * side] = (brow * mirror)[[4, 3, 2, 1, 0, 8, 7, 6, 5] if side else slice(9)]
        height = np.clip(2 * face.gaze[1] - 1, eye[2, 1], eye[6, 1])
        points[96 + side] = mirror[0] * eye[2, 0] + 4 * face.gaze[0], height
    points[51:60] = NOSE * [1 + 0.1 * nose, 1 + 0.07 * nose]
    x, y, jaw = MOUTH.T
    gap = 27 * face.mouth_open + 6 * max(face.smile - 0.4, 0)
    points[76:96, 0] = x * (1 + 0.2 * face.smile - 0.18 * face.mouth_open)
    points[76:96, 1] = 68 + 2 * nose + y * (1 + 0.16 * lips) - 5 * face.smile * (x / 24.5) ** 2 + jaw * gap
    return points
