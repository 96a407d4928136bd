"""Boundary heatmap (paper sections 5 and 7.3): a Gaussian of the distance to splines through landmarks."""

import math
from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def boundary_map(
    points: Float[Tensor, "b k 2"],
    labelled: Bool[Tensor, "b k"],
    lines: Sequence[tuple[int, ...]],
    size: int,
    sigma: float = 1.0,
) -> Float[Tensor, "b h w"]:
    """Boundary heatmap, one channel "that combines all boundary lines" of a face (paper section 5).

    ``exp(-d^2 / (2 sigma^2))`` with d the distance to the nearest line; 0 where d >= 3 sigma. Lines are splines, drawn
    as ``size`` or more segments, each of which sets the pixels around it. Segments of at most 1 px miss no pixel, as
    when neighbouring landmarks are at most a quarter of the map apart. With longer ones, a line begins to lose its rim.

    Landmarks are in map px, finite, and may lie outside the map. A line with an unlabelled landmark is not drawn.

    >>> points = torch.tensor([[[2.0, 4.0], [6.0, 4.0]]])
    >>> boundary_map(points, torch.tensor([[True, True]]), [(0, 1)], 9)[0, :, 4]  # across the line
    tensor([0.0000, 0.0000, 0.1353, 0.6065, 1.0000, 0.6065, 0.1353, 0.0000, 0.0000])
    """
    squared = points.new_full((len(points), size * size), float("inf"))
    for n, group in groupby(sorted(lines, key=len), key=len):  # lines with equally many landmarks form a batch
        index = torch.tensor(list(group), device=points.device)
        path = spline(points[:, index], math.ceil(size / min(n - 1, 4)))  # (b, lines, samples, 2)
        pixel, distance = _around(path[:, :, :-1].flatten(1, 2), path[:, :, 1:].flatten(1, 2), size, sigma)
        drawn = labelled[:, index].all(-1).repeat_interleave(path.shape[2] - 1, dim=1)
        distance = distance.masked_fill(~drawn[:, None, None], float("inf"))
        squared.scatter_reduce_(1, pixel.flatten(1), distance.flatten(1), "amin")
    squared = squared.view(len(points), size, size)
    return torch.where(squared < (3 * sigma) ** 2, torch.exp(-squared / (2 * sigma**2)), 0.0)


def spline(points: Float[Tensor, "b l n 2"], segments: int) -> Float[Tensor, "b l m 2"]:
    """Interpolating spline of degree min(4, n) - 1 over the chord length: ``segments`` samples between two points.

    These are the authors' lines; the paper does not specify them. The spline is cubic with not-a-knot ends from four
    points on, a parabola through three points and a straight line through two. Where two consecutive points coincide,
    as in the hidden half of an eye, straight segments replace it.

    >>> parabola = torch.tensor([[-2.0, 4.0], [0.0, 0.0], [2.0, 4.0]])
    >>> spline(parabola[None, None], 2)[0, 0].round(decimals=3).T.tolist()
    [[-2.0, -1.0, 0.0, 1.0, 2.0], [4.0, 1.0, 0.0, 1.0, 4.0]]
    """
    start, end = points[..., :-1, None, :], points[..., 1:, None, :]
    s = torch.linspace(0, 1, segments + 1, device=points.device, dtype=points.dtype)[:, None]
    samples = (1 - s) * start + s * end
    if points.shape[-2] > 2:
        chord, second = _second_derivatives(points)
        bend = ((1 - s) ** 3 - (1 - s)) * second[..., :-1, None, :] + (s**3 - s) * second[..., 1:, None, :]
        samples = samples + chord[..., None, None] ** 2 / 6 * bend
    return torch.cat([samples[..., :-1, :].flatten(-3, -2), points[..., -1:, :]], -2)


def _second_derivatives(points: Float[Tensor, "b l n 2"]) -> tuple[Float[Tensor, "b l i"], Float[Tensor, "b l n 2"]]:
    """Chord lengths, and the spline's second derivatives at its points from the usual tridiagonal system."""
    n = points.shape[-2]
    step = points.diff(dim=-2)
    length = step.norm(dim=-1)
    chord = length.clamp_min(1e-3)  # keeps the system regular where points coincide
    slope = step / chord[..., None]
    system = points.new_zeros(*points.shape[:2], n, n)
    i = torch.arange(1, n - 1, device=points.device)
    system[..., i, i - 1], system[..., i, i + 1] = chord[..., :-1], chord[..., 1:]
    system[..., i, i] = 2 * (chord[..., :-1] + chord[..., 1:])
    for row, (a, b, c) in ((0, (0, 1, 2)), (n - 1, (n - 1, n - 2, n - 3))):
        if n == 3:  # one parabola: constant second derivative
            system[..., row, a], system[..., row, b] = 1.0, -1.0
        else:  # not-a-knot: the third derivative does not jump at the second point
            near, far = (chord[..., 0], chord[..., 1]) if row == 0 else (chord[..., -1], chord[..., -2])
            system[..., row, a], system[..., row, b], system[..., row, c] = far, -(near + far), near
    right = torch.nn.functional.pad(6 * slope.diff(dim=-2), (0, 0, 1, 1))
    second, _ = torch.linalg.solve_ex(system, right)  # unlike `solve`, does not wait for a GPU
    return chord, second.masked_fill((length < chord).any(-1)[..., None, None], 0.0)


def _around(
    start: Float[Tensor, "b t 2"], end: Float[Tensor, "b t 2"], size: int, sigma: float
) -> tuple[Int[Tensor, "b w w t"], Float[Tensor, "b w w t"]]:
    """Flat indices of the pixels around straight segments, and the squared distances of the pixels to the segments."""
    start, end = start.mT.contiguous(), end.mT.contiguous()  # segments last: a CPU is fast along long axes
    middle, edge = (start + end) / 2, (end - start)[..., None, None, :]
    # A pixel within 3 sigma of a segment of 1 px is less than 3 sigma + 1 from the pixel nearest to its middle.
    # A window that would cross the map's border is moved inwards: its distances are correct there too.
    width = min(2 * math.ceil(3 * sigma) + 1, size)
    first = (middle - width // 2).round().clamp(0, size - width)
    pixel = first[:, :, None] + torch.arange(width, device=start.device, dtype=start.dtype)[:, None]  # (b, 2, w, t)
    offset = pixel - middle[:, :, None]
    dx, dy = offset[:, 0, None], offset[:, 1, :, None]
    ex, ey = edge[:, 0], edge[:, 1]
    along = ((dx * ex + dy * ey) / (ex * ex + ey * ey).clamp_min(1e-12)).clamp(-0.5, 0.5)
    pixel = pixel.long()
    index = pixel[:, 1, :, None] * size + pixel[:, 0, None]
    return index, (dx - along * ex).square() + (dy - along * ey).square()
