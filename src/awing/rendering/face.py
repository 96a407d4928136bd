"""One picture of one face with its landmarks, box and attributes."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from awing.rendering.camera import Camera, project_landmarks
from awing.rendering.geometry import COLUMNS, ROWS, Head, ear, landmarks, long_hair, trunk
from awing.rendering.occluders import draw_occluder
from awing.rendering.painting import TILE, Painter, background, noise
from awing.rendering.parameters import FaceParameters, sample_parameters
from awing.rendering.raster import Canvas
from awing.rendering.textures import above_hairline, ear_texture, hair_texture, head_texture, trunk_texture

SIZE = 224  # pixels a side
FLAGS = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
_FINE = 288  # pixels a side while drawing; the reduction to SIZE smooths every edge


class RenderedFace(NamedTuple):
    """A picture (RGB), its points and a detector-like box (x0, y0, x1, y1) in pixels, its flags as in `FLAGS`."""

    image: UInt8[np.ndarray, "h w 3"]
    points: Float[np.ndarray, "98 2"]
    box: Int[np.ndarray, " 4"]
    flags: Int[np.ndarray, " 6"]
    parameters: FaceParameters
    covered: int  # points behind the occluder


def render_face(seed: int, split: str, index: int) -> RenderedFace:
    """Face `index` of a split, "train" or "test": a function of these three alone.

    Example:
        >>> face = render_face(0, "train", 3)
        >>> face.image.shape, face.points.shape
        ((224, 224, 3), (98, 2))
    """
    return render(sample_parameters(np.random.default_rng([seed, ("train", "test").index(split), index])))


def save_face(seed: int, path: Path, split: str, index: int) -> RenderedFace:
    """Writes a face as JPEG; the face comes back without its pixels, as light mail between processes."""
    face = render_face(seed, split, index)
    encoded = cv2.imencode(".jpg", face.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    path.write_bytes(encoded.tobytes())
    return face._replace(image=face.image[:0])


def render(face: FaceParameters) -> RenderedFace:
    """Draws a face; the same parameters always give the same picture.

    Example:
        >>> calm, shouting = render(FaceParameters()), render(FaceParameters(mouth_open=0.9))
        >>> calm.flags.tolist(), shouting.flags.tolist()
        ([0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0])
    """
    rng = np.random.default_rng(face.texture_seed)
    plane = landmarks(face)
    head, camera = Head(face, plane), Camera(face)
    points = project_landmarks(camera, head, plane)
    low, high = points.min(0), points.max(0)
    camera.scale = face.face_size * _FINE / float((high - low).max())
    camera.centre = _FINE * (0.5 + np.array(face.shift)) - 0.5 - camera.scale * (low + high) / 2
    points = points * camera.scale + camera.centre

    image = np.sqrt(np.clip(_draw_person(face, head, plane, camera, rng), 0, 1))
    painter = Painter(image)
    if face.occluder != "none":
        draw_occluder(painter, face, camera, points, rng)
    x, y = np.clip(np.round(points), 0, _FINE - 1).astype(int).T
    covered = int((painter.cover[y, x] > 0.5).sum())

    image = cv2.resize(cv2.GaussianBlur(image, (0, 0), 0.5), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    image = _blur(image, face, rng)
    image += 0.008 * np.roll(noise("grain"), rng.integers(TILE, size=2), (0, 1))[:SIZE, :SIZE, None]
    points = (points + 0.5) * SIZE / _FINE - 0.5
    pixels = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return RenderedFace(pixels, points, _box(points, rng), flags_of(face, covered), face, covered)


def flags_of(face: FaceParameters, covered: int) -> Int[np.ndarray, " 6"]:
    """WFLW's six attributes, from the parameters and the number of points behind the occluder.

    pose: yaw over 30 or pitch over 20 degrees either way; expression: mouth more than 0.35 open, smile over 0.6 either
    way, an eye less than 0.35 open or a brow moved by more than 0.7; illumination: less than 0.25 of the light without
    direction, exposure outside 0.5 to 1.5 or a tint whose channels are over 0.4 apart; make-up: over 0.5; occlusion: at
    least 8 points; blur: over 1.8 pixels.
    """
    brows = max(abs(brow) for brow in face.brow_raise)
    return np.array([
        abs(face.yaw) > 30 or abs(face.pitch) > 20,
        face.mouth_open > 0.35 or abs(face.smile) > 0.6 or min(face.eyes_open) < 0.35 or brows > 0.7,
        face.ambient < 0.25 or not 0.5 <= face.exposure <= 1.5 or max(face.tint) - min(face.tint) > 0.4,
        face.makeup > 0.5,
        covered >= 8,
        face.blur > 1.8,
    ]).astype(np.int64)  # fmt: skip


def _draw_person(
    face: FaceParameters, head: Head, plane: Float[np.ndarray, "98 2"], camera: Camera, rng: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    scene = background(rng, _FINE) ** 2
    canvas = Canvas(scene * (face.exposure * np.array(face.tint, np.float32)), face)
    turned = Camera(face, 0.3)  # the trunk follows the head a little
    turned.scale, turned.centre = camera.scale, camera.centre
    canvas.draw(trunk(), trunk_texture(face, rng), turned, gloss=0.02)
    outwards = head.grid - np.array([0, -10, -85], np.float32)
    outwards /= np.linalg.norm(outwards, axis=-1, keepdims=True) + 1e-6
    thickness = 10 * np.clip(above_hairline(face, ROWS, COLUMNS) / 20, 0, 1) ** 0.7
    grid = head.grid + outwards * thickness[..., None]
    canvas.draw(grid, head_texture(face, head, plane, rng), camera, gloss=0.10)
    for side in (-1, 1):
        canvas.draw(ear(head, side), ear_texture(face), camera, gloss=0.05, open_sheet=True)
    if face.hair_style == "long":
        canvas.draw(long_hair(rng), hair_texture(face, rng), camera, gloss=0.06, open_sheet=True)
    return canvas.image


def _blur(
    image: Float32[np.ndarray, "h w 3"], face: FaceParameters, rng: np.random.Generator
) -> Float32[np.ndarray, "h w 3"]:
    if face.blur < 0.2:
        return image
    if face.blur_kind == "lowres":
        few = round(SIZE / (1 + face.blur))
        small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))
    if face.blur_kind == "motion":
        reach, angle = int(np.ceil(2 * face.blur)), rng.uniform(0, np.pi)
        path = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
        end = 1.8 * face.blur * np.array([np.cos(angle), np.sin(angle)])
        ends = np.round(16 * (reach + np.stack([-end, end]))).astype(np.int32)
        cv2.polylines(path, [ends], False, 1.0, 1, cv2.LINE_8, 4)
        return np.asarray(cv2.filter2D(image, -1, path / path.sum()))
    return np.asarray(cv2.GaussianBlur(image, (0, 0), face.blur))


def _box(points: Float[np.ndarray, "98 2"], rng: np.random.Generator) -> Int[np.ndarray, " 4"]:
    """The points' tight box, moved by about 3 % and scaled by -4 to 12 %, as imprecise as a detector's."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2 + rng.normal(0, 0.03, 2) * (high - low)
    half = (high - low) / 2 * rng.uniform(0.96, 1.12, 2)
    return np.clip(np.round(np.concatenate([centre - half, centre + half])), 0, SIZE - 1).astype(np.int64)
