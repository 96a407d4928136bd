"""The losses as modules with constants, an optional weight per pixel, and a common reduction."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from awing.losses.functional import Maps, adaptive_wing, check_constants, promote, wing

REDUCTIONS = ("mean", "sum", "none")
Weight = Float[Tensor, "..."]  # as many axes as the heatmaps, each of the same length or 1
Loss = Float[Tensor, "..."]  # a scalar, or with reduction "none" of the heatmaps' shape


class HeatmapLoss(nn.Module):
    """Base class of the losses: an elementwise loss, multiplied by a weight and reduced.

    Args:
        reduction: "mean" divides the weighted sum by the number of elements, a constant, so that the mean over the
            ranks of distributed training is the loss of the whole batch. "sum" adds up; "none" keeps every element.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}; found {reduction!r}")
        self.reduction = reduction

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        """The loss of every element; each loss defines its own."""
        raise NotImplementedError

    def forward(self, pred: Maps, target: Maps, weight: Weight | None = None) -> Loss:
        """Weighted and reduced loss, computed in float32 at least.

        Args:
            pred: predicted heatmaps.
            target: ground-truth heatmaps of the same shape.
            weight: factor of each element's loss: a weight map, a labelled mask or their product. It has as
                many axes as the heatmaps, each of the same length or 1.

        Raises:
            ValueError: the shapes do not fit.
        """
        pred, target = promote(pred, target)
        return self.prepare(target, weight)(pred)

    def prepare(self, target: Maps, weight: Weight | None = None) -> Callable[[Maps], Loss]:
        """Return the loss as a function of the prediction; terms of the target are computed once for all stacks."""
        if weight is not None and (
            weight.ndim != target.ndim or any(w not in (1, n) for w, n in zip(weight.shape, target.shape, strict=True))
        ):
            found = f"found {tuple(weight.shape)}"
            raise ValueError(f"weight must have the heatmaps' shape {tuple(target.shape)}, or 1 along axes; {found}")
        return partial(self._by_autograd, target, weight)

    def _by_autograd(self, target: Maps, weight: Weight | None, pred: Maps) -> Loss:
        loss = self.elementwise(*promote(pred, target))
        if weight is not None:
            loss = loss * weight
        if self.reduction == "none":
            return loss
        # not torch's mean: its gradient has another memory layout than the maps of a channels_last network
        return loss.sum() / (target.numel() if self.reduction == "mean" else 1)


class AdaptiveWingLoss(HeatmapLoss):
    """Adaptive Wing loss; see :func:`awing.losses.adaptive_wing`, and for the reduction :class:`HeatmapLoss`.

    Value and gradient are computed together, in a fraction of the function's time and memory. For second derivatives
    and torch.func, use the function.

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
        return adaptive_wing(pred, target, omega=self.omega, theta=self.theta, epsilon=self.epsilon, alpha=self.alpha)

    def prepare(self, target: Maps, weight: Weight | None = None) -> Callable[[Maps], Loss]:
        loss = super().prepare(target, weight)
        if target.requires_grad or (weight is not None and weight.requires_grad) or torch.compiler.is_compiling():
            return loss  # more gradients are needed, or a compiler fuses the plain formula into one pass itself
        target, _ = promote(target, target)
        factor = self.omega * (target.new_ones(()) if weight is None else weight.to(target.dtype))
        power = self.alpha - target
        terms = power - 2, factor, power.mul(factor).div_(self.epsilon)
        return partial(self._in_one_pass, target, terms)

    def _in_one_pass(self, target: Maps, terms: tuple[Tensor, Tensor, Tensor], pred: Maps) -> Loss:
        pred, target = promote(pred, target)
        with torch.no_grad():
            loss, gradient = self.value_and_gradient(pred - target, *terms)
            loss = loss if self.reduction == "none" else loss.sum()
        known: Tensor = _KnownGradient.apply(pred, loss, gradient)  # type: ignore[no-untyped-call]
        return known / target.numel() if self.reduction == "mean" else known

    def value_and_gradient(
        self, error: Maps, exponent: Maps, log_factor: Weight, slope_factor: Maps
    ) -> tuple[Maps, Maps]:
        """As :func:`awing.losses.adaptive_wing`: beyond theta, the slope is that of the curve at theta.

        ``error`` is pred - target, and overwritten; ``exponent`` is p - 2 for p = alpha - target. Let c be the error in
        units of epsilon, clamped at theta. |c|^p is c^2 |c|^(p-2) by exp2 and log2, at a fifth of a power's cost; p - 2
        is small, and so is the rounding of its product. At c = 0 everything is exactly 0.
        """
        error.div_(self.epsilon)
        held = error.clamp(-self.theta / self.epsilon, self.theta / self.epsilon)
        beyond = error.sub_(held)
        nonzero = held.abs().clamp_(min=torch.finfo(held.dtype).tiny)
        root = nonzero.log2_().mul_(exponent).exp2_().mul_(held)  # |c|^(p-1), signed
        ratio = held.mul_(root)  # |c|^p
        value = torch.log1p(ratio).mul_(log_factor)
        gradient = root.mul_(slope_factor).div_(ratio.add_(1))
        return value.addcmul_(gradient, beyond, value=self.epsilon), gradient


class _KnownGradient(torch.autograd.Function):
    """A loss whose gradient with respect to the prediction is known."""

    @staticmethod
    def forward(ctx: Any, pred: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError("AdaptiveWingLoss has no second derivative: use awing.losses.adaptive_wing")
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None


class WingLoss(HeatmapLoss):
    """Wing loss; see :func:`awing.losses.wing`, and for the reduction :class:`HeatmapLoss`."""

    def __init__(self, omega: float = 10.0, epsilon: float = 2.0, reduction: str = "mean") -> None:
        super().__init__(reduction)
        check_constants(omega=omega, epsilon=epsilon)
        self.omega, self.epsilon = omega, epsilon

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return wing(pred, target, omega=self.omega, epsilon=self.epsilon)


class MSELoss(HeatmapLoss):
    """Squared error :math:`d^2`, the usual loss of heatmap regression."""

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return (pred - target).square()


class L1Loss(HeatmapLoss):
    """Absolute error :math:`d`."""

    def elementwise(self, pred: Maps, target: Maps) -> Maps:
        return (pred - target).abs()
