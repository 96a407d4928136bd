"""Soft-edged shapes on pictures, noise, and the scene behind a face."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from awing.rendering.parameters import Array, Values

TILE = 360  # pixels a side of a tile of noise and of the texture of the head


class Painter:
    """Paints anti-aliased shapes on a float RGB image.

    Args:
        image: Painted on in place.
        to_pixels: Maps a shape's points to pixels (pixel centres on integers).

    Attributes:
        cover: The greatest opacity painted on every pixel so far.
    """

    def __init__(self, image: Float32[np.ndarray, "h w 3"], to_pixels: Callable[[Any], Array] = np.asarray) -> None:
        self.image, self.cover = image, np.zeros(image.shape[:2], np.float32)
        self._to_pixels = to_pixels

    def fill(
        self, outline: Values, colour: Values, opacity: float = 1, soft: float = 0.6,
        within: Values | None = None,
    ) -> None:  # fmt: skip
        """Fills a polygon; `soft` is the sigma of its edge in pixels, `within` a polygon that clips it."""
        self._paint([self._to_pixels(outline)], 0, colour, opacity, soft, within)

    def stroke(
        self, lines: Sequence[Any], colour: Values, width: float, opacity: float = 1, soft: float = 0.6,
        within: Values | None = None,
    ) -> None:  # fmt: skip
        """Draws open lines of a width in whole pixels, at least one."""
        self._paint([self._to_pixels(line) for line in lines], max(1, round(width)), colour, opacity, soft, within)

    def _paint(
        self, shapes: list[Array], width: int, colour: Values, opacity: float, soft: float, within: Any
    ) -> None:
        corners, margin = np.concatenate(shapes), 3 * soft + width + 2
        low = np.maximum(np.floor(corners.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0) + margin) + 1, self.image.shape[1::-1]).astype(int)
        if opacity <= 0 or (high <= low).any():
            return
        region = slice(low[1], high[1]), slice(low[0], high[0])
        alpha = _mask(shapes, low, high, width, soft) * np.float32(opacity)
        if within is not None:
            alpha *= _mask([self._to_pixels(within)], low, high, 0, 0.5)
        np.maximum(self.cover[region], alpha, out=self.cover[region])
        patch = self.image[region].transpose(2, 0, 1)  # channels first: numpy's inner loop then runs along pixels
        patch += alpha * (np.asarray(colour, np.float32)[:, None, None] - patch)


def _mask(shapes: list[Array], low: Array, high: Array, width: int, soft: float) -> Array:
    zoom = 4 if soft >= 3 else 1  # a very soft edge needs few pixels
    (columns, rows), bits = high - low, 4
    mask: Array = np.zeros((-(-rows // zoom), -(-columns // zoom)), np.uint8)
    fixed = [np.round(((shape - low + 0.5) / zoom - 0.5) * 2**bits).astype(np.int32) for shape in shapes]
    if width:
        cv2.polylines(mask, fixed, False, 255, max(1, width // zoom), cv2.LINE_AA, bits)
    else:
        cv2.fillPoly(mask, fixed, 255, cv2.LINE_AA, bits)
    mask = cv2.GaussianBlur(mask, (0, 0), max(soft / zoom, 0.3))
    if zoom > 1:
        mask = cv2.resize(mask, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    return np.asarray(mask[:rows, :columns] * np.float32(1 / 255))


_TURN = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], 1)


def spline(points: Values) -> Array:
    """Catmull-Rom curve through the points, six steps from one to the next."""
    p = np.asarray(points, np.float64)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    a, b, c, d = p[:-3, None], p[1:-2, None], p[2:-1, None], p[3:, None]
    t = np.arange(6)[:, None] / 6
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return np.concatenate([curve.reshape(-1, 2), p[-2:-1]])


def ellipse(centre: Values, rx: float, ry: float, degrees: float = 0) -> Array:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.asarray(_CIRCLE @ [[rx * cosine, rx * sine], [-ry * sine, ry * cosine]] + centre)


def mix(a: Values, b: Values, share: float) -> Array:
    return np.asarray((1 - share) * np.asarray(a) + share * np.asarray(b), np.float32)


@lru_cache
def noise(kind: str) -> Float32[np.ndarray, "n n"]:
    """A fixed tile of zero mean and unit variance: `grain`, `fine` or `coarse` blots, `strand`s along y."""
    sigma = {"grain": (0.1, 0.1), "fine": (1.2, 1.2), "coarse": (14, 14), "strand": (0.8, 50)}[kind]
    white = np.tile(np.random.default_rng(0).standard_normal((TILE, TILE)), (3, 3))
    tile = cv2.GaussianBlur(white, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1])[TILE:-TILE, TILE:-TILE]
    return np.asarray((tile - tile.mean()) / tile.std(), np.float32)


def background(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "n n 3"]:
    """A blurred scene without people: a gradient, shapes, blotches."""
    small = size // 4
    corners = rng.uniform(0.1, 0.85) + rng.normal(0, 0.08, 3)
    corners = corners + rng.normal(0, 0.14, (2, 2, 1)) + rng.normal(0, 0.05, (2, 2, 3))
    image = cv2.resize(corners.astype(np.float32), (small, small), interpolation=cv2.INTER_LINEAR)
    painter = Painter(image)
    for _ in range(rng.integers(0, 16)):
        (x, y), (a, b) = rng.uniform(0, small, 2), rng.uniform(3, 26, 2)
        colour = image[int(y), int(x)] + rng.normal(0, 0.16) + rng.normal(0, 0.08, 3)
        square = np.array([[x - a, y - b], [x + a, y - b], [x + a, y + b], [x - a, y + b]])
        shape = square if rng.random() < 0.6 else ellipse([x, y], a, b, rng.uniform(0, 180))
        painter.fill(shape, colour, 0.9, rng.uniform(0, 2.5))
    blots = noise("fine" if rng.random() < 0.5 else "coarse")[:small, :small]
    image = image * (1 + np.float32(rng.uniform(0, 0.15)) * blots[..., None])
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2))
    return np.asarray(np.clip(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC), 0.02, 1))
