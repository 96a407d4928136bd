"""Weight maps of the loss, computed from the ground-truth heatmap."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def dilated_weight_map(
    target: Float[Tensor, "b c h w"], *, weight: float = 10.0, threshold: float = 0.2
) -> Float[Tensor, "b c h w"]:
    r"""Weighted loss map :math:`W M + 1` (Wang et al., ICCV 2019, equations 4 and 5).

    The mask M is 1 where the ground-truth heatmap after a 3x3 grey dilation (the maximum over a pixel and its
    eight neighbours) is at least `threshold`, else 0: the foreground and the difficult background beside it.

    Args:
        target: ground-truth heatmaps in [0, 1].
        weight: W, at least 0.
        threshold: smallest dilated value inside the mask, above 0 and at most 1.

    Returns:
        A map of the values 1 and W + 1, in the dtype of `target`.

    >>> target = torch.zeros(1, 1, 4, 4)
    >>> target[0, 0, 0, 0] = 1.0
    >>> dilated_weight_map(target)[0, 0]
    tensor([[11., 11.,  1.,  1.],
            [11., 11.,  1.,  1.],
            [ 1.,  1.,  1.,  1.],
            [ 1.,  1.,  1.,  1.]])
    """
    _check_weight(weight)
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie above 0 and at most at 1, found {threshold}")
    if target.ndim != 4:
        raise ValueError(f"expected heatmaps (batch, channels, height, width), found {tuple(target.shape)}")
    return (grey_dilation(target) >= threshold).to(target.dtype).mul_(weight).add_(1)


def base_weight_map(target: Float[Tensor, "b c h w"], *, weight: float = 10.0) -> Float[Tensor, "b c h w"]:
    """Baseline weight map W H + 1 with the ground-truth heatmap H itself (Wang et al., ICCV 2019, Table 7).

    Args:
        target: ground-truth heatmaps H in [0, 1].
        weight: W, at least 0.

    Returns:
        A map between 1 and W + 1, in the dtype of `target`.

    >>> base_weight_map(torch.tensor([[[[0.0, 0.5, 1.0]]]]))
    tensor([[[[ 1.,  6., 11.]]]])
    """
    _check_weight(weight)
    return weight * target + 1


def grey_dilation(target: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """3x3 grey dilation, H^d of equation 4: the maximum over each pixel and its eight neighbours.

    >>> grey_dilation(torch.tensor([[[[0.0, 0.0, 0.5, 1.0]]]]))
    tensor([[[[0.0000, 0.5000, 1.0000, 1.0000]]]])
    """
    padded = F.pad(target, (1, 1, 1, 1), value=-math.inf)
    # along one axis, then the other: on a CPU several times as fast as max_pool2d, which looks for indices too
    columns = torch.maximum(torch.maximum(padded[..., :-2, :], padded[..., 1:-1, :]), padded[..., 2:, :])
    return torch.maximum(torch.maximum(columns[..., :-2], columns[..., 1:-1]), columns[..., 2:])


def _check_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be finite and at least 0, found {weight}")
