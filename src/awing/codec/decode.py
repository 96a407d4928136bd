"""Peaks of heatmaps, and their sub-pixel refinement."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def heatmap_argmax(maps: Float[Tensor, "b k h w"]) -> tuple[Int[Tensor, "b k 2"], Float[Tensor, "b k"]]:
    """Highest pixel (x, y) of each map, map px, one of several that are equally high; and its value.

    >>> maps = torch.zeros(1, 1, 3, 4)
    >>> maps[0, 0, 2, 1] = 0.8
    >>> heatmap_argmax(maps)
    (tensor([[[1, 2]]]), tensor([[0.8000]]))
    """
    pixels, width = maps.flatten(2), maps.shape[-1]
    index = pixels.argmax(-1)  # and not max: ONNX of opset 17 can then hold it
    score = pixels.gather(-1, index[..., None])[..., 0]
    return torch.stack([index % width, index // width], -1), score


def quarter_shift(maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
    """Shift of each peak towards the higher neighbour (paper 7.3), in x and in y separately, as the authors do.

    -0.25, 0 (equal neighbours) or 0.25 map px; 0 in both for a peak on the map's border.

    >>> maps = torch.tensor([[[[0.0, 0.5, 0.0], [0.2, 1.0, 0.4], [0.0, 0.1, 0.0]]]])
    >>> quarter_shift(maps, torch.tensor([[[1, 1]]]))
    tensor([[[ 0.2500, -0.2500]]])
    """
    around, inside = _neighbourhood(maps, pixel)
    slope = torch.stack([around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]], -1)
    return 0.25 * slope.sign() * inside.all(-1, keepdim=True)


def refine_dark(maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]) -> Float[Tensor, "b k 2"]:
    """Sub-pixel shift of DARK (Zhang et al., CVPR 2020), without its blur.

    Newton's step from each peak on the logarithm of the map (at least 1e-6), ``-H^-1 g`` by finite differences: exact
    for a Gaussian. Within half a map px; 0 where there is no maximum, and across a map border that the peak is on.

    >>> x = torch.arange(5.0)
    >>> maps = torch.exp(-((x - 1.7) ** 2) - (x[:, None] - 2.1) ** 2)[None, None]
    >>> refine_dark(maps, torch.tensor([[[2, 2]]]))
    tensor([[[-0.3000,  0.1000]]])
    """
    around, inside = _neighbourhood(maps, pixel)
    f = around.clamp_min(1e-6).log()
    gx, gy = (f[..., 1, 2] - f[..., 1, 0]) / 2, (f[..., 2, 1] - f[..., 0, 1]) / 2
    xx = f[..., 1, 2] - 2 * f[..., 1, 1] + f[..., 1, 0]
    yy = f[..., 2, 1] - 2 * f[..., 1, 1] + f[..., 0, 1]
    xy = (f[..., 2, 2] - f[..., 2, 0] - f[..., 0, 2] + f[..., 0, 0]) / 4
    det = xx * yy - xy * xy
    step = torch.stack([xy * gy - yy * gx, xy * gx - xx * gy], -1) / det[..., None]
    return torch.where(inside & (det > 0)[..., None], step, 0.0).clamp(-0.5, 0.5)


def _neighbourhood(
    maps: Float[Tensor, "b k h w"], pixel: Int[Tensor, "b k 2"]
) -> tuple[Float[Tensor, "b k 3 3"], Tensor]:
    """The 3 x 3 pixels around each peak, edges repeated, and whether each axis has both neighbours."""
    height, width = maps.shape[-2:]
    last = torch.tensor([width - 1, height - 1], device=maps.device)
    offset = torch.arange(-1, 2, device=maps.device)
    x = (pixel[..., 0, None] + offset).clamp(0, width - 1)
    y = (pixel[..., 1, None] + offset).clamp(0, height - 1)
    index = y[..., :, None] * width + x[..., None, :]
    around = maps.flatten(2).gather(-1, index.flatten(-2)).view(index.shape)
    return around, (pixel > 0) & (pixel < last)
