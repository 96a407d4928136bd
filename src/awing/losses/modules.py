"""The losses as modules: constants, an optional weight per pixel, and one shared reduction."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from awing.losses.functional import Maps, adaptive_wing, check_constants, promote, wing

REDUCTIONS = ("mean", "sum", "none")


class HeatmapLoss(nn.Module):
    """Base of the losses: an elementwise loss, times a weight, reduced.

    Args:
        reduction: "mean" divides the weighted sum by the number of elements, not by the sum of the weights: a
            constant, so that the mean over the ranks of distributed training is the loss of the whole batch.
            "sum" adds up; "none" returns the weighted loss of every element.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}; found {reduction!r}")
        self.reduction = reduction

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        """The loss of every element; each loss defines its own."""
        raise NotImplementedError

    def forward(self, pred: Maps, target: Maps, weight: Float[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
        """Weighted and reduced loss, computed in float32 at least.

        Args:
            pred: predicted heatmaps.
            target: ground-truth heatmaps of the same shape.
            weight: factor of each element's loss: a weight map, a labelled mask or their product. It has as
                many axes as the heatmaps, each of the same length or 1.

        Returns:
            A scalar, or with reduction "none" a tensor of the heatmaps' shape.

        Raises:
            ValueError: the shapes do not fit.
        """
        loss = self.elementwise(*promote(pred, target))
        if weight is not None:
            if weight.ndim != loss.ndim or any(w not in (1, n) for w, n in zip(weight.shape, loss.shape, strict=True)):
                raise ValueError(
                    f"weight must have the heatmaps' shape {tuple(loss.shape)}, or 1 along some axes; "
                    f"found {tuple(weight.shape)}"
                )
            loss = loss * weight
        if self.reduction == "mean":
            return loss.mean()
        return loss.sum() if self.reduction == "sum" else loss


class AdaptiveWingLoss(HeatmapLoss):
    """Adaptive Wing loss with the paper's constants; see :func:`awing.losses.adaptive_wing`.

    The reduction is that of :class:`HeatmapLoss`.

    >>> import torch
    >>> from awing.losses import dilated_weight_map
    >>> target = torch.zeros(1, 1, 4, 4)
    >>> target[0, 0, 0, 0] = 1.0
    >>> AdaptiveWingLoss()(torch.zeros(1, 1, 4, 4), target, dilated_weight_map(target))
    tensor(7.0533)
    """

    def __init__(
        self, omega: float = 14.0, theta: float = 0.5, epsilon: float = 1.0, alpha: float = 2.1, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction)
        check_constants(omega=omega, theta=theta, epsilon=epsilon, alpha=alpha)
        self.omega, self.theta, self.epsilon, self.alpha = omega, theta, epsilon, alpha

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        constants = {"omega": self.omega, "theta": self.theta, "epsilon": self.epsilon, "alpha": self.alpha}
        return adaptive_wing(pred, target, **constants)


class WingLoss(HeatmapLoss):
    """Wing loss; see :func:`awing.losses.wing`.

    The reduction is that of :class:`HeatmapLoss`.
    """

    def __init__(self, omega: float = 10.0, epsilon: float = 2.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        check_constants(omega=omega, epsilon=epsilon)
        self.omega, self.epsilon = omega, epsilon

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return wing(pred, target, omega=self.omega, epsilon=self.epsilon)


class MSELoss(HeatmapLoss):
    """Squared error :math:`d^2`, the usual loss of heatmap regression."""

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return F.mse_loss(pred, target, reduction="none")


class L1Loss(HeatmapLoss):
    """Absolute error :math:`d`."""

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return F.l1_loss(pred, target, reduction="none")


class SmoothL1Loss(HeatmapLoss):
    """Huber loss: :math:`d^2 / 2` where d < 1, else :math:`d - 1/2`."""

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return F.smooth_l1_loss(pred, target, reduction="none")
