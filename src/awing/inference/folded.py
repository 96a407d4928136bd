"""A trained network in fewer operations, for crops of one size."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from awing.models import StackedHourglass, boundary_coordinates, coordinate_channels


class FoldedNetwork(nn.Module):
    """The last stack's maps: ``network(image)[-1]`` for images of ``side`` px, but for rounding.

    A batch normalisation behind a convolution is part of it. Maps are linear in the head's features, so that both enter
    the next stack by one convolution; of other stacks than the last, the boundary map alone is computed.
    """

    @torch.no_grad()
    def __init__(self, network: StackedHourglass, side: int) -> None:
        super().__init__()
        stem, stacks = list[Any](network.stem), list[Any](network.stacks)
        self.stem = nn.Sequential(_AtCoordinates(fuse_conv_bn_eval(*stem[:2]), 3, side), *stem[2:])
        self.entries, self.bodies, self.merges, self.boundaries = (nn.ModuleList() for _ in range(4))
        for stack in stacks:
            block, conv, norm, relu = stack.head
            entry = stack.coordinates and _AtCoordinates(
                stack.coordinates, conv.in_channels, side // 4, stack.threshold
            )
            self.entries.append(entry or nn.Identity())
            self.bodies.append(nn.Sequential(stack.hourglass, block, fuse_conv_bn_eval(conv, norm), relu))
        merges: Any = zip(network.merge_features, network.merge_maps, (stack.maps for stack in stacks), strict=False)
        for features, mixed, maps in merges:
            weight = features.weight + torch.einsum("omij,mcij->ocij", mixed.weight, maps.weight)
            self.merges.append(_conv(weight, features.bias + mixed.bias + mixed.weight[:, :, 0, 0] @ maps.bias))
            self.boundaries.append(_conv(maps.weight[-1:], maps.bias[-1:]))
        self.maps, self.gated = stacks[-1].maps, network.boundary_coords

    def forward(self, image: Float[Tensor, "b 3 side side"]) -> Float[Tensor, "b maps side//4 side//4"]:
        features: Tensor = self.stem(image)
        gate: list[Tensor] = []
        for entry, body, merge, boundary in zip(self.entries, self.bodies, self.merges, self.boundaries, strict=False):
            head = body(entry(features, *gate))
            features, gate = features + merge(head), [boundary(head)] if self.gated else []
        maps: Tensor = self.maps(self.bodies[-1](self.entries[-1](features, *gate)))
        return maps


class _AtCoordinates(nn.Module):
    """A convolution of [features, x, y, r, B_x, B_y]: what it makes of x, y and r is a constant map."""

    constant: Tensor
    xy: Tensor

    def __init__(self, conv: nn.Conv2d, channels: int, side: int, threshold: float = 0.0) -> None:
        super().__init__()
        coordinates, fixed = coordinate_channels(side, side), conv.weight.new_zeros(1, conv.in_channels, side, side)
        fixed[0, channels : channels + 3] = coordinates[: conv.in_channels - channels]
        self.features = _conv(conv.weight[:, :channels], None, conv.stride, conv.padding)
        self.boundary = _conv(conv.weight[:, channels + 3 :]) if conv.in_channels > channels + 3 else None
        self.threshold = threshold
        self.register_buffer("constant", conv(fixed))
        self.register_buffer("xy", coordinates[:2])

    def forward(self, features: Tensor, boundary: Tensor | None = None) -> Tensor:
        entered: Tensor = self.features(features) + self.constant
        if self.boundary is None or boundary is None:
            return entered
        gated: Tensor = self.boundary(boundary_coordinates(self.xy, boundary, self.threshold))
        return entered + gated


def _conv(weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0) -> nn.Conv2d:
    outputs, inputs, size, _ = weight.shape
    conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=bias is not None)
    conv.weight, conv.bias = nn.Parameter(weight.contiguous()), bias if bias is None else nn.Parameter(bias)
    return conv
