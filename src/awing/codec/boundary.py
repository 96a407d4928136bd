"""The boundary map (paper sections 5 and 7.3): splines through landmarks, distance to them, one channel."""

from collections.abc import Sequence
from itertools import groupby

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SEGMENTS = 4  # straight pieces per spline interval; their sagitta stays below 0.02 map px on a face


def boundary_map(
    points: Float[Tensor, "b k 2"],
    labelled: Bool[Tensor, "b k"],
    lines: Sequence[tuple[int, ...]],
    size: int,
    sigma: float = 1.0,
) -> Float[Tensor, "b h w"]:
    """``exp(-d^2 / (2 sigma^2))`` with d the distance to the nearest line, 0 where d >= 3 sigma.

    Args:
        points: Landmarks in map px.
        labelled: A line with an unlabelled landmark is not drawn.
        lines: Paths through landmark indices.
        size: Side of the map, px.
        sigma: Width of a line, map px.
    """
    squared = points.new_full((len(points), size, size), float("inf"))
    for _, group in groupby(sorted(lines, key=len), key=len):  # lines of one length make one batch
        index = torch.tensor(list(group), device=points.device)
        path = spline(points[:, index], SEGMENTS)  # (b, lines, samples, 2)
        distance = _squared_distance(path[:, :, :-1].flatten(1, 2), path[:, :, 1:].flatten(1, 2), size)
        drawn = labelled[:, index].all(-1).repeat_interleave(path.shape[2] - 1, dim=1)
        distance = distance.masked_fill(~drawn[..., None, None], float("inf"))
        squared = torch.minimum(squared, distance.amin(1))
    return torch.exp(-squared / (2 * sigma**2)) * (squared < (3 * sigma) ** 2)


def spline(points: Float[Tensor, "b l n 2"], segments: int) -> Float[Tensor, "b l m 2"]:
    """Interpolating spline of degree min(4, n) - 1 over the chord length, sampled ``segments`` times an interval.

    Cubic with not-a-knot ends from four points on, a parabola through three, a straight line through two.
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
    exact = points.double()  # chords can be short: the system divides by them
    n = points.shape[-2]
    step = exact.diff(dim=-2)
    chord = step.norm(dim=-1).clamp_min(1e-3)  # coincident landmarks keep the system regular
    slope = step / chord[..., None]
    system = exact.new_zeros(*points.shape[:2], n, n)
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
    return chord.to(points.dtype), torch.linalg.solve(system, right).to(points.dtype)


def _squared_distance(
    start: Float[Tensor, "b t 2"], end: Float[Tensor, "b t 2"], size: int
) -> Float[Tensor, "b t h w"]:
    """Squared distance of every pixel of a map to every straight segment."""
    grid = torch.arange(size, device=start.device, dtype=start.dtype)
    edge = end - start
    length = edge.square().sum(-1).clamp_min(1e-12)[..., None, None]
    dx, dy = grid - start[..., :1], grid - start[..., 1:]  # (b, t, size)
    dot = (dx * edge[..., :1])[..., None, :] + (dy * edge[..., 1:])[..., None]
    along = (dot / length).clamp(0, 1)
    return dx.square()[..., None, :] + dy.square()[..., None] + along * (along * length - 2 * dot)
