"""Losses of one predicted and one ground-truth heatmap value, and their weight maps, as pure functions."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Maps = Float[Tensor, "*shape"]  # any shape, the same for all arguments and the result of one call


def adaptive_wing(
    pred: Maps, target: Maps, *, omega: float = 14.0, theta: float = 0.5, epsilon: float = 1.0, alpha: float = 2.1
) -> Maps:
    r"""Adaptive Wing loss of every heatmap pixel (Wang et al., ICCV 2019, equation 3).

    With the error :math:`d = |y - \hat{y}|`,

    .. math::
        \mathrm{AWing}(y, \hat{y}) = \begin{cases}
            \omega \ln(1 + (d / \epsilon)^{\alpha - y}) & d < \theta \\
            A d - C & \text{otherwise}
        \end{cases}

    where :math:`A = \omega \frac{1}{1 + (\theta/\epsilon)^{\alpha-y}} (\alpha - y)
    (\theta/\epsilon)^{\alpha-y-1} \frac{1}{\epsilon}` and
    :math:`C = \theta A - \omega \ln(1 + (\theta/\epsilon)^{\alpha-y})` make value and slope continuous at
    :math:`\theta`. On the background (y = 0) it acts like a squared error, on a peak (y = 1) like the Wing loss. The
    gradient at d = 0 is exactly 0 for every y in [0, 1], also at alpha = 2 and y = 1, where the slope jumps.

    Args:
        pred: predicted heatmap values, any real number. Half precision is computed, and returned, in float32.
        target: ground-truth values y in [0, 1], of the same shape; above alpha - 1 the slope at d = 0 is infinite.
        omega: positive scale of the loss, in which it is linear.
        theta: positive error at which the curve becomes a line.
        epsilon: positive error at which the logarithm's argument is 2; smaller is steeper near 0.
        alpha: exponent at y = 0, at least 2.

    Raises:
        ValueError: the shapes differ, or a constant is out of its range.

    >>> adaptive_wing(torch.tensor([0.1, 0.9, 0.0]), torch.tensor([0.0, 1.0, 1.0]))
    tensor([ 0.1108,  1.0701, 10.2594])
    """
    check_constants(omega=omega, theta=theta, epsilon=epsilon, alpha=alpha)
    pred, target = promote(pred, target)
    error = (target - pred).abs()
    power = alpha - target
    # Beyond theta, A d - C = omega ln(1 + (theta/epsilon)^power) + A (d - theta): the curve held at theta,
    # plus A times the rest of the error. With this sum a large error puts no infinity into the gradient,
    # unlike a `where`, whose unused branch would (0 times infinity is NaN).
    curve = omega * torch.log1p((error.clamp(max=theta) / epsilon) ** power)
    at_theta = (theta / epsilon) ** power
    slope = omega * power * at_theta / (1 + at_theta) / theta
    return curve + slope * (error - theta).relu()  # not clamp: at theta both clamps would pass their gradient


def wing(pred: Maps, target: Maps, *, omega: float = 10.0, epsilon: float = 2.0) -> Maps:
    r"""Wing loss of every element (Feng et al., CVPR 2018; Wang et al., ICCV 2019, equation 2).

    With the error :math:`d = |y - \hat{y}|` and :math:`C = \omega - \omega \ln(1 + \omega/\epsilon)`,

    .. math::
        \mathrm{Wing}(y, \hat{y}) = \begin{cases}
            \omega \ln(1 + d / \epsilon) & d < \omega \\
            d - C & \text{otherwise}
        \end{cases}

    Made for coordinates in pixels. On heatmaps it is a baseline that does not converge: its slope jumps from
    -omega/epsilon to omega/epsilon at d = 0 (the gradient exactly there is 0).

    Args:
        pred: predicted values. Half precision is computed, and returned, in float32.
        target: ground-truth values of the same shape.
        omega: positive error, in the unit of the inputs, at which the logarithm becomes a line.
        epsilon: positive curvature of the logarithm.

    Raises:
        ValueError: the shapes differ, or a constant is out of its range.

    >>> wing(torch.tensor([1.0, 20.0]), torch.tensor([0.0, 0.0]))
    tensor([ 4.0547, 27.9176])
    """
    check_constants(omega=omega, epsilon=epsilon)
    pred, target = promote(pred, target)
    error = (target - pred).abs()
    return omega * torch.log1p(error.clamp(max=omega) / epsilon) + (error - omega).relu()


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
    # along one axis, then the other: on a CPU several times as fast as max_pool2d, which also computes indices
    columns = torch.maximum(torch.maximum(padded[..., :-2, :], padded[..., 1:-1, :]), padded[..., 2:, :])
    return torch.maximum(torch.maximum(columns[..., :-2], columns[..., 1:-1]), columns[..., 2:])


def check_constants(*, alpha: float = 2.0, **positive: float) -> None:
    """Raise ValueError unless alpha is at least 2 and the others are positive, all finite."""
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive and finite, found {value}")
    if not 2 <= alpha < math.inf:
        raise ValueError(f"alpha must be finite and at least 2 (alpha - y >= 1 for every y up to 1), found {alpha}")


def promote(pred: Maps, target: Maps) -> tuple[Maps, Maps]:
    """Convert both tensors to one dtype of at least 32 bits; ValueError if their shapes differ.

    Half precision overflows in a sum over a face's maps, and a silent broadcast would compare the wrong pixels.
    """
    if pred.shape != target.shape:
        shapes = f"{tuple(pred.shape)} and {tuple(target.shape)}"
        raise ValueError(f"prediction and target must have one shape, found {shapes}")
    dtype = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    return pred.to(dtype), target.to(dtype)


def _check_weight(weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be finite and at least 0, found {weight}")
