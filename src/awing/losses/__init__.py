"""Heatmap losses: the Adaptive Wing loss, the losses it is compared with, and the weight maps."""

from awing.losses.functional import adaptive_wing, base_weight_map, dilated_weight_map, grey_dilation, wing
from awing.losses.modules import AdaptiveWingLoss, HeatmapLoss, L1Loss, MSELoss, WingLoss

__all__ = [
    "AdaptiveWingLoss",
    "HeatmapLoss",
    "L1Loss",
    "MSELoss",
    "WingLoss",
    "adaptive_wing",
    "base_weight_map",
    "dilated_weight_map",
    "grey_dilation",
    "wing",
]
