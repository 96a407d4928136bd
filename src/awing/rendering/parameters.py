"""What a rendered face looks like, and the population that faces are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Values = Array | Sequence[Any]  # whatever numpy turns into an array
Colour = tuple[float, float, float]  # RGB in [0, 1]

HAIR_STYLES = ("short", "long", "bald")
OCCLUDERS = ("glasses", "sunglasses", "mask", "hand", "scarf", "strands", "patch")
BLURS = ("gaussian", "motion", "lowres")

_SKINS = (
    (1.0, 0.87, 0.79), (0.95, 0.77, 0.65), (0.87, 0.67, 0.52), (0.76, 0.54, 0.39), (0.57, 0.37, 0.25),
    (0.38, 0.24, 0.17),
)  # fmt: skip
_HAIRS = (
    (0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.30, 0.18, 0.10), (0.42, 0.19, 0.08), (0.62, 0.45, 0.25),
    (0.78, 0.66, 0.46), (0.62, 0.61, 0.60),
)  # fmt: skip
_IRISES = ((0.22, 0.13, 0.07), (0.36, 0.24, 0.12), (0.38, 0.40, 0.24), (0.32, 0.46, 0.58), (0.42, 0.48, 0.47))
_LIPSTICKS = ((0.70, 0.06, 0.14), (0.80, 0.22, 0.38), (0.45, 0.05, 0.20), (0.85, 0.35, 0.28), (0.35, 0.10, 0.35))
_TRAITS = (
    "width", "jaw", "chin", "nose_width", "nose_length", "eye_size", "eye_spacing", "eye_slant", "lips", "mouth_width",
    "brow_thickness", "brow_height",
)  # fmt: skip


@dataclass(frozen=True)
class FaceParameters:
    """Everything that is visible; the defaults are a plain frontal face in soft light.

    Angles are degrees, identity traits standard deviations, pairs of eyes and brows image-left first. ``yaw`` turns to
    the image's right, ``pitch`` downwards, ``roll`` clockwise.
    """

    texture_seed: int = 0  # background, strands, clothes, shape of the occluder
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    distance: float = 900.0  # of the camera, mm
    face_size: float = 0.65  # longer side of the points' box over the image's side
    shift: tuple[float, float] = (0.0, 0.05)  # of the points' box, over the image's side

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

    mouth_open: float = 0.0  # 0 to 1
    smile: float = 0.0  # -1 to 1
    mouth_shift: float = 0.0  # sideways, -1 to 1
    eyes_open: tuple[float, float] = (1.0, 1.0)  # 0 is shut
    brow_raise: tuple[float, float] = (0.0, 0.0)  # -1 to 1
    gaze: tuple[float, float] = (0.0, 0.0)  # -1 to 1

    skin: Colour = (0.90, 0.71, 0.58)
    iris: Colour = (0.30, 0.20, 0.12)
    hair: Colour = (0.22, 0.14, 0.09)
    hair_style: str = "short"
    hairline: float = 0.0  # mm downwards
    age: float = 0.2  # 0 to 1: folds
    beard: float = 0.0  # 0 to 1
    makeup: float = 0.0  # 0 to 1
    makeup_colour: Colour = _LIPSTICKS[0]
    cloth: Colour = (0.25, 0.35, 0.55)

    light: tuple[float, float] = (-25.0, 35.0)  # azimuth to the image's right, elevation
    ambient: float = 0.5  # share of the light that has no direction
    exposure: float = 1.0
    tint: Colour = (1.0, 1.0, 1.0)
    occluder: str = "none"
    blur: float = 0.0  # pixels: sigma, or what looks like it
    blur_kind: str = "gaussian"


def sample_parameters(rng: np.random.Generator) -> FaceParameters:
    """Draws a face from the population; each flag comes out set on 15 to 35 % of the faces."""
    tone = rng.uniform(0, len(_SKINS) - 1.001)
    pair = np.array(_SKINS[int(tone) : int(tone) + 2])
    skin = (pair[0] + (pair[1] - pair[0]) * (tone % 1)) * rng.normal(1, 0.015, 3)
    hair = np.array(_HAIRS[rng.integers(3 if tone > 3 else len(_HAIRS))]) * rng.uniform(0.8, 1.2)
    woman = rng.random() < 0.5
    look: dict[str, Any] = {
        "texture_seed": int(rng.integers(2**31)),
        "distance": rng.uniform(500, 1500),
        "face_size": rng.uniform(0.58, 0.70),
        "shift": (rng.normal(0, 0.025), rng.normal(0.05, 0.02)),
        "age": rng.beta(1.5, 3),
        "skin": tuple(np.clip(skin, 0, 1).tolist()),
        "hair": tuple(np.clip(hair, 0, 1).tolist()),
        "iris": _IRISES[rng.integers(2 if tone > 3 else len(_IRISES))],
        "hair_style": str(rng.choice(HAIR_STYLES, p=[0.25, 0.72, 0.03] if woman else [0.8, 0.08, 0.12])),
        "hairline": rng.normal(0, 5) + (rng.uniform(8, 26) if rng.random() < 0.25 else 0),
        "beard": rng.uniform(0.1, 1) if not woman and rng.random() < 0.4 else 0.0,
        "cloth": tuple(rng.uniform(0.05, 0.9, 3).tolist()),
        "makeup": (rng.uniform(0.55, 1) if rng.random() < 0.4 else rng.uniform(0, 0.4)) if woman else 0.0,
        "makeup_colour": _LIPSTICKS[rng.integers(len(_LIPSTICKS))],
    }
    traits = dict(zip(_TRAITS, np.clip(rng.normal(0, 1, len(_TRAITS)), -2, 2).tolist(), strict=True))
    return FaceParameters(**look, **traits, **_sample_pose(rng), **_sample_expression(rng), **_sample_conditions(rng))


def _sample_pose(rng: np.random.Generator) -> dict[str, Any]:
    yaw, pitch, roll = rng.normal(0, (12, 7, 10)).tolist()
    kind, side = rng.random(), rng.choice([-1.0, 1.0])
    if kind < 0.17:
        yaw = side * rng.uniform(30, 70)
    elif kind < 0.23:
        pitch = side * rng.uniform(20, 32)
    return {"yaw": yaw, "pitch": pitch, "roll": roll}


def _sample_expression(rng: np.random.Generator) -> dict[str, Any]:
    blink, brows, shout, laugh = rng.random(4) < 0.08
    eyes = rng.uniform(0, 0.3, 2) if blink else np.full(2, rng.uniform(0.75, 1.15))
    if blink and rng.random() < 0.3:
        eyes[rng.integers(2)] = 1.0
    raised = rng.uniform(-1, 1) * (1.0 if brows else 0.5) + rng.normal(0, 0.08, 2)
    return {
        "mouth_open": rng.uniform(0.35, 1) if shout else max(0.0, rng.normal(-0.05, 0.12)),
        "smile": rng.uniform(0.6, 1) if laugh else float(np.clip(rng.normal(0.1, 0.25), -0.8, 0.6)),
        "mouth_shift": float(np.clip(rng.normal(0, 0.3), -1, 1)),
        "eyes_open": tuple(eyes.tolist()),
        "brow_raise": tuple(np.clip(raised, -1, 1).tolist()),
        "gaze": tuple(np.clip(rng.normal(0, 0.35, 2), -1, 1).tolist()),
    }


def _sample_conditions(rng: np.random.Generator) -> dict[str, Any]:
    """Light, occluder and blur."""
    azimuth, elevation = rng.uniform(-50, 50), rng.uniform(5, 55)
    ambient, exposure, tint = rng.uniform(0.4, 0.7), rng.uniform(0.8, 1.25), rng.normal(1, 0.04, 3)
    kind, side = rng.random(), int(rng.choice([-1, 1]))
    if kind < 0.08:
        ambient, azimuth = rng.uniform(0.03, 0.2), side * rng.uniform(55, 100)
    elif kind < 0.13:
        exposure = rng.uniform(0.06, 0.3)
    elif kind < 0.17:
        tint = np.array([1.0, rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.5)])[::side]
    elif kind < 0.20:
        exposure = rng.uniform(1.8, 2.8)
    return {
        "light": (azimuth, elevation),
        "ambient": ambient,
        "exposure": exposure,
        "tint": tuple(tint.tolist()),
        "occluder": str(rng.choice(OCCLUDERS)) if rng.random() < 0.28 else "none",
        "blur": rng.uniform(1.8, 4.5) if rng.random() < 0.2 else rng.uniform(0, 0.7),
        "blur_kind": str(rng.choice(BLURS)),
    }
