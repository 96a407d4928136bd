"""A trained network in fewer operations, for crops of one size."""

from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from awing.models import StackedHourglass, boundary_coordinates, coordinate_channels


class FoldedNetwork(nn.Module):
    """The last stack's maps: ``network(image)[-1]`` for images of ``side`` px, but for rounding.

    Maps are linear in the head's features, so that both enter the next stack by one convolution.
    """

    @torch.no_grad()
    def __init__(self, network: StackedHourglass, side: int) -> None:
        super().__init__()
        stem, self.stacks = list[Any](network.stem), network.stacks
        self.stem = nn.Sequential(_AtCoordinates(fuse_conv_bn_eval(*stem[:2]), 3, side), *stem[2:])
        self.entries, self.merges = nn.ModuleList(), deepcopy(network.merge_features)
        for stack in list[Any](network.stacks):
            at = (stack.maps.in_channels, side // 4, stack.threshold)
            self.entries.append(_AtCoordinates(stack.coordinates, *at) if stack.coordinates else nn.Identity())
        for merge, mixed, stack in list[Any](zip(self.merges, network.merge_maps, network.stacks, strict=False)):
            merge.weight += torch.einsum("omij,mcij->ocij", mixed.weight, stack.maps.weight)
            merge.bias += mixed.bias + mixed.weight[:, :, 0, 0] @ stack.maps.bias
        self.gated = network.boundary_coords

    def forward(self, image: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b maps side//4 side//4"]:
        features, gate = self.stem(image), list[Tensor]()
        for i, stack in enumerate(list[Any](self.stacks)):
            head = stack.head(stack.hourglass(self.entries[i](features, *gate)))
            maps: Tensor = stack.maps(head)
            if i < len(self.merges):
                features, gate = features + self.merges[i](head), [maps[:, -1:]] if self.gated else []
        return maps


class _AtCoordinates(nn.Module):
    """A convolution of [features, x, y, r, B_x, B_y]: what it makes of x, y and r is a constant map."""

    def __init__(self, conv: nn.Conv2d, channels: int, side: int, threshold: float = 0.0) -> None:
        super().__init__()
        self.stride, self.padding, self.threshold = conv.stride, conv.padding, threshold
        self.weight = nn.Buffer(conv.weight[:, :channels].contiguous())
        self.weight_of_boundary = nn.Buffer(conv.weight[:, channels + 3 :].contiguous())
        coordinates, fixed = coordinate_channels(side, side), conv.weight.new_zeros(1, conv.in_channels, side, side)
        fixed[0, channels : channels + 3] = coordinates[: conv.in_channels - channels]
        self.constant, self.xy = nn.Buffer(conv(fixed)), nn.Buffer(coordinates[:2])

    def forward(self, features: Tensor, *gate: Tensor) -> Tensor:
        entered = F.conv2d(features, self.weight, None, self.stride, self.padding) + self.constant
        for boundary in gate:  # none or one
            gated = boundary_coordinates(self.xy, boundary, self.threshold)
            entered = entered + F.conv2d(gated, self.weight_of_boundary)
        return entered
