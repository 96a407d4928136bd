"""Surfaces to pixels: a rasteriser for grids, light, and a depth buffer."""

import numpy as np
from jaxtyping import Float32

from awing.rendering.camera import Camera
from awing.rendering.geometry import lookup
from awing.rendering.parameters import Array, FaceParameters


class Canvas:
    """A picture under construction, in linear light, with the depth of what is drawn.

    Args:
        background: The picture behind everything, in linear light.
        face: Whose light is used.
    """

    def __init__(self, background: Float32[np.ndarray, "h w 3"], face: FaceParameters) -> None:
        self.image = background
        self._face = face
        self._depth = np.full(background.shape[:2], -np.inf, np.float32)
        azimuth, elevation = np.radians(face.light)
        flat = np.cos(elevation)
        self._light = np.array([np.sin(azimuth) * flat, -np.sin(elevation), np.cos(azimuth) * flat], np.float32)
        half = self._light + np.array([0, 0, 1], np.float32)
        self._half = half / np.linalg.norm(half)

    def draw(self, grid: Array, texture: Array, camera: Camera, *, gloss: float, open_sheet: bool = False) -> None:
        """Draws a textured grid of vertices where it is nearer than what is there.

        Cells are seen from the side from which u runs right and v down, those of an open sheet from both.
        """
        screen = camera.project(grid).astype(np.float32)
        y, x, uv, depth = _rasterize(screen, self._depth.shape, open_sheet)
        near = np.flatnonzero(depth > self._depth[y, x])
        if not len(near):
            return
        y, x, uv = y[near], x[near], uv[near]
        normals = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0)).astype(np.float32) @ camera.rotation.T
        normal = lookup(normals, uv).T
        normal /= np.sqrt((normal**2).sum(0)) + 1e-9
        if open_sheet:
            normal *= np.where(normal[2] < 0, np.float32(-1), np.float32(1))
        cells = np.array(grid.shape[1::-1], np.float32) - 1
        albedo = lookup(texture, uv * ((np.array(texture.shape[1::-1], np.float32) - 1) / cells))
        self.image[y, x] = self._shade(albedo, normal, gloss)
        self._depth[y, x] = depth[near]

    def _shade(self, albedo: Array, normal: Array, gloss: float) -> Array:
        """Lambert's law, wrapped round the terminator (most in red: light leaves skin), sky light, a highlight."""
        ambient, facing = self._face.ambient, self._light @ normal
        sky = ambient * (0.82 - 0.18 * normal[1])
        shine = (1 - ambient) * gloss * np.clip(self._half @ normal, 0, 1) ** 14 * (facing > 0)
        for channel, wrap in enumerate((0.30, 0.18, 0.14)):
            diffuse = (1.15 * (1 - ambient) / (1 + wrap)) * np.maximum(facing + wrap, 0)
            light = self._face.exposure * self._face.tint[channel]
            albedo[:, channel] = (albedo[:, channel] ** 2 * (sky + diffuse) + shine) * light
        return albedo


def _rasterize(screen: Array, shape: tuple[int, ...], both_sides: bool) -> tuple[Array, Array, Array, Array]:
    """Pixels (y, x) that a grid of (x, y, depth) covers, and grid coordinates (u, v) and depth seen there.

    A cell's corners are A B over C D, its triangles A B C and D C B. Painter's algorithm: the pixels of all cells'
    boxes are listed from the farthest cell to the nearest and written in that order, so that the nearest stays.
    """
    corners = screen[:-1, :-1], screen[:-1, 1:], screen[1:, :-1], screen[1:, 1:]
    a, b, c, d = (corner.reshape(-1, 3).T for corner in corners)
    area = (d[0] - a[0]) * (c[1] - b[1]) - (d[1] - a[1]) * (c[0] - b[0])
    low = np.ceil(np.minimum(np.minimum(a, b), np.minimum(c, d))[:2]).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(a, b), np.maximum(c, d))[:2]).astype(np.int32)
    low, high = np.maximum(low, 0), np.minimum(high, [[shape[1] - 1], [shape[0] - 1]])
    wide, tall = np.maximum(high - low + 1, 0)
    keep = np.flatnonzero((wide * tall > 0) & ((np.abs(area) if both_sides else area) > 1e-6))
    keep = keep[np.argsort(a[2, keep] + d[2, keep])]
    counts = wide[keep] * tall[keep]
    owner = np.repeat(keep, counts)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    y, x = np.divmod(offset.astype(np.int32), np.repeat(wide[keep].astype(np.int32), counts))  # in the cell's box
    u, v = _apply(np.repeat(_barycentric(a, b, c, low)[:, keep], counts, 1), x, y)
    far = np.flatnonzero(u + v > 1)
    p, q = _apply(_barycentric(d, c, b, low)[:, owner[far]], x[far], y[far])
    u[far], v[far] = 1 - p, 1 - q
    inside = np.flatnonzero((np.minimum(u, v) >= -1e-4) & (np.maximum(u, v) <= 1 + 1e-4))
    owner, u, v = owner[inside], u[inside], v[inside]
    x, y = x[inside] + low[0, owner], y[inside] + low[1, owner]
    last = np.full(shape[0] * shape[1], -1, np.int64)
    last[y * shape[1] + x] = np.arange(len(owner))
    pixel = np.flatnonzero(last >= 0)
    seen = last[pixel]
    owner, u, v = owner[seen], u[seen], v[seen]
    upper, lower = a[2, owner] * (1 - u) + b[2, owner] * u, c[2, owner] * (1 - u) + d[2, owner] * u
    row, column = np.divmod(owner, screen.shape[1] - 1)
    uv = np.stack([column + u, row + v], 1).astype(np.float32)
    return pixel // shape[1], pixel % shape[1], uv, (upper * (1 - v) + lower * v).astype(np.float32)


def _barycentric(a: Array, b: Array, c: Array, low: Array) -> Array:
    """Rows (px, py, p0, qx, qy, q0) for which p = px x + py y + p0, q likewise, at (x, y) past each triangle's `low`.

    They solve low + (x, y) = A + p (B - A) + q (C - A).
    """
    e, f, g = b[:2] - a[:2], c[:2] - a[:2], low - a[:2]
    area = e[0] * f[1] - e[1] * f[0]
    area = np.where(np.abs(area) < 1e-9, np.float32(1e-9), area)
    p, q = (f[1] / area, -f[0] / area), (-e[1] / area, e[0] / area)
    return np.stack([*p, p[0] * g[0] + p[1] * g[1], *q, q[0] * g[0] + q[1] * g[1]]).astype(np.float32)


def _apply(affine: Array, x: Array, y: Array) -> tuple[Array, Array]:
    px, py, p0, qx, qy, q0 = affine
    x, y = x.astype(np.float32), y.astype(np.float32)
    return px * x + py * y + p0, qx * x + qy * y + q0
