"""Coordinate channels of CoordConv, and of the boundary (paper section 6)."""

import torch
from jaxtyping import Float
from torch import Tensor

BOUNDARY_THRESHOLD = 0.05  # 10.1 and equation 6


def coordinate_channels(
    height: int, width: int, device: torch.device | str | None = None
) -> Float[Tensor, "3 height width"]:
    """Coordinates x, y and radius r of every pixel of a feature map of at least 2 x 2 (paper section 6).

    ``x = 2 i / (width - 1) - 1`` in column i, growing to the right; ``y = 2 j / (height - 1) - 1`` in row j,
    growing downwards; ``r = sqrt(x^2 + y^2) / max``, where the maximum, in the corners, is sqrt(2). So x and y are in
    [-1, 1], r in [0, 1], all float32.

    >>> x, y, r = coordinate_channels(2, 3)
    >>> x
    tensor([[-1.,  0.,  1.],
            [-1.,  0.,  1.]])
    >>> y[:, 0]
    tensor([-1.,  1.])
    >>> r[0]
    tensor([1.0000, 0.7071, 1.0000])
    """
    if height < 2 or width < 2:
        raise ValueError(f"coordinates need a map of at least 2x2 pixels, found {height}x{width}")
    x = torch.linspace(-1, 1, width, device=device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=device)[:, None].expand(height, width)
    return torch.stack([x, y, ((x**2 + y**2) / 2).sqrt()])


def boundary_coordinates(
    coordinates: Float[Tensor, "2 height width"],
    boundary: Float[Tensor, "b 1 height width"],
    threshold: float = BOUNDARY_THRESHOLD,
) -> Float[Tensor, "b 2 height width"]:
    """Coordinates on the predicted boundary, zero elsewhere (paper equation 6).

    ``B_x = C_x where B >= threshold, else 0``, and the same for y, where B is the boundary map of the previous
    hourglass. No gradient passes through the gate. The authors' code has ``>`` for ``>=``.

    >>> xy = coordinate_channels(2, 2)[:2]
    >>> boundary_coordinates(xy, torch.tensor([[[[0.9, 0.05], [0.04, -1.0]]]]))[0, 0]
    tensor([[-1.,  1.],
            [ 0.,  0.]])
    """
    return torch.where(boundary >= threshold, coordinates, 0.0)


def append_coordinates(
    features: Float[Tensor, "b channels height width"],
    boundary: Float[Tensor, "b 1 height width"] | None = None,
    threshold: float = BOUNDARY_THRESHOLD,
) -> Float[Tensor, "b more_channels height width"]:
    """Input of a coordinate convolution: features, x, y, r and, where a boundary map is given, B_x, B_y.

    The data type, device and memory format of the features are kept.
    """
    batch, _, height, width = features.shape
    coordinates = coordinate_channels(height, width, features.device)
    added = coordinates.expand(batch, -1, -1, -1)
    if boundary is not None:
        added = torch.cat([added, boundary_coordinates(coordinates[:2], boundary, threshold)], dim=1)
    # `cat` falls back to the contiguous format unless every input has the same one.
    channels_last = features.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return torch.cat([features, added.to(features.dtype).contiguous(memory_format=layout)], dim=1)
